"""CNN-Transformer of P4: four convolution blocks over the log-mel picture and one standard transformer block.

The paper gives 2.1 M parameters, but neither kernel nor heads. Taken: 3x3 unpadded convolutions, the base
sizes of the transformer's own paper (8 heads of 64, inner layer 2048), and a dense layer on all 6 x 13
places, which makes the position known without an encoding: 2,107,527 parameters.
"""

from collections.abc import Sequence

import keras


def build(
    bands: int = 128,
    frames: int = 251,
    classes: int = 7,
    *,
    filters: Sequence[int] = (32, 64, 128, 256),
    kernel: int = 3,
    heads: int = 8,
    key_size: int = 64,
    inner: int = 2048,
    dropout: float = 0.1,
) -> keras.Model:
    """Input (batch, bands, frames), output (batch, classes) probabilities.

    A block here is convolution, ELU, batch normalisation, max-pooling (in the paper's other networks the
    second and third change places).
    """
    inputs = keras.Input((bands, frames), name="log_mel")
    x = keras.layers.Reshape((bands, frames, 1))(inputs)
    for width in filters:
        x = keras.layers.Conv2D(width, kernel)(x)
        x = keras.layers.ELU()(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.MaxPooling2D(2)(x)
    width = x.shape[3]
    x = keras.layers.Reshape((x.shape[1] * x.shape[2], width))(x)
    attended = keras.layers.MultiHeadAttention(heads, key_size, dropout=dropout)(x, x)
    x = keras.layers.LayerNormalization()(keras.layers.Add()([x, attended]))
    y = keras.layers.Dense(inner, activation="relu")(x)
    y = keras.layers.Dropout(dropout)(keras.layers.Dense(width)(y))
    x = keras.layers.LayerNormalization()(keras.layers.Add()([x, y]))
    x = keras.layers.Flatten()(x)
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="cnn_transformer")
