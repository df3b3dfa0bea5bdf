"""The 2DCNN of Kamaruzaman et al. (P3), which learns from clips and from what SMOTE makes of them."""

from typing import Literal

import keras


def build(
    rows: int = 16,
    columns: int = 8,
    classes: int = 4,
    filters: int = 64,
    activation: Literal["leaky_relu", "relu"] = "leaky_relu",
) -> keras.Model:
    """Three convolutions with halving, batch normalisation after the first two, dense 64, dropout, softmax.

    Input (batch, rows, columns), output (batch, classes) probabilities. The paper says leaky ReLU in its
    table and ReLU in one place of its text. L2 of 0.01 lies on the dense layer's kernel and bias.
    """
    inputs = keras.Input((rows, columns), name="features")
    x = keras.layers.Reshape((rows, columns, 1))(inputs)
    for block in range(3):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation=activation)(x)
        x = keras.layers.MaxPooling2D(2)(x)
        if block < 2:
            x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(
        64,
        activation=activation,
        kernel_regularizer=keras.regularizers.L2(0.01),
        bias_regularizer=keras.regularizers.L2(0.01),
    )(x)
    x = keras.layers.Dropout(0.5)(x)
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="cnn2d_smote")
