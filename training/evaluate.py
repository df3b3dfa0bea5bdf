"""What a network is worth: every figure that this project quotes, by one definition each.

Truth and prediction come as arrays; groups, speakers and streams as labels beside them. Whoever quotes a figure says
with it: all corpora here are acted or crowd-made; nothing is spontaneous fear.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

from training.corpora.clip import DANGER, EMOTIONS

Labels = Sequence[str] | NDArray[Any] | pd.Series


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of one classification, over the classes that the truth has."""

    clips: int
    accuracy: float
    uar: float
    """Unweighted average recall: the mean of the classes' recalls."""
    f1_macro: float
    by_class: pd.DataFrame
    """Index: class; columns precision, recall, f1, support."""
    confusion: pd.DataFrame
    """Rows are the truth, columns what was predicted, in numbers of clips."""


def score(truth: Labels, predicted: Labels, classes: Sequence[str] = EMOTIONS) -> Scores:
    """Accuracy, UAR, macro F1, figures by class and the confusion of `classes`.

    Classes that the truth lacks count in none of the means (a corpus without disgust is not wrong about it); clips of
    another truth than `classes` must be left out before.
    """
    truth, predicted = np.asarray(truth, object), np.asarray(predicted, object)
    there = [name for name in classes if (truth == name).any()]
    precision, recall, f1, support = precision_recall_fscore_support(
        truth.astype(str), predicted.astype(str), labels=there, zero_division=0.0
    )
    by_class = pd.DataFrame(
        {"precision": precision, "recall": recall, "f1": f1, "support": support}, index=pd.Index(there, name="class")
    )
    counts = confusion_matrix(truth.astype(str), predicted.astype(str), labels=list(classes))
    return Scores(
        clips=len(truth),
        accuracy=float(np.mean(truth == predicted)),
        uar=float(np.mean(recall)),
        f1_macro=float(np.mean(f1)),
        by_class=by_class,
        confusion=pd.DataFrame(counts, index=list(classes), columns=list(classes)),
    )


def best_of(probabilities: NDArray[np.floating], classes: Sequence[str], allowed: Sequence[str]) -> NDArray[Any]:
    """The most probable of the `allowed` classes for each row of (n, classes): names (n,)."""
    numbers = [list(classes).index(name) for name in allowed]
    return np.array(allowed, object)[np.asarray(probabilities)[:, numbers].argmax(axis=1)]


def by_group(groups: Labels, truth: Labels, predicted: Labels, classes: Sequence[str] = EMOTIONS) -> pd.DataFrame:
    """clips, accuracy, uar, f1_macro for each group (speaker, sex, corpus, language, intensity); "" stays out."""
    frame = pd.DataFrame({"group": np.asarray(groups), "truth": np.asarray(truth), "told": np.asarray(predicted)})
    rows = {}
    for name, some in frame[frame["group"] != ""].groupby("group"):
        scores = score(some["truth"], some["told"], classes)
        rows[name] = {
            "clips": scores.clips,
            "accuracy": scores.accuracy,
            "uar": scores.uar,
            "f1_macro": scores.f1_macro,
        }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["clips", "accuracy", "uar", "f1_macro"])


def calibration_error(confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error: |accuracy - mean confidence| of equal-width bins, weighted by their clips.

    A confidence on an edge belongs to the bin below it (Guo et al., 2017).
    """
    confidence = np.asarray(confidence, np.float64)
    right = np.asarray(right, np.float64)
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    error = 0.0
    for at in np.unique(number):
        some = number == at
        error += some.mean() * abs(right[some].mean() - confidence[some].mean())
    return float(error)


def is_danger(emotions: Labels) -> NDArray[np.bool_]:
    """Anger, fear and screams are danger."""
    return np.isin(np.asarray(emotions, object).astype(str), DANGER)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def bootstrap(
    figure: Callable[[NDArray[np.int64]], float],
    speakers: Labels,
    *,
    rounds: int = 1000,
    seed: int = 0,
) -> Interval:
    """A figure of clips (given as row numbers) with its interval over speakers drawn again with replacement.

    Clips of one voice err together, so speakers are drawn, not clips; "" counts as a speaker of its own for each clip.
    Rounds in which the figure does not exist (one side only) are left out.
    """
    owner = np.array([name or f"#{row}" for row, name in enumerate(np.asarray(speakers, object))], object)
    names, number = np.unique(owner.astype(str), return_inverse=True)
    rows = [np.flatnonzero(number == at) for at in range(len(names))]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(rounds):
        value = figure(np.concatenate([rows[at] for at in rng.integers(0, len(rows), len(rows))]))
        if np.isfinite(value):
            drawn.append(value)
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (np.nan, np.nan)
    return Interval(float(figure(np.arange(len(owner)))), float(low), float(high))


def roc_area(danger: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """Area under the ROC curve; nan where the truth has one side only."""
    return float(roc_auc_score(danger, scores)) if 0 < danger.sum() < len(danger) else float("nan")


def average_precision(danger: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """Area under the precision-recall curve as average precision; nan without a positive."""
    return float(average_precision_score(danger, scores)) if danger.any() else float("nan")


def danger_curves(danger: NDArray[np.bool_], scores: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
    """ROC (`false_positive`, `true_positive`) and precision-recall (`precision`, `recall`) curves."""
    false_positive, true_positive, _ = roc_curve(danger, scores)
    precision, recall, _ = precision_recall_curve(danger, scores)
    return {
        "false_positive": false_positive,
        "true_positive": true_positive,
        "precision": precision,
        "recall": recall,
    }


def danger_table(
    clips: pd.DataFrame, scores: NDArray[np.floating], *, by: str = "corpus", rounds: int = 500
) -> pd.DataFrame:
    """ROC area and average precision of danger for each group of judged clips, with intervals over speakers
    (none where only one speaks).

    `clips` needs emotion, speaker and the column `by`; rows whose emotion is no judged class must be left out before.
    """
    danger, scores = is_danger(clips["emotion"]), np.asarray(scores, np.float64)
    groups = [(str(name), np.flatnonzero(clips[by] == name)) for name in sorted(clips[by].unique()) if name != ""]
    rows = {}
    for name, at in [*groups, ("all", np.arange(len(clips)))]:
        some, told = danger[at], scores[at]
        if not 0 < some.sum() < len(some):
            continue
        speakers = clips["speaker"].to_numpy()[at]
        area = bootstrap(lambda r, s=some, t=told: roc_area(s[r], t[r]), speakers, rounds=rounds)
        precision = bootstrap(lambda r, s=some, t=told: average_precision(s[r], t[r]), speakers, rounds=rounds)
        # One voice drawn again is the same voice: that is no interval.
        several = speakers[0] == "" or len(set(speakers)) > 1
        rows[name] = {
            "clips": len(at),
            "danger": int(some.sum()),
            "auc": area.value,
            "auc_low": area.low if several else np.nan,
            "auc_high": area.high if several else np.nan,
            "average_precision": precision.value,
            "ap_low": precision.low if several else np.nan,
            "ap_high": precision.high if several else np.nan,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def threshold_for(danger: NDArray[np.bool_], scores: NDArray[np.floating], *, false_alarm_share: float) -> float:
    """The lowest threshold at which at most this share of the calm clips reach it: chosen on validation only."""
    calm = np.sort(np.asarray(scores)[~danger])[::-1]
    allowed = int(np.floor(false_alarm_share * len(calm)))
    if allowed >= len(calm):
        return float(calm[-1])
    return float(np.nextafter(calm[allowed], np.inf))
