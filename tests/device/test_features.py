"""The streaming equals the whole, and both equal the oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.features import FRAME_SIZE, HOP_SAMPLES, PARAMETERS, SAMPLE_RATE, FeatureStream, dct_matrix, features

COEFFICIENTS = PARAMETERS.coefficients


def noise(seconds: float, seed: int = 0, level: float = 0.1) -> np.ndarray:
    """Noise with a slow tremor, so that frames differ."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return rng.normal(size=len(time)) * level * (0.6 + 0.4 * np.sin(5 * time))


def tone(hertz: float, seconds: float = 0.5) -> np.ndarray:
    """A voice-like tone: five harmonics."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return 0.1 * sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 6))


def oracle(samples: np.ndarray) -> np.ndarray:
    import python_speech_features

    return python_speech_features.mfcc(
        samples, SAMPLE_RATE, 0.025, 0.01, 40, 40, 512, 20, 8000, 0.97, 0, appendEnergy=False, winfunc=np.hamming
    )


@pytest.mark.parametrize("seconds", [0.025, 0.1, 1.0, 3.137])
def test_mfcc_equal_the_oracle(seconds: float) -> None:
    samples = noise(seconds)
    ours = features(samples)
    assert len(ours) == (len(samples) - 400) // HOP_SAMPLES + 1
    np.testing.assert_allclose(ours[:, :COEFFICIENTS], oracle(samples)[: len(ours)], atol=1e-4)


def test_digital_silence_has_the_oracles_floor() -> None:
    samples = np.zeros(8000)
    np.testing.assert_allclose(features(samples)[:, :COEFFICIENTS], oracle(samples)[:48], atol=1e-4)
    assert not features(samples)[:, COEFFICIENTS:].any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=30), st.integers(0, 1000), st.booleans())
def test_any_chunking_gives_the_same_frames(sizes: list[int], seed: int, integers: bool) -> None:
    samples = noise(1.2, seed) + np.pad(tone(180), (0, int(1.2 * SAMPLE_RATE) - 8000))
    given_samples = np.round(samples * 20000).astype(np.int16) if integers else samples.astype(np.float32)
    stream, parts, at = FeatureStream(), [], 0
    for size in (*sizes, len(samples)):
        parts.append(stream.push(given_samples[at : at + size]))
        at += size
    np.testing.assert_allclose(np.concatenate(parts), features(given_samples), atol=1e-5)


def test_a_frame_comes_with_its_last_sample_and_not_before() -> None:
    stream, samples = FeatureStream(), noise(0.1)
    assert len(stream.push(samples[:399])) == 0
    assert len(stream.push(samples[399:400])) == 1
    assert len(stream.push(samples[400:559])) == 0
    assert len(stream.push(samples[559:560])) == 1
    assert stream.push(samples[:0]).shape == (0, FRAME_SIZE)


def test_reset_forgets() -> None:
    stream, samples = FeatureStream(), noise(0.3)
    stream.push(noise(0.2, seed=5))
    stream.reset()
    np.testing.assert_array_equal(stream.push(samples), FeatureStream().push(samples))


@pytest.mark.parametrize("hertz", [80, 110, 165, 220, 330, 440])
def test_f0_of_a_tone(hertz: int) -> None:
    frame = features(tone(hertz))[25]
    assert frame[-1] > 0.85
    assert frame[-2] == pytest.approx(12 * np.log2(hertz / 50), abs=0.3)


def f0_and_voicing(window: np.ndarray) -> tuple[float, float]:
    """The formula written out for one window of 40 ms: the whole autocorrelation, lag by lag."""
    hann = np.hanning(162)[1:-1]
    spectrum = np.fft.rfft(window.reshape(160, 4).mean(axis=1) * hann, 256)
    spectrum[:4] = 0
    correlation, own = np.fft.irfft(abs(spectrum) ** 2), np.fft.irfft(abs(np.fft.rfft(hann, 256)) ** 2)
    at = {lag: correlation[lag] / own[lag] * own[0] * (1 - 0.02 * np.log2(lag / 4)) for lag in range(3, 60)}
    best = max(range(4, 59), key=at.__getitem__)
    left, peak, right = (at[best + k] / (correlation[0] + 1e-9 * 160) for k in (-1, 0, 1))
    shift = np.clip(0.5 * (left - right) / min(left - 2 * peak + right, -1e-9), -0.5, 0.5)
    voicing = np.clip(peak - 0.25 * (left - right) * shift, 0, 1)
    return 12 * np.log2(4000 / 50 / (best + shift)) * (voicing >= 0.45), voicing


@pytest.mark.parametrize("level", [1.0, 1e-3])
def test_f0_and_voicing_equal_the_formula(level: float) -> None:
    samples = level * (noise(0.6, level=0.02) + np.pad(tone(140, 0.4), (1600, 1600)))
    ours = features(samples)
    heard = np.concatenate([np.zeros(240), samples])
    expected = [f0_and_voicing(heard[at : at + 640]) for at in range(0, len(heard) - 639, HOP_SAMPLES)]
    assert np.mean([f0 > 0 for f0, _ in expected]) > 0.5
    np.testing.assert_allclose(ours[:, COEFFICIENTS:], expected, atol=1e-5)


def test_noise_has_no_f0() -> None:
    frames = features(noise(2.0))
    assert np.mean(frames[:, -2] > 0) < 0.1


def test_int16_and_float_agree() -> None:
    integers = np.round(noise(0.5) * 32768).clip(-32768, 32767).astype(np.int16)
    np.testing.assert_array_equal(features(integers), features(integers / np.float64(32768)))


def test_dct_leads_back() -> None:
    matrix = dct_matrix()
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(40), atol=1e-12)
