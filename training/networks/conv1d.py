"""Conv1D over time, the first network that P2 sets beside its LSTM. The paper gives no architecture."""

from collections.abc import Sequence

import keras


def build(
    frames: int = 256,
    coefficients: int = 32,
    classes: int = 6,
    *,
    filters: Sequence[int] = (64, 128, 256),
    kernel: int = 5,
    dropout: float = 0.25,
) -> keras.Model:
    """Blocks of convolution, batch normalisation, ReLU and halving, then the mean over time and a dense one.

    Input (batch, frames, coefficients), output (batch, classes) probabilities. Dropout and the dense layer of
    128 are those of the paper's LSTM, whose "method" it says it carried over; the blocks are our choice.
    """
    inputs = keras.Input((frames, coefficients), name="mfcc")
    x = inputs
    for width in filters:
        x = keras.layers.Conv1D(width, kernel, padding="same")(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling1D(2)(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    x = keras.layers.Dropout(dropout)(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    x = keras.layers.Dropout(dropout)(x)
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="conv1d")
