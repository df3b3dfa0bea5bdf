"""What must be told, kept in SQLite until the broker has it, and an alert until somebody has it.

An event is committed to disk (WAL, synchronous=FULL) before anything is sent. Rows leave in the order in
which they came. A row ends with the PUBACK's successful reason code; the row of an `alert` or `sos` stays
past it and is sent again on the schedule, the same id with `repeat` counted, until a receipt, its end, or the
cap. A disk that takes no more is reported (`problem`): what comes then goes out from memory all the same.

Every method may be called from any thread. Times are monotonic seconds of this boot.
"""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal

import msgspec

from device import events
from device.config import Config
from device.events import Event
from device.pending.rules import RepeatRules, ended, in_excess
from device.pending.shelf import Shelf
from device.pending.waiting import REPEATED_KINDS, Row, Waiting

log = logging.getLogger(__name__)

FILE_NAME: Final = "outbox.sqlite"
# What ends the repeats of the alert that bears the same id.
ENDING_KINDS: Final = frozenset({"acknowledged", "cancelled", "cleared"})
MAXIMUM_BYTES: Final = 16 << 20
# What the broker refused is tried again after this, so that it does not spin.
REFUSED_RETRY_S: Final = 5.0
# Topic name, size, payload: here the message is to blame, and others of its topic need not wait for it.
ITS_OWN_FAULT: Final = frozenset({144, 149, 153})
# PUBACK reason codes from here on are errors (MQTT 5, 2.4); 0 and 16 (nobody subscribed) are not.
FIRST_ERROR_REASON: Final = 128
GUARDIAN_ANSWERED: Final = "guardian_answered"
LATEST_ALERT: Final = "latest_alert"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Outbox:
    """The queue between the alarm and the broker. `path` None keeps it in memory, and says so."""

    def __init__(
        self,
        path: Path | None,
        rules: RepeatRules | None = None,
        *,
        maximum_bytes: int = MAXIMUM_BYTES,
        clock: Callable[[], float] = time.monotonic,
        boot_id: str | None = None,
    ) -> None:
        self.dropped = 0
        self._rules = rules or RepeatRules()
        self._maximum_bytes = maximum_bytes
        self._clock = clock
        self._boot_id = boot_id or _boot_id()
        self._lock = threading.RLock()
        self._shelf = Shelf(path, self._boot_id, clock)
        # Topics that the broker refuses -> until when they wait, as a whole: so their order stays.
        self._held: dict[str, float] = {}

    @property
    def problem(self) -> str | None:
        """Why it can't be written, in words; None when it can."""
        return self._shelf.problem

    @property
    def set_aside(self) -> Path | None:
        """Where a damaged file lies now, None when there was none."""
        return self._shelf.set_aside

    @property
    def place(self) -> Literal["disk", "memory"]:
        """Where it is kept; in `memory` what waits would not survive a crash. For State."""
        return "disk" if self._shelf.problem is None else "memory"

    @property
    def depth(self) -> int:
        """How many events the broker does not have yet."""
        with self._lock:
            return sum(row.sent == 0 for row in self._shelf.rows.values())

    @property
    def alert_waits(self) -> bool:
        """Whether the broker lacks an alert, or what became of one."""
        with self._lock:
            return any(row.topic == "alert" and row.sent == 0 for row in self._shelf.rows.values())

    @property
    def waiting(self) -> int:
        """How many alerts the broker has and nobody has confirmed yet."""
        with self._lock:
            return sum(row.sent > 0 for row in self._shelf.rows.values())

    def add(self, event: Event, topic: str, now: float | None = None) -> int:
        """Commit an event for `topic` (`alert` or `event`); return its seq, 0 for what has none.

        An alert whose id still waits gets no second row: it becomes due again, with the next `repeat`.
        """
        now = self._clock() if now is None else now
        with self._lock:
            if event.kind in REPEATED_KINDS and (standing := self._standing(event.id)):
                first = max(standing.first_repeat, event.repeat - standing.sent)
                due = min(standing.due, now)
                self._shelf.write([msgspec.structs.replace(standing, first_repeat=first, due=due)])
                return standing.seq
            return self._insert(event, topic, now)

    def due(self, now: float | None = None, limit: int = 20) -> list[Row]:
        """Return what is to be sent now: first what was never told, oldest first, then repeats."""
        now = self._clock() if now is None else now
        with self._lock:
            rows = [row for row in self._shelf.rows.values() if self._due_at(row) <= now]
            untold = (row for row in rows if row.sent == 0)
            told = (row for row in rows if row.sent > 0)
            ready = list(itertools.islice(itertools.chain(untold, told), limit))
            expired = [row for row in ready if row.expired(now, self._boot_id)]
            if expired:
                self._shelf.write([], expired)
                return self.due(now, limit)
            return [row.rendered(now, self._boot_id) for row in ready]

    def next_due(self) -> float | None:
        """Return when something is to be sent (monotonic; in the past: at once), None when nothing waits."""
        with self._lock:
            return min(map(self._due_at, self._shelf.rows.values()), default=None)

    def done(self, sending: Row, reason: int = 0, now: float | None = None) -> bool:
        """Note the PUBACK of a sending; False when its reason code (128 and up) says that it was refused."""
        return bool(self.settle([(sending, reason)], now))

    def settle(self, pubacks: Iterable[tuple[Row, int]], now: float | None = None) -> list[Row]:
        """Note several PUBACKs (sending, reason code) in one write to the disk; return the sendings accepted."""
        now = self._clock() if now is None else now
        accepted: list[Row] = []
        changed: list[Waiting] = []
        finished: list[Waiting] = []
        with self._lock:
            answered = GUARDIAN_ANSWERED in self._shelf.facts
            for sending, reason in pubacks:
                if reason < FIRST_ERROR_REASON:
                    accepted.append(sending)
                row = self._shelf.rows.get(sending.number)
                if row is None or (row.id, row.event.kind) != (sending.id, sending.kind):
                    continue
                if reason >= FIRST_ERROR_REASON:
                    self._refused(row, reason, now)
                    continue
                self._held.pop(row.topic, None)
                wait_s = self._rules.next_repeat_s(row, guardian_answered=answered)
                if wait_s is None:
                    finished.append(row)
                else:
                    changed.append(msgspec.structs.replace(row, sent=row.sent + 1, due=now + wait_s))
            self._shelf.write(changed, finished)
        return accepted

    def receipt(self, event_id: str, *, by_client: bool = True) -> bool:
        """Somebody has the alert: end its repeats. True when it was waiting.

        `by_client`: a guardian's client answered by itself, so from now on alerts are repeated for a day.
        """
        with self._lock:
            waiting = self._alerts(event_id)
            self._shelf.write([], waiting, {GUARDIAN_ANSWERED: "yes"} if by_client else None)
            return bool(waiting)

    def end(self, event_id: str) -> None:
        """The alert is over (cancelled, acknowledged, cleared): no more repeats, but it is told once."""
        with self._lock:
            self._shelf.write(*ended(self._alerts(event_id)))

    def latest_alert(self) -> str | None:
        """Return the id of the alert that was told last and is not over, also after its receipt."""
        with self._lock:
            return self._shelf.facts.get(LATEST_ALERT) or None

    def status(self, event_id: str) -> Literal["queued", "sent", "over"]:
        """Tell whether the broker has an alert yet (`sent`); `over`: received, ended or capped."""
        with self._lock:
            standing = self._standing(event_id)
            if standing is None:
                return "over"
            return "sent" if standing.sent else "queued"

    def first_use(self, scope: str, token: str) -> bool:
        """Note a token (a command's id), across restarts; False when it was noted before."""
        with self._lock:
            if (scope, token) in self._shelf.notes:
                return False
            self._shelf.note(scope, token, 0.0)
            return True

    def rises(self, scope: str, value: float) -> bool:
        """Note a scope's highest value (a key's last `at`), across restarts; False when it does not rise."""
        with self._lock:
            if value <= self._shelf.notes.get((scope, ""), float("-inf")):
                return False
            self._shelf.note(scope, "", value)
            return True

    def keep(self, name: str, text: str) -> None:
        """Keep a short text across restarts (the standing alert, the last proven test)."""
        with self._lock:
            self._shelf.write([], [], {f"kept {name}": text})

    def kept(self, name: str) -> str | None:
        """Return what was kept under that name, None when nothing was."""
        with self._lock:
            return self._shelf.facts.get(f"kept {name}")

    def retry(self) -> None:
        """Try again to write what the disk did not take: it may have room by now."""
        with self._lock:
            self._shelf.retry()

    def forget(self) -> int:
        """Erase all but the alerts that were not delivered yet; return how many of those stay."""
        with self._lock:
            rows = list(self._shelf.rows.values())
            self._shelf.write([], [row for row in rows if row.topic != "alert" or row.sent > 0])
            self._shelf.erase_traces()
            return len(self._shelf.rows)

    def close(self) -> None:
        """Close the file; what waits stays in it."""
        with self._lock:
            self._shelf.close()

    def _refused(self, row: Waiting, reason: int, now: float) -> None:
        if reason in ITS_OWN_FAULT:
            self._shelf.postpone(row, now + REFUSED_RETRY_S)
        else:
            self._held[row.topic] = now + REFUSED_RETRY_S

    def _due_at(self, row: Waiting) -> float:
        return max(row.due, self._held.get(row.topic, row.due))

    def _alerts(self, event_id: str | None = None) -> list[Waiting]:
        rows = self._shelf.rows.values()
        return [row for row in rows if row.is_repeated and event_id in (None, row.id)]

    def _standing(self, event_id: str) -> Waiting | None:
        return next(iter(self._alerts(event_id)), None)

    def _insert(self, event: Event, topic: str, now: float) -> int:
        size_bytes = len(events.encode(event))
        row = Waiting(
            number=self._shelf.next_number(),
            topic=topic,
            event=event,
            boot=self._boot_id,
            heard=now,
            due=now,
            due_boot=self._boot_id,
            first_repeat=event.repeat,
            size_bytes=size_bytes,
        )
        excess_bytes = self._shelf.size_bytes + size_bytes - self._maximum_bytes
        dropped = in_excess(self._shelf.rows.values(), excess_bytes)
        if dropped:
            self.dropped += len(dropped)
            log.warning("The outbox is full: dropped %d old events (%d in sum)", len(dropped), self.dropped)
        if topic != "alert":
            self._shelf.write([row], dropped)
            return 0
        # A new alert takes the place of older ones; what became of one ends its own repeats.
        over = self._alerts() if row.is_repeated else []
        facts = {LATEST_ALERT: event.id} if row.is_repeated else {}
        if event.kind in ENDING_KINDS:
            over = self._alerts(event.id)
            if event.kind != "acknowledged" and event.id == self.latest_alert():
                facts = {LATEST_ALERT: ""}
        untold, told = ended(over)
        return self._shelf.insert_counted(row, untold, dropped + told, facts)


def from_config(config: Config) -> Outbox:
    """Return the outbox of the state directory, with the configuration's rules."""
    return Outbox(
        Path(config.device.state_directory) / FILE_NAME,
        RepeatRules(without_receipts=config.mqtt.repeats_without_receipts),
        maximum_bytes=config.mqtt.outbox_most_mb << 20,
    )


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return events.new_id()  # then nothing is known of earlier clocks
