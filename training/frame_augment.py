"""What is changed on frames while training, anew in every batch: microphone, throat, pace, background, gaps.

Frames hold cepstra, and an orthonormal DCT leads from these to log mel energies and back, so most changes are exact
or a small matrix. SpecAugment: Park et al., arXiv:1904.08779. Warped mel bands, as vocal tract length
perturbation: Jaitly and Hinton, ICML workshop on deep learning for audio, speech and language, 2013.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from device.features import PARAMETERS, dct_matrix
from device.view import F0, VOICING

Frames = NDArray[np.float32]
COEFFICIENTS = PARAMETERS.coefficients
_WARPS = np.linspace(0.86, 1.16, 31)
_VOICED = PARAMETERS.voicing_threshold


def throats(count: int, rng: np.random.Generator, chance: float = 0.6) -> tuple[Frames, Frames]:
    """Another throat for each clip of a batch: matrices for its cepstra (count, 40, 40), semitones for its F0 (count,).

    A shorter vocal tract moves the formants up, by up to 16 %, and mostly goes with a higher voice.
    """
    changed = rng.random(count) < chance
    chosen = rng.integers(0, len(_WARPS), count)
    semitones = 12 * np.log2(_WARPS[chosen]) * rng.uniform(0.5, 2.0, count) + rng.normal(size=count) * 1.5
    matrices = np.where(changed[:, None, None], _warp_matrices()[chosen], np.eye(COEFFICIENTS, dtype=np.float32))
    return matrices.astype(np.float32), np.where(changed, semitones, 0.0).astype(np.float32)


def with_throats(frames: Frames, matrices: Frames, semitones: Frames) -> Frames:
    """Frames (batch, n, F), or means of voiced frames (batch, F), spoken by these throats; a new array."""
    out = frames.copy()
    cepstra = frames[..., :COEFFICIENTS]
    out[..., :COEFFICIENTS] = np.matmul(cepstra.reshape(len(frames), -1, COEFFICIENTS), matrices).reshape(cepstra.shape)
    shift = semitones.reshape(-1, *(1,) * (frames.ndim - 2))
    out[..., F0] += np.where(frames[..., F0] > 0, shift, 0.0)
    return out


@lru_cache(maxsize=1)
def _warp_matrices() -> Frames:
    """For each warp the matrix that cepstra are multiplied by from the right, shape (warps, 40, 40)."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (PARAMETERS.low_hz, PARAMETERS.high_hz))
    mel = np.linspace(low, high, PARAMETERS.mel_bands + 2)[1:-1]
    hertz = 700 * (10 ** (mel / 2595) - 1)
    dct, made = dct_matrix(), []
    for warp in _WARPS:
        source = np.interp(hertz / warp, hertz, np.arange(len(hertz)))
        below = np.minimum(source.astype(int), len(hertz) - 2)
        bands = np.zeros((len(hertz), len(hertz)))  # new energies = bands @ old energies
        bands[np.arange(len(hertz)), below] = 1 - (source - below)
        bands[np.arange(len(hertz)), below + 1] = source - below
        made.append(dct.T @ bands.T @ dct)
    return np.array(made, np.float32)


def paced(clip: Frames, room: int, rng: np.random.Generator, chance: float = 0.5) -> Frames:
    """`clip` (n, F) faster or slower by up to 18 %, the voice as it was, by dropping or repeating frames."""
    if rng.random() >= chance or not len(clip):
        return clip
    factor = float(np.exp(rng.uniform(np.log(0.85), np.log(1.18))))
    length = max(1, min(int(len(clip) / factor), 2 * room + len(clip)))
    return clip[np.minimum((np.arange(length) * factor).astype(int), len(clip) - 1)]


def with_noise(clip: Frames, noise: Frames, snr_db: float) -> Frames:
    """`clip` (n, F) before a background (m, F), whose power lies `snr_db` under the clip's; a new array.

    Powers of bands add; the autocorrelation's peak sinks by the voice's share of the power, and with it the voicing.
    """
    dct = dct_matrix().astype(np.float32)
    behind = np.resize(noise, clip.shape)
    voice, other = (np.exp(np.clip(x[:, :COEFFICIENTS] @ dct.T, -30, 30)) for x in (clip, behind))
    gain = voice.sum() / max(float(other.sum()), 1e-12) / 10 ** (snr_db / 10)
    both = voice + gain * other
    out = clip.copy()
    out[:, :COEFFICIENTS] = np.log(both) @ dct
    out[:, VOICING] *= voice.sum(axis=1) / both.sum(axis=1)
    out[:, F0] *= out[:, VOICING] >= _VOICED
    return out


def channel(batch: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Another microphone for each clip of a batch: what it adds to every coefficient, shape (batch, 40).

    A smooth offset of the log mel energies of some dB, the level by some 3 dB.
    """
    spread = np.zeros(COEFFICIENTS)
    spread[0] = 5.0
    spread[1:9] = 2.4 / np.arange(1, 9) ** 0.5
    return np.asarray(rng.normal(size=(batch, COEFFICIENTS)) * spread, np.float32)


def spec_augment(
    frames: NDArray[np.float32], rng: np.random.Generator, chance: float = 0.5
) -> NDArray[np.float32]:
    """Hide a stripe of up to 8 mel bands, and up to two spans of up to 0.2 s; (batch, n, F), in place.

    A band that is hidden gets its mean over the clip; a span the clip's mean frame.
    """
    matrix = dct_matrix().astype(np.float32)
    for clip in frames:
        if rng.random() < chance:
            width, low = int(rng.integers(1, 9)), int(rng.integers(0, len(matrix) - 8))
            band = matrix[low : low + width]
            energies = clip[:, :COEFFICIENTS] @ band.T
            clip[:, :COEFFICIENTS] += (energies.mean(axis=0) - energies) @ band
        for _ in range(int(rng.integers(0, 3))):
            if rng.random() < chance:
                start, length = int(rng.integers(0, len(clip))), int(rng.integers(1, 21))
                clip[start : start + length] = clip.mean(axis=0)
    return frames
