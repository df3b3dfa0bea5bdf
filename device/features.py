"""From samples to frames: the only feature code of the project; training uses it too.

A frame holds 40 mel-frequency cepstral coefficients, then F0 and voicing, once every 10 ms.

The coefficients follow the formula of `python_speech_features.mfcc` (its oracle in the tests) with
`winlen=0.025, winstep=0.01, numcep=40, nfilt=40, nfft=512, lowfreq=20, highfreq=8000, preemph=0.97,
ceplifter=0, appendEnergy=False, winfunc=numpy.hamming`, over whole windows only.

F0 and voicing come from the autocorrelation of the last 40 ms, divided by that of the window
(Boersma, "Accurate short-term analysis of the fundamental frequency", IFA Proceedings 17, 1993). Lags are whole
periods of 4 kHz: above some 500 Hz (a shrill scream) the peak that wins may be a multiple of the period.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
HOP_SAMPLES = 160
FRAMES_PER_SECOND = SAMPLE_RATE // HOP_SAMPLES

_INT16_STEP = 2.0**-15
_WINDOW = 400
_FFT = 512
# F0: 40 ms ending where the frame ends, decimated by 4 (a boxcar is filter enough: F0 lies far below 2 kHz).
_DECIMATION = 4
_PITCH_WINDOW = 640
_LEAD = _PITCH_WINDOW - _WINDOW
_PITCH_FFT = 256
_SLOW_WINDOW = _PITCH_WINDOW // _DECIMATION
_LAG_RATE = SAMPLE_RATE // _DECIMATION
_EPSILON = float(np.finfo(np.float64).eps)
# Octave cost: of two equal peaks the shorter lag wins, else every second period looks as good.
_OCTAVE_COST = 0.02
_RUMBLE_BINS = 4  # of 15.6 Hz each: DC and rumble have no say in F0
_NEIGHBOURS = np.array([0, 1, 2])
# Of three neighbouring values: half the difference of the outer two, the second difference, half the first.
_PARABOLA = np.array([[0.5, 1.0, 0.25], [0.0, -2.0, 0.0], [-0.5, 1.0, -0.25]])
_QUARTER = np.full(_DECIMATION, 1 / _DECIMATION)
_SILENT_POWER = 1e-9  # added to the mean square of a window (-90 dBFS): the voicing of near-silence goes to 0

Samples = NDArray[np.int16] | NDArray[np.float32] | NDArray[np.float64]


class FeatureParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a frame is made of; a package whose parameters differ from these is refused."""

    sample_rate_hz: int = SAMPLE_RATE
    hop_samples: int = HOP_SAMPLES
    window_samples: int = _WINDOW
    window: str = "hamming"
    fft: int = _FFT
    preemphasis: float = 0.97
    mel_bands: int = 40
    low_hz: float = 20.0
    high_hz: float = 8000.0
    coefficients: int = 40
    lifter: int = 0
    extra: tuple[str, ...] = ("f0_semitones", "voicing")
    f0_low_hz: float = 70.0
    f0_high_hz: float = 1000.0
    f0_reference_hz: float = 50.0
    voicing_threshold: float = 0.45

    @property
    def size(self) -> int:
        """Numbers in a frame."""
        return self.coefficients + len(self.extra)

    def digest(self) -> str:
        """SHA-256 of the parameters, 16 hex digits: names caches and what was learned of a wearer."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


PARAMETERS = FeatureParameters()
FRAME_SIZE = PARAMETERS.size


def as_float(samples: Samples) -> NDArray[np.float64]:
    """Samples as float64 in -1..1; int16 is divided by 32768."""
    if samples.dtype == np.int16:
        return samples.astype(np.float64) * _INT16_STEP
    return samples.astype(np.float64, copy=False)


@lru_cache(maxsize=1)
def mel_filters() -> NDArray[np.float64]:
    """Triangles of the 40 mel bands over the 257 bins, shape (257, 40)."""
    p = PARAMETERS

    def mel(hz: float | NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(2595 * np.log10(1 + np.asarray(hz) / 700.0))

    points = np.linspace(mel(p.low_hz), mel(p.high_hz), p.mel_bands + 2)
    edges = np.floor((p.fft + 1) * 700 * (10 ** (points / 2595.0) - 1) / p.sample_rate_hz)
    filters = np.zeros((p.fft // 2 + 1, p.mel_bands))
    for band, (low, centre, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        up, down = np.arange(int(low), int(centre)), np.arange(int(centre), int(high))
        filters[up, band] = (up - low) / (centre - low)
        filters[down, band] = (high - down) / (high - centre)
    return filters


@lru_cache(maxsize=1)
def dct_matrix() -> NDArray[np.float64]:
    """Orthonormal DCT-II, shape (bands, coefficients); its transpose leads back to log mel energies."""
    bands, count = PARAMETERS.mel_bands, PARAMETERS.coefficients
    matrix = np.cos(np.pi * (np.arange(bands)[:, None] + 0.5) * np.arange(count) / bands)
    matrix *= np.sqrt(2.0 / bands)
    matrix[:, 0] /= np.sqrt(2.0)
    return matrix


@lru_cache(maxsize=1)
def _filter_blocks() -> tuple[tuple[slice, slice, NDArray[np.float64]], ...]:
    """The mel filters as blocks of bins, of bands and of weights: without the corners that hold zeros alone."""
    filters = mel_filters() / _FFT
    blocks = []
    for bands in (slice(0, 20), slice(20, 32), slice(32, PARAMETERS.mel_bands)):  # the fastest of those tried
        used = np.flatnonzero(filters[:, bands].any(axis=1))
        bins = slice(int(used[0]), int(used[-1]) + 1)
        blocks.append((bins, bands, np.ascontiguousarray(filters[bins, bands])))
    return tuple(blocks)


@lru_cache(maxsize=1)
def _pitch_constants() -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Window; power of bins to weighted autocorrelation, then energy, (bins, lags + 1); first lag.

    An inverse transform that knows only the lags that are wanted. The weight of a lag is 1 / autocorrelation of
    the window, less for longer lags.
    """
    window = np.hanning(_SLOW_WINDOW + 2)[1:-1].astype(np.float64)
    own = np.fft.irfft(np.abs(np.fft.rfft(window, _PITCH_FFT)) ** 2, _PITCH_FFT)
    first = int(_LAG_RATE // PARAMETERS.f0_high_hz) - 1
    lags = np.arange(first, int(np.ceil(_LAG_RATE / PARAMETERS.f0_low_hz)) + 2)
    octaves = np.log2(lags / _LAG_RATE * PARAMETERS.f0_high_hz)
    weight = own[0] / own[lags] * (1 - _OCTAVE_COST * octaves)
    bins = np.eye(_PITCH_FFT // 2 + 1)[_RUMBLE_BINS:]
    correlation = np.fft.irfft(bins, _PITCH_FFT)
    matrix = np.column_stack([correlation[:, lags] * weight, correlation[:, 0]])
    return window, matrix, first


def _pitch(
    windows: NDArray[np.float64], padded: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """F0 in semitones over 50 Hz (0 where unvoiced) and voicing 0..1 of windows, shape (n, 160) at 4 kHz.

    `padded` (n, 256) is where they are weighted: what stands after 160 is 0.
    """
    window, matrix, first = _pitch_constants()
    np.multiply(windows, window, out=padded[:, :_SLOW_WINDOW])
    strength = _power(np.fft.rfft(padded)[:, _RUMBLE_BINS:]).dot(matrix)
    best = strength[:, 1:-2].argmax(axis=1)
    at = np.arange(0, strength.size, strength.shape[1])
    at += best
    around = strength.take(at[:, None] + _NEIGHBOURS)
    around /= strength[:, -1:] + _SILENT_POWER * _SLOW_WINDOW
    # The peak of a parabola through three lags; at the edge of the range there may be no peak.
    slope, bend, rise = around.dot(_PARABOLA).T
    shift = np.minimum(np.maximum(slope / np.minimum(bend, -1e-9), -0.5), 0.5)
    rise *= shift
    voicing = np.minimum(np.maximum(around[:, 1] - rise, 0.0), 1.0)
    shift += best
    shift += first + 1
    semitones = 12 * np.log2(_LAG_RATE / PARAMETERS.f0_reference_hz / shift)
    semitones *= voicing >= PARAMETERS.voicing_threshold
    return semitones, voicing


def _power(spectrum: NDArray[np.complex128]) -> NDArray[np.float64]:
    power = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    return power


def _sliding(signal: NDArray[np.float64], size: int, hop: int, count: int) -> NDArray[np.float64]:
    """Windows of a contiguous signal as a view, shape (count, size); numpy's own functions cost 3 to 8 us a call."""
    step = signal.strides[0]
    return np.ndarray((count, size), signal.dtype, signal, 0, (hop * step, step))


class FeatureStream:
    """Turns chunks of any length into frames as soon as their last sample is there."""

    def __init__(self) -> None:
        self._hamming = np.hamming(_WINDOW)
        self._dct = dct_matrix()
        # Windows and the zeros after them: to have rfft pad costs a third of it more.
        self._windows, self._slow_windows = np.zeros((0, _FFT)), np.zeros((0, _PITCH_FFT))
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next sample is the first."""
        # What stood before the first sample counts as silence.
        self._samples = np.zeros(_LEAD)

    def push(self, samples: Samples) -> NDArray[np.float32]:
        """Frames that became whole, shape (n, 42), float32; n may be 0.

        `samples` are int16, or float in -1..1, mono at 16 kHz, shape (m,).
        """
        heard = np.concatenate([self._samples, samples])
        if samples.dtype == np.int16:
            heard[len(self._samples) :] *= _INT16_STEP
        self._samples = heard
        count = (len(heard) - _PITCH_WINDOW) // HOP_SAMPLES + 1
        if count <= 0:
            return np.zeros((0, FRAME_SIZE), np.float32)
        if len(self._windows) < count:
            self._windows, self._slow_windows = np.zeros((count, _FFT)), np.zeros((count, _PITCH_FFT))
        frames = np.empty((count, FRAME_SIZE), np.float32)
        frames[:, : PARAMETERS.coefficients] = self._cepstra(heard, count)
        frames[:, -2], frames[:, -1] = self._f0(heard, count)
        self._samples = heard[count * HOP_SAMPLES :]
        return frames

    def _cepstra(self, heard: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        emphasised = PARAMETERS.preemphasis * heard[_LEAD - 1 : -1]
        np.subtract(heard[_LEAD:], emphasised, out=emphasised)
        windows = self._windows[:count]
        np.multiply(_sliding(emphasised, _WINDOW, HOP_SAMPLES, count), self._hamming, out=windows[:, :_WINDOW])
        power = _power(np.fft.rfft(windows))
        mel = np.empty((count, PARAMETERS.mel_bands))
        for bins, bands, weights in _filter_blocks():
            mel[:, bands] = power[:, bins].dot(weights)
        mel[mel == 0] = _EPSILON
        return np.asarray(np.log(mel, out=mel).dot(self._dct))

    def _f0(self, heard: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        length = (count - 1) * HOP_SAMPLES + _PITCH_WINDOW
        slow = heard[:length].reshape(-1, _DECIMATION).dot(_QUARTER)
        windows = _sliding(slow, _SLOW_WINDOW, HOP_SAMPLES // _DECIMATION, count)
        return _pitch(windows, self._slow_windows[:count])


def features(samples: Samples) -> NDArray[np.float32]:
    """All frames of a recording, shape (n, 42); what a `FeatureStream` gives, in pieces that spare memory."""
    stream = FeatureStream()
    size = SAMPLE_RATE // 5  # small pieces stay in the processor's cache
    parts = [stream.push(samples[at : at + size]) for at in range(0, max(len(samples), 1), size)]
    return np.concatenate(parts)
