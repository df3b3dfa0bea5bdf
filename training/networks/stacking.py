"""Stacking of P4: one binary CNN2D-LSTM for each class, frozen, and a small network that weighs them."""

from collections.abc import Sequence

import keras

from training.networks import cnn2d_lstm


def binary(
    bands: int = 128,
    frames: int = 251,
    filters: Sequence[int] = (128, 256, 256),
    kernel: int = 5,
    units: int = 48,
) -> keras.Model:
    """One class against the rest: input (batch, bands, frames), output (batch, 1) probability."""
    inputs = keras.Input((bands, frames), name="log_mel")
    state = cnn2d_lstm.trunk(inputs, filters, kernel, units)
    outputs = keras.layers.Dense(1, activation="sigmoid")(state)
    return keras.Model(inputs, outputs, name="binary_cnn2d_lstm")


def build(binaries: Sequence[keras.Model], dense: int = 512, dropout: float = 0.4) -> keras.Model:
    """A network over trained `binary` networks, one a class in the classes' order, which are frozen by it.

    Input (batch, bands, frames), output (batch, classes) probabilities. What is joined are the LSTMs' last
    states, which say more than one probability each; the paper leaves it open.
    """
    if len(binaries) < 2:
        raise ValueError("stacking needs one binary network for each of at least two classes")
    inputs = keras.Input(binaries[0].input_shape[1:], name="log_mel")
    states = []
    for number, network in enumerate(binaries):
        network.trainable = False
        trunk = keras.Model(network.input, network.layers[-1].input, name=f"binary_{number}")
        # training=False: frozen batch statistics too, also while the head learns.
        states.append(trunk(inputs, training=False))
    x = keras.layers.Concatenate()(states)
    x = keras.layers.Dense(dense, activation="relu")(x)
    x = keras.layers.Dropout(dropout)(x)
    outputs = keras.layers.Dense(len(binaries), activation="softmax")(x)
    return keras.Model(inputs, outputs, name="stacking")
