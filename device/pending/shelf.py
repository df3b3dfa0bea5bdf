"""The outbox's rows: all of them in memory, and behind that the ledger on disk, written first.

The disk is read at start only. Where it takes no more, rows are held in memory, which is reported (`problem`)
and made up for as soon as it takes some again. Not safe for threads: the outbox's lock is.
"""

import logging
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from device import events
from device.pending.ledger import NOTES_KEPT, Ledger, erase_put_aside, is_damaged, put_aside
from device.pending.waiting import Waiting

log = logging.getLogger(__name__)

# After this a file that could not even be opened is tried again.
REOPEN_S: Final = 30.0


class Shelf:
    """Rows by number, oldest first, and notes. `path` None keeps them in memory, and says so."""

    def __init__(self, path: Path | None, boot_id: str, clock: Callable[[], float]) -> None:
        self.problem: str | None = None
        self.set_aside: Path | None = None
        self.rows: dict[int, Waiting] = {}
        self.size_bytes = 0
        self.notes: dict[tuple[str, str], float] = {}
        self.facts: dict[str, str] = {}
        self._path = path
        self._boot_id = boot_id
        self._clock = clock
        self._last_number = 0
        # What on disk is not as it is here, since the disk could not be written.
        self._unwritten: set[int] = set()
        self._unwritten_facts: set[str] = set()
        # A disk that can't be written can't count either: seq then runs in an epoch of its own.
        self._epoch, self._seq = events.new_id(), 0
        self._ledger: Ledger | None = None
        self._reopen_at = 0.0
        if path is None:
            self._report("it has no file")
        else:
            self._open(path)

    def next_number(self) -> int:
        """Return a number that no row has had since the start."""
        self._last_number += 1
        return self._last_number

    def insert_counted(
        self,
        row: Waiting,
        changed: list[Waiting],
        deleted: list[Waiting],
        facts: Mapping[str, str],
    ) -> int:
        """Insert an alert's row with the next seq of its epoch, in one transaction with the rest; return the seq."""
        if self._ledger is not None:
            seq, epoch = self._ledger.seq + 1, self._ledger.epoch
            if self.write([*changed, msgspec.structs.replace(row, seq=seq, epoch=epoch)], deleted, facts):
                return seq
        self._seq += 1
        self.write([msgspec.structs.replace(row, seq=self._seq, epoch=self._epoch), *changed], deleted, facts)
        return self._seq

    def write(
        self,
        changed: list[Waiting],
        deleted: list[Waiting] | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> bool:
        """Change rows and facts here and on the disk, in one transaction; False where the disk did not take it."""
        gone = {row.number for row in deleted or []}
        new_facts = {name: value for name, value in (facts or {}).items() if self.facts.get(name) != value}
        if not changed and not gone and not new_facts:
            return True
        for number in gone | {row.number for row in changed}:
            before = self.rows.pop(number, None) if number in gone else self.rows.get(number)
            self.size_bytes -= before.size_bytes if before else 0
        for row in changed:
            self.rows[row.number] = row
            self.size_bytes += row.size_bytes
        self.facts.update(new_facts)
        if self._ledger is not None:  # else opening it writes everything
            self._unwritten |= gone | {row.number for row in changed}
            self._unwritten_facts |= new_facts.keys()
        return self._attempt(self._catch_up)

    def retry(self) -> None:
        """Try again to write what the disk did not take, though nothing new came."""
        if self.problem is not None and (self._ledger is None or self._unwritten or self._unwritten_facts):
            self._attempt(self._catch_up)

    def postpone(self, row: Waiting, due: float) -> None:
        """Move a row's time in memory only: a refusal is no progress worth a write to the card."""
        self.rows[row.number] = msgspec.structs.replace(row, due=due)

    def note(self, scope: str, token: str, value: float) -> None:
        """Keep a note across restarts; of all notes the last NOTES_KEPT."""
        self.notes.pop((scope, token), None)
        self.notes[scope, token] = value
        while len(self.notes) > NOTES_KEPT:
            del self.notes[next(iter(self.notes))]
        self._attempt(lambda ledger: ledger.note(scope, token, value))

    def erase_traces(self) -> None:
        """Let nothing that was erased be readable in the file, nor in what was set aside."""
        self._attempt(lambda ledger: ledger.erase_traces())
        if self._path is not None:
            erase_put_aside(self._path)

    def close(self) -> None:
        """Close the file; what waits stays in it."""
        self._path = None
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _open(self, path: Path) -> None:
        """Open the file and take what an earlier run left; what was held in memory comes after that."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                ledger = Ledger(path)
                left, notes, facts = ledger.rows(), ledger.notes(), ledger.facts()
            except sqlite3.Error as error:
                if not is_damaged(error):
                    raise
                self.set_aside = put_aside(path)
                log.error("The outbox was damaged (%s): set aside as %s, begun anew", error, self.set_aside)  # noqa: TRY400
                ledger, left, notes, facts = Ledger(path), [], {}, {}
        except (sqlite3.Error, OSError) as error:
            self._report(str(error))
            self._reopen_at = self._clock() + REOPEN_S
            return
        self._ledger = ledger
        self._adopt(left)
        self.notes = {**notes, **self.notes}
        self._unwritten_facts = set(self.facts)
        self.facts = {**facts, **self.facts}

    def _adopt(self, left: list[Waiting]) -> None:
        # Rows that were made while the file could not be read get numbers after those that it holds.
        shift = max((row.number for row in left), default=0)
        moved = [msgspec.structs.replace(row, number=shift + row.number) for row in self.rows.values()]
        # What another boot scheduled is due now: its clock is gone.
        now = self._clock()
        scheduled = [
            row if row.due_boot == self._boot_id else msgspec.structs.replace(row, due=now, due_boot=self._boot_id)
            for row in left
        ]
        self.rows = {row.number: row for row in scheduled + moved}
        self.size_bytes = sum(row.size_bytes for row in self.rows.values())
        self._last_number = max(self._last_number, max(self.rows, default=0))
        self._unwritten = {row.number for row in moved}

    def _catch_up(self, ledger: Ledger) -> None:
        """Write every row that the disk has not got as it is here."""
        ledger.commit(
            [self.rows[number] for number in sorted(self._unwritten) if number in self.rows],
            [number for number in self._unwritten if number not in self.rows],
            {name: self.facts[name] for name in self._unwritten_facts},
        )
        self._unwritten.clear()
        self._unwritten_facts.clear()
        if self.problem is not None:
            log.warning("The outbox can be written again; what was held in memory is on disk now")
            self.problem = None

    def _attempt(self, write: Callable[[Ledger], None]) -> bool:
        """Write to the disk if it can be; False where it can't."""
        if self._ledger is None and self._path is not None and self._clock() >= self._reopen_at:
            self._open(self._path)
        if self._ledger is None:
            return False
        try:
            write(self._ledger)
        except sqlite3.Error as error:
            self._report(str(error))
            if is_damaged(error):
                self._begin_anew(error)
            return False
        return True

    def _begin_anew(self, error: sqlite3.Error) -> None:
        """Leave a file that breaks while it is in use; all that waits is in memory and goes into the next."""
        if self._ledger is None or self._path is None:
            return
        self._ledger.close()
        self._ledger = None
        try:
            self.set_aside = put_aside(self._path)
        except OSError as failed:
            log.error("The outbox %s broke (%s) and can't be set aside: %s", self._path, error, failed)  # noqa: TRY400
            self._reopen_at = self._clock() + REOPEN_S
            return
        log.error("The outbox broke (%s): set aside as %s, begun anew", error, self.set_aside)
        self._reopen_at = 0.0

    def _report(self, why: str) -> None:
        if self.problem is None:
            log.error("The outbox can't be written (%s): alerts wait in memory; a crash would lose them", why)
        self.problem = f"the outbox can't be written: {why}"
