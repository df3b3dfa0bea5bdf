"""Which source a sound server has connected us to: it may move a stream to another one without a word.

When the microphone is unplugged, PulseAudio and PipeWire connect the stream to whatever else is there, be
it the monitor of an output, and sound goes on (`docs/hearing.md`). Only the server knows; `pactl` asks it.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
from collections.abc import Sequence

logger = logging.getLogger(__name__)

_ASK_DEADLINE_S = 3.0


def connected_source() -> str | None:
    """Name of the source that this process records from; None where no server tells.

    Takes some ten milliseconds, and up to 6 s where the server hangs: not for the listening thread.
    """
    outputs = _asked("source-outputs")
    own = str(os.getpid())
    index = next((each.get("source") for each in outputs if _property(each, "application.process.id") == own), None)
    if index is None:
        return None
    return next((str(each.get("name")) for each in _asked("sources") if each.get("index") == index), None)


class SourceWatch:
    """Notices that the stream was moved; asks in a thread of its own and never keeps anybody waiting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = False
        self._stream = 0
        self._expected: str | None = None
        self._now: str | None = None

    def stream_opened(self) -> None:
        """A new stream: what it is connected to first is taken for the microphone, unless it is a monitor."""
        with self._lock:
            self._stream += 1
            self._expected = self._now = None
        self.ask()

    def ask(self) -> None:
        """Have a look, unless one is under way."""
        with self._lock:
            if self._asking:
                return
            self._asking = True
        threading.Thread(target=self._ask, args=(self._stream,), name="source watch", daemon=True).start()

    def moved(self) -> str | None:
        """In words, where the stream has been moved to; None as long as all is well, or unknown."""
        with self._lock:
            expected, now = self._expected, self._now
        if now is None or now == expected:
            return None
        if now.endswith(".monitor"):
            return f"connected to {now}, which hears an output of this device and no microphone"
        return f"from {expected} to {now}"

    def _ask(self, stream: int) -> None:
        try:
            source = connected_source()
        finally:
            with self._lock:
                self._asking = False
        with self._lock:
            if source is None or stream != self._stream:
                return
            self._now = source
            if self._expected is None and not source.endswith(".monitor"):
                self._expected = source


def _asked(kind: str) -> Sequence[dict[str, object]]:
    """What `pactl` lists; empty where it, or the server, is not there."""
    try:
        done = subprocess.run(
            ["pactl", "--format=json", "list", kind],
            capture_output=True,
            timeout=_ASK_DEADLINE_S,
            check=True,
            env={**os.environ, "LC_ALL": "C"},
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        logger.debug("pactl list %s: %s", kind, error)
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _property(entry: dict[str, object], name: str) -> str | None:
    properties = entry.get("properties")
    return str(properties.get(name)) if isinstance(properties, dict) else None
