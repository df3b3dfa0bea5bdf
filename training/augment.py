"""What a recording might have sounded like on a body, in a room, in a street, over a codec.

Waveforms are changed by audiomentations where it has the transform; speed (soxr), codecs (soundfile) and
clothes rubbing on the microphone are ours. All randomness comes from one seed a clip. What is changed on frames
stands in `frame_augment.py`.
"""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import audiomentations
import numpy as np
import scipy.fft
import soundfile
import soxr
from numpy.typing import NDArray

from device.features import SAMPLE_RATE

Wave = NDArray[np.float32]
Change = Callable[[Wave, np.random.Generator], Wave]
Changes = tuple[tuple[float, Change], ...]


def speed(samples: Wave, rng: np.random.Generator) -> Wave:
    """Faster or slower by up to 17 %, voice and tempo together: another speaker's throat and pace."""
    factor = float(np.exp(rng.uniform(np.log(0.85), np.log(1.17))))
    return np.asarray(soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE), np.float32)


def codec(samples: Wave, rng: np.random.Generator) -> Wave:
    """Through Opus, Vorbis or MP3 and back, at a random quality."""
    container, subtype = (("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"))[rng.integers(3)]
    buffer = io.BytesIO()
    quality = float(rng.uniform(0.3, 0.99))
    soundfile.write(
        buffer, samples, SAMPLE_RATE, format=container, subtype=subtype, compression_level=quality
    )
    buffer.seek(0)
    decoded = soundfile.read(buffer, dtype="float32")[0]
    return np.asarray(decoded[: len(samples)], np.float32)


def rustle(samples: Wave, rng: np.random.Generator) -> Wave:
    """Cloth on the microphone: bursts of low noise, 0.05 to 0.4 s each, about two a second."""
    noise = rng.normal(size=len(samples) + SAMPLE_RATE)
    spectrum = np.fft.rfft(noise)
    hertz = np.fft.rfftfreq(len(noise), 1 / SAMPLE_RATE)
    spectrum *= 1 / (1 + (hertz / rng.uniform(80, 600)) ** 2) * (hertz > 30)
    noise = np.fft.irfft(spectrum)[: len(samples)]
    envelope = np.zeros(len(samples))
    for _ in range(rng.poisson(2 * len(samples) / SAMPLE_RATE)):
        length = int(rng.uniform(0.05, 0.4) * SAMPLE_RATE)
        start = int(rng.integers(0, max(1, len(samples))))
        part = envelope[start : start + length]
        part += np.hanning(length)[: len(part)] * rng.uniform(0.3, 1.0)
    return mix(samples, (noise * envelope).astype(np.float32), float(rng.uniform(0, 20)))


def body(samples: Wave, rng: np.random.Generator) -> Wave:
    """Under a jacket: a gentle low-pass between 1 and 5 kHz, lows lifted by the chest."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    order = rng.uniform(1, 4)
    gain = 1 / np.sqrt(1 + (hertz / rng.uniform(1000, 5000)) ** (2 * order))
    gain *= 1 + rng.uniform(0, 2) / (1 + (hertz / 250) ** 2)
    return np.fft.irfft(spectrum * gain, len(samples)).astype(np.float32)


def room(samples: Wave, rng: np.random.Generator) -> Wave:
    """A made room: exponentially decaying noise behind the direct sound (Polack's model), RT60 0.1 to 0.9 s."""
    rt60 = rng.uniform(0.1, 0.9)
    time = np.arange(int(rt60 * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.normal(size=len(time)) * np.exp(-6.9 * time / rt60)
    tail *= 10 ** (-rng.uniform(-3, 12) / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    size = scipy.fft.next_fast_len(len(samples) + len(tail), real=True)
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)
    return wet[: len(samples)].astype(np.float32)


def mix(samples: Wave, noise: Wave, snr_db: float) -> Wave:
    """`samples` with `noise` (as long) at the given ratio of their mean powers."""
    signal, other = float(np.mean(samples**2)), float(np.mean(noise**2))
    if signal == 0 or other == 0:
        return samples
    return (samples + noise * np.sqrt(signal / other / 10 ** (snr_db / 10))).astype(np.float32)


class WaveAugmenter:
    """One random recording out of another: `augment(samples, seed)`; the same seed gives the same sound.

    Args:
        noises: sound files that may lie behind the voice; of training speakers and sources only.
        rooms: impulse responses.
        voices: ordinary speech that may lie far behind the voice (babble), or none.
    """

    def __init__(self, noises: Sequence[Path], rooms: Sequence[Path], voices: Sequence[Path] = ()) -> None:
        self.noises, self.rooms, self.voices = list(noises), list(rooms), list(voices)
        self._equaliser = audiomentations.SevenBandParametricEQ(min_gain_db=-9, max_gain_db=9, p=1.0)
        self._hiss = audiomentations.AddGaussianSNR(min_snr_db=15, max_snr_db=55, p=1.0)
        self._clipping = audiomentations.ClippingDistortion(0, 15, p=1.0)

    def augment(self, samples: Wave, seed: int, wearer_seed: int) -> Wave:
        """Another recording of `samples`: float32 in -1..1, mono at 16 kHz, at any length over 0.

        Throat, clothes and microphone come from `wearer_seed`, the same for all clips of a speaker, so that
        what is known of a wearer fits; room, noise and codec from `seed`.
        """
        wearer: Changes = ((0.7, speed), (0.25, body), (0.5, lambda x, _: self._equaliser(x, SAMPLE_RATE)))
        place: Changes = (
            (0.35, self._room),
            (0.6, self._noise),
            (0.1, rustle),
            (0.08, lambda x, _: self._clipping(x, SAMPLE_RATE)),
            (0.7, lambda x, _: self._hiss(x, SAMPLE_RATE)),
            (0.25, codec),
        )
        for start, changes in ((wearer_seed, wearer), (seed, place)):
            rng = np.random.default_rng(start)
            random.seed(start)  # audiomentations draws from the global generators
            np.random.seed(start % 2**32)
            for chance, change in changes:
                if rng.random() < chance:
                    samples = self._apply(change, samples, rng)
        peak = float(np.abs(samples).max(initial=1e-9))
        return (samples / max(peak, 1.0)).astype(np.float32)

    @staticmethod
    def _apply(change: Change, samples: Wave, rng: np.random.Generator) -> Wave:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            changed = np.asarray(change(samples, rng), np.float32)
        return changed if len(changed) and np.isfinite(changed).all() else samples

    def _room(self, samples: Wave, rng: np.random.Generator) -> Wave:
        if not self.rooms or rng.random() < 0.6:
            return room(samples, rng)
        response = audiomentations.ApplyImpulseResponse([str(path) for path in self.rooms], p=1.0)
        return np.asarray(response(samples, SAMPLE_RATE), np.float32)

    def _noise(self, samples: Wave, rng: np.random.Generator) -> Wave:
        voices = bool(self.voices) and rng.random() < 0.25
        pool = self.voices if voices else self.noises
        if not pool:
            return samples
        source = _decoded(pool[rng.integers(len(pool))])
        start = int(rng.integers(0, len(source)))
        noise = np.resize(np.roll(source, -start), len(samples))
        return mix(samples, noise, float(rng.uniform(8 if voices else 0, 30)))


@lru_cache(maxsize=1024)
def _decoded(path: Path) -> Wave:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    return np.asarray(mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE), np.float32)
