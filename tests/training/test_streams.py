"""Alarms in streams, counted by hand."""

import numpy as np
import pytest

from training.judging import streams

pytestmark = pytest.mark.training

EVENTS = [(10.0, 12.0), (30.0, 33.0), (50.0, 51.0)]
DECIDED = [(11.0, 13.0), (34.5, 36.0), (60.0, 61.0), (65.0, 66.0), (100.0, 101.0)]


def test_a_stream_counted_by_hand() -> None:
    """Two of three events heard, after 1 s and 4.5 s; 60 and 65 s are one false alarm, 100 s another."""
    score = streams.judge(EVENTS, DECIDED, 1800)
    assert (score.events, score.heard, score.false_alarms) == (3, 2, 2)
    assert score.recall == pytest.approx(2 / 3)
    assert score.false_alarms_per_hour == pytest.approx(4)
    assert score.latencies_s == (1.0, 4.5)
    assert score.latency_s == pytest.approx(2.75)


def test_an_event_is_heard_once_and_a_standing_decision_at_once() -> None:
    score = streams.judge([(50.0, 60.0)], [(48.0, 52.0), (55.0, 56.0)], 3600)
    assert (score.heard, score.false_alarms, score.latencies_s) == (1, 0, (0.0,))


def test_after_the_grace_a_decision_is_a_false_alarm() -> None:
    late = streams.judge([(10.0, 12.0)], [(14.0, 15.0)], 3600)
    assert (late.heard, late.false_alarms) == (0, 1)
    assert np.isnan(late.latency_s)


def test_spells_from_changes() -> None:
    assert streams.spells([1, 2, 3, 4], [True, True, False, True], 9) == [(1, 3), (4, 9)]
    assert streams.spells([1, 2], [False, False], 9) == []


def test_streams_add_up() -> None:
    both = streams.together([streams.judge(EVENTS, DECIDED, 1800), streams.judge([], [], 1800)])
    assert (both.hours, both.events, both.false_alarms) == (1.0, 3, 2)
    assert both.false_alarms_per_hour == pytest.approx(2)
    assert np.isnan(streams.judge([], [], 0).recall)


def test_a_threshold_is_chosen_by_false_alarms_an_hour() -> None:
    times = np.arange(3600.0)
    danger = np.zeros(3600)
    danger[100:103] = 0.9  # the event
    danger[500] = 0.6  # two false alarms at .5
    danger[900] = 0.7
    scores = streams.sweep([(times, danger, [(100.0, 103.0)], 3600.0)], [0.5, 0.65, 0.8, 0.95])
    assert [score.false_alarms for score in scores] == [2, 1, 0, 0]
    assert [score.recall for score in scores] == [1, 1, 1, 0]
    assert streams.choose(scores, false_alarms_per_hour=1) == 2  # as much recall, calmer
    assert streams.choose(scores[:1], false_alarms_per_hour=1) == 0
