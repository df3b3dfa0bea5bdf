"""From danger to Decision: smoothed over seconds, n of the last m, hysteresis."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.decision import Decider, Decision, DecisionParameters
from device.errors import BadDataError
from device.settings.sections import DecisionSection

PLAIN = DecisionParameters(threshold=0.6, release=0.4, smooth_s=0.0, n=1, m=1)


def run(parameters: DecisionParameters, dangers: list[float], step_s: float = 0.1) -> list[Decision]:
    decider = Decider(parameters)
    return [decider.update(index * step_s, danger) for index, danger in enumerate(dangers)]


def test_danger_begins_at_the_threshold_and_ends_below_release() -> None:
    decisions = run(PLAIN, [0.59, 0.6, 0.5, 0.4, 0.39, 0.59])
    assert [decision.danger for decision in decisions] == [False, True, True, True, False, False]
    assert [decision.changed for decision in decisions] == [False, True, False, False, True, False]
    assert [decision.calm for decision in decisions] == [False, False, False, False, True, False]


def test_n_of_the_last_m_steps_must_be_over() -> None:
    parameters = DecisionParameters(threshold=0.6, release=0.1, smooth_s=0.0, n=3, m=5)
    assert [d.danger for d in run(parameters, [0.9, 0.2, 0.9, 0.2, 0.9])] == [False] * 4 + [True]
    assert not any(d.danger for d in run(parameters, [0.9, 0.2, 0.2, 0.9, 0.2, 0.2] * 5))


def test_smoothing_is_the_mean_of_the_last_seconds_whatever_the_step() -> None:
    parameters = DecisionParameters(threshold=0.6, release=0.4, smooth_s=1.0, n=1, m=1)
    for step_s in (0.05, 0.1, 0.25):
        decisions = run(parameters, [0.0] * round(2 / step_s) + [1.0] * round(2 / step_s), step_s)
        first = next(index for index, decision in enumerate(decisions) if decision.danger)
        assert first * step_s == pytest.approx(2.0 + 0.6, abs=step_s + 1e-9)
        assert decisions[-1].score == 1.0


def test_seconds_over_counts_time_at_the_threshold_since_the_last_calm() -> None:
    decisions = run(PLAIN, [0.1, 0.7, 0.7, 0.5, 0.7, 0.1, 0.7])
    assert [round(d.seconds_over, 6) for d in decisions] == [0, 0.1, 0.2, 0.2, 0.3, 0, 0.1]


def test_after_a_reset_nothing_is_left() -> None:
    decider = Decider(PLAIN)
    decider.update(0.0, 1.0)
    decider.reset()
    assert decider.update(9.0, 0.5) == Decision(
        danger=False, score=0.5, changed=False, calm=False, seconds_over=0
    )


@pytest.mark.parametrize("danger", [math.nan, math.inf, -0.1, 1.1])
def test_what_is_no_probability_is_never_taken_for_calm(danger: float) -> None:
    with pytest.raises(ValueError, match="not a probability"):
        Decider(PLAIN).update(0.0, danger)


@pytest.mark.parametrize("wrong", [{"release": 0.7}, {"release": 0.0}, {"n": 2}, {"threshold": 0.3}])
def test_parameters_that_never_decide_or_never_end_are_refused(wrong: dict[str, float]) -> None:
    fields = {"threshold": 0.6, "release": 0.4, "smooth_s": 0.0, "n": 1, "m": 1} | wrong
    with pytest.raises(BadDataError):
        DecisionParameters(**fields)


def test_the_configuration_overrides_what_it_sets_alone() -> None:
    assert PLAIN.overridden(DecisionSection()) == PLAIN
    lower = PLAIN.overridden(DecisionSection(threshold=0.3, smooth_s=2.0, n=2, m=3))
    assert lower == DecisionParameters(threshold=0.3, release=0.3, smooth_s=2.0, n=2, m=3)


steps = st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0, 1)), max_size=60)


@given(steps, st.floats(0, 3), st.integers(1, 5), st.integers(0, 5))
def test_a_decision_is_never_at_odds_with_its_score(
    steps: list[tuple[float, float]], smooth_s: float, n: int, more: int
) -> None:
    decider = Decider(DecisionParameters(threshold=0.6, release=0.4, smooth_s=smooth_s, n=n, m=n + more))
    t_s, before = 0.0, False
    for elapsed_s, danger in steps:
        t_s += elapsed_s
        decision = decider.update(t_s, danger)
        assert 0.0 <= decision.score <= 1.0
        assert decision.changed == (decision.danger != before)
        assert not (decision.danger and decision.calm)
        if decision.danger and not before:
            assert decision.score >= 0.4
        if before and decision.score >= 0.4:
            assert decision.danger
        before = decision.danger


@given(steps)
def test_more_danger_is_never_decided_later(steps: list[tuple[float, float]]) -> None:
    parameters = DecisionParameters(threshold=0.6, release=0.4, smooth_s=0.5, n=2, m=4)
    lower, higher = Decider(parameters), Decider(parameters)
    t_s, seen = 0.0, False
    for elapsed_s, danger in steps:
        t_s += elapsed_s
        seen = seen or higher.update(t_s, min(1.0, danger + 0.1)).danger
        if lower.update(t_s, danger).danger:
            assert seen
