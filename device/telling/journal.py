"""What happened, kept on the device: one Event a line, bounded in size, erased by `outcry forget`.

The journal is for people who look back. What must reach somebody stands in the outbox.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

from device import events
from device.errors import BadDataError

_log = logging.getLogger(__name__)

MAXIMUM_BYTES = 2_000_000  # about 5,000 events a file; two files are kept


class Journal:
    """Appends Events to `journal.jsonl` in a folder; the file before it is kept as `journal.1.jsonl`."""

    def __init__(self, folder: Path, maximum_bytes: int = MAXIMUM_BYTES) -> None:
        self.path = folder / "journal.jsonl"
        self.older = folder / "journal.1.jsonl"
        self._maximum_bytes = maximum_bytes
        self._failing = False

    def append(self, event: events.Event) -> bool:
        """Write one line; False when the disk does not take it (said once on the log, never raised)."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            line = events.encode(event) + b"\n"
            if self.path.exists() and self.path.stat().st_size + len(line) > self._maximum_bytes:
                self.path.replace(self.older)
            with self.path.open("ab") as file:
                file.write(line)
        except OSError as error:
            if not self._failing:
                _log.error("the journal %s can't be written (%s); events still go out", self.path, error)
            self._failing = True
            return False
        self._failing = False
        return True

    def read(self) -> Iterator[events.Event]:
        """Give every Event that is kept, oldest first; a line cut by a power loss is left out and said."""
        for path in (self.older, self.path):
            try:
                lines = path.read_bytes().splitlines()
            except FileNotFoundError:
                continue
            for number, line in enumerate(lines, 1):
                try:
                    yield events.decode_event(line)
                except BadDataError:
                    _log.warning("%s, line %d is no whole event; left out", path, number)

    def erase(self) -> int:
        """Remove both files; the number of files that were there."""
        there = [path for path in (self.older, self.path) if path.exists()]
        for path in there:
            path.unlink()
        return len(there)
