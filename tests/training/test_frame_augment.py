"""What is changed on frames is what the same change of the sound would make of them."""

import numpy as np
import pytest
import soxr

from device.features import FRAME_SIZE, SAMPLE_RATE, dct_matrix, features
from device.view import F0, VOICING
from training import frame_augment
from training.augment import mix

pytestmark = pytest.mark.training


def voice(seconds: float = 1.5) -> np.ndarray:
    """Two formants over a buzz at 140 Hz."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    partials = 140 * np.arange(1, 50)
    weights = 1 / (1 + ((partials - 700) / 150) ** 2) + 0.6 / (1 + ((partials - 2200) / 250) ** 2) + 0.01
    return (0.05 * np.sin(2 * np.pi * partials[:, None] * time).T @ weights).astype(np.float32)


def energies(frames: np.ndarray) -> np.ndarray:
    return frames[..., :40] @ dct_matrix().T


def test_another_throat_moves_the_formants_as_faster_playing_does() -> None:
    plain = features(voice())[20:-20]
    faster = features(np.asarray(soxr.resample(voice(), SAMPLE_RATE * 1.1, SAMPLE_RATE), np.float32))[20:-20]
    matrix = frame_augment._warp_matrices()[24]  # 1.10
    warped = frame_augment.with_throats(plain[None], matrix[None], np.zeros(1, np.float32))[0]
    wanted = energies(faster).mean(axis=0)
    before, after = (np.abs(energies(x).mean(axis=0) - wanted)[5:36].mean() for x in (plain, warped))
    assert after < 0.5 * before


def test_a_throat_is_one_for_a_clip_and_for_what_is_known_of_its_wearer() -> None:
    rng = np.random.default_rng(0)
    frames = np.abs(rng.normal(size=(6, 30, FRAME_SIZE))).astype(np.float32)
    throats = frame_augment.throats(6, rng, chance=1.0)
    of_frames = frame_augment.with_throats(frames, *throats).mean(axis=1)
    of_means = frame_augment.with_throats(frames.mean(axis=1), *throats)
    np.testing.assert_allclose(of_frames, of_means, rtol=1e-4, atol=1e-4)
    unvoiced = frames * (np.arange(FRAME_SIZE) != F0)
    assert not frame_augment.with_throats(unvoiced, *throats)[..., F0].any()


def test_without_chance_nothing_changes() -> None:
    rng = np.random.default_rng(1)
    frames = rng.normal(size=(4, 20, FRAME_SIZE)).astype(np.float32)
    changed = frame_augment.with_throats(frames, *frame_augment.throats(4, rng, chance=0.0))
    np.testing.assert_allclose(changed, frames, atol=1e-5)
    np.testing.assert_array_equal(frame_augment.paced(frames[0], 10, rng, chance=0.0), frames[0])


def test_pace_changes_the_length_and_nothing_else() -> None:
    frames = np.arange(100, dtype=np.float32)[:, None].repeat(FRAME_SIZE, axis=1)
    lengths = []
    for seed in range(30):
        paced = frame_augment.paced(frames, 240, np.random.default_rng(seed), chance=1.0)
        assert set(paced[:, 0]) <= set(frames[:, 0])
        assert (np.diff(paced[:, 0]) >= 0).all()
        lengths.append(len(paced))
    assert 84 <= min(lengths) < 95
    assert 105 < max(lengths) <= 118


@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_a_background_on_frames_is_one_on_the_sound(snr_db: float) -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(size=len(voice())).astype(np.float32) * 0.1
    plain, behind = features(voice()), features(noise)
    # Pre-emphasis and bands weigh the powers: ask for the ratio that the bands have.
    scaled = mix(voice(), noise, snr_db) - voice()
    asked = 10 * np.log10(np.exp(energies(plain)).sum() / np.exp(energies(features(scaled))).sum())
    made = frame_augment.with_noise(plain, behind, float(asked))
    heard = features(mix(voice(), noise, snr_db))
    before, after = (np.abs(energies(x) - energies(heard)).mean() for x in (plain, made))
    assert after < 0.35 * before
    assert made[:, VOICING].mean() < plain[:, VOICING].mean()
    assert not made[made[:, VOICING] < 0.45, F0].any()


def test_spec_augment_hides_a_band_and_keeps_the_rest() -> None:
    frames = np.random.default_rng(4).normal(size=(1, 120, FRAME_SIZE)).astype(np.float32)
    hidden = frame_augment.spec_augment(frames.copy(), np.random.default_rng(5), chance=1.0)
    before, after = ((x[0, :, :40] @ dct_matrix().T) for x in (frames, hidden))
    flat = np.ptp(after, axis=0) < 0.2 * np.ptp(before, axis=0)
    assert 1 <= flat.sum() <= 8


def test_a_channel_is_the_same_for_all_frames_of_a_clip() -> None:
    offsets = frame_augment.channel(500, np.random.default_rng(6))
    assert offsets.shape == (500, 40)
    assert offsets[:, 0].std() == pytest.approx(5.0, rel=0.15)
    assert not offsets[:, 9:].any()
