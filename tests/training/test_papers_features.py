"""The papers' features: the papers' sizes, librosa's own values, scaling that sees training data only."""

import numpy as np
import pytest

librosa = pytest.importorskip("librosa")

from training import paper_features as features  # noqa: E402
from training.paper_features import LOOPQ, SMOTE, SONG, PaperParameters, Scaler  # noqa: E402

pytestmark = pytest.mark.training
RATE = 16000


def _voice(seconds=1.0, pitch_hz=220.0, seed=0):
    t = np.arange(int(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * pitch_hz * n * t) / n for n in range(1, 12))
    noise = np.random.default_rng(seed).normal(size=len(t)) * 0.02
    return ((tone / 4 + noise) * 8000).astype(np.int16)


def test_eight_seconds_are_the_251_frames_of_the_paper():
    assert features.compute(_voice(8.0), LOOPQ).shape == (251, 40 + 12 + 128)
    assert LOOPQ.frames(8.0) == 251


def test_the_means_of_p3_fit_its_128_inputs():
    assert SMOTE.width == 120


def test_songs_keep_librosas_window_and_hop_in_milliseconds():
    assert SONG.window_samples / RATE == pytest.approx(2048 / 22050, rel=1e-3)
    assert SONG.hop_samples / RATE == pytest.approx(512 / 22050, rel=2e-3)


def test_columns_hold_what_librosa_gives_for_each_feature_alone():
    samples = _voice()
    sound = samples.astype(np.float32) / 32768
    frames = features.compute(samples, PaperParameters(mfcc=13, deltas=2, chroma=12, mel=128))
    parameters = PaperParameters(mfcc=13, deltas=2, chroma=12, mel=128)
    cepstrum = librosa.feature.mfcc(y=sound, sr=RATE, n_mfcc=13)
    wanted = np.concatenate([cepstrum, librosa.feature.delta(cepstrum), librosa.feature.delta(cepstrum, order=2)])
    np.testing.assert_allclose(frames[:, parameters.columns("mfcc")].T, wanted, atol=1e-2)
    chroma = librosa.feature.chroma_stft(y=sound, sr=RATE, tuning=0.0)
    np.testing.assert_allclose(frames[:, parameters.columns("chroma")].T, chroma, atol=1e-4)
    mel = librosa.power_to_db(librosa.feature.melspectrogram(y=sound, sr=RATE))
    np.testing.assert_allclose(frames[:, parameters.columns("mel")].T, mel, atol=1e-3)


def test_chroma_hears_the_note():
    frames = features.compute(_voice(pitch_hz=440.0), PaperParameters(chroma=12))
    assert frames.mean(axis=0).argmax() == 9  # A


def test_a_clip_shorter_than_a_difference_still_has_features():
    frames = features.compute(_voice(0.1), SMOTE)
    assert frames.shape == (4, 120)
    assert np.isfinite(frames).all()


@pytest.mark.parametrize("gain", [1.0, 0.002], ids=["loud", "near -100 dB"])
def test_padding_with_silence_is_what_padded_sound_gives(gain):
    clip = (_voice(1.0) * gain).astype(np.int16)
    padded_sound = features.compute(np.concatenate([clip, np.zeros(RATE, np.int16)]), LOOPQ)
    frames = features.compute(clip, LOOPQ)
    padded = features.pad([frames], len(padded_sound), [features.silence_after(frames, LOOPQ)])[0]
    tail = slice(LOOPQ.frames(1.0) + 4, None)
    np.testing.assert_allclose(padded[tail], padded_sound[tail], rtol=1e-3, atol=1e-2)


def test_pad_cuts_long_clips_and_fills_short_ones():
    clips = [np.ones((3, 2), np.float32), np.full((6, 2), 2, np.float32)]
    padded = features.pad(clips, 4, -1.0)
    np.testing.assert_array_equal(padded[0, :, 0], [1, 1, 1, -1])
    np.testing.assert_array_equal(padded[1, :, 0], [2, 2, 2, 2])


def test_coarser_means_by_hand():
    clip = np.arange(10, dtype=np.float32).reshape(5, 2)
    np.testing.assert_array_equal(features.coarser([clip], 2)[0], [[1, 2], [5, 6]])
    np.testing.assert_array_equal(features.coarser([clip[:1]], 2)[0], [[0, 1]])
    assert features.coarser([clip], 1)[0] is clip


def test_scaling_is_fitted_on_training_clips_and_only_applied_to_others():
    training = [np.array([[1.0, 5.0], [3.0, 5.0]], np.float32), np.array([[5.0, 5.0]], np.float32)]
    scaler = Scaler.fit(training)
    np.testing.assert_allclose(scaler.mean, [3, 5])
    np.testing.assert_allclose(scaler.deviation, [np.sqrt(8 / 3), 1])
    joined = np.concatenate([scaler.apply(clip) for clip in training])
    np.testing.assert_allclose(joined.mean(axis=0), 0, atol=1e-6)
    far = scaler.apply(np.array([[1000.0, 5.0]], np.float32))
    assert far[0, 0] > 600


@pytest.mark.parametrize("wrong", [{"deltas": 1}, {"mfcc": 13, "deltas": 3}, {}])
def test_parameters_without_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"deltas are|no feature"):
        PaperParameters(**wrong)
