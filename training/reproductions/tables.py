"""The tables of a reproduction: our figures beside the paper's, from the records of a run folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.reproductions.costs import Costs
from training.reproductions.protocol import PROTOCOLS
from training.reproductions.runs import RunFolder
from training.reproductions.study import PaperFigures, Study

Records = Sequence[Mapping[str, Any]]
ABSENT = "not run"
IMPOSSIBLE = "-"
GROUPS = ("systems", "ensembles", "other papers", "ours")
"""Whose runs are systems that stand beside each other; all others answer a question."""


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of words; `told` stands above it."""

    title: str
    told: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def percent(values: Iterable[float | None]) -> str:
    """Mean and deviation over seeds in percent: "75.8 ± 1.2 (3)"; "not run" without a value."""
    known = [value for value in values if value is not None]
    if not known:
        return ABSENT
    mean = 100 * float(np.mean(known))
    return f"{mean:.1f} ± {100 * float(np.std(known, ddof=1)):.1f} ({len(known)})" if known[1:] else f"{mean:.1f}"


def area(values: Iterable[float | None]) -> str:
    """Mean and deviation over seeds of an area under a curve: "0.838 ± 0.004 (3)"."""
    known = [value for value in values if value is not None]
    if not known:
        return ABSENT
    mean = float(np.mean(known))
    return f"{mean:.3f} ± {float(np.std(known, ddof=1)):.3f} ({len(known)})" if known[1:] else f"{mean:.3f}"


def of(records: Records, variant: str, protocol: str) -> list[Mapping[str, Any]]:
    """Figures of one variant in one protocol, one for each seed."""
    return [
        record["figures"]
        for record in records
        if record["settings"]["variant"] == variant and record["settings"]["protocol"] == protocol
    ]


def names(records: Records, group: str) -> list[str]:
    """The variants of a group, in the order in which they were made."""
    return list(dict.fromkeys(r["settings"]["variant"] for r in records if r["settings"]["group"] == group))


_CELLS = (
    *((key, protocol, percent) for key in ("accuracy", "f1_macro", "uar") for protocol in PROTOCOLS),
    ("danger_auc", "house", area),
)
"""What the table of systems tells of each protocol, and how it is written."""


def systems(records: Records, paper: PaperFigures, possible: Mapping[str, Sequence[str]]) -> Table:
    """Every system in the three protocols beside the paper's accuracy, and the drop.

    `possible`: the protocols of a variant that is not run in all.
    """
    rows = []
    for variant in [name for group in GROUPS for name in names(records, group)]:
        runs = possible.get(variant, PROTOCOLS)
        by = {protocol: of(records, variant, protocol) for protocol in PROTOCOLS}
        told = {
            (key, protocol): form(one[key] for one in by[protocol]) if protocol in runs else IMPOSSIBLE
            for key, protocol, form in _CELLS
        }
        rows.append(
            (
                variant,
                _theirs(paper.accuracy, variant),
                told["accuracy", "random"],
                _theirs(paper.f1_macro, variant),
                told["f1_macro", "random"],
                told["accuracy", "speakers"],
                drop(records, variant) if "speakers" in runs else IMPOSSIBLE,
                told["accuracy", "house"],
                told["uar", "house"],
                told["danger_auc", "house"],
            )
        )
    head = ("system", "paper", "random", "paper, F1 macro", "F1 macro", "speakers", "drop", "house", "house UAR")
    head += ("house danger AUC",)
    text = (
        "Accuracy, F1 and UAR in %, mean ± deviation (seeds). random: the paper's protocol, the same voices on both "
        "sides. speakers: the same share of speakers held out. drop: from random to speakers, over the seeds that both "
        "have. house: the speakers that this project keeps apart."
    )
    return Table("Beside the paper", text, head, tuple(rows))


def drop(records: Records, variant: str) -> str:
    """Points of accuracy that a variant loses from random to speakers, over the seeds that both protocols have."""
    by = {
        protocol: {
            record["settings"]["seed"]: record["figures"]["accuracy"]
            for record in records
            if record["settings"]["variant"] == variant and record["settings"]["protocol"] == protocol
        }
        for protocol in ("random", "speakers")
    }
    return percent(by["random"][seed] - by["speakers"][seed] for seed in sorted(by["random"].keys() & by["speakers"]))


def _theirs(figures: Mapping[str, float], variant: str) -> str:
    return percent([figures[variant]]) if variant in figures else IMPOSSIBLE


def costs(known: Mapping[str, Mapping[str, Any]], paper: PaperFigures) -> Table:
    """Parameters, int8 bytes and CPU of each network at the paper's size, then as trained here, and of our package."""
    rows = []
    for name, told in known.items():
        theirs, speed = paper.parameters.get(name), paper.seconds_per_1000.get(name)
        rows.append(
            (
                name + (f" ({told['package']})" if "package" in told else ""),
                f"{told['parameters']:,}" if "parameters" in told else "-",
                f"{theirs:,.0f}" if theirs else "-",
                f"{told['int8_bytes'] / 1000:,.0f}" if "int8_bytes" in told else told.get("int8_reason", "-"),
                f"{told['cpu_s_per_1000']:.1f}",
                f"{speed:.2f}" if speed else "-",
                f"{told['network_ms_per_s']:.2f}",
                f"{told['features_ms_per_s']:.2f}",
            )
        )
    head = (
        "system",
        "parameters",
        "the paper's",
        "int8, kB",
        "CPU s per 1,000 clips",
        "the paper's, s",
        "network, CPU ms per s of sound",
        "features, CPU ms per s",
    )
    told = (
        "At the paper's full size, but for those called as trained (neither figure depends on training); float, in "
        "batches of 32 clips and without features for the papers' networks; int8 as shipped, clip by clip and with its "
        "features for ours. The paper's seconds are of its machine."
    )
    return Table("What it costs", told, head, tuple(rows))


def by_class(records: Records, paper: PaperFigures, classes: Sequence[str]) -> Table:
    """Each class' figure (the paper's kind) in the random and the speakers protocol, beside the paper's."""
    rows = []
    kind = paper.by_class_is
    for variant in [name for group in GROUPS for name in names(records, group)]:
        for name in classes:
            told = [
                percent(one["classes"].get(name, {}).get(kind) for one in of(records, variant, protocol))
                for protocol in PROTOCOLS
            ]
            rows.append((variant, name, _theirs(paper.by_class.get(variant, {}), name), *told))
    return Table("By class", f"{kind} in %.", ("system", "class", "paper", *PROTOCOLS), tuple(rows))


def by_origin(records: Records, paper: PaperFigures) -> Table:
    """Accuracy by corpus in each protocol."""
    rows = []
    for variant in [name for group in (*GROUPS, "labels") for name in names(records, group)]:
        by = {protocol: of(records, variant, protocol) for protocol in PROTOCOLS}
        every = [one for some in by.values() for one in some]
        for origin in sorted({name for one in every for name in one.get("by_origin", {})}):
            told = [
                IMPOSSIBLE
                if some and not any(origin in one.get("by_origin", {}) for one in some)
                else percent(one.get("by_origin", {}).get(origin) for one in some)
                for some in by.values()
            ]
            rows.append((variant, origin, _theirs(paper.by_origin.get(variant, {}), origin), *told))
    return Table("By origin", "Accuracy in %.", ("system", "corpus", "paper", *PROTOCOLS), tuple(rows))


def overfitting(records: Records, paper: PaperFigures) -> Table:
    """Training and test accuracy at the last epoch, their gap, and the best epoch, for every variant."""
    rows = []
    seen = list(dict.fromkeys((r["settings"]["group"], r["settings"]["variant"]) for r in records))
    for group, variant in seen:
        some = [one for one in of(records, variant, "random") if "history" in one]
        if some:
            rows.append(
                (
                    group,
                    variant,
                    _theirs(paper.training_accuracy, variant),
                    percent(one["training_accuracy"] for one in some),
                    _theirs(paper.accuracy, variant),
                    percent(one["accuracy"] for one in some),
                    percent(one["gap"] for one in some),
                    percent(one["best_epoch_accuracy"] for one in some),
                )
            )
    head = ("question", "variant", "paper, training", "training", "paper, test", "test", "gap", "best epoch")
    told = (
        "Random protocol, %. The best epoch is chosen by the clips that it is judged on: a figure that is tuned on "
        "its own test."
    )
    return Table("What each change does", told, head, tuple(rows))


def real_and_made(records: Records) -> Table | None:
    """P3's orders: the whole test set, its made and its real clips, where a test set holds made ones."""
    rows = []
    for variant in names(records, "systems"):
        some = of(records, variant, "random")
        if some:
            real = [one.get("real", one) for one in some]
            rows.append(
                (
                    variant,
                    percent(one["accuracy"] for one in some),
                    percent(one.get("synthetic_share", 0.0) for one in some),
                    percent(one.get("synthetic_accuracy") for one in some) if "real" in some[0] else IMPOSSIBLE,
                    percent(one["accuracy"] for one in real),
                    percent(one["uar"] for one in real),
                )
            )
    if not any("real" in record["figures"] for record in records):
        return None
    head = ("system", "all test clips", "made clips among them", "made clips", "real clips", "real clips, UAR")
    told = (
        "Random protocol, accuracy in %. Before the split, SMOTE's clips are tested too, and lie between clips that "
        "may be in the training set. What the real clips gain over the order `after` is the leak; what all clips "
        "gain over the real ones is an easier test set."
    )
    return Table("SMOTE before or after the split", told, head, tuple(rows))


def tables(study: Study, runs: RunFolder) -> list[Table]:
    """All tables of a reproduction's report."""
    records, summary = runs.records(), runs.summary()
    records.sort(key=lambda record: record["made_by"]["started"])
    made, spent = real_and_made(records), Costs(runs.folder).known
    possible = {variant.name: variant.protocols for variant in study.variants()}
    return [
        systems(records, study.paper, possible),
        *([made] if made else []),
        *study.more_tables(runs),
        overfitting(records, study.paper),
        by_class(records, study.paper, summary["classes"]),
        by_origin(records, study.paper),
        *([costs(spent, study.paper)] if spent else []),
    ]


def markdown(table: Table) -> str:
    """A table as it stands in docs/."""
    lines = [f"| {' | '.join(row)} |" for row in (table.head, ("---",) * len(table.head), *table.rows)]
    return "\n".join(lines) + "\n"
