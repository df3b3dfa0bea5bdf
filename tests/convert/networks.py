"""Networks at random weights, with random batch normalisation, as training leaves them."""

from __future__ import annotations

import keras
import numpy as np

from training.networks.gru import danger_gru

CLASSES, VIEW, FRAMES = 8, 12, 1200


def random_network(seed: int = 3, *, input_norm: bool = False, **arguments: object) -> keras.Model:
    """A small danger_gru; every gain, offset, mean and variance is drawn, none is as initialised."""
    keras.utils.set_random_seed(seed)
    settings = {"frames": FRAMES, "view_size": VIEW, "classes": CLASSES, "units": (24,)}
    settings["convolutions"] = ((16, 5, 2), (20, 5, 2))
    model = danger_gru(**(settings | arguments))
    if input_norm:
        model = _behind_norm(model, "pad_1" if settings["convolutions"] else "gru_1")
    draw = np.random.default_rng(seed)
    for weight in model.weights:
        name = weight.path.rsplit("/", 1)[-1]
        if "variance" in name:
            weight.assign(draw.uniform(0.3, 2.0, weight.shape))
        elif "gamma" in name:
            weight.assign(draw.uniform(0.5, 1.5, weight.shape))
        elif name.startswith(("mean", "moving_mean", "beta", "bias")):
            weight.assign(draw.normal(0, 0.3, weight.shape))
    return model


def _behind_norm(model: keras.Model, first: str) -> keras.Model:
    """The same network with a batch normalisation on its input, before the layer called `first`."""
    norm = keras.layers.BatchNormalization(name="input_norm")

    def call(layer: keras.layers.Layer, *inputs: object, **arguments: object) -> object:
        if layer.name == first:
            inputs = (norm(inputs[0]), *inputs[1:])
        return layer(*inputs, **arguments)

    return keras.models.clone_model(model, call_function=call)
