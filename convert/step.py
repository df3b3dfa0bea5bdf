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

Gates = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # what enters z, r and the candidate, each (batch, units)


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


def _project_all(recurrence: Recurrence, x: tf.Tensor) -> list[Gates]:
    """W x of every step by one multiplication a gate: its bias and its quantisation are stored once."""
    batch, steps, size = x.shape
    flat = tf.reshape(x, (batch * steps, size))
    gates = []
    for kernel, bias in zip(_gates(recurrence.kernel), _input_biases(recurrence), strict=True):
        linear = flat @ _constant(kernel) + _constant(bias)
        gates.append(tf.unstack(tf.reshape(linear, (batch, steps, recurrence.units)), axis=1))
    return list(zip(*gates, strict=True))


def _project_each(recurrence: Recurrence, steps: list[tf.Tensor]) -> list[Gates]:
    """W x step by step, where the steps are the states of the layer below, which must not be stacked either."""
    kernels, biases = _gates(recurrence.kernel), _input_biases(recurrence)
    parts = [(_constant(k), _constant(b)) for k, b in zip(kernels, biases, strict=True)]
    return [tuple(x @ kernel + bias for kernel, bias in parts) for x in steps]


def _recur(recurrence: Recurrence, linear: list[Gates], h: tf.Tensor) -> list[tf.Tensor]:
    """Each gate has tensors of its own: one scale for all three would be the widest one's."""
    to_z, to_r, to_candidate = (_constant(part) for part in _gates(recurrence.recurrent))
    bias = _constant(recurrence.recurrent_bias[2 * recurrence.units :])
    outputs = []
    for of_z, of_r, of_candidate in linear:
        z, r = tf.sigmoid(of_z + h @ to_z), tf.sigmoid(of_r + h @ to_r)
        candidate = tf.tanh(of_candidate + r * (h @ to_candidate + bias))
        # Not candidate + z (h - candidate), which saves a multiplication: the difference spans -2..2, and in int8
        # its rounding made a third more error.
        h = z * h + (1 - z) * candidate
        outputs.append(h)
    return outputs


def _gates(weights: np.ndarray) -> list[np.ndarray]:
    return np.split(weights, 3, axis=-1)


def _input_biases(recurrence: Recurrence) -> list[np.ndarray]:
    """For z and r both biases at once; the candidate's recurrent one stands inside the reset gate."""
    z, r, candidate = _gates(recurrence.bias)
    more_z, more_r, _ = _gates(recurrence.recurrent_bias)
    return [z + more_z, r + more_r, candidate]


def _constant(values: np.ndarray) -> tf.Tensor:
    return tf.constant(values, tf.float32)
