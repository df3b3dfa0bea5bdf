"""What every layer of the float network gets to hear from the calibration clips."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from convert.fold import Convolution, FoldedNetwork, Recurrence
from convert.rounding import Array, Moments
from device.errors import BadDataError


@dataclass
class HeardConvolution:
    """Moments of what its kernel sees (size * in), and the greatest output of each channel."""

    moments: Moments
    peaks: Array


@dataclass
class HeardRecurrence:
    """Moments of (input, state before the step); samples of what enters the candidate."""

    moments: Moments
    linear: list[Array] = field(default_factory=list)  # W x + b
    back: list[Array] = field(default_factory=list)  # U h + b
    product: list[Array] = field(default_factory=list)  # r (U h + b)


@dataclass
class Heard:
    """All layers of a network."""

    convolutions: list[HeardConvolution]
    recurrences: list[HeardRecurrence]
    head: Moments
    logits: list[Array] = field(default_factory=list)
    peak: float = 0.0  # of the view


def listen(network: FoldedNetwork, windows: list[NDArray[np.float32]]) -> Heard:
    """Run the float network over `windows`, views of shape (n, V), each from the start.

    Raises BadDataError where no window is as long as a step of the network.
    """
    usable = [w[: len(w) // network.stride * network.stride] for w in windows if len(w) >= network.stride]
    if not usable:
        raise BadDataError(f"calibration: no window is as long as a step of {network.stride} frames")
    heard = Heard(
        [HeardConvolution(Moments.of(c.kernel[:, :, 0].size), np.zeros(c.bias.size)) for c in network.convolutions],
        [HeardRecurrence(Moments.of(r.kernel.shape[0] + r.units)) for r in network.recurrences],
        Moments.of(len(network.head)),
    )
    for window in usable:
        _hear(network, np.asarray(window, np.float64), heard)
    return heard


def _hear(network: FoldedNetwork, x: Array, heard: Heard) -> None:
    heard.peak = max(heard.peak, float(np.abs(x).max()))
    for convolution, told in zip(network.convolutions, heard.convolutions, strict=True):
        x = _hear_convolution(convolution, x, told)
    for recurrence, noted in zip(network.recurrences, heard.recurrences, strict=True):
        x = _hear_recurrence(recurrence, x, noted)
    heard.head.add(x)
    heard.logits.append(x @ network.head + network.head_bias)


def _hear_convolution(convolution: Convolution, x: Array, heard: HeardConvolution) -> Array:
    whole = np.concatenate([np.tile(convolution.initial, (convolution.tail, 1)), x])
    size = convolution.kernel.shape[0]
    heard.moments.add(np.stack([whole[at : at + size].ravel() for at in range(0, len(x), convolution.stride)]))
    out = convolution(whole)
    heard.peaks = np.maximum(heard.peaks, out.max(axis=0))
    return out


def _hear_recurrence(recurrence: Recurrence, x: Array, heard: HeardRecurrence) -> Array:
    h, states = np.zeros(recurrence.units), []
    for row in x:
        states.append(h)
        h = recurrence(row, h)
    n, before = recurrence.units, np.stack(states)
    heard.moments.add(np.concatenate([x, before], axis=1))
    linear = x @ recurrence.kernel + recurrence.bias
    back = before @ recurrence.recurrent + recurrence.recurrent_bias
    reset = 1 / (1 + np.exp(-(linear + back)[:, n : 2 * n]))
    heard.linear.append(linear[:, 2 * n :])
    heard.back.append(back[:, 2 * n :])
    heard.product.append(reset * back[:, 2 * n :])
    return np.stack([*states[1:], h])
