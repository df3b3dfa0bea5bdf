"""The only way by which sound is ever kept: the seconds before an alert, sealed for one public key (PyNaCl).

Off unless `privacy.clip_public_key` is set; the device itself can't open what it sealed.
"""

import io
import logging
import threading
import wave
from collections import deque
from pathlib import Path

from device.audio import SAMPLE_RATE, Chunk
from device.config import PrivacySection, public_key_bytes

_log = logging.getLogger(__name__)

FOLDER = "clips"
CLIPS_KEPT = 20


class Sealer:
    """Remembers the last seconds of sound in memory, and seals them into a file when an alert is raised."""

    def __init__(self, section: PrivacySection, state: Path) -> None:
        self._key = public_key_bytes(section.clip_public_key)
        self._longest_s = section.clip_s
        self._folder = state / FOLDER
        self._chunks: deque[Chunk] = deque()
        self._seconds = 0.0
        self._lock = threading.Lock()

    def push(self, chunk: Chunk) -> None:
        """Take a chunk; the oldest are forgotten."""
        with self._lock:
            self._chunks.append(chunk)
            self._seconds += chunk.seconds
            while self._seconds > self._longest_s and len(self._chunks) > 1:
                self._seconds -= self._chunks.popleft().seconds

    def seal(self, identity: str) -> Path | None:
        """Write what is remembered as an encrypted WAV file; None where there is nothing, or no room (logged)."""
        from nacl.public import PublicKey, SealedBox

        with self._lock:
            sound = b"".join(chunk.samples.tobytes() for chunk in self._chunks)
            self._chunks.clear()
            self._seconds = 0.0
        if not sound:
            return None
        wav = io.BytesIO()
        with wave.open(wav, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(sound)
        path = self._folder / f"{identity}.wav.sealed"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for old in sorted(self._folder.glob("*.sealed"), key=lambda one: one.stat().st_mtime)[: -CLIPS_KEPT + 1]:
                old.unlink()
            path.write_bytes(SealedBox(PublicKey(self._key)).encrypt(wav.getvalue()))
            path.chmod(0o600)
        except OSError as error:
            _log.error("the sealed clip %s can't be written: %s", path, error)
            return None
        return path
