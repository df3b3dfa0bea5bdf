"""Every metric against a count made by hand."""

import numpy as np
import pandas as pd
import pytest

from training import evaluate
from training.corpora.clip import EMOTIONS

pytestmark = pytest.mark.training

TRUTH = ["angry", "angry", "angry", "fear", "fear", "neutral"]
TOLD = ["angry", "fear", "angry", "fear", "neutral", "neutral"]


def test_scores() -> None:
    scores = evaluate.score(TRUTH, TOLD)
    assert scores.clips == 6
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.uar == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert scores.f1_macro == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    assert scores.by_class.loc["angry"].tolist() == pytest.approx([1.0, 2 / 3, 0.8, 3])
    assert scores.by_class.loc["fear"].tolist() == pytest.approx([0.5, 0.5, 0.5, 2])
    assert scores.by_class.loc["neutral"].tolist() == pytest.approx([0.5, 1.0, 2 / 3, 1])
    assert scores.confusion.loc["angry", ["angry", "fear", "sad"]].tolist() == [2, 1, 0]
    assert scores.confusion.loc["fear", "neutral"] == 1
    assert scores.confusion.to_numpy().sum() == 6


def test_a_class_that_the_truth_lacks_counts_in_no_mean() -> None:
    scores = evaluate.score(["angry", "angry"], ["angry", "sad"])
    assert scores.uar == pytest.approx(0.5)
    assert scores.f1_macro == pytest.approx(2 / 3)


def test_the_best_of_the_allowed_classes() -> None:
    probabilities = np.array([[0.1, 0.6, 0.3], [0.5, 0.1, 0.4]])
    assert list(evaluate.best_of(probabilities, ["fear", "scream", "sad"], ["fear", "sad"])) == ["sad", "fear"]


def test_groups() -> None:
    table = evaluate.by_group(["f", "f", "m", "m", "", ""], TRUTH, TOLD)
    assert list(table.index) == ["f", "m"]
    assert table.loc["f"].tolist() == pytest.approx([2, 0.5, 0.5, 2 / 3])
    assert table.loc["m"].tolist() == pytest.approx([2, 1, 1, 1])


def test_calibration_error() -> None:
    confidence = np.array([0.4, 0.5, 0.9, 0.7, 1.0])
    right = np.array([True, False, True, False, True])
    # (0, .5]: accuracy .5, confidence .45; (.5, 1]: accuracy 2/3, confidence 2.6/3
    assert evaluate.calibration_error(confidence, right, bins=2) == pytest.approx(0.4 * 0.05 + 0.6 * 0.2)
    assert evaluate.calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0


DANGER = np.array([True, True, False, False, False])
SCORES = np.array([0.9, 0.4, 0.5, 0.3, 0.2])


def test_danger_areas() -> None:
    assert evaluate.roc_area(DANGER, SCORES) == pytest.approx(5 / 6)
    assert evaluate.average_precision(DANGER, SCORES) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert np.isnan(evaluate.roc_area(DANGER[:2], SCORES[:2]))
    assert list(evaluate.is_danger(["angry", "fear", "scream", *EMOTIONS[3:]])) == [True] * 3 + [False] * 3


def test_danger_curves() -> None:
    curves = evaluate.danger_curves(DANGER, SCORES)
    points = set(zip(curves["false_positive"].round(4), curves["true_positive"].round(4), strict=True))
    assert {(0.0, 0.5), (0.3333, 1.0), (1.0, 1.0)} <= points
    pairs = set(zip(curves["recall"].round(4), curves["precision"].round(4), strict=True))
    assert {(0.5, 1.0), (1.0, 0.6667)} <= pairs


def test_bootstrap_draws_speakers() -> None:
    right = np.array([1.0] * 50 + [0.0] * 50)
    whole = evaluate.bootstrap(lambda rows: float(right[rows].mean()), ["a"] * 50 + ["b"] * 50, rounds=400)
    assert (whole.value, whole.low, whole.high) == (0.5, 0.0, 1.0)  # two voices prove nothing
    one = evaluate.bootstrap(lambda rows: float(right[rows].mean()), ["a"] * 100, rounds=50)
    assert (one.low, one.high) == (0.5, 0.5)
    alone = evaluate.bootstrap(lambda rows: float(right[rows].mean()), [""] * 100, rounds=400)
    assert 0.38 < alone.low < 0.45
    assert 0.55 < alone.high < 0.62


def test_the_danger_table_by_corpus() -> None:
    clips = pd.DataFrame(
        {
            "corpus": ["A"] * 5 + ["B"] * 5 + ["C"] * 2,
            "speaker": ["a1", "a2", "a1", "a2", "a1"] + ["b1"] * 5 + ["c"] * 2,
            "emotion": ["angry", "fear", "sad", "happy", "neutral"] * 2 + ["sad", "sad"],
        }
    )
    scores = np.concatenate([SCORES, [0.9, 0.8, 0.1, 0.2, 0.3], [0.0, 0.1]])
    table = evaluate.danger_table(clips, scores, rounds=50)
    assert list(table.index) == ["A", "B", "all"]  # C has one side only
    assert table.loc["A", ["clips", "danger"]].tolist() == [5, 2]
    assert table.loc["A", "auc"] == pytest.approx(5 / 6)
    assert table.loc["B", "auc"] == 1
    assert table.loc["B", ["auc_low", "auc_high", "ap_low", "ap_high"]].isna().all()  # one voice
    assert table.loc["A", "auc_low"] <= table.loc["A", "auc"] <= table.loc["A", "auc_high"]


def test_a_threshold_from_the_calm_clips() -> None:
    scores = np.array([0.9, 0.5, 0.3, 0.2, 0.1])
    danger = np.array([True, False, False, False, False])
    for share, alarms in ((0.0, 0), (0.25, 1), (0.49, 1), (0.5, 2), (1.0, 4)):
        threshold = evaluate.threshold_for(danger, scores, false_alarm_share=share)
        assert (scores[~danger] >= threshold).sum() == alarms
