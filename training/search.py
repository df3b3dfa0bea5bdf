"""`python -m training search`: hyperparameters of the paper's GRU by KerasTuner, on one machine or on many.

Alone it tries one setting after another. With KerasTuner's own variables it spreads: one process is the chief, which
hands out settings and remembers what came of them (KERASTUNER_TUNER_ID=chief), the others try them (tuner0, tuner1,
...); all need KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT of the chief, and a shared --output. Started again after
a kill, it goes on after the last finished trial.
"""

import os
from pathlib import Path
from typing import Any

import click
import keras
import keras_tuner
import numpy as np

from training.networks import paper_gru
from training.paper_features import Scaler
from training.places import corpora_root, runs_root
from training.reproductions.enhanced_gru import COARSER, Task, other_data, select, speech


def network(hp: keras_tuner.HyperParameters, steps: int, width: int, classes: int) -> keras.Model:
    """One setting: width, depth, both readings of dropout, how many statistics, rate."""
    units = hp.Choice("units", [64, 128, 192])
    built = paper_gru.build(
        steps,
        width,
        classes,
        units=(units,) * hp.Int("layers", 1, 2),
        normalise=True,
        statistics=hp.Choice("statistics", ["separate", "sum"]),
        dropout=hp.Float("dropout", 0.0, 0.5, step=0.1),
        cell_dropout=hp.Float("cell_dropout", 0.0, 0.3, step=0.1),
    )
    rate = hp.Float("rate", 3e-4, 1e-2, sampling="log")
    built.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return built


class Search(keras_tuner.RandomSearch):
    """Random search whose chosen batch is fixed by the caller; the chief and its workers share `folder`."""

    def __init__(self, task: Task, folder: Path, *, trials: int, seed: int) -> None:
        steps, width = task.frames.shape[1:]
        super().__init__(
            lambda hp: network(hp, steps, width, len(task.classes)),
            objective="val_accuracy",
            max_trials=trials,
            seed=seed,
            directory=str(folder.parent),
            project_name=folder.name,
            overwrite=False,
        )


def sides_of(task: Task, protocol: str) -> tuple[tuple[list[Any], Any], tuple[list[Any], Any]]:
    """Training and validation ([frames, valid], labels), scaled by the training side."""
    training, validation = task.sides(protocol, 0)
    scaler = Scaler.fit([task.frames[row][task.valid[row] > 0] for row in training])
    frames = scaler.apply(task.frames) * task.valid[:, :, None]
    return tuple(([frames[rows], task.valid[rows]], task.labels[rows]) for rows in (training, validation))  # type: ignore[return-value]


@click.command()
@click.option("--data", type=click.Choice(["speech", "gunpoint", "basic-motions"]), default="speech")
@click.option("--corpora", type=click.Path(path_type=Path), help="Folder of the corpora (OUTCRY_CORPORA).")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the search (default: runs/search).")
@click.option("--trials", type=click.IntRange(1), default=20)
@click.option("--epochs", type=click.IntRange(1), default=15)
@click.option("--batch", type=click.IntRange(1), default=64)
@click.option("--seed", type=int, default=1)
def main(  # noqa: PLR0917
    data: str, corpora: Path | None, output: Path | None, trials: int, epochs: int, batch: int, seed: int
) -> None:
    """Search on speakers that training does not hear; tell the best settings."""
    import pandas as pd

    from training.index import build_index

    if data == "speech":
        root = corpora_root(corpora)
        task = speech(select(build_index(root)), root, COARSER)
    else:
        task = other_data(pd.DataFrame({"part": pd.Series([], dtype="object")}), Path(), COARSER)[data]
    folder = (output or runs_root() / "search").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    # The chief's constructor serves its workers until they are done, and does not come back before.
    search = Search(task, folder, trials=trials, seed=seed)
    training, validation = sides_of(task, "speakers")
    search.search(*training, validation_data=validation, epochs=epochs, batch_size=batch, verbose=0)
    who = os.environ.get("KERASTUNER_TUNER_ID", "alone")
    for trial in search.oracle.get_best_trials(3):
        settings = {
            name: np.round(v, 5) if isinstance(v, float) else v for name, v in trial.hyperparameters.values.items()
        }
        click.echo(f"{who}: {trial.score:.4f} {settings}")
