"""An event on its way out: what the outbox keeps of it, and one sending of it. Pure."""

from typing import Final

import msgspec

from device import events
from device.events import Event, Kind

# Only these are repeated; what becomes of an alert (acknowledged, cancelled, cleared) is told once.
REPEATED_KINDS: Final = frozenset({"alert", "sos"})


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One sending: what goes to `<prefix>/<topic>`. `number` is what `Outbox.done` knows it by."""

    number: int
    topic: str
    id: str
    kind: Kind
    repeat: int
    payload: bytes
    expires_s: int | None


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way. `heard` is a monotonic time of the boot `boot`, `due` one of `due_boot`."""

    number: int
    topic: str
    event: Event
    boot: str
    heard: float
    due: float
    due_boot: str
    # Of `/alert` only: its place in the count of an epoch; 0 elsewhere.
    seq: int = 0
    epoch: str = ""
    # How many times the broker has taken it.
    sent: int = 0
    first_repeat: int = 0
    ended: bool = False
    size_bytes: int = 0

    @property
    def id(self) -> str:
        """The event's identity, the same through all repeats."""
        return self.event.id

    @property
    def is_repeated(self) -> bool:
        """Whether it is sent again until somebody confirms it."""
        return self.event.kind in REPEATED_KINDS

    @property
    def lasts(self) -> bool:
        """Whether it is news however late it comes."""
        return events.expiry_s(self.event.kind) is None

    def age_s(self, now: float, boot: str) -> float | None:
        """Seconds since it happened, None where that was before the last boot."""
        return max(0.0, now - self.heard) if self.boot == boot else None

    def expired(self, now: float, boot: str) -> bool:
        """Whether nobody wants to know any more."""
        expiry_s = events.expiry_s(self.event.kind)
        return expiry_s is not None and (self.age_s(now, boot) or 0.0) >= expiry_s

    def rendered(self, now: float, boot: str) -> Row:
        """The next sending, with `age_s`, `repeat`, `seq` and `epoch` filled in."""
        age_s = self.age_s(now, boot)
        expiry_s = events.expiry_s(self.event.kind)
        repeat = self.first_repeat + self.sent
        event = msgspec.structs.replace(
            self.event,
            repeat=repeat,
            age_s=None if age_s is None else round(age_s, 1),
            seq=self.seq or None,
            epoch=self.epoch or None,
        )
        return Row(
            number=self.number,
            topic=self.topic,
            id=self.id,
            kind=event.kind,
            repeat=repeat,
            payload=events.encode(event),
            expires_s=None if expiry_s is None else max(1, int(expiry_s - (age_s or 0.0))),
        )
