"""Training one Keras network on one split."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

Inputs = NDArray[np.float32] | list[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained; what a paper leaves open is told in the reproduction that fills it in."""

    epochs: int
    batch: int = 32
    rate: float = 0.001
    optimiser: Literal["adam", "rmsprop"] = "adam"

    def settings(self) -> dict[str, Any]:
        """The recipe as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network, its curves, and its probabilities (test clips, classes)."""

    network: keras.Model
    history: dict[str, list[float]]
    probabilities: NDArray[np.float32]
    seconds: float


def rows_of(inputs: Inputs, rows: NDArray[np.int64]) -> Inputs:
    """The clips at `rows`, of one input or of several."""
    return [part[rows] for part in inputs] if isinstance(inputs, list) else inputs[rows]


def compile_for(network: keras.Model, recipe: Recipe) -> None:
    """Give a network its optimiser, loss and metric; one output means one class against the rest."""
    optimisers = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}
    loss = "binary_crossentropy" if network.output_shape[-1] == 1 else "sparse_categorical_crossentropy"
    network.compile(optimisers[recipe.optimiser](recipe.rate), loss=loss, metrics=["accuracy"])


def train(
    build: Callable[[], keras.Model],
    training: tuple[Inputs, NDArray[np.int64]],
    test: tuple[Inputs, NDArray[np.int64]],
    recipe: Recipe,
    seed: int,
    *,
    clear: bool = True,
) -> Trained:
    """Train what `build` gives; the test clips are only watched, nothing is chosen by them.

    `clear` frees what earlier trainings left; not where `build` joins networks that are trained already.
    """
    if clear:
        keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    network = build()
    compile_for(network, recipe)
    started = time.monotonic()
    history = network.fit(
        *training,
        validation_data=test,
        epochs=recipe.epochs,
        batch_size=recipe.batch,
        shuffle=True,
        verbose=0,
    ).history
    probabilities = np.asarray(network.predict(test[0], batch_size=64, verbose=0), np.float32)
    curves = {name: [round(float(value), 5) for value in values] for name, values in history.items()}
    return Trained(network, curves, probabilities, time.monotonic() - started)


def learned(trained: Trained) -> dict[str, Any]:
    """Curves, parameters and times of a trained network, and the gap that overfitting leaves."""
    accuracy = trained.history.get("accuracy", [0.0])[-1]
    watched = trained.history.get("val_accuracy", [0.0])
    return {
        "history": trained.history,
        "training_accuracy": accuracy,
        "gap": round(accuracy - watched[-1], 5),
        # Chosen by the clips that it is judged on: what "best epoch" in a paper's figure can hide.
        "best_epoch_accuracy": max(watched),
        "parameters": int(trained.network.count_params()),
        "training_seconds": round(trained.seconds, 2),
    }
