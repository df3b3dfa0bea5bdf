"""Settings are chosen on streams: within their limits, catching the most, or the nearest there is."""

import numpy as np
import pytest

from device.manifest import Calibration
from training.judging import card
from training.judging.decide import LIMITS, Measured, Track, calibrate, choose
from training.judging.streams import StreamScore

pytestmark = pytest.mark.training


def track(kind: str, danger: list[float], events: tuple[tuple[float, float], ...] = ()) -> Track:
    """Danger once a second, held for five steps."""
    values = np.repeat(danger, 5)
    return Track(kind, np.arange(len(values)) / 5, values, events, len(values) / 5)


def tracks(calm: float, loud: float) -> list[Track]:
    """An hour of life, ten minutes of acting that is seldom as loud as danger, and twenty dangers."""
    life = [calm] * 3600
    acted = ([calm] * 59 + [loud * 0.7]) * 10
    dangers = [track("danger:fear", [calm] * 4 + [loud] * 4 + [calm] * 4, ((4.0, 8.0),)) for _ in range(20)]
    return [track("life", life), track("acted", acted), *dangers]


def test_separable_danger_is_caught_whole_without_a_false_alarm() -> None:
    chosen = choose(tracks(0.1, 0.95), Calibration())
    assert set(chosen.sensitivities) == set(LIMITS)
    for setting in chosen.sensitivities.values():
        assert setting.recall == 1.0
        assert setting.false_alarms_per_hour == 0.0
        assert setting.release < setting.threshold


def test_where_nothing_keeps_the_limits_the_nearest_is_taken() -> None:
    restless = [track("life", [0.99, 0.0] * 300), *tracks(0.1, 0.5)[1:]]
    chosen = choose(restless, Calibration())
    assert all(setting.false_alarms_per_hour is not None for setting in chosen.sensitivities.values())


def test_a_more_sensitive_setting_catches_no_less() -> None:
    rng = np.random.default_rng(0)
    noisy = [
        track("life", list(rng.beta(1, 8, 2000))),
        track("acted", list(rng.beta(2, 6, 1000))),
        *(track("danger:angry", list(rng.beta(4, 3, 8)), ((2.0, 8.0),)) for _ in range(40)),
    ]
    settings = choose(noisy, Calibration()).sensitivities
    recalls = [settings[name].recall for name in ("fewer-alarms", "balanced", "catch-more")]
    assert recalls == sorted(recalls)


def test_calibration_makes_logits_probabilities() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=20000).astype(np.float32) * 2
    danger = rng.random(20000) < 1 / (1 + np.exp(-(1.5 * logits - 0.7)))
    told = calibrate(logits, danger)
    assert told.scale == pytest.approx(1.5, abs=0.1)
    assert told.bias == pytest.approx(-0.7, abs=0.1)


def test_the_card_names_the_licences_of_what_was_learned_from_alone() -> None:
    chosen = choose(tracks(0.1, 0.95), Calibration())
    counted = StreamScore(1.0, events=2, heard=1, false_alarms=0, latencies_s=(1.5,), after_end_s=(0.5,))
    streams = dict.fromkeys(chosen.sensitivities, Measured(counted, counted, counted).told())

    everything = card.body(chosen, {"validation": {}}, streams)
    assert "CC BY-NC-SA 4.0" in everything
    assert "non-commercial" in everything

    free = card.body(chosen, {"validation": {}}, streams, [name for name, _, _ in card.FREE if name != "Rooms/"])
    assert "-NC-" not in free
    assert "no scream" in free

    own = card.body(chosen, {"validation": {}}, streams, ["CREMA-D/", "Mine/"])
    assert "| Mine/ |  | ask its publisher |" in own
    assert "any use" not in own
