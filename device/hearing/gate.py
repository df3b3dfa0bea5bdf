"""The silence gate: spares the network while nothing but the room's own noise is there.

It holds back only what has looked like the room's steady noise for a while, and when sound returns it hands
over the last moments it had held back as well, so that the soft beginning of a word is not lost. In doubt
it is open: what it gets wrong in one direction costs a little CPU, in the other an alert.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from device.audio import SAMPLE_RATE, Chunk

_FRAME_SAMPLES = SAMPLE_RATE // 20  # 50 ms: a syllable fills it, and steady noise is steady over it
_FOLLOW_EVERY_S = 1.0  # the floor is slow; a quantile for each chunk would cost more than the features
_FULL_SCALE_POWER = 32_768.0**2
_SILENCE_DBFS = -96.0  # below one bit of 16: digital silence

_Bands = tuple[float, float]
"""A level in dBFS as it is, and with the low tones taken down (first difference): there a soft voice stands out
from the rumble that rules the first."""


@dataclass(frozen=True, slots=True)
class GateParameters:
    """When a sound counts as the room's own noise; times in seconds of sound."""

    margin_db: float = 5.0
    """A 50 ms frame this far above the floor, in either band, opens the gate."""
    never_above_dbfs: float = -45.0
    """Sound above it is always heard, however long it stays: a steady scream must not become the floor."""
    hang_s: float = 3.0
    """Nothing must stand out for this long before the gate closes."""
    before_s: float = 1.0
    """How much of what was held back is handed over when the gate opens."""
    floor_window_s: float = 15.0
    """The floor comes from the quietest fifth of this much sound."""
    floor_rise_db_per_s: float = 0.5
    """The floor follows a louder room no faster (it falls at once); while it is learned it is free."""
    learn_s: float = 5.0
    """At the start, and after a gap, everything is heard for this long."""


class SilenceGate:
    """Decides for each chunk whether it is worth the network's while."""

    def __init__(self, parameters: GateParameters | None = None) -> None:
        self._parameters = parameters or GateParameters()
        self.heard_s = 0.0
        """Sound handed on so far."""
        self.skipped_s = 0.0
        """Sound held back for good so far."""
        self._floor: _Bands | None = None
        self._recent: deque[_Bands] = deque()
        self._recent_s = self._followed_s = 0.0
        self._held: deque[Chunk] = deque()
        self._held_s = self._known_s = self._quiet_s = 0.0
        self._open = True

    @property
    def floor_dbfs(self) -> float:
        """The room's noise as the gate knows it now; -96 before it has heard anything."""
        return self._floor[0] if self._floor is not None else _SILENCE_DBFS

    @property
    def open(self) -> bool:
        """Whether the last chunk was handed on."""
        return self._open

    def push(self, chunk: Chunk) -> list[Chunk]:
        """Take a chunk; give what shall be heard now, oldest first: nothing, it, or it and what came before.

        The first chunk after a pause has `gap` set, for the states restart there.
        """
        if chunk.gap:
            self._start_anew()
        loudest, mean = _levels_dbfs(chunk.samples)
        stands_out = self._stands_out(loudest)
        self._follow(mean, chunk.seconds)
        self._known_s += chunk.seconds
        self._quiet_s = 0.0 if stands_out else self._quiet_s + chunk.seconds
        was_open, self._open = self._open, self._quiet_s < self._parameters.hang_s
        if not self._open:
            self._hold(chunk)
            return []
        given = [*self._held, chunk]
        self._held.clear()
        self._held_s = 0.0
        if not was_open:
            given[0] = replace(given[0], gap=True)
        self.heard_s += sum(each.seconds for each in given)
        return given

    def _start_anew(self) -> None:
        """Forget the room, for the microphone may be another; what was held back lies before the gap."""
        self.skipped_s += self._held_s
        self._floor = None
        self._recent.clear()
        self._held.clear()
        self._recent_s = self._followed_s = self._held_s = self._known_s = self._quiet_s = 0.0
        self._open = True

    def _stands_out(self, loudest: _Bands) -> bool:
        """Whether a chunk whose loudest frame is this loud is more than the room's noise."""
        known = self._parameters
        if self._floor is None or self._known_s < known.learn_s or loudest[0] > known.never_above_dbfs:
            return True
        return any(level > floor + known.margin_db for level, floor in zip(loudest, self._floor, strict=True))

    def _follow(self, mean: _Bands, seconds: float) -> None:
        """Let the floor follow the quietest fifth of the last seconds."""
        self._recent.append(mean)
        self._recent_s += seconds
        while self._recent_s > self._parameters.floor_window_s and len(self._recent) > 1:
            self._recent.popleft()
            self._recent_s -= seconds
        self._followed_s += seconds
        if self._floor is not None and self._followed_s < _FOLLOW_EVERY_S:
            return
        low, high = (sorted(levels)[len(levels) // 5] for levels in zip(*self._recent, strict=True))
        if self._floor is not None and self._known_s >= self._parameters.learn_s:
            rise_db = self._parameters.floor_rise_db_per_s * self._followed_s
            low, high = min(low, self._floor[0] + rise_db), min(high, self._floor[1] + rise_db)
        self._floor = (low, high)
        self._followed_s = 0.0

    def _hold(self, chunk: Chunk) -> None:
        """Keep a chunk for as long as it may still be wanted."""
        self._held.append(chunk)
        self._held_s += chunk.seconds
        while self._held_s > self._parameters.before_s + 1e-9:
            gone = self._held.popleft()
            self._held_s -= gone.seconds
            self.skipped_s += gone.seconds


def _levels_dbfs(samples: NDArray[np.int16]) -> tuple[_Bands, _Bands]:
    """Levels of a chunk's loudest 50 ms frame and of the whole chunk."""
    if not len(samples):
        return (_SILENCE_DBFS, _SILENCE_DBFS), (_SILENCE_DBFS, _SILENCE_DBFS)
    frame = min(_FRAME_SAMPLES, len(samples))
    whole = len(samples) // frame * frame
    sound = samples[:whole].astype(np.float32)
    sound -= sound.mean()
    tilted = np.empty_like(sound)
    tilted[0] = 0.0
    np.subtract(sound[1:], sound[:-1], out=tilted[1:])
    loudest, mean = [], []
    for band in (sound, tilted):
        powers = [float(part @ part) / frame for part in band.reshape(-1, frame)]
        loudest.append(_dbfs(max(powers)))
        mean.append(_dbfs(sum(powers) / len(powers)))
    return (loudest[0], loudest[1]), (mean[0], mean[1])


def _dbfs(power: float) -> float:
    return max(_SILENCE_DBFS, 10 * math.log10(max(power, 1e-9) / _FULL_SCALE_POWER))
