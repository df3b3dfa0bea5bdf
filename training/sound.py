"""What a recording measures: how long, how loud, where it sounds. Read by the device's own reader."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.audio import SAMPLE_RATE, read_samples

__all__ = ["SAMPLE_RATE", "Measured", "measure", "read_samples"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What decoding tells. `start_s`..`end_s` is the clip without the exact zeros around it."""

    duration_s: float
    start_s: float
    end_s: float
    peak: int
    level_dbfs: float
    sound: str


def measure(samples: NDArray[np.int16]) -> Measured:
    """Duration, sounding span, peak, level and a hash of the sound itself (equal sound, equal hash)."""
    sounding = np.flatnonzero(samples)
    start, end = (int(sounding[0]), int(sounding[-1]) + 1) if len(sounding) else (0, 0)
    power = float(np.mean(np.square(samples, dtype=np.float64))) / 32768**2
    return Measured(
        duration_s=len(samples) / SAMPLE_RATE,
        start_s=start / SAMPLE_RATE,
        end_s=end / SAMPLE_RATE,
        peak=int(np.abs(samples.astype(np.int32)).max()),
        level_dbfs=10 * float(np.log10(max(power, 1e-12))),
        sound=hashlib.blake2b(samples.tobytes(), digest_size=12).hexdigest(),
    )
