"""CNN1D-LSTM of P4: convolutions over time, then an LSTM, on MFCC, with chroma and mel beside them or not."""

from collections.abc import Sequence

import keras


def trunk(
    inputs: keras.KerasTensor, filters: Sequence[int], kernel: int, units: int, dropout: float
) -> keras.KerasTensor:
    """The LSTM's last state (batch, units) of `inputs` (batch, frames, coefficients).

    A block is convolution, batch normalisation, ELU, max-pooling by 2 (the paper's order).
    """
    x = inputs
    for width in filters:
        x = keras.layers.Conv1D(width, kernel)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ELU()(x)
        x = keras.layers.MaxPooling1D(2)(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    return keras.layers.LSTM(units)(x)


def build(
    frames: int = 251,
    coefficients: int = 40,
    classes: int = 7,
    *,
    filters: Sequence[int] = (64, 128),
    kernel: int = 3,
    units: int = 48,
    dropout: float = 0.5,
) -> keras.Model:
    """Input (batch, frames, coefficients), output (batch, classes) probabilities; the best settings."""
    inputs = keras.Input((frames, coefficients), name="mfcc")
    x = trunk(inputs, filters, kernel, units, dropout)
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="cnn1d_lstm")
