"""What stands between the frames and the graph: the view that a manifest names, in float.

A frame of F numbers becomes V = 2 F + 1: each number shifted and scaled by constants, the level against its
window's running mean; the same again less the wearer's means; and a flag that the wearer is known (else
zeros, and 0). So the int8 graph gets one tensor whose parts have like ranges, and no running mean has to live
in an int8 state. Training uses this code too.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from device.features import FRAME_SIZE

LEVEL = 0  # the coefficient that follows the level: log energy of all bands
F0, VOICING = FRAME_SIZE - 2, FRAME_SIZE - 1
VIEW_SIZE = 2 * FRAME_SIZE + 1
# The first frames of a window have no mean to stand against; as if these many had been at their own level.
_PRIOR_FRAMES = 5.0
_LIMIT = 4.0
# One dB moves each of 40 natural log energies by ln(10) / 10, and coefficient 0 is their sum / sqrt(40).
LEVEL_PER_DB = float(np.log(10) / 10 * np.sqrt(40))
_QUIETEST = -120.0  # digital silence lies at -228 and would drag the mean along for seconds
_MARGIN_FRAMES = 10


class ViewParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The constants of a view, one of each for every number of a frame (F each).

    `shift` and `scale` make a frame's numbers centred and of unit spread over the training speakers; of the
    level, `scale` alone counts. `own_scale` does the same for what is left after the wearer's means.
    """

    shift: tuple[float, ...]
    scale: tuple[float, ...]
    own_scale: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what does not fit the frames of this device."""
        if not len(self.shift) == len(self.scale) == len(self.own_scale) == FRAME_SIZE:
            raise ValueError(f"view: shift, scale and own_scale need {FRAME_SIZE} numbers each")
        if min(*self.scale, *self.own_scale) <= 0:
            raise ValueError("view: every scale must be above 0")


class Views:
    """The views of several windows that hear the same frames: they differ in the level's running mean alone."""

    def __init__(
        self, parameters: ViewParameters, wearer_means: NDArray[np.float32] | None = None, *, windows: int
    ) -> None:
        self._shift = np.array(parameters.shift)
        self._gain = 1 / np.array(parameters.scale)
        self._own_gain = 1 / np.array(parameters.own_scale)
        self._means = None if wearer_means is None else wearer_means.astype(np.float64)
        self._totals = np.zeros((windows, 1))
        self._counts = np.zeros((windows, 1))
        self._fresh = set(range(windows))

    def restart(self, window: int) -> None:
        """Forget the level of one window."""
        self._fresh.add(window)

    def push(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """The views of the next frames: shape (n, F) to (windows, n, V), float32, each number within -4..4."""
        windows, count = len(self._counts), len(frames)
        out = np.zeros((windows, count, VIEW_SIZE), np.float32)
        if not count:
            return out
        values = frames.astype(np.float64)
        level = np.maximum(values[:, LEVEL], _QUIETEST)
        if self._means is not None:
            values[:, LEVEL] = level
            own = (values - self._means) * self._own_gain
            # Where there is no voice there is no F0 to compare.
            own[:, F0] *= values[:, F0] > 0
            out[:, :, FRAME_SIZE:-1] = own.clip(-_LIMIT, _LIMIT, out=own)
            out[:, :, -1] = 1.0
        values -= self._shift
        values *= self._gain
        out[:, :, :FRAME_SIZE] = values.clip(-_LIMIT, _LIMIT, out=values)
        level = level - self._running_means(level)
        level *= self._gain[LEVEL]
        out[:, :, LEVEL] = level.clip(-_LIMIT, _LIMIT, out=level)
        return out

    def _running_means(self, level: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of the level since each window's start, every frame counted in, shape (windows, n)."""
        for window in self._fresh:
            self._totals[window], self._counts[window] = _PRIOR_FRAMES * level[0], _PRIOR_FRAMES
        self._fresh.clear()
        sums = self._totals + level.cumsum()
        means = sums / (self._counts + np.arange(1, len(level) + 1))
        self._totals = sums[:, -1:]
        self._counts += len(level)
        return np.asarray(means)


class View:
    """The view of one window; `restart` begins the next."""

    def __init__(self, parameters: ViewParameters, wearer_means: NDArray[np.float32] | None = None) -> None:
        self._views = Views(parameters, wearer_means, windows=1)

    def restart(self) -> None:
        """Forget the window's level."""
        self._views.restart(0)

    def push(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """The view of the next frames: shape (n, F) to (n, V)."""
        return np.asarray(self._views.push(frames)[0])


def sounding(frames: NDArray[np.float32]) -> slice:
    """The frames of a clip without the quiet at both ends: from 0.1 s before the first that is within 45 dB of
    the loudest to 0.1 s after the last; all of them where nothing stands out.
    """
    level = frames[:, LEVEL]
    loud = np.flatnonzero(level > level.max(initial=-1e9) - 45 * LEVEL_PER_DB)
    if not len(loud):
        return slice(0, len(frames))
    return slice(max(0, int(loud[0]) - _MARGIN_FRAMES), int(loud[-1]) + 1 + _MARGIN_FRAMES)
