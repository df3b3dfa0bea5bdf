"""The two LSTM networks of Ayadi and Lachiri (sung emotion, P2).

Both end in a softmax over the classes. The paper's second network has a kernel of 256 x 1024, so 256 numbers
come in at each step: it walks over the 32 coefficients and sees all 256 frames of one at once
(`over="coefficients"`). The usual reading walks over time (`over="time"`) and is the same network with
another kernel.
"""

from typing import Literal

import keras

Over = Literal["coefficients", "time"]


def _inputs(frames: int, coefficients: int, over: Over) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    inputs = keras.Input((frames, coefficients), name="mfcc")
    if over == "time":
        return inputs, inputs
    if over == "coefficients":
        return inputs, keras.layers.Permute((2, 1))(inputs)
    raise ValueError(f"an LSTM walks over 'coefficients' or 'time', not over {over!r}")


def first(
    frames: int = 256,
    coefficients: int = 32,
    classes: int = 6,
    *,
    units: int = 256,
    over: Over = "coefficients",
) -> keras.Model:
    """The paper's first training: two LSTM layers and dense layers of 64, 16 and `classes`, no dropout.

    Input (batch, frames, coefficients), output (batch, classes) probabilities. The paper leaves the width of
    its LSTM layers open; 256 is that of its second network.
    """
    inputs, x = _inputs(frames, coefficients, over)
    x = keras.layers.LSTM(units, return_sequences=True)(x)
    x = keras.layers.LSTM(units)(x)
    x = keras.layers.Dense(64, activation="relu")(x)
    x = keras.layers.Dense(16, activation="relu")(x)
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="lstm_first")


def second(
    frames: int = 256,
    coefficients: int = 32,
    classes: int = 6,
    *,
    units: int = 256,
    dense: int = 128,
    dropout: float = 0.25,
    over: Over = "coefficients",
    layers: int = 1,
    masked: bool = False,
) -> keras.Model:
    """The paper's second training: one LSTM's last state, dropout, dense 128, dropout, softmax.

    Input (batch, frames, coefficients), output (batch, classes) probabilities. The paper's flatten layer
    changes nothing on a last state and is left out. `layers` > 1 changes the depth alone. `masked`: steps of zeros,
    a clip's padding, change no state; the paper mentions no mask.
    """
    inputs, x = _inputs(frames, coefficients, over)
    if masked:
        x = keras.layers.Masking()(x)
    for _ in range(layers - 1):
        x = keras.layers.LSTM(units, return_sequences=True)(x)
    x = keras.layers.LSTM(units)(x)
    x = keras.layers.Dropout(dropout)(x)
    x = keras.layers.Dense(dense, activation="relu")(x)
    x = keras.layers.Dropout(dropout)(x)
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="lstm_second")
