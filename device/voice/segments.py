"""Single sounds within a stream: each begins out of the room's noise and ends in it. Pure.

What the wearer's own call is compared with. Running speech makes few of them: what goes on for longer than a
call may last is left out whole, for somebody talks there.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from device.features import FRAME_SIZE, HOP_SAMPLES, SAMPLE_RATE
from device.view import LEVEL, LEVEL_PER_DB

FRAMES_PER_S: Final = SAMPLE_RATE / HOP_SAMPLES
LEAST_FRAMES: Final = 12  # a clap rings in the window for about that long
MOST_FRAMES: Final = 250
_BEGINS_DB = 12.0  # above the room's noise
_ENDS_DB = 8.0
_BELOW_PEAK_DB = 30.0  # what lies deeper under its loudest frame is echo, not call
_QUIET_FRAMES = 25  # between two syllables there is less
_BEFORE_FRAMES = 4
_FLOOR_PIECES = 50  # of ten frames: the room is what was quietest in the last five seconds
_FLOOR_SHARE = 0.15
_QUIETEST_DB = -100.0


class Segmenter:
    """Frames in, the frames of every single sound out, once it has ended."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start anew, as after a gap."""
        self._pieces: deque[float] = deque(maxlen=_FLOOR_PIECES)
        self._floor_db = _QUIETEST_DB
        self._recent = np.zeros((0, FRAME_SIZE), np.float32)
        self._inside = self._too_long = False
        self._length = self._quiet = 0
        self._peak_db = _QUIETEST_DB

    def push(self, frames: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Take frames (n, F); the sounds (m, F) that ended within them, oldest first."""
        found = []
        for at in range(0, len(frames), 10):
            ended = self._take(frames[at : at + 10])
            if ended is not None:
                found.append(ended)
        return found

    def _take(self, frames: NDArray[np.float32]) -> NDArray[np.float32] | None:
        levels_db = np.maximum(frames[:, LEVEL] / LEVEL_PER_DB, _QUIETEST_DB)
        self._recent = np.concatenate([self._recent, frames])
        ended = None
        if not self._inside and float(levels_db.max()) <= self._floor_db + _BEGINS_DB:
            self._recent = self._recent[-_BEFORE_FRAMES - 10 :]
        else:
            ended = self._follow(levels_db)
        if not self._inside or self._too_long:
            self._pieces.append(float(levels_db.mean()))
            self._floor_db = float(np.quantile(self._pieces, _FLOOR_SHARE))
        return ended

    def _follow(self, levels_db: NDArray[np.float64]) -> NDArray[np.float32] | None:
        """Go through the newest frames one by one: a sound may begin or end at any of them."""
        ended = None
        first = len(self._recent) - len(levels_db)
        for at, level_db in enumerate(levels_db.tolist(), first):
            if not self._inside:
                if level_db > self._floor_db + _BEGINS_DB and self._pieces:
                    self._inside, self._too_long = True, False
                    self._begin = max(0, at - _BEFORE_FRAMES)
                    self._peak_db, self._quiet = level_db, 0
                continue
            self._peak_db = max(self._peak_db, level_db)
            over = level_db > max(self._floor_db + _ENDS_DB, self._peak_db - _BELOW_PEAK_DB)
            self._quiet = 0 if over else self._quiet + 1
            span = at + 1 - self._quiet - self._begin
            self._too_long = self._too_long or span > MOST_FRAMES
            if self._quiet >= _QUIET_FRAMES:
                self._inside = False
                if not self._too_long and span >= LEAST_FRAMES:
                    ended = self._recent[self._begin : self._begin + span].copy()
        if not self._inside:
            self._recent = self._recent[-_BEFORE_FRAMES - 10 :]
        elif self._too_long:
            # Only where it ends still matters, and the floor must follow a louder room.
            self._begin = 0
            self._recent = self._recent[-_QUIET_FRAMES:]
        return ended
