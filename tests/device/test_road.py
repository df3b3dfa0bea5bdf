"""The main road: times, gaps, silence, and the same answers whatever the chunks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.audio import SAMPLE_RATE, Chunk
from device.bench import made_sound
from device.config import Config
from device.decision import DecisionParameters
from device.hearing.gate import SilenceGate
from device.hearing.road import Road, decision_parameters, loudness_dbfs
from device.installed_models import chosen, golden
from device.settings.sections import DecisionSection

PACKAGE = chosen.in_force(Config())
PARAMETERS = DecisionParameters(threshold=0.5, release=0.3, smooth_s=1.0, n=2, m=3)
SOUND = made_sound(6)


def road(gate=None):
    return Road(golden.open_network(PACKAGE), PARAMETERS, gate)


def drive(one, sound, cuts, begins=0.0):
    heard, at = [], 0
    for cut in [*cuts, len(sound)]:
        if cut > at:
            heard += one.push(Chunk(sound[at:cut], begins + cut / SAMPLE_RATE))
            at = cut
    return heard


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, len(SOUND) - 1), max_size=40).map(sorted))
def test_the_same_sound_gives_the_same_whatever_the_chunks(cuts):
    whole = drive(road(), SOUND, [])
    cut = drive(road(), SOUND, cuts)
    assert [round(one.t_s, 6) for one in cut] == [round(one.t_s, 6) for one in whole]
    np.testing.assert_allclose(
        [one.posterior.danger for one in cut], [one.posterior.danger for one in whole], atol=0.02
    )


@pytest.mark.parametrize("begins", [0.0, 1e6])
def test_times_count_from_the_clock_of_the_chunks(begins):
    heard = drive(road(), SOUND, range(1600, len(SOUND), 1600), begins)
    times = np.array([one.t_s for one in heard]) - begins
    seconds = golden.open_network(PACKAGE).seconds_per_step
    np.testing.assert_allclose(np.diff(times), seconds, atol=1e-6)
    # A step is known once its last window is whole: 15 ms after its last hop.
    assert times[0] == pytest.approx(seconds + 0.015, abs=1e-6)


def test_after_a_gap_it_hears_as_if_new():
    one = road()
    drive(one, made_sound(3), range(1600, 48_000, 1600))
    after = one.push(Chunk(SOUND[:48_000], 100.0, gap=True))
    fresh = road().push(Chunk(SOUND[:48_000], 100.0))
    assert [a.posterior.danger for a in after] == [b.posterior.danger for b in fresh]
    assert after[0].t_s == fresh[0].t_s


def test_silence_ends_danger_and_spares_the_network():
    one = Road(golden.open_network(PACKAGE), PARAMETERS, SilenceGate())
    quiet = np.random.default_rng(2).normal(0, 10, 20 * SAMPLE_RATE).astype(np.int16)
    heard = drive(one, quiet, range(1600, len(quiet), 1600))
    assert heard[0].posterior is not None
    assert heard[-1].posterior is None
    assert heard[-1].decision.score == 0.0
    # What the network hears after it is the sound's own beginning, and no time runs backwards.
    later = []
    for start in range(0, len(SOUND), 1600):
        later += one.push(Chunk(SOUND[start : start + 1600], 20 + (start + 1600) / SAMPLE_RATE))
    assert any(each.posterior is not None for each in later)
    assert 25.5 <= one.stepped_at <= 26.0


def test_loudness():
    assert loudness_dbfs(np.full(1600, 32_767, np.int16)) == pytest.approx(0, abs=0.01)
    assert loudness_dbfs(np.zeros(1600, np.int16)) == -120
    assert loudness_dbfs(np.zeros(0, np.int16)) == -120


def test_the_configuration_chooses_and_overrides():
    import msgspec

    config = Config()
    named = PACKAGE.manifest.decision.sensitivities["balanced"]
    assert decision_parameters(PACKAGE.manifest, config).threshold == named.threshold
    stricter = msgspec.structs.replace(config, decision=DecisionSection(threshold=0.95, n=3, m=3))
    assert decision_parameters(PACKAGE.manifest, stricter).threshold == 0.95


def test_an_event_tells_of_the_strongest_step_that_the_decision_averages():
    one = road()
    heard = [told for told in drive(one, SOUND, [1600]) if told.posterior is not None]
    smooth_s = one.decider.parameters.smooth_s
    for at, told in enumerate(heard):
        averaged = [each for each in heard[: at + 1] if each.t_s > told.t_s - smooth_s]
        assert told.strongest.posterior.danger == max(each.posterior.danger for each in averaged)
    assert any(told.strongest.t_s < told.t_s for told in heard)
