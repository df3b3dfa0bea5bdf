"""Hyperband over P4's space, by KerasTuner; killed and started again, it goes on after its last finished trial."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import keras
import keras_tuner
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from training.networks import cnn1d_lstm, cnn2d_lstm
from training.reproductions.fitting import Inputs, Recipe, compile_for, learned, rows_of, train
from training.reproductions.protocol import Clips, Split, score
from training.reproductions.tables import Table, percent

FACTOR = 3
MOST_EPOCHS, FEWER_EPOCHS = 27, 9
"""Epochs of a search's longest trials at the paper's size, and on two cores."""
Family = Literal["cnn1d-lstm", "cnn2d-lstm"]
Way = Literal["published", "nested"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of the paper's space: the share of its kernels, how many blocks, and the longest trials' epochs."""

    width: float
    most_blocks: int
    most_epochs: int


def network(
    hp: keras_tuner.HyperParameters,
    family: Family,
    shape: Sequence[int],
    classes: int,
    *,
    width: float,
    most_blocks: int,
) -> keras.Model:
    """One network of the paper's space: kernel, blocks, kernels, LSTM, rate, and, in 2-D, the optimiser.

    `width` scales the number of kernels, `most_blocks` bounds the depth; both are 1 and 4 at the paper's
    size.
    """
    kernel = hp.Choice("kernel", [3, 5])
    blocks = hp.Int("blocks", 1, most_blocks)
    first = hp.Choice("first_kernels", [32, 64, 128])
    later = hp.Choice("later_kernels", [64, 128, 256])
    filters = [max(4, int(width * n)) for n in (first, *[later] * (blocks - 1))]
    units = hp.Int("units", 32, 64, step=4)
    if family == "cnn1d-lstm":
        built = cnn1d_lstm.build(*shape, classes, filters=filters, kernel=kernel, units=units)
    else:
        built = cnn2d_lstm.build(*shape, classes, filters=filters, kernel=kernel, units=units)
    optimiser = hp.Choice("optimiser", ["adam", "rmsprop"]) if family == "cnn2d-lstm" else "adam"
    rate = hp.Choice("rate", [1e-3, 1e-4, 1e-5])
    compile_for(built, Recipe(1, rate=rate, optimiser=optimiser))
    return built


def rebuilt(
    values: dict[str, Any], family: Family, shape: Sequence[int], classes: int, width: float
) -> Callable[[], keras.Model]:
    """A builder of the network that a search found (its compilation is done anew)."""
    fixed = keras_tuner.HyperParameters()
    fixed.values = dict(values)
    return lambda: network(fixed, family, shape, classes, width=width, most_blocks=4)


def hyperband(
    family: Family,
    training: tuple[Inputs, NDArray[np.int64]],
    chooses: tuple[Inputs, NDArray[np.int64]],
    folder: Path,
    *,
    classes: int,
    seed: int,
    most_epochs: int,
    width: float = 1.0,
    most_blocks: int = 4,
    batch: int = 32,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, Any]:
    """The best settings by accuracy on `chooses`, and how many trials it took: {"best", "trials", "accuracy"}.

    Everything lies in `folder`; a search that was cut goes on there.
    """
    inputs = training[0][0] if isinstance(training[0], list) else training[0]
    tuner = keras_tuner.Hyperband(
        lambda hp: network(hp, family, inputs.shape[1:], classes, width=width, most_blocks=most_blocks),
        objective=keras_tuner.Objective("val_accuracy", "max"),
        max_epochs=most_epochs,
        factor=FACTOR,
        seed=seed,
        directory=str(folder),
        project_name=family,
        overwrite=False,
    )
    tuner.search(*training, validation_data=chooses, batch_size=batch, verbose=0, callbacks=list(callbacks))
    best = tuner.oracle.get_best_trials(1)[0]
    values = {k: v for k, v in best.hyperparameters.values.items() if not k.startswith("tuner/")}
    return {"best": values, "trials": len(tuner.oracle.trials), "accuracy": float(best.score)}


def searched(
    family: Family,
    way: Way,
    inputs: Inputs,
    clips: Clips,
    part: Split,
    *,
    folder: Path,
    bounds: Bounds,
    recipe: Recipe,
    share: float,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Search, and train what was found anew on all training clips; as Study.work.

    `published` chooses by the test clips, as the paper did; `nested` by `share` of the training clips, which do not
    learn then. Trials lie in `folder`, those of other bounds apart.
    """
    labels = clips.labels
    learns, chooses = part.training, part.test
    if way == "nested":
        learns, chooses = train_test_split(
            part.training, test_size=share, random_state=part.seed, stratify=labels[part.training]
        )
    found = hyperband(
        family,
        (rows_of(inputs, learns), labels[learns]),
        (rows_of(inputs, chooses), labels[chooses]),
        folder / f"{way}-{bounds.most_epochs}-epochs",
        classes=len(clips.classes),
        seed=part.seed,
        most_epochs=bounds.most_epochs,
        width=bounds.width,
        most_blocks=bounds.most_blocks,
    )
    shape = (inputs[0] if isinstance(inputs, list) else inputs).shape[1:]
    best = rebuilt(found["best"], family, shape, len(clips.classes), bounds.width)
    recipe = replace(recipe, rate=found["best"]["rate"], optimiser=found["best"].get("optimiser", "adam"))
    sides = [(rows_of(inputs, rows), labels[rows]) for rows in (part.training, part.test)]
    trained = train(best, sides[0], sides[1], recipe, part.seed)
    figures = score(clips, part.test, trained.probabilities) | learned(trained) | {"search": found}
    return figures, {"rows": part.test, "probabilities": trained.probabilities}


def table(records: Sequence[Mapping[str, Any]]) -> Table | None:
    """What each search found; None where none was made."""
    rows = []
    for record in records:
        figures = record["figures"]
        if "search" in figures:
            found = figures["search"]
            best = ", ".join(f"{name} {value}" for name, value in sorted(found["best"].items()))
            name, accuracy = record["settings"]["variant"], figures["accuracy"]
            rows.append((name, str(found["trials"]), best, percent([found["accuracy"]]), percent([accuracy])))
    head = ("search", "trials", "best settings", "accuracy where it chose", "accuracy on the test clips")
    told = (
        "Hyperband, factor 3. `published` chose by the test clips, `nested` by a fifth of the training clips; the last "
        "column is the best settings trained anew on all training clips. Kernels before the reduced width."
    )
    return Table("What the searches found", told, head, tuple(rows)) if rows else None
