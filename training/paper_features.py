"""The features of the published systems, by librosa: MFCC, log-mel, chroma and their differences.

Only reproductions read these; the device and its networks have one feature code, device/features.py. A clip's
features are (frames, coefficients) and as long as the clip: padding, scaling and means belong to a protocol
and are made from them, so one cache serves all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.cache import cached
from training.sound import SAMPLE_RATE

Frames = NDArray[np.float32]
DELTA_FRAMES = 9
"""librosa's width of a difference."""


@dataclass(frozen=True, slots=True)
class PaperParameters:
    """What is computed of a clip; the columns stand in the order of the fields.

    `deltas` is 0, 1 (differences of the MFCC) or 2 (their differences besides).
    """

    mfcc: int = 0
    deltas: int = 0
    chroma: int = 0
    mel: int = 0
    window_samples: int = 2048
    hop_samples: int = 512

    def __post_init__(self) -> None:
        if not 0 <= self.deltas <= 2 or (self.deltas and not self.mfcc):
            raise ValueError(f"deltas are 0, 1 or 2 orders of the MFCC, not {self.deltas} of {self.mfcc} coefficients")
        if not self.width:
            raise ValueError("no feature is asked for: give at least one of mfcc, chroma, mel")

    @property
    def width(self) -> int:
        """Columns of a frame."""
        return self.mfcc * (1 + self.deltas) + self.chroma + self.mel

    def columns(self, name: str) -> slice:
        """Where "mfcc" (with its differences), "chroma" or "mel" stands in a frame."""
        starts = {"mfcc": 0, "chroma": self.mfcc * (1 + self.deltas)}
        starts["mel"] = starts["chroma"] + self.chroma
        ends = {"mfcc": starts["chroma"], "chroma": starts["mel"], "mel": self.width}
        return slice(starts[name], ends[name])

    def frames(self, seconds: float) -> int:
        """Frames of `seconds` of sound (librosa centres its windows: one more than the hops)."""
        return int(seconds * SAMPLE_RATE) // self.hop_samples + 1


# P2 names only librosa's defaults, 2048 and 512 samples at 22,050 Hz: the same milliseconds at 16 kHz.
SONG = PaperParameters(mfcc=32, window_samples=1486, hop_samples=372)
# P3: 40 coefficients with both differences are 120 means: its 16 x 8 input but for eight zeros.
SMOTE = PaperParameters(mfcc=40, deltas=2)
# P4: 8 s at a hop of 512 samples are the paper's 251 frames at 16 kHz.
LOOPQ = PaperParameters(mfcc=40, chroma=12, mel=128)


def compute(samples: NDArray[np.int16], parameters: PaperParameters) -> Frames:
    """The frames (n, parameters.width) of a clip of int16 samples at 16 kHz, float32; log-mel in dB."""
    sound = samples.astype(np.float32) / 32768
    spectrum = librosa.stft(
        sound,
        n_fft=max(2048, parameters.window_samples),
        win_length=parameters.window_samples,
        hop_length=parameters.hop_samples,
    )
    power = np.abs(spectrum) ** 2
    parts: list[NDArray[np.floating]] = []
    if parameters.mfcc:
        bands = librosa.power_to_db(librosa.feature.melspectrogram(S=power, sr=SAMPLE_RATE, n_mels=128))
        cepstrum = librosa.feature.mfcc(S=bands, n_mfcc=parameters.mfcc)
        parts.append(cepstrum)
        # A clip shorter than a difference's width: repeat its ends, since librosa's fit has nothing to fit.
        mode = "interp" if cepstrum.shape[1] >= DELTA_FRAMES else "nearest"
        parts += [librosa.feature.delta(cepstrum, order=n + 1, mode=mode) for n in range(parameters.deltas)]
    if parameters.chroma:
        # Tuning is not estimated: it costs three times the rest, and speech has none.
        parts.append(librosa.feature.chroma_stft(S=power, sr=SAMPLE_RATE, n_chroma=parameters.chroma, tuning=0.0))
    if parameters.mel:
        mel = librosa.feature.melspectrogram(S=power, sr=SAMPLE_RATE, n_mels=parameters.mel)
        parts.append(librosa.power_to_db(mel))
    return np.ascontiguousarray(np.concatenate(parts).T, dtype=np.float32)


def frames_of(clips: pd.DataFrame, root: Path, parameters: PaperParameters) -> list[Frames]:
    """The frames of every clip of the table, from the cache; whole clips, as the papers took them."""
    compute_these = partial(compute, parameters=parameters)
    kept = cached(clips, root, compute_these, parameters, trim=False)
    return [np.asarray(frames, np.float32) for frames in kept]


def silence_after(clip: Frames, parameters: PaperParameters) -> Frames:
    """The frame (parameters.width,) that librosa gives for zeros appended to this clip's sound.

    Its decibels stop 80 below the clip's loudest and at -100, so silence differs from clip to clip;
    `parameters` must hold mel bands, from which the loudest is read.
    """
    floor = max(float(clip[:, parameters.columns("mel")].max()) - 80.0, -100.0)
    frame = np.zeros(parameters.width, np.float32)
    frame[parameters.columns("mel")] = floor
    if parameters.mfcc:
        # The orthonormal transform of 128 equal bands: all of it is coefficient 0.
        frame[0] = floor * np.sqrt(128)
    return frame


def pad(clips: Sequence[Frames], frames: int, fillings: Sequence[Frames] | float = 0.0) -> Frames:
    """All clips cut or padded at their end to `frames`: (clips, frames, coefficients), float32.

    `fillings` is one frame for each clip, or one number.
    """
    padded = np.empty((len(clips), frames, clips[0].shape[1]), np.float32)
    padded[:] = fillings if isinstance(fillings, float) else np.stack(fillings)[:, None]
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip[:frames]
    return padded


def means(clips: Sequence[Frames]) -> Frames:
    """The mean over time of each clip: (clips, coefficients), float32."""
    return np.stack([clip.mean(axis=0, dtype=np.float64) for clip in clips]).astype(np.float32)


def coarser(clips: Sequence[Frames], factor: int) -> list[Frames]:
    """Means of `factor` frames at a time: a lower frame rate for machines that can't afford the full one."""
    if factor == 1:
        return list(clips)
    kept = [clip[: max(1, len(clip) // factor) * factor] for clip in clips]
    return [
        clip.reshape(-1, factor, clip.shape[1]).mean(axis=1) if len(clip) >= factor else clip.mean(axis=0)[None]
        for clip in kept
    ]


@dataclass(frozen=True, slots=True)
class Scaler:
    """Standard scaling of each coefficient; `fit` sees training clips and nothing else."""

    mean: Frames
    deviation: Frames

    @classmethod
    def fit(cls, training: Sequence[Frames] | Frames) -> "Scaler":
        """Mean and deviation of the last axis over all clips and frames of `training`; a constant stays 0."""
        rows = [np.reshape(clip, (-1, np.shape(clip)[-1])) for clip in training]
        count = sum(len(row) for row in rows)
        mean = sum(row.sum(axis=0, dtype=np.float64) for row in rows) / count
        square = sum(np.square(row - mean).sum(axis=0, dtype=np.float64) for row in rows) / count
        deviation = np.sqrt(square)
        deviation[deviation < 1e-6] = 1.0
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    def apply(self, clip: Frames) -> Frames:
        """`clip` (..., coefficients) with mean 0 and deviation 1 by the training data's measure, float32."""
        return ((clip - self.mean) / self.deviation).astype(np.float32)
