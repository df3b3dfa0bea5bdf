"""Where the sound card's thread hands bytes over, and where they become chunks.

`put` is all that PortAudio's callback does; `read` is the listening thread's. The queue between them is
bounded.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.audio import Chunk, Resampler

BLOCK_MS = 20  # what one callback brings
QUEUE_S = 2.0  # old sound is worth less than fresh sound: what doesn't fit drives out the oldest


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """How a device delivers: rate, width and channels travel with the bytes."""

    rate_hz: int
    bits: int
    channels: int

    def __str__(self) -> str:
        return f"{self.rate_hz} Hz, {self.bits} bit, {'mono' if self.channels == 1 else 'stereo'}"

    @property
    def frame_bytes(self) -> int:
        """How many bytes a frame has."""
        return self.bits // 8 * self.channels

    def frames(self, data: bytes) -> NDArray[np.float32]:
        """Bytes as frames (n, channels), full scale 1.0."""
        if self.bits == 16:
            samples = np.frombuffer(data, np.int16).astype(np.float32) / np.float32(32_768)
        else:
            samples = np.frombuffer(data, np.int32).astype(np.float32) / np.float32(2_147_483_648)
        return samples.reshape(-1, self.channels)


class Intake:
    """One stream's sound: bytes in from the callback's thread, chunks out to one reader."""

    def __init__(self, kind: StreamFormat, chunk_ms: int = 100) -> None:
        self._kind = kind
        self._chunk_bytes = kind.rate_hz * chunk_ms // 1000 * kind.frame_bytes
        self._bytes_a_second = kind.rate_hz * kind.frame_bytes
        self._blocks: deque[tuple[int, bytes, float]] = deque(maxlen=round(QUEUE_S * 1000 / BLOCK_MS))
        self._arrived = threading.Event()
        self._put = 0
        self._taken = 0
        self._lost_s = 0.0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._resampler = Resampler(kind.rate_hz)
        self._heard_at = self._given_at = 0.0
        self._gap = True  # nothing came before the first chunk

    def put(self, data: bytes) -> None:
        """Take what the device delivered just now; a full queue drops its oldest."""
        self._blocks.append((self._put, data, time.monotonic()))
        self._put += 1
        self._arrived.set()

    def read(self, timeout_s: float) -> Chunk | None:
        """Give the next chunk, or None when the rest of it has not come in time; what has come is kept.

        The first chunk, and the first after sound was lost, has `gap` set.
        """
        until = time.monotonic() + timeout_s
        while self._pending_bytes < self._chunk_bytes:
            self._arrived.clear()
            if self._take():
                continue
            if not self._arrived.wait(max(0.0, until - time.monotonic())):
                return None
        # Bytes become numbers once a chunk, not once a block: on a Pi Zero each of these calls counts.
        data = b"".join(self._pending)
        rest = data[self._chunk_bytes :]
        self._pending, self._pending_bytes = [rest], len(rest)
        gap, self._gap = self._gap, False
        # Blocks may come in bursts, but time never goes back.
        self._given_at = max(self._given_at, self._heard_at - len(rest) / self._bytes_a_second)
        samples = self._resampler.push(self._kind.frames(data[: self._chunk_bytes]))
        return Chunk(samples, self._given_at, gap)

    def take_lost_s(self) -> float:
        """Seconds of sound that nobody read in time since the last call."""
        lost_s, self._lost_s = self._lost_s, 0.0
        return lost_s

    def _take(self) -> bool:
        """Move one block from the queue to what is pending; False when the queue is empty."""
        try:
            number, data, arrived_at = self._blocks.popleft()
        except IndexError:
            return False
        if number != self._taken:
            # What is pending lies before the hole: no chunk may span it.
            self._lost_s += (number - self._taken) * BLOCK_MS / 1000 + self._pending_bytes / self._bytes_a_second
            self._pending.clear()
            self._pending_bytes = 0
            self._resampler = Resampler(self._kind.rate_hz)
            self._gap = True
        self._taken = number + 1
        self._pending.append(data)
        self._pending_bytes += len(data)
        self._heard_at = arrived_at
        return True
