"""What the reproductions of the published systems share: clips, splits and scores.

Three protocols stand side by side. *random* is the papers' own: clips of one speaker lie on both sides.
*speakers* keeps the same share of every corpus' speakers for testing, so the drop between the two is what a
paper's figure owes to known voices. *house* tests on the speakers that this project holds out, of validation and test.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from device.errors import BadDataError, MissingInputError
from training import evaluate
from training.corpora.clip import DANGER, EMOTIONS
from training.splits import TRAIN, speaker_independent

PROTOCOLS = ("random", "speakers", "house")
FEW_SPEAKERS = 2
"""A corpus of so few speakers (TESS) is never tested on by speaker: too few would be left to learn from."""


@dataclass(frozen=True, slots=True)
class Clips:
    """The clips of one reproduction: their rows of the index, labels among `classes`, and what is missing.

    `table` has the index's columns and `label`; `notes` are sentences for the report, `lacks` for the user besides.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()

    @property
    def labels(self) -> NDArray[np.int64]:
        """The number of each clip's class, (clips,)."""
        return np.array([self.classes.index(label) for label in self.table["label"]], np.int64)


@dataclass(frozen=True, slots=True)
class Split:
    """Which clips (positions in Clips.table) are learnt from and which are judged."""

    protocol: str
    seed: int
    training: NDArray[np.int64]
    test: NDArray[np.int64]


def choose(table: pd.DataFrame, classes: Sequence[str], needed: Mapping[str, int], notes: Sequence[str] = ()) -> Clips:
    """Clips of `classes` (column `label`) of a selected index, and what they lack.

    `needed`: how many such clips each corpus has as published; one that is missing or not whole is named.
    Raises MissingInputError where no corpus is there, BadDataError where a class has no clip at all.
    """
    table = table[table["label"].isin(list(classes))].reset_index(drop=True)
    there = table["corpus"].value_counts()
    if there.empty:
        raise MissingInputError(
            f"none of {', '.join(needed)} is among the corpora: fetch it from its publisher (docs/training.md)"
        )
    counts = {name: int(there.get(name, 0)) for name in needed}
    lacks = [
        f"{name}: {have:,} of its {needed[name]:,} clips are here; figures are of these "
        "(docs/training.md tells where to fetch the rest)."
        if have
        else f"{name} is not here: its clips are missing from every figure (docs/training.md tells where to fetch it)."
        for name, have in counts.items()
        if have < needed[name]
    ]
    empty = [name for name in classes if not (table["label"] == name).any()]
    if empty:
        raise BadDataError(
            f"{', '.join(sorted(there.index))}: no clip of {', '.join(empty)}: the corpus is only half there; "
            "fetch the rest or check its file names (python -m training corpora)"
        )
    return Clips(table, tuple(classes), tuple(notes), tuple(lacks))


def split(clips: Clips, protocol: str, share: float, seed: int, *, stratified: bool = True) -> Split:
    """The split of one protocol; `share` of the clips (random) or of a corpus' speakers (speakers) is tested.

    Raises BadDataError where a protocol leaves a side or a class without clips.
    """
    everything = np.arange(len(clips.table))
    if protocol == "random":
        by = clips.labels if stratified else None
        lonely = [name for number, name in enumerate(clips.classes) if np.sum(clips.labels == number) == 1]
        if stratified and lonely:
            raise BadDataError(
                f"protocol random: class {', '.join(lonely)} has one clip, and it takes one to learn from and one to "
                "judge by: add clips of it, or leave the class out"
            )
        try:
            training, test = train_test_split(everything, test_size=share, random_state=seed, stratify=by)
        except ValueError as error:
            raise BadDataError(f"these clips can't be split at random: {error}") from error
    else:
        if protocol == "speakers":
            chosen = clips.table["speaker"].isin(_some_speakers(clips.table, share, seed)).to_numpy()
        else:
            chosen = (speaker_independent(clips.table) != TRAIN).to_numpy()
        training, test = everything[~chosen], everything[chosen]
    _check(clips, protocol, training, test)
    return Split(protocol, seed, np.sort(training), np.sort(test))


def _some_speakers(table: pd.DataFrame, share: float, seed: int) -> set[str]:
    generator = np.random.default_rng(seed)
    chosen: set[str] = set()
    for _, rows in table[table["speaker"] != ""].groupby("corpus", sort=True):
        speakers = sorted(rows["speaker"].unique())
        if len(speakers) > FEW_SPEAKERS:
            count = max(1, round(share * len(speakers)))
            chosen |= {speakers[n] for n in generator.permutation(len(speakers))[:count]}
    return chosen


def _check(clips: Clips, protocol: str, training: NDArray[np.int64], test: NDArray[np.int64]) -> None:
    if not len(test):
        raise BadDataError(f"protocol {protocol}: none of the speakers to be tested has a clip here")
    known = set(clips.labels[training].tolist())
    unknown = [name for number, name in enumerate(clips.classes) if number not in known]
    if unknown:
        raise BadDataError(f"protocol {protocol}: no clip of {', '.join(unknown)} is left to learn from")


def score(
    clips: Clips,
    rows: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Figures of `probabilities` (rows, classes) for the clips at `rows`: plain values, fit for JSON.

    `by_origin` and `danger_auc` are left out where rows are no recordings (`labels` given: SMOTE's clips).
    """
    truth = clips.labels[rows] if labels is None else labels
    figures = figures_of(truth, probabilities, clips.classes)
    if labels is None:
        right = probabilities.argmax(axis=1) == truth
        origins = clips.table["corpus"].to_numpy()[rows]
        figures["by_origin"] = {str(name): float(right[origins == name].mean()) for name in np.unique(origins)}
        figures["test_speakers"] = int(clips.table["speaker"].iloc[rows].nunique())
    return figures


def figures_of(truth: NDArray[np.int64], probabilities: NDArray[np.floating], classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy, UAR, macro F1, precision, recall, F1 and support of each class, confusion, danger's AUC.

    By the definitions of training/evaluate.py. Danger is anger, fear or a scream; its score is the sum of their
    probabilities, and `danger_auc` is None where the truth holds one side only.
    """
    names = np.array(classes, object)
    scores = evaluate.score(names[truth], names[probabilities.argmax(axis=1)], classes)
    return {
        "clips": scores.clips,
        "accuracy": scores.accuracy,
        "uar": scores.uar,
        "f1_macro": scores.f1_macro,
        "classes": {
            str(name): {key: float(value) for key, value in row.items()} for name, row in scores.by_class.iterrows()
        },
        "confusion": scores.confusion.to_numpy().tolist(),
        "danger_auc": danger_auc(names[truth], probabilities, classes),
    }


def danger_auc(truth: NDArray[np.object_], probabilities: NDArray[np.floating], classes: Sequence[str]) -> float | None:
    """Area under the ROC curve of the dangerous classes' summed probability; surprise stays out."""
    dangerous = [n for n, name in enumerate(classes) if name in DANGER]
    return danger_area(truth, probabilities[:, dangerous].sum(axis=1))


def danger_area(truth: NDArray[np.object_], scores: NDArray[np.floating]) -> float | None:
    """Area under the ROC curve of any score of danger; surprise stays out, None where one side is missing."""
    judged = np.isin(truth.astype(str), [*EMOTIONS, *DANGER, "calm"])
    area = evaluate.roc_area(evaluate.is_danger(truth[judged]), scores[judged])
    return None if np.isnan(area) else area


@dataclass(frozen=True, slots=True)
class Planned:
    """One run to be made: what it is called, what it is about, and the work that gives its figures.

    `name` is a file name; `settings` say all that decides the result (a finished run with the same settings
    is not made again); `work` gives figures for JSON and arrays to keep beside them, from the study's prepared
    inputs or (`prepared` False) without. `joins`: it is made from other runs, in seconds, and so anew each time.
    """

    name: str
    settings: dict[str, Any]
    work: Callable[[], tuple[dict[str, Any], dict[str, NDArray[Any]]]] = field(repr=False)
    prepared: bool = True
    joins: bool = False
