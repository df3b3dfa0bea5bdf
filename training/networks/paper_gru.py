"""The classifier of the 2024 paper (P1): GRU layers, dropout after each, a softmax over their last state.

The paper names neither layers nor widths nor what follows the GRU; one layer and the last state are ours.
Base and enhanced model are the same network with parts switched on, so that they differ in nothing else.
"""

from typing import Any

import keras
from keras import ops

from training.networks.gru import GateNormalisedGRU


@keras.saving.register_keras_serializable(package="outcry")
class FrameAugment(keras.layers.Layer):
    """In training only: another channel (an offset of each coefficient), two spans hidden, a little noise.

    For frames (batch, steps, coefficients) that are scaled to mean 0 and deviation 1: what is hidden becomes 0.

    Args:
        span: longest hidden span, in steps.
        offset: deviation of a clip's offsets.
        noise: deviation of the noise.
    """

    def __init__(
        self, span: int = 8, offset: float = 0.3, noise: float = 0.1, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.span, self.offset, self.noise, self.seed = span, offset, noise, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, frames: Any, training: bool = False) -> Any:
        """Frames of the same shape."""
        if not training:
            return frames
        batch, steps, width = ops.shape(frames)[0], frames.shape[1], frames.shape[2]
        random = keras.random
        frames = frames + self.offset * random.normal((batch, 1, width), seed=self.seed_generator)
        frames = frames + self.noise * random.normal((batch, steps, width), seed=self.seed_generator)
        place = ops.arange(steps, dtype="float32")[None, :]
        for _ in range(2):
            start = random.uniform((batch, 1), 0, steps, seed=self.seed_generator)
            length = random.uniform((batch, 1), 0, self.span, seed=self.seed_generator)
            hidden = ops.logical_and(place >= start, place < start + length)
            frames = frames * (1.0 - ops.cast(hidden, frames.dtype))[:, :, None]
        return frames

    def get_config(self) -> dict[str, Any]:
        """All arguments, for saving."""
        names = ("span", "offset", "noise", "seed")
        return super().get_config() | {name: getattr(self, name) for name in names}


def build(
    steps: int,
    width: int,
    classes: int,
    *,
    units: tuple[int, ...] = (128,),
    normalise: bool = False,
    statistics: str = "separate",
    dropout: float = 0.0,
    cell_dropout: float = 0.0,
    initializer: str = "glorot_uniform",
    augment: bool = False,
) -> keras.Model:
    """The network: inputs `frames` (batch, steps, width) and `valid` (batch, steps), output class probabilities.

    Args:
        steps: length of the padded sequences; `valid` is 0 behind a sequence's end.
        width: numbers of a frame.
        classes: outputs.
        units: size of each GRU layer.
        normalise, statistics, dropout, cell_dropout, initializer: see `GateNormalisedGRU`. The initialiser is that
            of the last layer too.
        augment: with `FrameAugment` before the first layer.
    """
    frames = keras.Input((steps, width), name="frames")
    valid = keras.Input((steps,), name="valid")
    x = FrameAugment(name="augment")(frames) if augment else frames
    for number, size in enumerate(units, 1):
        x = GateNormalisedGRU(
            size,
            normalise=normalise,
            statistics=statistics,
            dropout=dropout,
            cell_dropout=cell_dropout,
            initializer=initializer,
            return_sequences=number < len(units),
            name=f"gru_{number}",
        )(x, mask=valid)
    outputs = keras.layers.Dense(classes, activation="softmax", kernel_initializer=initializer, name="emotion")(x)
    return keras.Model([frames, valid], outputs, name="paper_gru")
