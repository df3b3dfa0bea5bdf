"""Reading one recording for training: 16 kHz mono, what it measures, and what is wrong with it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE = 16000


class BrokenSoundError(ValueError):
    """A file that can't be decoded, or holds no samples."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What decoding tells. `start_s`..`end_s` is the clip without the exact zeros around it."""

    duration_s: float
    start_s: float
    end_s: float
    peak: int
    level_dbfs: float
    sound: str


def read_samples(path: Path) -> NDArray[np.int16]:
    """All samples at 16 kHz mono, int16 (n,); raises BrokenSoundError."""
    try:
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise BrokenSoundError(f"can't be decoded ({error})") from None
    if not len(samples):
        raise BrokenSoundError("holds no samples")
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1).astype(np.int16)
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    return np.ascontiguousarray(mono)


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
