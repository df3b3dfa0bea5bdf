"""The fused network of P4: CNN1D-LSTM on MFCC and CNN2D-LSTM on log-mel, their LSTM outputs side by side."""

from collections.abc import Sequence

import keras

from training.networks import cnn1d_lstm, cnn2d_lstm


def build(
    frames: int = 251,
    coefficients: int = 40,
    bands: int = 128,
    classes: int = 7,
    *,
    filters_1d: Sequence[int] = (64, 128),
    filters_2d: Sequence[int] = (128, 256, 256),
    kernel_2d: int = 5,
    units: int = 48,
    dropout: float = 0.5,
) -> keras.Model:
    """Inputs [(batch, frames, coefficients), (batch, bands, frames)], output (batch, classes)."""
    mfcc = keras.Input((frames, coefficients), name="mfcc")
    log_mel = keras.Input((bands, frames), name="log_mel")
    x = keras.layers.Concatenate()(
        [
            cnn1d_lstm.trunk(mfcc, filters_1d, 3, units, dropout),
            cnn2d_lstm.trunk(log_mel, filters_2d, kernel_2d, units),
        ]
    )
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model([mfcc, log_mel], outputs, name="fused")
