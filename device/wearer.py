"""What is known of the wearer's ordinary voice: means of voiced frames, in one small JSON file. Never sound.

Learned from a minute of ordinary speech (`outcry calibrate`); the network then sees every frame a second time
less these means. Personal: `outcry forget` erases the file, nothing sends it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from device.errors import BadDataError
from device.features import FRAME_SIZE, HOP_SAMPLES, PARAMETERS, SAMPLE_RATE
from device.machine import files
from device.view import VOICING, ViewParameters

FILE_NAME = "wearer.json"
LEAST_S = 1.0
ENOUGH_S = 20.0
_WHAT = "wearer file"
_BYTES = 64 * 1024


def digest(view: ViewParameters) -> str:
    """Names the feature and view parameters that means were learned with."""
    told = PARAMETERS.digest().encode() + msgspec.json.encode(view)
    return hashlib.sha256(told).hexdigest()[:16]


class Wearer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Means (F,) of `seconds` of voiced sound; `parameters` is `digest` of what they were learned with.

    `microphone` is empty when they were learned from files: then they fit any. Where the device has learned on
    by itself, `start` holds the means that it began with, and `learned_s` is how much voice it took since.
    """

    means: tuple[float, ...]
    seconds: float
    parameters: str
    microphone: str = ""
    start: tuple[float, ...] = ()
    learned_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no mean frame."""
        if len(self.means) != FRAME_SIZE or not np.isfinite(self.means).all():
            raise ValueError(f"means: {FRAME_SIZE} finite numbers are needed")
        if self.start and (len(self.start) != FRAME_SIZE or not np.isfinite(self.start).all()):
            raise ValueError(f"start: {FRAME_SIZE} finite numbers, or none, are needed")

    def fits(self, view: ViewParameters, microphone: str | None = None) -> bool:
        """Whether it was learned with these parameters, and through this microphone where one is named."""
        heard_here = not self.microphone or microphone is None or self.microphone == microphone
        return self.parameters == digest(view) and heard_here

    @property
    def enough(self) -> bool:
        """Whether more sound would hardly help."""
        return self.seconds >= ENOUGH_S


UNREADABLE = Wearer((0.0,) * FRAME_SIZE, 0.0, "unreadable")
"""Stands for a file that can't be used, as of another release: something was learned, and it fits nothing."""


class Learner:
    """Sums up voiced frames until there are enough of them."""

    def __init__(self) -> None:
        self._sums = np.zeros(FRAME_SIZE)
        self._count = 0

    def push(self, frames: NDArray[np.float32]) -> None:
        """Count in the voiced ones of frames (n, F)."""
        voiced = frames[frames[:, VOICING] >= PARAMETERS.voicing_threshold].astype(np.float64)
        self._sums += voiced.sum(axis=0)
        self._count += len(voiced)

    @property
    def seconds(self) -> float:
        """Voiced sound so far."""
        return self._count * HOP_SAMPLES / SAMPLE_RATE

    def wearer(self, view: ViewParameters, microphone: str = "") -> Wearer:
        """What was learned. Raises BadDataError where it is less than a second of voice."""
        if self.seconds < LEAST_S:
            raise BadDataError(
                f"only {self.seconds:.1f} s of voice were heard, at least {LEAST_S:.0f} s are needed: "
                "speak for a minute as you ordinarily do, near the microphone"
            )
        means = tuple(float(f"{x:.6g}") for x in self._sums / self._count)
        return Wearer(means, round(self.seconds, 2), digest(view), microphone)


def load(path: Path) -> Wearer:
    """Read a wearer's file. Raises MissingInputError or BadDataError."""
    return files.load(path, Wearer, what=_WHAT, command="outcry calibrate", most_bytes=_BYTES)


def save(wearer: Wearer, path: Path) -> None:
    """Write a wearer's file, whole or not at all, for its owner's eyes only. Raises BadDataError."""
    files.save(wearer, path, what=_WHAT)
