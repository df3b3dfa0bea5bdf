"""What LED and motor show, and when: the patterns as a table. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

from device.events import Mode

Pattern = Literal[
    "ready",
    "pre_alert",
    "undelivered",
    "alert",
    "received",
    "acknowledged",
    "fault",
    "disarmed",
    "asked",
]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Pairs of seconds on and off, for ever or once. An off of 0 joins the next on."""

    steps: tuple[tuple[float, float], ...]
    repeats: bool = True

    def at(self, elapsed_s: float) -> tuple[bool, float | None]:
        """Return whether it is on `elapsed_s` after its start, and the seconds to its next change."""
        period_s = sum(on_s + off_s for on_s, off_s in self.steps)
        if elapsed_s >= period_s and not self.repeats:
            return False, None
        left_s = elapsed_s % period_s
        for on_s, off_s in self.steps:
            if left_s < on_s:
                return True, on_s - left_s
            if left_s < on_s + off_s:
                return False, on_s + off_s - left_s
            left_s -= on_s + off_s
        return False, 0.0  # the remainder was rounded up to a whole period


ON: Final = Rhythm(((3600.0, 0.0),))
# Fast is danger, slow is fault, and dark never means a mode: dark means no power.
LED: Final[dict[Pattern, Rhythm]] = {
    "ready": Rhythm(((0.05, 4.95),)),
    "pre_alert": Rhythm(((0.125, 0.125),)),
    "undelivered": Rhythm(((0.5, 0.5),)),
    "alert": ON,
    "received": Rhythm(((1.8, 0.2),)),
    "acknowledged": Rhythm(((0.3, 0.3), (0.3, 1.6))),
    "fault": Rhythm(((0.1, 0.2), (0.1, 0.2), (0.1, 1.3))),
    "disarmed": Rhythm(((1.0, 9.0),)),
    # A guardian asks for what only the wearer's press lets through: long, short, long, short.
    "asked": Rhythm(((0.6, 0.2), (0.1, 0.6))),
}
MOTOR: Final[dict[Pattern, Rhythm]] = {
    "pre_alert": Rhythm(((0.2, 0.2), (0.2, 1.4))),
    "acknowledged": Rhythm(((1.0, 0.0),), repeats=False),
    "fault": Rhythm(((0.5, 0.3), (0.5, 298.7))),
    "asked": Rhythm(((0.1, 0.1), (0.1, 0.1), (0.1, 0.0)), repeats=False),
}
CANCELLED: Final = Rhythm(((0.1, 0.0),), repeats=False)
IN_DANGER: Final = ("pre_alert", "undelivered", "alert", "received", "acknowledged")


def pattern_of(
    looks: Mode, *, delivered: bool = False, received: bool = False, fault: bool = False, asked: bool = False
) -> Pattern:
    """Return the pattern for the alarm's look; the wearer's alarm outranks a question, and that a fault."""
    if looks == "pre_alert":
        return "pre_alert"
    if looks == "alert":
        return "received" if received else "alert" if delivered else "undelivered"
    if looks == "acknowledged":
        return "acknowledged"
    if asked:
        return "asked"
    if fault:
        return "fault"
    return "disarmed" if looks == "disarmed" else "ready"
