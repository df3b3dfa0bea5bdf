"""Conv2D over time and coefficients, the second network beside P2's LSTM. No architecture is given."""

from collections.abc import Sequence

import keras


def build(
    frames: int = 256,
    coefficients: int = 32,
    classes: int = 6,
    *,
    filters: Sequence[int] = (16, 32, 64),
    kernel: int = 3,
    dropout: float = 0.25,
) -> keras.Model:
    """Blocks of convolution, batch normalisation, ReLU and halving both ways, then the mean over time.

    Input (batch, frames, coefficients), output (batch, classes) probabilities. The coefficients that are left
    keep their places (only time is averaged): in a cepstrum the place is the meaning.
    """
    inputs = keras.Input((frames, coefficients), name="mfcc")
    x = keras.layers.Reshape((frames, coefficients, 1))(inputs)
    for width in filters:
        x = keras.layers.Conv2D(width, kernel, padding="same")(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    x = keras.layers.Dropout(dropout)(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    x = keras.layers.Dropout(dropout)(x)
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="conv2d")
