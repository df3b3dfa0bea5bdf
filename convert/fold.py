"""Fold a trained Keras network into plain weights: what the device computes, in numpy.

Batch normalisation at inference is `x * gain + offset` with constants, so it disappears into the weights
before it (convolutions, the six linear transformations of the gates) or behind it (on the input). What is
left are convolutions, GRU layers and one dense head. `FoldedNetwork.logits` computes them in float64: the
reference of every later stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from device.errors import BadDataError
from training.networks.gru import AttentionPooling, GateNormalisedGRU

Array = NDArray[np.float64]
_GATE_EPSILON = 1e-3  # of the normalisation inside `GateNormalisedGRU`

# What does nothing at inference, or stands beside the road from `view` to the head.
_SILENT = (
    keras.layers.InputLayer,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.Identity,
    AttentionPooling,
)


@dataclass(frozen=True)
class Convolution:
    """A causal convolution with ReLU: `kernel` (size, in, out), `bias` (out,).

    It sees `tail` = size - stride steps of the past; before the start each holds `initial` (in,).
    """

    kernel: Array
    bias: Array
    stride: int
    initial: Array

    @property
    def tail(self) -> int:
        """Steps of the past that are kept between calls."""
        return self.kernel.shape[0] - self.stride

    def __call__(self, x: Array) -> Array:
        """Outputs (n / stride, out) of `x` (tail + n, in)."""
        size = self.kernel.shape[0]
        starts = range(0, len(x) - size + 1, self.stride)
        windows = np.stack([x[at : at + size].ravel() for at in starts])
        return np.maximum(windows @ self.kernel.reshape(-1, self.kernel.shape[2]) + self.bias, 0.0)


@dataclass(frozen=True)
class Recurrence:
    """A GRU, `reset_after`: z, r, candidate side by side in `kernel` (in, 3n), `recurrent` (n, 3n), both biases."""

    kernel: Array
    bias: Array
    recurrent: Array
    recurrent_bias: Array

    @property
    def units(self) -> int:
        """Size of the state."""
        return self.recurrent.shape[0]

    def __call__(self, x: Array, h: Array) -> Array:
        """The state after one step of input `x` (in,) on the state `h` (n,)."""
        n = self.units
        wx = x @ self.kernel + self.bias
        uh = h @ self.recurrent + self.recurrent_bias
        z, r = _sigmoid(wx[:n] + uh[:n]), _sigmoid(wx[n : 2 * n] + uh[n : 2 * n])
        candidate = np.tanh(wx[2 * n :] + r * uh[2 * n :])
        return z * h + (1 - z) * candidate


@dataclass(frozen=True)
class FoldedNetwork:
    """Convolutions, then recurrences, then the head `head` (n, classes + 2) with `head_bias`."""

    convolutions: tuple[Convolution, ...]
    recurrences: tuple[Recurrence, ...]
    head: Array
    head_bias: Array

    @property
    def stride(self) -> int:
        """Frames from one output to the next."""
        return int(np.prod([c.stride for c in self.convolutions], dtype=int))

    @property
    def input_size(self) -> int:
        """Numbers of a frame's view."""
        first = self.convolutions[0].kernel.shape[1] if self.convolutions else self.recurrences[0].kernel.shape[0]
        return int(first)

    @property
    def classes(self) -> int:
        """Emotions of the head; danger and attention come after them."""
        return self.head.shape[1] - 2

    def start(self) -> list[Array]:
        """The states at a window's start: one tail (tail, in) a convolution, one state (n,) a recurrence."""
        tails = [np.tile(c.initial, (c.tail, 1)) for c in self.convolutions]
        return tails + [np.zeros(r.units) for r in self.recurrences]

    def step(self, view: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        """Logits (n / stride, classes + 2) of the next `view` (n, V), and the states after it."""
        x, after = view, []
        for convolution, tail in zip(self.convolutions, states, strict=False):
            whole = np.concatenate([tail, x])
            after.append(whole[len(whole) - convolution.tail :])
            x = convolution(whole)
        for recurrence, state in zip(self.recurrences, states[len(self.convolutions) :], strict=True):
            h, outputs = state, []
            for row in x:
                h = recurrence(row, h)
                outputs.append(h)
            after.append(h)
            x = np.stack(outputs)
        return x @ self.head + self.head_bias, after

    def logits(self, view: Array) -> Array:
        """Logits (n // stride, classes + 2) of a whole `view` (n, V); a rest shorter than a stride is left out."""
        whole = len(view) // self.stride * self.stride
        return self.step(np.asarray(view[:whole], np.float64), self.start())[0]


def pool(logits: Array) -> Array:
    """The clip's logits (classes + 1,), weighted by attention, from those of all steps (n, classes + 2)."""
    weight = np.exp(logits[:, -1] - logits[:, -1].max())
    return np.asarray(weight @ logits[:, :-1] / weight.sum())


def fold(model: keras.Model) -> FoldedNetwork:
    """Plain weights of a network as `training.networks.gru.danger_gru` builds it.

    On the road from `view` to `head` it may have a batch normalisation on the input, then (padding,
    convolution, batch normalisation, ReLU) any number of times, then GRU layers. Raises BadDataError with the
    layer's name for any other.
    """
    road = [layer for layer in model.layers if not isinstance(layer, _SILENT) and not _is_slice(layer)]
    gain = offset = None
    convolutions: list[Convolution] = []
    recurrences: list[Recurrence] = []
    if road and isinstance(road[0], keras.layers.BatchNormalization):
        gain, offset = _affine(road.pop(0))
    while road and isinstance(road[0], (keras.layers.ZeroPadding1D, keras.layers.Conv1D)):
        convolutions.append(_convolution(road, gain, offset))
        gain = offset = None
    while road and isinstance(road[0], GateNormalisedGRU):
        recurrences.append(_recurrence(road.pop(0), gain, offset))
        gain = offset = None
    if len(road) != 1 or not isinstance(road[0], keras.layers.Dense) or not recurrences:
        odd = road[0] if road else model
        raise BadDataError(f"network: layer {odd.name} ({type(odd).__name__}) can't be converted at this place")
    head, bias = (_values(w) for w in road[0].weights)
    return FoldedNetwork(tuple(convolutions), tuple(recurrences), head, bias)


def _is_slice(layer: Any) -> bool:
    return type(layer).__name__ == "GetItem"  # slices of `valid` and of the pooled logits: no weights


def _affine(norm: keras.layers.BatchNormalization) -> tuple[Array, Array]:
    """Batch normalisation as gain and offset."""
    mean, variance = _values(norm.moving_mean), _values(norm.moving_variance)
    gain = (_values(norm.gamma) if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    return gain, (_values(norm.beta) if norm.center else 0.0) - mean * gain


def _convolution(road: list[Any], gain: Array | None, offset: Array | None) -> Convolution:
    """Take padding, convolution, normalisation and ReLU from the road; `gain`, `offset` lie on their input."""
    padding = road.pop(0) if isinstance(road[0], keras.layers.ZeroPadding1D) else None
    layer = road.pop(0) if road else None
    if not isinstance(layer, keras.layers.Conv1D):
        raise BadDataError(f"network: a convolution must follow {padding.name if padding else 'here'}")
    size, stride = layer.kernel_size[0], layer.strides[0]
    pads = tuple(padding.padding) if padding else (0, 0)
    plain = layer.dilation_rate[0] == 1 and layer.groups == 1 and layer.padding == "valid"
    if not plain or pads != (size - stride, 0):
        raise BadDataError(f"network: {layer.name} is not causal with {size - stride} steps of past before the start")
    kernel = _values(layer.kernel)
    bias = _values(layer.bias) if layer.use_bias else np.zeros(kernel.shape[2])
    initial = np.zeros(kernel.shape[1])
    if gain is not None and offset is not None:
        # Padding stood behind the normalisation: before it, the past must hold what becomes 0.
        bias = bias + np.einsum("kio,i->o", kernel, offset)
        kernel, initial = kernel * gain[None, :, None], -offset / gain
    relu = layer.activation is keras.activations.relu
    if not relu and road and isinstance(road[0], keras.layers.BatchNormalization):
        after, shift = _affine(road.pop(0))
        kernel, bias = kernel * after, bias * after + shift
    if not relu and not _is_relu(road.pop(0) if road else None):
        raise BadDataError(f"network: {layer.name} must end in ReLU")
    return Convolution(kernel, bias, stride, initial)


def _is_relu(layer: Any) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.relu


def _recurrence(layer: GateNormalisedGRU, gain: Array | None, offset: Array | None) -> Recurrence:
    if not layer.return_sequences:
        raise BadDataError(f"network: {layer.name} gives only its last state; the head needs every step")
    kernel, recurrent = _values(layer.kernel), _values(layer.recurrent_kernel)
    bias, recurrent_bias = _values(layer.beta_x), _values(layer.beta_h)
    if layer.normalise:
        scale = _values(layer.gamma_x) / np.sqrt(_values(layer.variance_x) + _GATE_EPSILON)
        kernel, bias = kernel * scale, bias - _values(layer.mean_x) * scale
    if layer.normalises_recurrent:
        scale = _values(layer.gamma_h) / np.sqrt(_values(layer.variance_h) + _GATE_EPSILON)
        recurrent, recurrent_bias = recurrent * scale, recurrent_bias - _values(layer.mean_h) * scale
    if gain is not None and offset is not None:
        bias, kernel = bias + offset @ kernel, kernel * gain[:, None]
    return Recurrence(kernel, bias, recurrent, recurrent_bias)


def _values(weight: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(weight), np.float64)


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))
