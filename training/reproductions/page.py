"""The HTML report of a reproduction: what the data are, tables beside the paper, curves, confusion matrices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training.report import CAVEAT, Report, confusion_picture, curves_picture
from training.reproductions.protocol import PROTOCOLS
from training.reproductions.runs import RunFolder
from training.reproductions.study import Study
from training.reproductions.tables import GROUPS, markdown, names, of, tables

PANELS = 4
"""Curves side by side in one picture."""


def write_report(study: Study, runs: RunFolder) -> Path:
    """Write report.html, and tables.md with the same tables, into the run folder; the page's path."""
    records, summary = runs.records(), runs.summary()
    report = Report(study.title)
    report.note(CAVEAT)
    scale = summary["scale"]
    report.text(
        f"Runs: {len(records)}; seeds: {_told(records, 'seed')}; epochs of the paper's systems: "
        f"{_told(records, 'epochs')}; {'everything at' if scale['full'] else 'what is called reduced below is not at'} "
        "the paper's size. 'not run' was not run, '-' can't be; nothing here is filled in."
    )
    report.heading("The clips, and what we chose where the paper is silent")
    counts = pd.DataFrame(summary["clips"]).T
    counts.index.name = "corpus"
    report.table(counts.assign(speakers=pd.Series(summary["speakers"])), "Clips of each class, and speakers.")
    report.points([note.replace("`", "") for note in summary["notes"]])
    made = tables(study, runs)
    for table in made:
        report.heading(table.title)
        report.table(pd.DataFrame(list(table.rows), columns=list(table.head)), table.told.replace("`", ""))
    _curves(report, records)
    _confusions(report, records, summary["classes"])
    text = "\n".join(f"## {table.title}\n\n{table.told}\n\n{markdown(table)}" for table in made)
    (runs.folder / "tables.md").write_text(text, encoding="utf-8")
    return report.write(runs.folder / "report.html")


def _told(records: Sequence[Mapping[str, Any]], setting: str) -> str:
    """The values of a setting among the papers' systems, whatever the last command asked for."""
    known = {one["settings"][setting] for one in records if one["settings"]["group"] == "systems"}
    return ", ".join(str(value) for value in sorted(known))


def _curves(report: Report, records: Sequence[Mapping[str, Any]]) -> None:
    report.heading("Curves")
    for group in dict.fromkeys(record["settings"]["group"] for record in records):
        known = [name for name in names(records, group) if _history(records, name) is not None]
        for start in range(0, len(known), PANELS):
            histories = {name: _history(records, name) for name in known[start : start + PANELS]}
            for what in ("accuracy", "loss"):
                told = f"{group}: {what} by epoch, random protocol; the test clips stand as validation."
                report.picture(curves_picture(histories, what, what), told)


def _history(records: Sequence[Mapping[str, Any]], variant: str) -> pd.DataFrame | None:
    parts = [
        pd.DataFrame(one["history"]).assign(seed=seed, epoch=lambda frame: np.arange(len(frame)))
        for seed, one in enumerate(of(records, variant, "random"))
        if "val_accuracy" in one.get("history", {})
    ]
    return pd.concat(parts, ignore_index=True) if parts else None


def _confusions(report: Report, records: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    report.heading("Confusion")
    for group in GROUPS:
        for variant in names(records, group):
            for protocol in PROTOCOLS:
                some = of(records, variant, protocol)
                if some:
                    total = np.sum([one["confusion"] for one in some], axis=0)
                    counts = pd.DataFrame(total, index=list(classes), columns=list(classes))
                    told = f"{variant}, {protocol}: all seeds together."
                    report.picture(confusion_picture(counts, f"{variant}, {protocol}"), told)
