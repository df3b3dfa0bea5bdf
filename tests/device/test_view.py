"""The view: the same whatever the chunking, level-free without a wearer, relative to one with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.features import FRAME_SIZE
from device.view import F0, LEVEL, VIEW_SIZE, View, ViewParameters, sounding

PARAMETERS = ViewParameters((0.5,) * FRAME_SIZE, (20.0,) * FRAME_SIZE, (25.0,) * FRAME_SIZE)


def frames(count: int, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(count, FRAME_SIZE)) * 15
    made[:, F0] = np.abs(made[:, F0]) * (made[:, F0] > 0)
    return made.astype(np.float32)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=10), st.booleans())
def test_any_chunking_gives_the_same_view(sizes: list[int], knows: bool) -> None:
    means = frames(1, 7)[0] if knows else None
    whole, view, parts, at = frames(150), View(PARAMETERS, means), [], 0
    for size in (*sizes, 150):
        parts.append(view.push(whole[at : at + size]))
        at += size
    np.testing.assert_allclose(np.concatenate(parts), View(PARAMETERS, means).push(whole), atol=1e-6)


def test_a_louder_voice_looks_the_same_to_who_does_not_know_it() -> None:
    quiet = frames(100)
    loud = quiet.copy()
    loud[:, LEVEL] += 29  # 20 dB
    np.testing.assert_allclose(View(PARAMETERS).push(quiet), View(PARAMETERS).push(loud), atol=1e-5)
    means = quiet.mean(axis=0)
    known = (
        View(PARAMETERS, means).push(loud)[:, FRAME_SIZE + LEVEL]
        - View(PARAMETERS, means).push(quiet)[:, FRAME_SIZE + LEVEL]
    )
    assert known.mean() == pytest.approx(29 / 25, abs=0.01)


def test_the_wearers_half_is_zero_until_something_was_learned() -> None:
    nobody = View(PARAMETERS).push(frames(30))
    assert nobody.shape == (30, VIEW_SIZE)
    assert not nobody[:, FRAME_SIZE:].any()
    assert (View(PARAMETERS, frames(1)[0]).push(frames(30))[:, -1] == 1).all()


def test_numbers_stay_in_range_and_silence_does_not_drag_the_level() -> None:
    silence = np.zeros((100, FRAME_SIZE), np.float32)
    silence[:, LEVEL] = -228
    view = View(PARAMETERS)
    assert np.abs(view.push(silence)).max() <= 4
    assert np.abs(view.push(frames(50) * 10)).max() <= 4
    view.restart()
    np.testing.assert_array_equal(view.push(frames(20)), View(PARAMETERS).push(frames(20)))


def test_the_running_mean_counts_the_first_frame_six_times() -> None:
    values = np.zeros((2, FRAME_SIZE), np.float32)
    values[:, LEVEL] = (10, 24)
    told = View(PARAMETERS).push(values)[:, LEVEL] * 20
    np.testing.assert_allclose(told, [0, 24 - (6 * 10 + 24) / 7], atol=1e-5)


@pytest.mark.parametrize("bad", [(1.0,) * 3, (0.0,) * FRAME_SIZE])
def test_parameters_that_do_not_fit_are_refused(bad: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="view"):
        ViewParameters((0.0,) * FRAME_SIZE, bad, (1.0,) * FRAME_SIZE)


def test_sounding_leaves_the_quiet_ends_out() -> None:
    made = np.zeros((300, FRAME_SIZE), np.float32)
    made[:, LEVEL] = -200
    made[100:200, LEVEL] = -20
    assert sounding(made) == slice(90, 210)
    assert sounding(made[:0]) == slice(0, 0)
    assert sounding(made[:50]) == slice(0, 60)
