"""When an alert is sent again, what ends it, and what has to go when there is no more room. Pure."""

from collections.abc import Iterable
from typing import Final

import msgspec

from device.pending.waiting import Waiting

HOUR_S: Final = 3600.0
# Seconds after the first delivery: 15 s, 1, 5 and 15 minutes, then hourly for a day.
REPEAT_AT_S: Final = (15.0, 60.0, 300.0, 900.0, *(HOUR_S * hour for hour in range(1, 25)))
REPEATS_WITHOUT_RECEIPTS: Final = 3


class RepeatRules(msgspec.Struct, frozen=True, kw_only=True):
    """When an alert without a receipt is sent again: seconds after its first delivery, ascending."""

    at_s: tuple[float, ...] = REPEAT_AT_S
    # How many of them where no guardian's client has ever answered (a plain subscriber can't).
    without_receipts: int = REPEATS_WITHOUT_RECEIPTS

    def next_repeat_s(self, row: Waiting, *, guardian_answered: bool) -> float | None:
        """Seconds from this delivery to the next, None when the row is finished with it."""
        if not row.is_repeated or row.ended:
            return None
        allowed = len(self.at_s)
        if not guardian_answered:
            allowed = min(allowed, self.without_receipts)
        if row.sent >= allowed:
            return None
        return self.at_s[row.sent] - (self.at_s[row.sent - 1] if row.sent else 0.0)


def ended(alerts: list[Waiting]) -> tuple[list[Waiting], list[Waiting]]:
    """Alerts that are over: (changed) those that were never told are told once yet, (deleted) the others go."""
    untold = [msgspec.structs.replace(row, ended=True) for row in alerts if row.sent == 0]
    return untold, [row for row in alerts if row.sent > 0]


def in_excess(rows: Iterable[Waiting], excess_bytes: int) -> list[Waiting]:
    """What has to go for the bound: telemetry first, the short-lived before the rest; no unsent alert."""
    candidates = [row for row in rows if row.topic != "alert" or row.sent > 0]
    candidates.sort(key=lambda row: (row.topic == "alert", row.lasts, row.number))
    dropped: list[Waiting] = []
    for row in candidates:
        if excess_bytes <= 0:
            break
        excess_bytes -= row.size_bytes
        dropped.append(row)
    return dropped
