"""LSTM-CNN of P4, in one and in two dimensions: an LSTM that returns its sequence, then convolutions."""

from collections.abc import Sequence

import keras


def build_1d(
    frames: int = 251,
    coefficients: int = 52,
    classes: int = 7,
    *,
    units: int = 52,
    filters: Sequence[int] = (64,),
    kernel: int = 3,
    dropout: float = 0.2,
) -> keras.Model:
    """Input (batch, frames, coefficients), output (batch, classes) probabilities.

    52 coefficients are MFCC 40 + chroma 12. The paper does not give the number of kernels: 64, the least that
    its other networks have.
    """
    inputs = keras.Input((frames, coefficients), name="mfcc")
    x = keras.layers.LSTM(units, return_sequences=True)(inputs)
    for width in filters:
        x = keras.layers.Conv1D(width, kernel)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ELU()(x)
        x = keras.layers.MaxPooling1D(2)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(dropout)(x)
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="lstm_cnn_1d")


def build_2d(
    bands: int = 128,
    frames: int = 251,
    classes: int = 7,
    *,
    units: int = 64,
    filters: Sequence[int] = (128, 256),
    kernel: int = 3,
    dropout: float = 0.0,
) -> keras.Model:
    """Input (batch, bands, frames), output (batch, classes) probabilities.

    The LSTM walks over time with the bands as its input; its states over time are the picture of the
    convolutions.
    """
    inputs = keras.Input((bands, frames), name="log_mel")
    x = keras.layers.Permute((2, 1))(inputs)
    x = keras.layers.LSTM(units, return_sequences=True)(x)
    x = keras.layers.Reshape((frames, units, 1))(x)
    for width in filters:
        x = keras.layers.Conv2D(width, kernel)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ELU()(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="lstm_cnn_2d")
