"""Is it sound at all? Checks of the samples themselves, for what no library reports; pure.

A microphone that is dead, muted or covered delivers chunk after chunk in time. What betrays it is the signal.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from device.audio import SAMPLE_RATE, Chunk

Flaw = Literal["zeros", "frozen", "dc", "clipping", "muted"]

_SILENCE_DBFS = -96.0
_FULL_SCALE = 32_700  # some converters stop a little short of 32767
_REPEAT_SAMPLES = 64  # 4 ms that occur again exactly can't be chance, unless they are constant
_HISTORY_SAMPLES = SAMPLE_RATE  # a buffer that goes round is rarely longer than a second


@dataclass(frozen=True, slots=True)
class SoundnessParameters:
    """When samples are no sound; times in seconds of sound."""

    clipped_share: float = 0.01
    """A chunk with more of its samples at full scale is clipped; a scream may do that for a moment."""
    clipping_window_s: float = 10.0
    clipping_share: float = 0.5
    """More than this of the window in clipped chunks: the gain is wrong, or the hardware."""
    muted_below_floor_db: float = 20.0
    """The loudest chunk of the window is this far under the microphone's own floor: muted or covered."""
    muted_window_s: float = 10.0
    floor_learn_s: float = 60.0
    """No floor is known before this much sound."""
    floor_rise_db_per_min: float = 0.1
    """So slow that the floor is the quietest place of the last hours: the sound of the microphone itself."""
    floor_fall_db_per_min: float = 3.0
    floor_fall_muted_db_per_min: float = 0.2
    """A muted microphone shall not soon be taken for a quiet room."""


class Soundness:
    """Looks at every chunk; `flaws` gives what is wrong and for how many seconds of sound it has been."""

    def __init__(self, parameters: SoundnessParameters | None = None) -> None:
        self._parameters = parameters or SoundnessParameters()
        self.floor_dbfs: float | None = None
        """The microphone's own long-term floor; None until it is known. Survives `restart`."""
        self.level_dbfs: float | None = None
        """Level of the last chunk, without its constant part."""
        self._learnt_s = 0.0
        self.restart()

    def restart(self) -> None:
        """A new stream of the same microphone: forget the samples, keep the long-term floor."""
        self._lasted_s: dict[Flaw, float] = {}
        self._history = np.zeros(0, np.int16)
        self._clipped = _Window(self._parameters.clipping_window_s)
        self._levels = _Window(self._parameters.muted_window_s)

    def push(self, chunk: Chunk) -> dict[Flaw, float]:
        """Look at a chunk; give the flaws that it ends in, each with the seconds it has lasted."""
        samples = chunk.samples
        if not len(samples):
            return dict(self._lasted_s)
        lowest, highest = int(samples.min()), int(samples.max())
        found = self._found_in_form(samples, lowest, highest)
        self.level_dbfs = _level_dbfs(samples)
        if self._is_clipping(samples, max(-lowest, highest), chunk.seconds):
            found.add("clipping")
        if not found and self._is_muted(self.level_dbfs, chunk.seconds):
            found.add("muted")
        self._lasted_s = {flaw: self._lasted_s.get(flaw, 0.0) + chunk.seconds for flaw in found}
        return dict(self._lasted_s)

    def _found_in_form(self, samples: NDArray[np.int16], lowest: int, highest: int) -> set[Flaw]:
        """Zeros, a constant, or a copy of what came before."""
        before, self._history = self._history, np.concatenate([self._history, samples])[-_HISTORY_SAMPLES:]
        if lowest == highest:
            return {"zeros"} if lowest == 0 else {"dc"}
        if highest - lowest <= 2:
            # Only the last bit moves: away from zero that is no air, at zero it may be a very quiet room.
            return {"dc"} if lowest > 2 or highest < -2 else set()
        return {"frozen"} if _repeats(before, samples) else set()

    def _is_clipping(self, samples: NDArray[np.int16], peak: int, seconds: float) -> bool:
        clipped = False
        if peak >= _FULL_SCALE:
            at_full_scale = np.count_nonzero((samples >= _FULL_SCALE) | (samples <= -_FULL_SCALE))
            clipped = bool(at_full_scale > self._parameters.clipped_share * len(samples))
        self._clipped.push(seconds, float(clipped))
        return self._clipped.full and self._clipped.mean() > self._parameters.clipping_share

    def _is_muted(self, level_dbfs: float, seconds: float) -> bool:
        """Compare the loudest of the last seconds with the floor, and let the floor follow."""
        known = self._parameters
        self._levels.push(seconds, level_dbfs)
        self._learnt_s += seconds
        if not self._levels.full:
            return False
        quiet = self._levels.lowest()
        if self.floor_dbfs is None:
            if self._learnt_s >= known.floor_learn_s:
                self.floor_dbfs = quiet
            return False
        muted = self._levels.highest() < self.floor_dbfs - known.muted_below_floor_db
        fall = known.floor_fall_muted_db_per_min if muted else known.floor_fall_db_per_min
        step_min = seconds / 60
        change = quiet - self.floor_dbfs
        self.floor_dbfs += min(max(change, -fall * step_min), known.floor_rise_db_per_min * step_min)
        return muted


class _Window:
    """The values of the last seconds."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._entries: deque[tuple[float, float]] = deque()
        self._total_s = 0.0
        self._weighted = 0.0

    @property
    def full(self) -> bool:
        return self._total_s >= self._keep_s * 0.99

    def push(self, seconds: float, value: float) -> None:
        self._entries.append((seconds, value))
        self._total_s += seconds
        self._weighted += seconds * value
        while self._total_s - self._entries[0][0] >= self._keep_s * 0.999:
            gone_s, gone = self._entries.popleft()
            self._total_s -= gone_s
            self._weighted -= gone_s * gone

    def mean(self) -> float:
        return self._weighted / self._total_s

    def lowest(self) -> float:
        return min(value for _, value in self._entries)

    def highest(self) -> float:
        return max(value for _, value in self._entries)


def _repeats(before: NDArray[np.int16], samples: NDArray[np.int16]) -> bool:
    """Whether samples are an exact copy of a stretch of the second before: a buffer that nobody fills."""
    key = samples[:_REPEAT_SAMPLES]
    if len(before) < len(samples) or int(key.max()) - int(key.min()) <= 2:
        return False
    both = np.concatenate([before, samples])
    haystack, needle = both.tobytes(), key.tobytes()
    start = 0
    while (found := haystack.find(needle, start)) < 2 * len(before):
        if found % 2 == 0:
            return bool(np.array_equal(both[found // 2 : found // 2 + len(samples)], samples))
        start = found + 1
    return False


def _level_dbfs(samples: NDArray[np.int16]) -> float:
    """Level without the constant part."""
    sound = samples.astype(np.float64)
    power = float(sound @ sound) / len(sound) - float(sound.mean()) ** 2
    return 10 * math.log10(max(power / 32_768**2, 10 ** (_SILENCE_DBFS / 10)))
