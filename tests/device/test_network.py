"""The network at work on the shipped package: the same whatever the chunking, level or neighbour."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.features import FRAME_SIZE, SAMPLE_RATE, features
from device.installed_models import chosen
from device.network import Network, classify, pooled
from device.package import Package, load
from device.view import ViewParameters
from device.wearer import Learner


def speech(seconds: float = 6.0, seed: int = 0) -> np.ndarray:
    """A made voice: harmonics of a wandering pitch in syllables, over faint noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 150 + 60 * np.sin(2.1 * time + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.clip(np.sin(2 * np.pi * 3 * time), 0, None)
    return (0.05 * voice + 0.001 * rng.normal(size=len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def package() -> Package:
    return load(chosen.shipped()[0])


@pytest.fixture(scope="module")
def network(package: Package) -> Network:
    return Network(package, "builtin")


def test_posteriors_are_probabilities_and_come_once_a_step(network: Network, package: Package) -> None:
    network.reset()
    frames = features(speech())
    told = network.push(frames)
    size = package.manifest.geometry.frames_per_step
    assert [posterior.frame for posterior in told] == list(range(size - 1, len(frames) // size * size, size))
    for posterior in told:
        assert posterior.emotions.sum() == pytest.approx(1, abs=1e-5)
        assert 0 < posterior.danger < 1


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(0, 90), min_size=1, max_size=20))
def test_any_chunking_gives_the_same_posteriors(network: Network, sizes: list[int]) -> None:
    frames = features(speech(4.0))
    network.reset()
    whole = network.push(frames)
    network.reset()
    told, at = [], 0
    for size in (*sizes, len(frames)):
        told += network.push(frames[at : at + size])
        at += size
    assert [p.danger for p in told] == pytest.approx([p.danger for p in whole], abs=1e-6)


def test_a_window_forgets_what_came_before_its_start(package: Package) -> None:
    network = Network(package, "builtin")
    geometry = package.manifest.geometry
    size = geometry.frames_per_step
    rng = np.random.default_rng(1)
    earlier = rng.normal(size=(geometry.window_steps * size, FRAME_SIZE)).astype(np.float32) * 9
    frames = features(speech(geometry.window_steps * size / 100 + 1))
    fresh = network.push(frames)
    network.reset()
    network.push(earlier)
    after = network.push(frames)
    # The window that is oldest hop_steps later began with these frames, as the fresh one did.
    same = slice(geometry.hop_steps, 2 * geometry.hop_steps)
    assert len(fresh) >= same.stop
    assert after[0].danger != pytest.approx(fresh[0].danger, abs=1e-6)
    assert [p.danger for p in after[same]] == pytest.approx([p.danger for p in fresh[same]], abs=1e-6)


def test_level_changes_nothing(network: Network) -> None:
    told = [classify(network, speech() * gain)[0] for gain in (0.1, 1.0, 3.0)]
    for other in told[1:]:
        np.testing.assert_allclose(other.emotions, told[0].emotions, atol=0.05)
        assert other.danger == pytest.approx(told[0].danger, abs=0.05)


def test_judging_a_clip_leaves_the_stream_as_it_was(network: Network) -> None:
    frames = features(speech())
    network.reset()
    whole = network.push(frames)
    network.reset()
    first = network.push(frames[:200])
    network.clip(features(speech(seed=3)))
    told = first + network.push(frames[200:])
    assert [p.danger for p in told] == [p.danger for p in whole]


@pytest.mark.parametrize("count", [0, 1, 399, 400, 4000])
def test_short_sound_gets_an_answer(network: Network, count: int) -> None:
    whole, steps = classify(network, speech()[:count])
    assert whole.emotions.sum() == pytest.approx(1, abs=1e-5)
    assert len(steps) >= 1


def test_long_sound_is_judged_in_windows(network: Network) -> None:
    long = network.clip(features(speech(21.0)))
    assert long.emotions.sum() == pytest.approx(1, abs=1e-5)


def test_a_wearer_changes_what_is_said_and_one_that_does_not_fit_does_not(package: Package) -> None:
    network = Network(package, "builtin")
    learner = Learner()
    learner.push(features(speech(4.0, seed=5)))
    nobody = network.clip(features(speech()))
    view = package.manifest.view
    network.wear(learner.wearer(view))
    assert network.wearer is not None
    assert np.abs(network.clip(features(speech())).emotions - nobody.emotions).max() > 1e-3
    other = ViewParameters(tuple(x + 1 for x in view.shift), view.scale, view.own_scale)
    network.wear(learner.wearer(other))
    assert network.wearer is None
    np.testing.assert_array_equal(network.clip(features(speech())).emotions, nobody.emotions)


def test_pooling_weighs_by_attention_and_survives_any() -> None:
    logits = np.array([[1.0, 0.0, 0.0], [3.0, 2.0, np.log(3)]], np.float32)
    np.testing.assert_allclose(pooled(logits), [2.5, 1.5], atol=1e-6)
    logits[:, -1] = (1e9, -1e9)
    assert np.isfinite(pooled(logits)).all()
