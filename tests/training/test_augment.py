"""Augmentation: seeded, finite, and each change does what its name says."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from device.features import SAMPLE_RATE, features
from training import augment

pytestmark = pytest.mark.training


def voice(seconds: float = 1.0, hertz: float = 150.0) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 8))
    return (0.1 * tone * (1 + np.sin(8 * time))).astype(np.float32)


@pytest.fixture(scope="module")
def augmenter(tmp_path_factory) -> augment.WaveAugmenter:
    folder: Path = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    soundfile.write(folder / "noise.wav", rng.normal(size=SAMPLE_RATE) * 0.1, SAMPLE_RATE)
    response = rng.normal(size=2000) * np.exp(-np.arange(2000) / 300)
    soundfile.write(folder / "room.wav", response / np.abs(response).max(), SAMPLE_RATE)
    return augment.WaveAugmenter([folder / "noise.wav"], [folder / "room.wav"])


def test_the_same_seeds_give_the_same_sound(augmenter: augment.WaveAugmenter) -> None:
    once, again = (augmenter.augment(voice(), 5, 7) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once[:8000], augmenter.augment(voice(), 6, 7)[:8000])


@pytest.mark.parametrize("seconds", [0.03, 0.4, 2.0])
def test_whatever_the_seed_the_sound_is_sound(augmenter: augment.WaveAugmenter, seconds: float) -> None:
    for seed in range(25):
        heard = augmenter.augment(voice(seconds), seed, seed + 100)
        assert heard.dtype == np.float32
        assert np.isfinite(heard).all()
        assert np.abs(heard).max() <= 1
        assert 0.8 * seconds < len(heard) / SAMPLE_RATE < 1.25 * seconds


def test_the_voice_of_a_wearer_is_the_same_in_all_their_clips(augmenter: augment.WaveAugmenter) -> None:
    # Speed is the wearer's: the same factor for every clip of one, whatever happens around them.
    lengths = {seed: [len(augmenter.augment(voice(), place, seed)) for place in range(6)] for seed in range(8)}
    assert all(len(set(own)) == 1 for own in lengths.values())
    assert len({own[0] for own in lengths.values()}) > 2


def test_mix_keeps_the_ratio() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(size=SAMPLE_RATE).astype(np.float32)
    added = augment.mix(voice(), noise, 10.0) - voice()
    assert 10 * np.log10(np.mean(voice() ** 2) / np.mean(added**2)) == pytest.approx(10.0, abs=0.01)
    np.testing.assert_array_equal(augment.mix(voice(), np.zeros(SAMPLE_RATE, np.float32), 10.0), voice())


def test_under_a_jacket_there_are_no_highs() -> None:
    rng = np.random.default_rng(2)
    hiss = rng.normal(size=SAMPLE_RATE).astype(np.float32) * 0.1
    before, after = (np.abs(np.fft.rfft(x)) ** 2 for x in (hiss, augment.body(hiss, rng)))
    assert after[7000:].sum() < 0.5 * before[7000:].sum()
    assert after[100:400].sum() > 0.9 * before[100:400].sum()


def test_speed_moves_the_pitch() -> None:
    rng = np.random.default_rng(3)
    for _ in range(5):
        faster = augment.speed(voice(1.0), rng)
        semitones = np.median(features(faster)[20:-20, -2]) - np.median(features(voice(1.0))[20:-20, -2])
        assert semitones == pytest.approx(12 * np.log2(SAMPLE_RATE / len(faster)), abs=0.4)
