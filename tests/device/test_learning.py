"""Learning on: bounded whatever it hears, and only from the wearer in calm hours."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.features import FRAME_SIZE
from device.view import F0, LEVEL, LEVEL_PER_DB, VOICING, ViewParameters
from device.voice.learning import HOUR_S, Apprentice, LearningRules, drift
from device.wearer import Wearer, digest

SPREAD = np.linspace(0.5, 2.0, FRAME_SIZE)
VIEW = ViewParameters((0.0,) * FRAME_SIZE, (1.0,) * FRAME_SIZE, tuple(SPREAD.tolist()))
MEANS = np.linspace(-3.0, 3.0, FRAME_SIZE)
MEANS[[LEVEL, F0, VOICING]] = -40.0, 18.0, 0.8
KNOWN = Wearer(tuple(MEANS.tolist()), 60.0, digest(VIEW), "mic")
BAR = 0.2
RULES = LearningRules()


def voice(off: np.ndarray | float = 0.0, frames: int = 150) -> np.ndarray:
    heard = np.tile(MEANS + off, (frames, 1)).astype(np.float32)
    heard[:, VOICING] = 0.8
    return heard


def listen(
    apprentice: Apprentice,
    since_s: float,
    seconds: int,
    off: np.ndarray | float,
    danger: float = 0.0,
    calm: bool = True,
) -> float:
    """Somebody speaks for a while; the time after."""
    for at in range(0, seconds, 2):
        apprentice.hear(voice(off))
        apprentice.judged(since_s + at + 2, danger, calm=calm)
    return since_s + seconds


def coloured(share: float) -> np.ndarray:
    """The wearer with a cold: every coefficient off by a share of its spread."""
    off = np.zeros(FRAME_SIZE)
    off[1:F0] = share * SPREAD[1:F0]
    return off


def test_a_voice_that_changed_a_little_is_followed_but_no_further_than_an_hour_allows():
    apprentice = Apprentice(KNOWN, VIEW, BAR)
    listen(apprentice, 0.0, 3000, coloured(0.15))
    moved = (apprentice.means - MEANS)[1:F0] / SPREAD[1:F0]
    np.testing.assert_allclose(moved, RULES.most_per_hour, atol=1e-6)


def test_after_many_hours_it_arrives_at_the_voice_and_stays_there():
    apprentice = Apprentice(KNOWN, VIEW, BAR)
    now, known = 0.0, KNOWN
    for _ in range(6):
        now = listen(apprentice, now, 3700, coloured(0.12))
        known = apprentice.grown(now) or known
    assert np.allclose((np.array(known.means) - MEANS)[1:F0] / SPREAD[1:F0], 0.12, atol=0.01)
    assert known.start == KNOWN.means
    assert known.learned_s > 600
    assert drift(known, VIEW) == pytest.approx(0.12, abs=0.01)


@pytest.mark.parametrize(
    "off",
    [
        {LEVEL: 1.2 * RULES.near_db * LEVEL_PER_DB},
        {LEVEL: -1.2 * RULES.near_db * LEVEL_PER_DB},
        {F0: 1.2 * RULES.pitch_semitones},
        {F0: -1.2 * RULES.pitch_semitones},
        dict.fromkeys(range(1, F0), 5.0),
    ],
    ids=["louder", "farther", "higher", "lower", "another voice"],
)
def test_who_is_not_the_wearer_teaches_nothing(off):
    apprentice = Apprentice(KNOWN, VIEW, BAR)
    change = np.zeros(FRAME_SIZE)
    for at, value in off.items():
        change[at] = value
    now = listen(apprentice, 0.0, 4000, change)
    assert apprentice.grown(now) is None
    np.testing.assert_array_equal(apprentice.means, MEANS)


def test_danger_after_the_stretch_undoes_it_as_danger_before_it_does():
    apprentice = Apprentice(KNOWN, VIEW, BAR)
    now = listen(apprentice, 0.0, 50, coloured(0.1))
    apprentice.judged(now + 1, BAR + 0.01, calm=True)
    now = listen(apprentice, now + 2, 56, coloured(0.1))
    now = listen(apprentice, now, 200, 0.0)
    np.testing.assert_allclose(apprentice.means, MEANS, atol=1e-5)


@pytest.mark.parametrize(("danger", "calm"), [(BAR + 0.01, True), (0.0, False)], ids=["above the bar", "an alert"])
def test_an_hour_of_danger_teaches_nothing(danger, calm):
    apprentice = Apprentice(KNOWN, VIEW, BAR)
    now = listen(apprentice, 0.0, 4000, coloured(0.1), danger, calm)
    assert apprentice.grown(now) is None
    np.testing.assert_array_equal(apprentice.means, MEANS)


def test_after_an_alert_it_waits_for_the_calm():
    apprentice = Apprentice(KNOWN, VIEW, BAR)
    apprentice.judged(0.0, 0.0, calm=False)
    now = listen(apprentice, 0.0, int(RULES.calm_after_s) - 2, coloured(0.1))
    listen(apprentice, now, int(RULES.wait_s) - 2, 0.0)
    np.testing.assert_array_equal(apprentice.means, MEANS)


def test_where_mainly_others_talk_the_one_that_is_like_the_wearer_teaches_nothing():
    apprentice = Apprentice(KNOWN, VIEW, BAR)
    now = 0.0
    for _ in range(400):
        now = listen(apprentice, now, 6, coloured(0.6))
        now = listen(apprentice, now, 2, coloured(0.1))
    np.testing.assert_array_equal(apprentice.means, MEANS)


def test_voice_thinly_spread_over_a_long_time_counts_for_nothing():
    apprentice = Apprentice(KNOWN, VIEW, BAR)
    silence = voice(coloured(0.1), 650)
    silence[:, VOICING] = 0.0
    now = 0.0
    for _ in range(100):
        apprentice.hear(voice(coloured(0.1), 140))
        apprentice.hear(silence)
        now += 8
        apprentice.judged(now, 0.0, calm=True)
    np.testing.assert_array_equal(apprentice.means, MEANS)


def test_a_gap_ends_the_stretch():
    apprentice = Apprentice(KNOWN, VIEW, BAR)
    for at in range(200):
        apprentice.hear(voice(coloured(0.1), 140))
        apprentice.reset()
        apprentice.judged(2.0 * at, 0.0, calm=True)
    np.testing.assert_array_equal(apprentice.means, MEANS)


def test_it_is_told_once_an_hour_at_most_and_a_restart_forgets_the_hour_that_was_begun():
    apprentice = Apprentice(KNOWN, VIEW, BAR)
    now = listen(apprentice, 0.0, int(HOUR_S) - 10, coloured(0.15))
    assert apprentice.grown(now) is None
    known = apprentice.grown(now + 20)
    assert known is not None
    assert apprentice.grown(now + 40) is None
    again = Apprentice(msgspec.convert(msgspec.to_builtins(known), Wearer), VIEW, BAR)
    np.testing.assert_allclose(again.means, known.means)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 1.0), st.integers(1, 12))
def test_whatever_is_heard_the_means_stay_within_both_bounds(seed, boldness, hours):
    """Rules that let everybody through: what is left are the bounds themselves, also over restarts."""
    rng = np.random.default_rng(seed)
    careless = LearningRules(near_db=1e9, pitch_semitones=1e9, likeness=1e9, wait_s=0.0, memory_s=3.0, company_least=1)
    known, now = KNOWN, 0.0
    for _ in range(hours):
        apprentice = Apprentice(known, VIEW, 1.0, careless)
        before = np.array(known.means)
        apprentice.judged(now, 0.0, calm=True)
        for _ in range(8):
            apprentice.hear(voice(rng.normal(scale=10 * boldness, size=FRAME_SIZE)))
            now += 500
            apprentice.judged(now, float(rng.random()), calm=True)
            assert np.all(np.abs(apprentice.means - before) <= careless.most_per_hour * SPREAD + 1e-5)
        known = apprentice.grown(now) or known
        moved = np.abs(np.array(known.means) - MEANS) / SPREAD
        assert moved.max() <= careless.most_in_all + 1e-5
        assert drift(known, VIEW) <= careless.most_in_all + 1e-5


def test_a_danger_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="not a probability"):
        Apprentice(KNOWN, VIEW, BAR).judged(0.0, float("nan"), calm=True)
