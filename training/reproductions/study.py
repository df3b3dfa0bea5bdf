"""One published paper, rebuilt: what is trained in which protocol, and the runs made one by one."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import msgspec
import pandas as pd
from numpy.typing import NDArray

from training.index import build_index, index_hash
from training.paper_features import PaperParameters
from training.reproductions import ours
from training.reproductions.costs import Costs, of_network, of_ours
from training.reproductions.fitting import Inputs, Recipe, learned, rows_of, train
from training.reproductions.protocol import PROTOCOLS, Clips, Planned, Split, score, split
from training.reproductions.runs import RunFolder, picked
from training.splits import speaker_independent

if TYPE_CHECKING:
    from training.reproductions.tables import Table

Made = tuple[dict[str, Any], dict[str, NDArray[Any]]]
QUICK_CLIPS = 24
"""Clips of each class that --quick keeps: it proves that everything runs, not what it reaches."""
QUICK_EPOCHS = 2
FULL = "-full"
"""Ends the name of a folder of runs at the paper's size: they don't stand among the reduced ones."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One thing to train. `group` says what question it answers; "systems" are the paper's own networks."""

    name: str
    group: str
    build: Callable[[], keras.Model]
    recipe: Recipe
    protocols: tuple[str, ...] = PROTOCOLS
    inputs: str = "scaled"


@dataclass(frozen=True, slots=True)
class PaperFigures:
    """What the paper prints, by the names of our variants; shares of 1."""

    accuracy: Mapping[str, float]
    f1_macro: Mapping[str, float] = field(default_factory=dict)
    training_accuracy: Mapping[str, float] = field(default_factory=dict)
    by_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    by_class_is: str = "f1"
    by_origin: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
    seconds_per_1000: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of a study is run: seeds, epochs (None: the paper's), only as a proof (`quick`).

    `full`: networks and frames at the paper's size where two cores get a reduced one. `ours`: our own recipe
    in the same protocols too. `only`: runs whose names fit one of these patterns, where any is given.
    """

    seeds: int = 3
    epochs: int | None = None
    quick: bool = False
    full: bool = False
    ours: bool = True
    only: tuple[str, ...] = ()


class Study(ABC):
    """A reproduction: subclasses say what it learns from and what is trained; this runs and reports it."""

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[PaperFigures]
    test_share: ClassVar[float]
    clip_s: ClassVar[float]
    """Seconds of sound that one input of the networks spans."""
    features: ClassVar[PaperParameters]
    stratified: ClassVar[bool] = True

    def __init__(self, scale: Scale) -> None:
        self.scale = scale

    @abstractmethod
    def select(self, index: pd.DataFrame) -> Clips:
        """The clips of the paper (or of its stand-in) among all that are indexed."""

    @abstractmethod
    def variants(self) -> list[Variant]:
        """Everything that is trained, what matters most first."""

    @abstractmethod
    def prepare(self, clips: Clips, root: Path) -> None:
        """Compute or read what `inputs` is made from."""

    @abstractmethod
    def inputs(self, variant: Variant, part: Split) -> Inputs:
        """The network's inputs for all clips; whatever is fitted is fitted on `part.training` alone."""

    def afterwards(self, clips: Clips, runs: RunFolder) -> list[Planned]:
        """Runs that need the others' results (ensembles)."""
        del clips, runs
        return []

    def more_tables(self, runs: RunFolder) -> list["Table"]:
        """What this study's report tells besides."""
        del runs
        return []

    def clips_of(self, variant: Variant, clips: Clips) -> Clips:
        """The clips as this variant labels them."""
        del variant
        return clips

    def work(self, variant: Variant, clips: Clips, part: Split) -> Made:
        """Train one variant on one split: its figures, and its probabilities for the test clips."""
        inputs, labels = self.inputs(variant, part), clips.labels
        trained = train(
            variant.build,
            (rows_of(inputs, part.training), labels[part.training]),
            (rows_of(inputs, part.test), labels[part.test]),
            variant.recipe,
            part.seed,
        )
        figures = score(clips, part.test, trained.probabilities) | learned(trained)
        return figures, {"rows": part.test, "probabilities": trained.probabilities}

    def measured(self) -> dict[str, Callable[[], keras.Model]]:
        """The networks whose costs are told, at the paper's size."""
        full = type(self)(replace(self.scale, full=True))
        return {variant.name: variant.build for variant in full.variants() if variant.group == "systems"}

    def costs(self, folder: Path) -> Costs:
        """Measure what is not measured yet: each network, and our package beside them."""
        costs = Costs(folder)
        for name, build in self.measured().items():
            costs.measure(name, partial(of_network, build, self.clip_s, self.features))
        if costs.known.get("ours", {}).get("package") != ours.newest_package().name:
            costs.known.pop("ours", None)
        costs.measure("ours", partial(of_ours, self.clip_s))
        return costs

    def planned(self, clips: Clips, root: Path, folder: Path) -> list[Planned]:
        """All trainings, seed by seed, ours last; each names its settings, so a finished one is known again."""
        theirs = [
            Planned(
                f"{protocol}-{variant.name}-{seed}",
                self._told(variant, protocol, seed, clips),
                partial(self._one, variant, clips, protocol, seed),
            )
            for seed in range(self.scale.seeds)
            for variant in self.chosen()
            for protocol in variant.protocols
        ]
        return theirs + (self._ours(clips, root, folder) if self.scale.ours else [])

    def _ours(self, clips: Clips, root: Path, folder: Path) -> list[Planned]:
        learns = round((1 - self.test_share) * len(clips.table))
        plans = ours.recipes(self.scale.epochs, quick=self.scale.quick, learns=learns)

        def work(protocol: str, seed: int) -> Made:
            part = self.split(clips, protocol, seed)
            return ours.work(clips, part, root, plans, folder / "ours" / f"{protocol}-{seed}")

        return [
            Planned(
                f"{protocol}-ours-{seed}",
                {
                    "parts": msgspec.to_builtins(plans),
                    "variant": "ours",
                    "group": "ours",
                    "protocol": protocol,
                    "seed": seed,
                    "clips": len(clips.table),
                },
                partial(work, protocol, seed),
                prepared=False,
            )
            for seed in range(self.scale.seeds)
            for protocol in PROTOCOLS
        ]

    def chosen(self) -> list[Variant]:
        """The variants at this scale: --quick takes the systems and the first of every other group."""
        scale = self.scale
        epochs = QUICK_EPOCHS if scale.quick and scale.epochs is None else scale.epochs
        variants = self.variants()
        if scale.quick:
            first = {variant.group: variant.name for variant in reversed(variants)}
            variants = [v for v in variants if v.group == "systems" or first[v.group] == v.name]
        if epochs is None:
            return variants
        return [replace(v, recipe=replace(v.recipe, epochs=epochs)) for v in variants]

    def run(self, root: Path, output: Path) -> RunFolder:
        """Make every run that is not there yet; the report is written from the folder afterwards."""
        index = build_index(root)
        clips = self.select(index)
        for line in clips.lacks:
            print(line, file=sys.stderr)
        if self.scale.quick:
            clips = thinned(clips, QUICK_CLIPS)
        runs = RunFolder(output, f"{self.name}{FULL * self.scale.full}", index_hash(clips.table))
        planned = picked([*self.planned(clips, root, output), *self.afterwards(clips, runs)], self.scale.only)
        runs.note(self.summary(clips))
        self.root = root
        if any(run.prepared and not runs.finished(run) for run in planned):
            self.prepare(clips, root)
        for _ in runs.make(planned):
            pass
        if not self.scale.quick and not self.scale.only:
            self.costs(output)
        print(f"{self.name}: {len(runs.records())} runs in {output}", file=sys.stderr)
        return runs

    def summary(self, clips: Clips) -> dict[str, Any]:
        """What the report says about the data and the scale."""
        counts = clips.table.groupby(["corpus", "label"]).size().unstack(fill_value=0)
        return {
            "title": self.title,
            "classes": list(clips.classes),
            "notes": [*clips.notes, *clips.lacks],
            "clips": {corpus: {k: int(v) for k, v in row.items()} for corpus, row in counts.iterrows()},
            "speakers": {c: int(n) for c, n in clips.table.groupby("corpus")["speaker"].nunique().items()},
            "scale": asdict(self.scale),
        }

    def _one(self, variant: Variant, clips: Clips, protocol: str, seed: int) -> Made:
        # Split by the true labels: a variant that labels otherwise is judged on the same clips.
        return self.work(variant, self.clips_of(variant, clips), self.split(clips, protocol, seed))

    def split(self, clips: Clips, protocol: str, seed: int) -> Split:
        """The split of a protocol with this paper's share of test clips."""
        return split(clips, protocol, self.test_share, seed, stratified=self.stratified)

    def _told(self, variant: Variant, protocol: str, seed: int, clips: Clips) -> dict[str, Any]:
        return {
            "variant": variant.name,
            "group": variant.group,
            "protocol": protocol,
            "seed": seed,
            "inputs": variant.inputs,
            "clips": len(clips.table),
            "full": self.scale.full,
            **variant.recipe.settings(),
        }


def thinned(clips: Clips, each: int) -> Clips:
    """At most `each` clips of the largest class, the others in proportion: corpora, sides and speakers in turn.

    So no corpus is missing, every protocol still has its sides, and classes stay as unequal as they were.
    """
    table = clips.table
    counts = table["label"].value_counts()
    turn = table.groupby(["label", "speaker"]).cumcount()
    order = table.assign(turn=turn, side=speaker_independent(table)).sort_values(["label", "turn", "path"])
    order["turn"] = order.groupby(["label", "corpus", "side"]).cumcount()
    order = order.sort_values(["label", "turn", "path"])
    kept = pd.concat(
        rows.head(max(4, round(each * counts[label] / counts.max()))) for label, rows in order.groupby("label")
    )
    note = f"QUICK: at most {each} clips of a class, {QUICK_EPOCHS} epochs: it shows that all runs, no more."
    table = kept.drop(columns=["turn", "side"]).sort_values("path").reset_index(drop=True)
    return replace(clips, table=table, notes=(note, *clips.notes))
