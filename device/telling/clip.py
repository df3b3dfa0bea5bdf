"""The sound around an alert, sealed for whoever holds a private key; the only way by which sound is ever kept.

It exists only where `privacy.clip_public_key` is set. The last seconds lie in memory; with an alert they and the
seconds that follow are sealed (X25519, PyNaCl's SealedBox) before anything touches the disk. This device can't open
what it sealed; the holder of the key does: `SealedBox(PrivateKey(key)).decrypt(file)` is a WAV file.
"""

import io
import logging
import os
import threading
import wave
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from nacl.public import PublicKey, SealedBox
from numpy.typing import NDArray

from device.audio import Chunk
from device.config import Config, public_key_bytes
from device.features import SAMPLE_RATE

log = logging.getLogger(__name__)

DIRECTORY_NAME: Final = "clips"
SUFFIX: Final = ".wav.sealed"
MOST_BYTES: Final = 64 << 20  # the oldest clip goes first


@dataclass
class _Pending:
    alert_id: str
    ends_s: float
    chunks: list[NDArray[np.int16]] = field(default_factory=list)


class ClipKeeper:
    """Remembers `seconds` of sound, and seals them with the `seconds` after an alert. For any thread."""

    def __init__(self, public_key: bytes, directory: Path, seconds: float, most_bytes: int = MOST_BYTES) -> None:
        self._box = SealedBox(PublicKey(public_key))
        self._directory = directory
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._past: deque[NDArray[np.int16]] = deque()
        self._past_samples = 0
        self._pending: list[_Pending] = []

    def heard(self, chunk: Chunk) -> None:
        """Take in a chunk of the microphone."""
        with self._lock:
            self._past.append(chunk.samples)
            self._past_samples += len(chunk.samples)
            while self._past_samples - len(self._past[0]) >= self._seconds * SAMPLE_RATE:
                self._past_samples -= len(self._past.popleft())
            for pending in self._pending:
                pending.chunks.append(chunk.samples)

    def keep(self, alert_id: str, now_s: float) -> None:
        """An alert goes out now: keep what was heard before it and what will be."""
        with self._lock:
            self._pending.append(_Pending(alert_id, now_s + self._seconds, list(self._past)))

    def tick(self, now_s: float) -> None:
        """Seal and write the clips whose time is over; call it about once a second."""
        with self._lock:
            ready = [pending for pending in self._pending if now_s >= pending.ends_s]
            self._pending = [pending for pending in self._pending if now_s < pending.ends_s]
        for pending in ready:
            self._write(pending)

    def silence(self) -> None:
        """Forget the sound in memory: the wearer has disarmed, or the service ends. Begun clips are written."""
        with self._lock:
            self._past.clear()
            self._past_samples = 0
        self.tick(float("inf"))

    def _write(self, pending: _Pending) -> None:
        if not pending.chunks:
            log.warning("no clip of alert %s: nothing was heard around it", pending.alert_id)
            return
        sealed = self._box.encrypt(_wav(np.concatenate(pending.chunks)))
        target = self._directory / f"{pending.alert_id}{SUFFIX}"
        half = target.with_suffix(".half")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room(len(sealed))
            with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(sealed)
            half.replace(target)
        except OSError as error:
            with suppress(OSError):
                half.unlink()
            log.warning("the sealed clip of alert %s can't be written: %s", pending.alert_id, error)

    def _make_room(self, wanted_bytes: int) -> None:
        clips = sorted(self._directory.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime)
        excess = sum(file.stat().st_size for file in clips) + wanted_bytes - self._most_bytes
        while excess > 0 and clips:
            oldest = clips.pop(0)
            excess -= oldest.stat().st_size
            oldest.unlink()
            log.warning("the clips are full: dropped %s", oldest.name)


def from_config(config: Config) -> ClipKeeper | None:
    """Return the keeper where a key is configured, None everywhere else: then no sound is kept at all."""
    key = config.privacy.clip_public_key
    if not key:
        return None
    directory = Path(config.device.state_directory, DIRECTORY_NAME)
    return ClipKeeper(public_key_bytes(key), directory, config.privacy.clip_s)


def _wav(samples: NDArray[np.int16]) -> bytes:
    # The standard library's: soundfile writes to memory by a callback that the sandbox forbids (no W+X memory).
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, len(samples), "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return held.getvalue()
