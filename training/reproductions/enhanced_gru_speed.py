"""`python -m training.reproductions.enhanced_gru_speed`: what the gates' normalisation costs beside Keras' stock GRU.

One network each, alike but for the layer, takes training steps (forward, backward, Adam) on the same batch. Turns are
taken round by round, so that a busy machine slows all of them; compiling is not counted. KERAS_BACKEND says which
engine.
"""

import time
from collections.abc import Callable
from typing import Any

import click
import keras
import numpy as np
from numpy.typing import NDArray

from training.memory import keep_freed
from training.networks.gru import GateNormalisedGRU

STEPS_A_TURN = 5


def layers(units: int) -> dict[str, Callable[[], keras.layers.Layer]]:
    """Keras' own GRU, ours without normalisation (the paper's base), and the enhanced one."""
    return {
        "keras.layers.GRU": lambda: keras.layers.GRU(units),
        "base": lambda: GateNormalisedGRU(units, normalise=False, return_sequences=False),
        "enhanced": lambda: GateNormalisedGRU(units, dropout=0.2, return_sequences=False),
    }


def network(layer: keras.layers.Layer, steps: int, width: int) -> keras.Model:
    """The layer with a softmax over six classes on its last state, compiled as a reproduction compiles it."""
    frames = keras.Input((steps, width))
    made = keras.Model(frames, keras.layers.Dense(6, activation="softmax")(layer(frames)))
    made.compile(keras.optimizers.Adam(0.001), loss="sparse_categorical_crossentropy")
    return made


def measure(batch: int, steps: int, width: int, units: int, rounds: int) -> dict[str, NDArray[np.float64]]:
    """Seconds per training step of each layer, by the clock and of all cores together: (rounds, 2)."""
    generator = np.random.default_rng(0)
    frames = generator.normal(size=(batch, steps, width)).astype(np.float32)
    labels = generator.integers(0, 6, size=batch)
    networks: dict[str, Any] = {name: network(make(), steps, width) for name, make in layers(units).items()}
    for one in networks.values():
        for _ in range(2):
            one.train_on_batch(frames, labels)
    seconds: dict[str, NDArray[np.float64]] = {name: np.zeros((rounds, 2)) for name in networks}
    for turn in range(rounds):
        for name, one in networks.items():
            started = time.perf_counter(), time.process_time()
            for _ in range(STEPS_A_TURN):
                one.train_on_batch(frames, labels)
            seconds[name][turn] = time.perf_counter() - started[0], time.process_time() - started[1]
    return {name: told / STEPS_A_TURN for name, told in seconds.items()}


@click.command()
@click.option("--batch", type=click.IntRange(1), default=64, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=100, show_default=True, help="Frames of a clip.")
@click.option("--width", type=click.IntRange(1), default=40, show_default=True, help="Numbers of a frame.")
@click.option("--units", type=click.IntRange(1), default=64, show_default=True)
@click.option("--keep/--give-back", default=True, help="Keep freed memory (training/memory.py), or not.")
@click.option("--rounds", type=click.IntRange(1), default=20, show_default=True)
def main(*, batch: int, steps: int, width: int, units: int, keep: bool, rounds: int) -> None:
    """Print milliseconds per training step and how often Keras' stock GRU would have fitted in: medians of rounds."""
    if keep:
        keep_freed()
    seconds = measure(batch, steps, width, units, rounds)
    click.echo(f"{keras.backend.backend()}, batch {batch}, {steps} steps of {width}, {units} units, {rounds} rounds")
    for name, told in seconds.items():
        # Each round beside the stock GRU of the same round: what else ran then slowed both.
        clock, cores = np.median(told / seconds["keras.layers.GRU"], axis=0)
        wall, busy = 1000 * np.median(told, axis=0)
        click.echo(f"{name}: {wall:.1f} ms a step, {clock:.2f} times; CPU time {busy:.1f} ms, {cores:.2f} times")


if __name__ == "__main__":
    main()
