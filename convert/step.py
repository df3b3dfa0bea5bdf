"""The step graph: k frames and all states in, logits and states out, in plain TensorFlow operations.

Stateless: a tail of past steps for every convolution and a state for every GRU layer go in and come out. The
steps of the GRU within one call are unrolled, so that no WHILE is left, and no resource variable, for the
weights are constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from convert.fold import Convolution, FoldedNetwork, Recurrence
from device.errors import UsageError


@dataclass(frozen=True)
class StepGraph:
    """The graph of `network` for `batch` windows of `frames` frames each call."""

    network: FoldedNetwork
    batch: int
    frames: int

    def __post_init__(self) -> None:
        """Refuse a step that is no whole number of strides."""
        if self.frames % self.network.stride or self.frames < 1:
            raise UsageError(f"frames per step {self.frames}: must be a multiple of {self.network.stride}")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(batch, frames, V)."""
        return self.batch, self.frames, self.network.input_size

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(batch, frames / stride, classes + 2)."""
        return self.batch, self.frames // self.network.stride, self.network.classes + 2

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the states, in their order; a convolution without a past has none."""
        tails = {
            f"tail_{i}": (self.batch, c.tail, c.kernel.shape[1])
            for i, c in enumerate(self.network.convolutions, 1)
            if c.tail
        }
        states = {f"gru_{i}": (self.batch, r.units) for i, r in enumerate(self.network.recurrences, 1)}
        return tails | states

    def start(self) -> list[np.ndarray]:
        """The states at a window's start, float32, in their order."""
        batched = [np.tile(s, (self.batch, *[1] * s.ndim)) for s in self.network.start()]
        return [s.astype(np.float32) for s in batched if s.size]

    def function(self) -> Any:
        """The `tf.function`: arguments `input` and the states by name; outputs `logits` and `<state>_out`."""
        names = list(self.state_shapes)
        shapes = [self.input_shape, *self.state_shapes.values()]
        specs = [
            tf.TensorSpec(shape, tf.float32, name=name) for name, shape in zip(["input", *names], shapes, strict=True)
        ]

        @tf.function(input_signature=specs, autograph=False)
        def step(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
            states = dict(zip(names, tensors[1:], strict=True))
            return self._step(tensors[0], states)

        return step

    def _step(self, x: tf.Tensor, states: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        after: dict[str, tf.Tensor] = {}
        for i, convolution in enumerate(self.network.convolutions, 1):
            name = f"tail_{i}"
            if convolution.tail:
                x = tf.concat([states[name], x], axis=1)
                after[f"{name}_out"] = x[:, x.shape[1] - convolution.tail :, :]
            x = _convolve(convolution, x)
        steps: list[tf.Tensor] = []
        for i, recurrence in enumerate(self.network.recurrences, 1):
            linear = _project_each(recurrence, steps) if steps else _project_all(recurrence, x)
            steps = _recur(recurrence, linear, states[f"gru_{i}"])
            after[f"gru_{i}_out"] = steps[-1]
        # The head step by step: to stack the states first would force one scale on all of them, also on those that
        # never go out, and then the last one's would not be that of the state which comes in.
        head, bias = _constant(self.network.head), _constant(self.network.head_bias)
        return {"logits": tf.stack([h @ head + bias for h in steps], axis=1), **after}


def _convolve(convolution: Convolution, x: tf.Tensor) -> tf.Tensor:
    y = tf.nn.conv1d(x, _constant(convolution.kernel), convolution.stride, "VALID")
    return tf.nn.relu(y + _constant(convolution.bias))


def _project_all(recurrence: Recurrence, x: tf.Tensor) -> list[tf.Tensor]:
    """W x of every step by one multiplication: its bias and its quantisation are stored once."""
    batch, steps, size = x.shape
    flat = tf.reshape(x, (batch * steps, size)) @ _constant(recurrence.kernel) + _constant(recurrence.bias)
    return list(tf.unstack(tf.reshape(flat, (batch, steps, 3 * recurrence.units)), axis=1))


def _project_each(recurrence: Recurrence, steps: list[tf.Tensor]) -> list[tf.Tensor]:
    """W x step by step, where the steps are the states of the layer below, which must not be stacked either."""
    kernel, bias = _constant(recurrence.kernel), _constant(recurrence.bias)
    return [x @ kernel + bias for x in steps]


def _recur(recurrence: Recurrence, linear: list[tf.Tensor], h: tf.Tensor) -> list[tf.Tensor]:
    n = recurrence.units
    recurrent, recurrent_bias = _constant(recurrence.recurrent), _constant(recurrence.recurrent_bias)
    outputs = []
    for wx in linear:
        uh = h @ recurrent + recurrent_bias
        z = tf.sigmoid(wx[:, :n] + uh[:, :n])
        r = tf.sigmoid(wx[:, n : 2 * n] + uh[:, n : 2 * n])
        candidate = tf.tanh(wx[:, 2 * n :] + r * uh[:, 2 * n :])
        # candidate + z (h - candidate): one multiplication less than z h + (1 - z) candidate, the same value.
        h = candidate + z * (h - candidate)
        outputs.append(h)
    return outputs


def _constant(values: np.ndarray) -> tf.Tensor:
    return tf.constant(values, tf.float32)
