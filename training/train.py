"""Trains the danger network by a recipe, resumably, and leaves a run folder that `convert` can read.

The run folder gets `network.keras`, `view.json`, `calibration.npz` (clips of training speakers, frames),
`metrics.json` and, while it lasts, checkpoints; `runs.py` keeps the rest (recipe, revision, seeds, index).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
import keras
import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from device.errors import UsageError
from device.view import VIEW_SIZE, ViewParameters
from training.augment import WaveAugmenter
from training.batches import Crops, view_parameters
from training.copies import Copy, copy_of
from training.corpora.clip import CLASSES
from training.index import build_index, index_hash
from training.judging.floats import evaluate
from training.memory import keep_freed
from training.networks.gru import danger_gru
from training.places import HOME, corpora_root, runs_root
from training.runs import Run, load_recipe
from training.splits import split
from training.teachers import Teachers, network_of


class DangerRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the danger network is made of and how it is trained; the defaults are the shipped recipe."""

    convolutions: tuple[tuple[int, int, int], ...] = ((96, 5, 2), (128, 5, 2))
    units: tuple[int, ...] = (160,)
    dropout: float = 0.2
    cell_dropout: float = 0.0
    normalise: bool = True
    initializer: str = "glorot_uniform"
    gamma: float = 1.0
    grid: int = 0
    frames: int = 240
    batch: int = 64
    steps: int = 200
    epochs: int = 60
    average_last: int = 20
    rate: float = 0.002
    weight_decay: float = 0.01
    danger_weight: float = 0.7
    step_weight: float = 0.0  # of the danger of every step
    copies: int = 3
    knows: float = 0.5
    strangers: float = 0.12
    mixup: float = 0.3
    throats: float = 0.0  # share of crops: see `frame_augment.py`
    paces: float = 0.0
    noises: float = 0.0
    teachers: tuple[str, ...] = ()  # runs beside this one: see `teachers.py`
    subjects: tuple[tuple[str, ...], ...] = ()  # how the paths begin that each teaches; an empty list: all
    taught: float = 0.5  # share of each target that they say
    start: str = ""  # a run beside this one whose weights are the first ones
    paths: tuple[str, ...] = ()  # clips whose paths begin so; without any, all
    split: str = "speakers"
    seed: int = 1


class AverageWeights(keras.callbacks.Callback):
    """Means of all weights at the ends of the last epochs (Izmailov et al., arXiv:1803.05407); survives a kill."""

    def __init__(self, path: Path, first_epoch: int) -> None:
        super().__init__()
        self.path, self.first_epoch = path, first_epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Count this epoch's weights in."""
        if epoch < self.first_epoch:
            return
        count, sums = self.read()
        weights = self.model.get_weights()
        sums = weights if not count else [a + b for a, b in zip(sums, weights, strict=True)]
        fresh = self.path.with_suffix(".fresh.npz")
        np.savez(fresh, *[np.asarray(value) for value in sums], count=count + 1)
        fresh.replace(self.path)

    def read(self) -> tuple[int, list[NDArray[np.float32]]]:
        """How many epochs were counted in, and the sums of their weights."""
        if not self.path.is_file():
            return 0, []
        with np.load(self.path) as kept:
            return int(kept["count"]), [kept[f"arr_{number}"] for number in range(len(kept.files) - 1)]


def make_copies(clips: pd.DataFrame, part: pd.Series, root: Path, count: int) -> list[Copy]:
    """Copy 0 and `count` augmented ones; what lies behind the voices is of the training part alone."""
    trains = clips[part == "train"]
    noises = [root / path for path in trains["path"][trains["corpus"] == "Background"]]
    noises += sorted((root / "Rooms").glob("**/*noise*/*.flac"))
    rooms = [path for path in sorted((root / "Rooms").glob("**/*.flac")) if path.parent.name in ("ir", "RIRs")]
    read = trains["path"][trains["path"].str.contains("librispeech_train")]
    augmenter = WaveAugmenter(noises, rooms, [root / path for path in read])
    return [copy_of(clips, root, number, augmenter if number else None) for number in range(count + 1)]


def compile_network(recipe: DangerRecipe) -> keras.Model:
    """The recipe's network with its optimiser (AdamW, warm-up, cosine) and losses."""
    keras.utils.set_random_seed(recipe.seed)
    model = danger_gru(
        frames=None,
        view_size=VIEW_SIZE,
        classes=len(CLASSES),
        convolutions=recipe.convolutions,
        units=recipe.units,
        dropout=recipe.dropout,
        cell_dropout=recipe.cell_dropout,
        normalise=recipe.normalise,
        initializer=recipe.initializer,
        gamma=recipe.gamma,
        grid=recipe.grid,
        seed=recipe.seed,
    )
    total = recipe.steps * recipe.epochs
    warm = min(500, total // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.rate / 20, total - warm, alpha=0.02, warmup_target=recipe.rate, warmup_steps=warm
    )
    model.compile(
        keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay, clipnorm=1.0),
        loss={
            "emotion": keras.losses.CategoricalCrossentropy(from_logits=True),
            "danger": keras.losses.BinaryCrossentropy(from_logits=True),
            "steps": keras.losses.BinaryCrossentropy(from_logits=True),
        },
        loss_weights={"emotion": 1.0, "danger": recipe.danger_weight, "steps": recipe.step_weight},
        jit_compile="auto",
    )
    return model


def fit(recipe: DangerRecipe, clips: pd.DataFrame, part: pd.Series, copies: list[Copy], run: Run) -> keras.Model:
    """Train, or go on where a kill left off; the model has the averaged weights of the last epochs."""
    folder = run.folder
    rows = np.flatnonzero((part == "train").to_numpy())
    view_file = folder / "view.json"
    if recipe.start and not view_file.is_file():
        # The first weights know this view and no other.
        view_file.write_bytes((folder.parent / recipe.start / "view.json").read_bytes())
    if not view_file.is_file():
        parameters = view_parameters(copies, rows, np.random.default_rng(recipe.seed))
        view_file.write_bytes(msgspec.json.format(msgspec.json.encode(parameters)))
    parameters = msgspec.json.decode(view_file.read_bytes(), type=ViewParameters)
    crops = Crops(
        clips,
        rows,
        copies,
        parameters,
        frames=recipe.frames,
        stride=math.prod(stride for _, _, stride in recipe.convolutions),
        batch=recipe.batch,
        steps=recipe.steps,
        seed=recipe.seed,
        knows=recipe.knows,
        strangers=recipe.strangers,
        mixup=recipe.mixup,
        throats=recipe.throats,
        paces=recipe.paces,
        noises=recipe.noises,
        teachers=_teachers(recipe, clips, folder.parent),
        taught=recipe.taught,
    )
    model = compile_network(recipe)
    if recipe.start:
        model.set_weights(network_of(folder.parent / recipe.start).get_weights())
    average = AverageWeights(folder / "average.npz", recipe.epochs - recipe.average_last)

    def begin(epoch: int, _: Any = None) -> None:
        crops.epoch = epoch

    model.fit(
        crops,
        epochs=recipe.epochs,
        verbose=2,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=begin), average, *run.callbacks()],
    )
    count, sums = average.read()
    model.set_weights([value / count for value in sums])
    keep(model, folder, clips, part, copies, recipe.seed)
    return model


def _teachers(recipe: DangerRecipe, clips: pd.DataFrame, runs: Path) -> Teachers | None:
    """The recipe's teachers, if it has any; their folders lie in `runs`."""
    if not recipe.teachers and not recipe.subjects:
        return None
    subjects = [clips["path"].str.startswith(paths or ("",)).to_numpy() for paths in recipe.subjects]
    return Teachers([runs / name for name in recipe.teachers], np.array(subjects) if subjects else None)


def keep(  # noqa: PLR0917
    model: keras.Model, folder: Path, clips: pd.DataFrame, part: pd.Series, copies: list[Copy], seed: int
) -> None:
    """What `convert` reads of a run folder beside its view: the network, clips to quantise by, clips to verify with."""
    model.save(folder / "network.keras")
    _write_calibration(folder, copies, np.flatnonzero((part == "train").to_numpy()), seed)
    _write_unseen(folder, clips, np.flatnonzero((part != "train").to_numpy()), copies[0], seed)


def _write_calibration(folder: Path, copies: list[Copy], rows: NDArray[np.int64], seed: int) -> None:
    """Frames of 300 training clips, in random copies, for `convert` to quantise by: `calibration.npz`."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(rows, min(300, len(rows)), replace=False)
    parts = [copies[int(rng.integers(len(copies)))].clip(int(row)) for row in chosen]
    _write_clips(folder / "calibration.npz", parts)


def _write_unseen(folder: Path, clips: pd.DataFrame, rows: NDArray[np.int64], copy: Copy, seed: int) -> None:
    """Frames and classes of up to 1,000 clips of unseen speakers, for `convert verify`: `unseen.npz`."""
    rng = np.random.default_rng(seed)
    rows = rows[clips["emotion"].isin(CLASSES).to_numpy()[rows]]
    chosen = np.sort(rng.choice(rows, min(1000, len(rows)), replace=False))
    emotions = clips["emotion"].iloc[chosen].map(CLASSES.index).to_numpy(np.int64)
    _write_clips(folder / "unseen.npz", [copy.clip(int(row)) for row in chosen], emotions=emotions)


def _write_clips(path: Path, parts: list[NDArray[np.float32]], **more: NDArray[np.int64]) -> None:
    starts = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    np.savez_compressed(path, frames=np.concatenate(parts).astype(np.float16), starts=starts, **more)


def train(plan: DangerRecipe, folder: Path, root: Path) -> dict[str, pd.DataFrame]:
    """One run from the corpora below `root` to its figures, by side; goes on in `folder` where a kill left off."""
    plan = msgspec.structs.replace(plan, average_last=min(plan.average_last, plan.epochs))
    clips, part = clips_of(plan, root)
    run = Run.begin(folder, plan, index=index_hash(clips), seed=plan.seed)
    copies = make_copies(clips, part, root, plan.copies)
    model = fit(plan, clips, part, copies, run)
    return finish(run, evaluate(model, folder, clips, part, copies))


def clips_of(plan: DangerRecipe, root: Path) -> tuple[pd.DataFrame, pd.Series]:
    """The clips below `root` that a recipe is about, and their sides; UsageError where there are none."""
    clips = build_index(root)
    if plan.paths:
        clips = clips[clips["path"].str.startswith(plan.paths)].reset_index(drop=True)
        if clips.empty:
            raise UsageError(f"paths: no clip below {root} begins with {', '.join(plan.paths)}")
    return clips, split(clips, plan.split, seed=plan.seed)


def finish(run: Run, tables: dict[str, pd.DataFrame], **more: Any) -> dict[str, pd.DataFrame]:
    """Write the means over validation's corpora, and `more`, into the run; the tables go on."""
    mean = tables["validation"][["accuracy", "uar", "danger_auc"]].mean()
    run.finish(**{f"validation_{name}": round(float(value), 4) for name, value in mean.items()}, **more)
    return tables


def show(tables: dict[str, pd.DataFrame]) -> None:
    """Print each side's table."""
    for side, table in tables.items():
        click.echo(f"\n{side} speakers, float, clean whole clips\n{table.round(3).to_string(index=False)}")


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path), default=HOME / "training" / "recipes" / "danger.toml")
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Run folder (default: runs/RECIPE-sSEED).")
@click.option("--corpora", type=click.Path(path_type=Path), help="Folder of the corpora (default: OUTCRY_CORPORA).")
@click.option("--seed", type=int, help="In place of the recipe's.")
@click.option("--epochs", type=int, help="In place of the recipe's; a short run says so in its run.json.")
def main(recipe: Path, folder: Path | None, corpora: Path | None, seed: int | None, epochs: int | None) -> None:
    """Train the danger network as RECIPE says; started again after a kill, go on where it was."""
    keep_freed()
    plan = load_recipe(recipe, DangerRecipe)
    changes = {name: value for name, value in (("seed", seed), ("epochs", epochs)) if value is not None}
    plan = msgspec.structs.replace(plan, **changes)
    folder = folder or runs_root() / f"{recipe.stem}-s{plan.seed}"
    show(train(plan, folder, corpora_root(corpora)))
    click.echo(f"\nrun folder {folder}; `python -m convert {folder} --output DIR` makes the package")
