"""The outbox's database: one SQLite file (WAL, synchronous=FULL) with what waits, and a few notes.

Only `shelf.py` uses it. Every method may raise sqlite3.Error; once `commit` returns, its rows are on disk.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from device import events
from device.errors import BadDataError
from device.pending.waiting import Waiting

SCHEMA_VERSION: Final = 1
BUSY_TIMEOUT_S: Final = 1.0
# Notes a scope keeps (ids of commands seen); a replay of an older one fails by its `at`.
NOTES_KEPT: Final = 1000
SCHEMA: Final = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE notes (scope TEXT, token TEXT, value REAL NOT NULL, PRIMARY KEY (scope, token))",
    "CREATE TABLE waiting (number INTEGER PRIMARY KEY, topic TEXT NOT NULL, event BLOB NOT NULL,"
    " boot TEXT NOT NULL, heard REAL NOT NULL, due REAL NOT NULL, due_boot TEXT NOT NULL,"
    " seq INTEGER NOT NULL, epoch TEXT NOT NULL, sent INTEGER NOT NULL,"
    " first_repeat INTEGER NOT NULL, ended INTEGER NOT NULL)",
    f"PRAGMA user_version={SCHEMA_VERSION}",
)
DAMAGED_KEPT: Final = 3
# SQLite's words for a disk or a lock that is to blame, not the file's content.
DISK_AT_FAULT: Final = (
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_READONLY",
    "SQLITE_CANTOPEN",
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_PERM",
    "SQLITE_AUTH",
    "SQLITE_NOMEM",
)


class DamagedError(sqlite3.DatabaseError):
    """The file opens, but its content is not an outbox of this version."""


class Ledger:
    """The file. Opening it checks its integrity; `is_damaged` tells what a failure means."""

    def __init__(self, path: Path) -> None:
        fresh = not path.exists()
        self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            self._open()
            if fresh:
                _sync_directory(path.parent)
            self.epoch, self.seq = self._count()
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        run = self._db.execute
        # One owner: a second process is refused, and a full disk needs no room for a shared index to be read.
        run("PRAGMA locking_mode=EXCLUSIVE")
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        # What `forget` erases must not linger in free pages.
        run("PRAGMA secure_delete=ON")
        found = run("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise DamagedError(found)
        version = run("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise DamagedError(f"schema {version}; this version reads {SCHEMA_VERSION}")
        if version == 0:
            self._create()

    def _create(self) -> None:
        facts = {"epoch": events.new_id(), "seq": "0"}
        with self._transaction():
            for statement in SCHEMA:
                self._db.execute(statement)
            self._db.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())

    def rows(self) -> list[Waiting]:
        """What waits, oldest first. A row whose event can't be read is erased."""
        rows: list[Waiting] = []
        for values in self._db.execute("SELECT * FROM waiting ORDER BY number").fetchall():
            number, topic, encoded, boot, heard, due, due_boot, seq, epoch, sent, repeat, ended = values
            try:
                event = events.decode_event(encoded)
            except BadDataError:
                self.commit([], [number])
                continue
            row = Waiting(
                number=number, topic=topic, event=event, boot=boot, heard=heard, due=due, due_boot=due_boot,
                seq=seq, epoch=epoch, sent=sent, first_repeat=repeat, ended=bool(ended),
                size_bytes=len(encoded),
            )  # fmt: skip
            rows.append(row)
        return rows

    def notes(self) -> dict[tuple[str, str], float]:
        """All notes, (scope, token) to value, oldest first."""
        found = self._db.execute("SELECT scope, token, value FROM notes ORDER BY rowid")
        return {(scope, token): value for scope, token, value in found}

    def commit(
        self, write: Iterable[Waiting], delete: Iterable[int] = (), facts: Mapping[str, str] | None = None
    ) -> None:
        """Write and erase rows and keep facts, in one transaction; the count of seq goes with this epoch's rows."""
        write = list(write)
        seq = max((row.seq for row in write if row.epoch == self.epoch), default=0)
        kept = dict(facts or {})
        if seq > self.seq:
            kept["seq"] = str(seq)
        with self._transaction():
            self._db.executemany("DELETE FROM waiting WHERE number = ?", ((number,) for number in delete))
            self._db.executemany(
                "INSERT OR REPLACE INTO waiting VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                map(_values, write),
            )
            self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", kept.items())
        self.seq = max(self.seq, seq)

    def note(self, scope: str, token: str, value: float) -> None:
        """Keep one note, and of all of them the last NOTES_KEPT."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (scope, token, value))
            self._db.execute("DELETE FROM notes WHERE rowid <= (SELECT max(rowid) FROM notes) - ?", (NOTES_KEPT,))

    def facts(self) -> dict[str, str]:
        """All facts by name."""
        return dict(self._db.execute("SELECT name, value FROM facts"))

    def erase_traces(self) -> None:
        """Rewrite the file and empty its WAL, so that nothing erased can be read from either."""
        self._db.execute("VACUUM")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _count(self) -> tuple[str, int]:
        facts = self.facts()
        if not {"epoch", "seq"} <= facts.keys():
            raise DamagedError("its epoch is missing")
        return facts["epoch"], int(facts["seq"])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            # A failed commit leaves the transaction open; some errors have rolled it back already.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def _values(row: Waiting) -> tuple[object, ...]:
    return (
        row.number, row.topic, events.encode(row.event), row.boot, row.heard, row.due, row.due_boot,
        row.seq, row.epoch, row.sent, row.first_repeat, row.ended,
    )  # fmt: skip


def is_damaged(error: sqlite3.Error) -> bool:
    """Whether the file's content is to blame, so that it has to be set aside, and not the disk."""
    name = getattr(error, "sqlite_errorname", None) or ""
    return isinstance(error, sqlite3.DatabaseError) and not name.startswith(DISK_AT_FAULT)


def put_aside(path: Path) -> Path:
    """Move a damaged database out of the way, its WAL with it; return where it lies now.

    A dying card damages file after file: only the newest DAMAGED_KEPT stay.
    """
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns() // 1_000_000}")
    for suffix in ("", "-wal", "-shm"):
        damaged = path.with_name(path.name + suffix)
        if damaged.exists():
            damaged.rename(aside.with_name(aside.name + suffix))
    erase_put_aside(path, keep=DAMAGED_KEPT)
    _sync_directory(path.parent)
    return aside


def erase_put_aside(path: Path, keep: int = 0) -> None:
    """Erase what `put_aside` has moved away, but for the newest `keep`."""
    for part in ("", "-wal", "-shm"):
        for old in sorted(path.parent.glob(f"{path.name}.damaged-*[0-9]{part}"))[: -keep or None]:
            old.unlink()


def _sync_directory(directory: Path) -> None:
    """A new file's name lies in its directory, which has to reach the disk as well."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
