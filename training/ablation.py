"""The three techniques of the enhanced GRU, each taken away alone from one recipe, over several seeds.

Every variant differs from the recipe in one field and is judged by validation speakers, float, clean whole clips.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import msgspec
import pandas as pd

from training.memory import keep_freed
from training.places import HOME, corpora_root, runs_root
from training.runs import Run, load_recipe
from training.train import DangerRecipe, train

VARIANTS: dict[str, dict[str, Any]] = {
    "whole": {},
    "no-normalisation": {"normalise": False},
    "no-dropout": {"dropout": 0.0},
    "uniform": {"initializer": "random_uniform"},  # -0.05 to 0.05, Keras' own name for it, in place of Glorot's
}


def figures(folder: Path) -> dict[str, float]:
    """A finished run's accuracy and danger AUC: means over the corpora that have them, and CREMA-D's alone."""
    told = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["float"]["validation"]
    table = pd.DataFrame(told).set_index("corpus")
    mean = table[["accuracy", "danger_auc"]].mean()
    found = {"accuracy": float(mean["accuracy"]), "danger AUC": float(mean["danger_auc"])}
    if "CREMA-D" in table.index:
        found |= {"CREMA-D accuracy": float(table.loc["CREMA-D", "accuracy"])}
    history = Run(folder).history()
    return found | {"training loss": float(history["loss"].iloc[-1])}


def compared(folder: Path, seeds: int) -> pd.DataFrame:
    """One row a variant: mean and standard deviation over its finished seeds."""
    rows = {}
    for name in VARIANTS:
        folders = [folder / f"{name}-s{seed}" for seed in range(1, seeds + 1)]
        done = [figures(run) for run in folders if _finished(run)]
        if done:
            table = pd.DataFrame(done)
            spread = table.std() if len(done) > 1 else table.iloc[0] * float("nan")
            rows[name] = {"seeds": str(len(done))} | {
                column: f"{table[column].mean():.3f} ± {spread[column]:.3f}" for column in table
            }
    return pd.DataFrame(rows).T


def _finished(folder: Path) -> bool:
    return (folder / "run.json").is_file() and Run(folder).finished


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path), default=HOME / "training" / "recipes" / "danger-short.toml")
@click.option("--runs", "folder", type=click.Path(path_type=Path), help="Folder of the runs (default: runs/ablation).")
@click.option("--corpora", type=click.Path(path_type=Path), help="Folder of the corpora (default: OUTCRY_CORPORA).")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--epochs", type=click.IntRange(1), help="In place of the recipe's.")
def main(recipe: Path, folder: Path | None, corpora: Path | None, seeds: int, epochs: int | None) -> None:
    """Train RECIPE whole and without each technique; finished runs are kept, a killed one goes on."""
    keep_freed()
    plan = load_recipe(recipe, DangerRecipe)
    root, folder = corpora_root(corpora), folder or runs_root() / "ablation"
    for seed in range(1, seeds + 1):
        for name, change in VARIANTS.items():
            own = msgspec.structs.replace(plan, **change, seed=seed, epochs=epochs or plan.epochs)
            run = folder / f"{name}-s{seed}"
            if not _finished(run):
                train(own, run, root)
            click.echo(f"{run.name}: " + ", ".join(f"{key} {value:.3f}" for key, value in figures(run).items()))
    table = compared(folder, seeds)
    table.to_csv(folder / "ablation.csv")
    click.echo("\n" + table.to_string())
