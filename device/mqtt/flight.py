"""The publications whose PUBACK has not come: what is in the air between this device and the broker."""

import time
from typing import Final

from device.pending.waiting import Row

MOST: Final = 20
# A publication whose PUBACK does not come for so long means that the link is dead, keepalive or not.
PUBACK_TIMEOUT_S: Final = 10.0


class Flight:
    """One link's publications by their number in it, and the PUBACKs that were not noted yet."""

    def __init__(self) -> None:
        self._up: dict[int, tuple[str, Row | None, float]] = {}
        self._pubacks: list[tuple[Row, int]] = []

    def __bool__(self) -> bool:
        return bool(self._up)

    @property
    def rows(self) -> set[int]:
        """The outbox's numbers of the rows that are under way."""
        return {row.number for _, row, _ in self._up.values() if row is not None}

    def clear(self) -> None:
        """A new link: its numbers begin anew."""
        self._up.clear()
        self._pubacks.clear()

    def sent(self, number: int, topic: str, row: Row | None) -> None:
        """Note a publication; `row` where it is one of the outbox."""
        self._up[number] = (topic, row, time.monotonic())

    def landed(self, number: int, code: int) -> str:
        """Note its PUBACK; the topic, empty for what was never noted."""
        topic, row, _ = self._up.pop(number, ("", None, 0.0))
        if row is not None:
            self._pubacks.append((row, code))
        return topic

    def take_pubacks(self) -> list[tuple[Row, int]]:
        """The rows that landed since the last call, each with its reason code."""
        pubacks, self._pubacks = self._pubacks, []
        return pubacks

    def overdue(self) -> bool:
        """Whether a PUBACK stays away for too long."""
        now = time.monotonic()
        return any(now - since > PUBACK_TIMEOUT_S for _, _, since in self._up.values())
