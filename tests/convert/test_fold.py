"""Folding changes nothing: the plain weights say what the Keras network says."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from convert.fold import fold, pool
from device.errors import BadDataError
from tests.convert.networks import CLASSES, FRAMES, VIEW, random_network

pytestmark = pytest.mark.training


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _view(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (FRAMES, VIEW)).astype(np.float32)


def _keras_steps(model: keras.Model, view: np.ndarray) -> np.ndarray:
    """Logits of every step, from Keras."""
    inner = keras.Model(model.inputs, model.get_layer("head").output)
    valid = np.ones((1, len(view)), np.float32)
    return np.asarray(inner({"view": view[None], "valid": valid}, training=False))[0]


SHAPES = [
    {},
    {"units": (16, 12)},
    {"convolutions": ((16, 7, 4),)},
    {"convolutions": (), "frames": 300},
    {"normalise": False},
    {"input_norm": True},
    {"input_norm": True, "convolutions": ((16, 5, 1), (8, 3, 2), (8, 3, 2))},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_folded_over_300_steps_is_within_1e_5(shape: dict) -> None:
    model = random_network(**shape)
    view = _view()[: model.inputs[0].shape[1]]
    expected = _keras_steps(model, view)
    logits = fold(model).logits(view)
    assert len(logits) == len(expected) >= 300
    assert np.abs(_softmax(logits) - _softmax(expected)).max() < 1e-5
    whole = model({"view": view[None], "valid": np.ones((1, len(view)), np.float32)}, training=False)
    pooled = pool(logits)
    assert np.abs(_softmax(pooled[:CLASSES]) - _softmax(np.asarray(whole["emotion"])[0])).max() < 1e-5
    assert abs(pooled[CLASSES] - float(np.asarray(whole["danger"])[0, 0])) < 1e-4


def test_streaming_in_steps_equals_the_whole_utterance() -> None:
    network = fold(random_network(input_norm=True))
    view = _view(1).astype(np.float64)
    states, parts = network.start(), []
    for at in range(0, FRAMES, 8):
        logits, states = network.step(view[at : at + 8], states)
        parts.append(logits)
    assert np.abs(np.concatenate(parts) - network.logits(view)).max() < 1e-12


def test_an_unknown_layer_is_named() -> None:
    view = keras.Input((40, VIEW), name="view")
    x = keras.layers.LSTM(8, return_sequences=True, name="a_stranger")(view)
    model = keras.Model(view, keras.layers.Dense(10)(x))
    with pytest.raises(BadDataError, match="a_stranger"):
        fold(model)


def test_a_convolution_that_sees_the_future_is_refused() -> None:
    view = keras.Input((40, VIEW), name="view")
    x = keras.layers.Conv1D(8, 5, padding="same", name="looks_ahead")(view)
    model = keras.Model(view, keras.layers.Dense(10)(x))
    with pytest.raises(BadDataError, match="looks_ahead"):
        fold(model)
