"""LED, button, buzzer or motor: what the wearer sees and feels, and what the wearer says without speaking.

The patterns are a table, the counting of presses is pure; the rest is gpiozero over lgpio, else over RPi.GPIO,
else over simulated pins, said so on the log. A part that can't be had is logged and left out; the others work on.
Callbacks run in a thread of the panel or of gpiozero: let them only put something into a queue.
"""

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from device.events import Mode
from device.settings.sections import PanelSection

logger = logging.getLogger(__name__)

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
PRESS_GAP_S: Final = 0.4  # another press within this belongs to the same row of presses
BOUNCE_S: Final = 0.02
CLOSE_S: Final = 1.0


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
_IN_DANGER: Final = ("pre_alert", "undelivered", "alert", "received", "acknowledged")


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


class PressCounter:
    """Turns the button's edges into rows of short presses; a held one ends the row and counts for nothing."""

    def __init__(self) -> None:
        self._count = 0
        self._down = False
        self._held = False
        self._ends_s: float | None = None

    def pressed(self) -> None:
        """The button went down."""
        self._down, self._held, self._ends_s = True, False, None

    def held(self) -> None:
        """It has been down for as long as an SOS takes."""
        self._held, self._count = True, 0

    def released(self, t_s: float) -> None:
        """The button came up at `t_s`."""
        if self._down and not self._held:
            self._count += 1
            self._ends_s = t_s + PRESS_GAP_S
        self._down = False

    @property
    def ends_s(self) -> float | None:
        """When the row ends unless another press comes."""
        return self._ends_s

    def take(self, t_s: float) -> int:
        """Return the number of presses in a row that ended by `t_s`, once; 0 where none did."""
        if self._ends_s is None or t_s < self._ends_s:
            return 0
        count, self._count, self._ends_s = self._count, 0, None
        return count


class Panel:
    """Shows one pattern at a time, and calls back for presses. Close it to release the pins."""

    def __init__(
        self,
        section: PanelSection,
        on_press: Callable[[int], None] = lambda _count: None,
        on_hold: Callable[[], None] = lambda: None,
        on_touch: Callable[[], None] = lambda: None,
    ) -> None:
        self.simulated = False
        self._owns_factory = False
        self.problems: list[str] = []
        self._on_press, self._on_hold, self._on_touch = on_press, on_hold, on_touch
        self._discreet = section.discreet
        self._counter = PressCounter()
        self._changed = threading.Condition()
        self._pattern: Pattern | None = None
        self._since_s = 0.0
        self._motor: Rhythm | None = None
        self._closing = False
        import gpiozero

        factory = self._factory = self._pin_factory()

        self._led = self._part("LED", section.led, lambda pin: gpiozero.LED(pin, pin_factory=factory))
        self._buzzer = self._part("buzzer", section.buzzer, lambda pin: gpiozero.Buzzer(pin, pin_factory=factory))
        self._button = self._part(
            "button", section.button, lambda pin: self._button_on(pin, section.sos_hold_s, factory)
        )
        self._thread = threading.Thread(target=self._play, name="panel", daemon=True)
        self._thread.start()

    @property
    def has_button(self) -> bool:
        """Whether there is a button that a wearer can press."""
        return self._button is not None and not self.simulated

    @property
    def alive(self) -> bool:
        """Whether the panel still plays; the supervisor asks."""
        return self._thread.is_alive()

    def show(self, pattern: Pattern) -> None:
        """Show this pattern from now on; showing it again changes nothing."""
        with self._changed:
            before = self._pattern
            if pattern == before:
                return
            self._pattern, self._since_s = pattern, time.monotonic()
            over = before in _IN_DANGER and pattern not in _IN_DANGER
            self._motor = MOTOR.get(pattern, CANCELLED if over else None)
            self._changed.notify()
        if self.simulated:
            logger.info("LED (simulated) shows: %s", pattern)

    def close(self) -> None:
        """Dark, still, and all pins released."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_S)
        for output in (self._led, self._buzzer):
            if output is not None:
                output.off()  # a closed pin may keep its level
        for part in (self._button, self._led, self._buzzer):
            if part is not None:
                part.close()
        if self._owns_factory:
            self._factory.close()

    def _play(self) -> None:
        """Switch LED and motor when their rhythm says so, and end rows of presses. The panel's own thread."""
        while True:
            with self._changed:
                if self._closing:
                    return
                now_s = time.monotonic()
                count = self._counter.take(now_s)
                waits = [self._switched(now_s)]
                if self._counter.ends_s is not None:
                    waits.append(self._counter.ends_s - now_s)
                if not count:
                    self._changed.wait(min((wait for wait in waits if wait is not None), default=None))
            if count:
                self._on_press(count)

    def _switched(self, now_s: float) -> float | None:
        """Set LED and motor as they must be now; return the seconds to the next change."""
        elapsed_s = now_s - self._since_s
        waits = []
        led = LED[self._pattern] if self._pattern and not self._discreet else None
        for part, rhythm in ((self._led, led), (self._buzzer, self._motor)):
            is_on, wait_s = rhythm.at(elapsed_s) if rhythm else (False, None)
            if part is not None and part.is_active != is_on:
                part.on() if is_on else part.off()
            if wait_s is not None:
                waits.append(wait_s)
        return min(waits, default=None)

    def _pressed(self) -> None:
        with self._changed:
            self._counter.pressed()
        self._on_touch()

    def _held(self) -> None:
        with self._changed:
            self._counter.held()
        self._on_hold()

    def _released(self) -> None:
        with self._changed:
            self._counter.released(time.monotonic())
            self._changed.notify()

    def _button_on(self, pin: int, hold_s: float, factory: Any) -> Any:
        import gpiozero

        button = gpiozero.Button(pin, pull_up=True, bounce_time=BOUNCE_S, hold_time=hold_s, pin_factory=factory)
        if button.is_pressed:
            # gpiozero heeds edges only, so this is no SOS; but the next true press would not be seen either.
            self._complain(f"the button on GPIO{pin} reads pressed at the start: release it, or check its wiring")
        button.when_pressed, button.when_held, button.when_released = (
            self._pressed,
            self._held,
            self._released,
        )
        return button

    def _part(self, name: str, pin: int, made: Callable[[int], Any]) -> Any:
        if pin < 0:
            return None
        try:
            return made(pin)
        except Exception as error:  # noqa: BLE001 - lgpio, RPi.GPIO and gpiozero each have their own kinds
            self._complain(f"no {name} on GPIO{pin}: {error}")
            return None

    def _complain(self, problem: str) -> None:
        self.problems.append(problem)
        logger.error("%s; the rest of the panel works on", problem)

    def _pin_factory(self) -> Any:
        """Return gpiozero's own choice where one is set, else lgpio's, RPi.GPIO's, or simulated pins."""
        from gpiozero import Device
        from gpiozero.pins.mock import MockFactory

        if Device.pin_factory is not None:
            return Device.pin_factory
        self._owns_factory = True
        reasons = []
        if not os.access(".", os.W_OK):
            # lgpio makes a pipe in its working directory at import and dies where it can't.
            os.environ.setdefault("LG_WD", tempfile.gettempdir())
        for name, made in _factories():
            try:
                factory = made()
            except Exception as error:  # noqa: BLE001 - as above
                reasons.append(f"{name}: {error}")
                continue
            self.simulated = isinstance(factory, MockFactory)
            logger.info("GPIO over %s", name)
            return factory
        self.simulated = True
        logger.warning("no GPIO here, so LED, button and buzzer are simulated (%s)", "; ".join(reasons))
        return MockFactory()


def _factories() -> list[tuple[str, Callable[[], Any]]]:
    wanted = os.environ.get("GPIOZERO_PIN_FACTORY")
    if wanted:
        from gpiozero import Device

        return [(wanted, Device._default_pin_factory)]
    return [("lgpio", _lgpio), ("RPi.GPIO", _rpigpio)]


def _lgpio() -> Any:
    from gpiozero.pins.lgpio import LGPIOFactory

    return LGPIOFactory()


def _rpigpio() -> Any:
    from gpiozero.pins.rpigpio import RPiGPIOFactory

    return RPiGPIOFactory()
