"""The step graph in int8, operator by operator, with scales and weights fitted to what calibration heard.

Three things differ from the float network's formulas. A convolution's ReLU is the saturation of its int8 output:
-1 means 0, so that it shares scale and zero point with the GRU's state and one multiplication takes both. And the
state is two words: `gru` in steps of 1/128, which everything reads, and `rest`, what rounding took off, which is
added again at the next step; without it the rounding of slow units piles up. Last, what is left of the rounding is
halved by running the recurrences twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convert.edges import Operator, check_int8, check_states, operators
from convert.fold import Convolution, Recurrence
from convert.listen import Heard, HeardConvolution, HeardRecurrence
from convert.rounding import Array, Moments, Rounded, round_weights
from convert.step import StepGraph
from convert.writer import Quantised, Tensor, Writer

_UNIT = Quantised(1 / 128, 0)  # -1..1: of tanh, and of the state
_SHARE = Quantised(1 / 256, -128)  # 0..1: of the sigmoid
_MOVE = Quantised(1 / 128, -128)  # 0..2: how far the candidate lies from the state
# Products' steps stand in no simple ratio to their factors', for halves are rounded one way by XNNPACK on x86-64 and
# another on arm64, and a golden clip's bits are to be the same.
_FINE = Quantised(0.000489, -128)  # 0..1/8: a small move
_COARSE = Quantised(0.0078133, -128)  # 0..2: any move
_TAKEN = Quantised(1 / 31987, 0)  # of the rest
_STEP = Quantised(1 / 1000, 0)
_REST = Quantised(1 / 32000, 0)  # less than half a step of the state
# Beyond these a step of the answer in int8 is not reached any more.
_SIGMOID, _TANH = Quantised(13 / 255, 0), Quantised(7 / 255, 0)


@dataclass(frozen=True)
class Choices:
    """What `python -m convert study` switches off, one after the other, to tell what each is worth."""

    rest: bool = True  # the state's second word
    fitted: bool = True  # weights rounded for what comes in, not one by one
    levelled: bool = True  # channels of a convolution brought nearer to each other
    spanned: float = 0.9999  # share of the values that enter the candidate; the others saturate


@dataclass(frozen=True)
class State:
    """A state's shape, what its numbers mean, and where they start, one a channel."""

    shape: tuple[int, ...]
    kind: Quantised
    initial: NDArray[np.int8]


@dataclass(frozen=True)
class QuantisedNetwork:
    """The .tflite and what its boundary means."""

    content: bytes
    input: Quantised
    states: dict[str, State]
    operators: tuple[Operator, ...]


@dataclass(frozen=True)
class _Flow:
    """A tensor on its way through the graph: what it stands for is gain * t + offset, channel by channel."""

    tensor: Tensor
    gain: Array
    offset: Array


@dataclass(frozen=True)
class _Told:
    """Moments of what a layer gets, and what its numbers stand for: gain * t + offset."""

    moments: Moments
    gain: Array
    offset: Array

    def of(self, rows: slice) -> _Told:
        """Of some of the inputs."""
        moments = Moments(self.moments.count, self.moments.total[rows], self.moments.products[rows, rows])
        return _Told(moments, self.gain[rows], self.offset[rows])

    def seen(self) -> tuple[Array, Array]:
        """Mean and covariance of t."""
        return self.moments.seen_as(self.gain, self.offset)


@dataclass(frozen=True)
class _Cell:
    """A recurrence's constants, weights and bias each; what W x, U h and r U h of the candidate span."""

    units: int
    opening: tuple[Tensor, Tensor]
    reset: tuple[Tensor, Tensor]
    linear: tuple[Tensor, Tensor]
    back: tuple[Tensor, Tensor]
    spans: tuple[Quantised, ...]


def quantise(graph: StepGraph, heard: Heard, choices: Choices | None = None) -> QuantisedNetwork:
    """The graph as int8 .tflite."""
    builder = _Builder(graph, heard, choices or Choices())
    content = builder.build()
    check_int8(content)
    check_states(content, list(builder.states))
    return QuantisedNetwork(content, builder.input_kind, builder.states, tuple(operators(content)))


class _Builder:
    def __init__(self, graph: StepGraph, heard: Heard, choices: Choices) -> None:
        self.graph, self.heard, self.choices = graph, heard, choices
        self.writer = Writer()
        self.states: dict[str, State] = {}
        self.ins: dict[str, Tensor] = {}
        self.outs: dict[str, Tensor] = {}
        self.input_kind = Quantised(heard.peak / 127, 0)

    def build(self) -> bytes:
        network, writer = self.graph.network, self.writer
        entry = writer.tensor(self.graph.input_shape, None)
        x = writer.operator("QUANTIZE", [entry], self.graph.input_shape, self.input_kind)
        size = network.input_size
        flow = _Flow(x, np.ones(size), np.zeros(size))
        for i, (layer, heard) in enumerate(zip(network.convolutions, self.heard.convolutions, strict=True), 1):
            flow = self._convolution(f"tail_{i}", layer, heard, flow)
        if not network.convolutions:
            flow = self._as_unit(flow)
        cells = []
        for recurrence, noted in zip(network.recurrences, self.heard.recurrences, strict=True):
            cells.append(self._cell(recurrence, noted, flow))
            flow = _Flow(flow.tensor, np.ones(recurrence.units), np.zeros(recurrence.units))
        steps = writer.unpack(flow.tensor, 1)
        logits = self._head(self._recur(cells, steps))
        # Tails first, then what everything reads, then what rounding took off.
        order = sorted(self.states, key=lambda name: "rest" in name)
        self.states = {name: self.states[name] for name in order}
        return writer.content(
            {"input": entry, **{n: self.ins[n] for n in order}},
            {"logits": logits, **{f"{n}_out": self.outs[n] for n in order}},
        )

    def _state(self, name: str, shape: tuple[int, ...], kind: Quantised, start: Array) -> Tensor:
        raw = np.clip(np.rint(start / kind.scale) + kind.zero_point, -128, 127).astype(np.int8)
        self.states[name] = State(shape, kind, raw)
        self.ins[name] = self.writer.tensor(shape, kind)
        return self.ins[name]

    def _as_unit(self, flow: _Flow) -> _Flow:
        """The input in steps of 1/128, by a multiplication that changes no number: only what it means."""
        kind = flow.tensor.kind or _UNIT
        share = _UNIT.scale / kind.scale
        factor = self.writer.constant(np.array(127, np.int8), Quantised(share / 127, 0))
        x = self.writer.operator("MUL", [flow.tensor, factor], flow.tensor.shape, _UNIT)
        return _Flow(x, flow.gain / share, flow.offset)

    def _convolution(self, name: str, layer: Convolution, heard: HeardConvolution, flow: _Flow) -> _Flow:
        writer, kind = self.writer, flow.tensor.kind or _UNIT
        batch, steps, channels = flow.tensor.shape
        x, size, outputs = flow.tensor, layer.kernel.shape[0], layer.bias.size
        if layer.tail:
            start = (layer.initial - flow.offset) / flow.gain
            past = self._state(name, (batch, layer.tail, channels), kind, start)
            x = writer.operator("CONCATENATION", [past, x], (batch, layer.tail + steps, channels), kind, axis=1)
            bounds = ([0, steps, 0], [batch, layer.tail + steps, channels], [1, 1, 1])
            cut = [writer.constant(np.array(b, np.int32)) for b in bounds]
            self.outs[name] = writer.operator("STRIDED_SLICE", [x, *cut], past.shape, kind)
        x = self._reshape(x, (batch, 1, x.shape[1], channels))
        # Channels of unlike height get nearer to each other: half of the way, on a scale of ratios.
        top = max(float(heard.peaks.max()), 1e-6)
        lowest = 1e-3 if self.choices.levelled else 1.0
        height = np.sqrt(np.maximum(heard.peaks, lowest * top) * top)
        weights = layer.kernel.reshape(-1, outputs) * (2 / height)
        bias = layer.bias * (2 / height) - 1 + np.tile(flow.offset, size) @ weights
        weights = weights * np.tile(flow.gain, size)[:, None]
        told = _Told(heard.moments, np.tile(flow.gain, size), np.tile(flow.offset, size))
        kernel, shift = self._weights(weights, bias, told, kind, (outputs, 1, size, channels))
        shape = (batch, 1, steps // layer.stride, outputs)
        options = {"padding": 1, "strideW": layer.stride, "strideH": 1}
        x = writer.operator("CONV_2D", [x, kernel, shift], shape, _UNIT, **options)
        return _Flow(self._reshape(x, (batch, shape[2], outputs)), height / 2, height / 2)

    def _recur(self, cells: list[_Cell], steps: list[Tensor]) -> list[Tensor]:
        """The states of the last layer after each of `steps`."""
        for number, cell in enumerate(cells, 1):
            h, rest = f"gru_{number}", f"rest_{number}"
            shape, zeros = (steps[0].shape[0], cell.units), np.zeros(cell.units)
            state = self._state(h, shape, _UNIT, zeros)
            left = self._state(rest, shape, _REST, zeros) if self.choices.rest else None
            after = []
            for x in steps:
                state, left = self._move(state, left, *self._gates(cell, x, state))
                after.append(state)
            self.outs |= {h: state} | ({rest: left} if left else {})
            steps = after
        return steps

    def _cell(self, layer: Recurrence, heard: HeardRecurrence, flow: _Flow) -> _Cell:
        n, size = layer.units, len(flow.gain)
        gain = np.concatenate([flow.gain, np.ones(n)])
        told = _Told(heard.moments, gain, np.concatenate([flow.offset, np.zeros(n)]))
        both = np.concatenate([layer.kernel, layer.recurrent])
        bias = layer.bias + layer.recurrent_bias

        def part(rows: slice, gate: int, bias: Array, sign: float = 1.0) -> tuple[Tensor, Tensor]:
            columns = slice(gate * n, (gate + 1) * n)
            weights = sign * both[rows, columns]
            return self._dense(weights, sign * bias[columns], told.of(rows))

        every, first, last = slice(None), slice(0, size), slice(size, None)
        return _Cell(
            units=n,
            # 1 - z is what moves the state, and the sigmoid of the negative sum.
            opening=part(every, 0, bias, -1.0),
            reset=part(every, 1, bias),
            linear=part(first, 2, layer.bias),
            back=part(last, 2, layer.recurrent_bias),
            spans=tuple(_span(part, self.choices.spanned) for part in (heard.linear, heard.back, heard.product)),
        )

    def _gates(self, cell: _Cell, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """1 - z and the candidate."""
        do, shape = self.writer.operator, h.shape
        whole = do("CONCATENATION", [x, h], (shape[0], x.shape[1] + shape[1]), _UNIT, axis=1)
        of_linear, of_back, of_product = cell.spans
        opening = do("LOGISTIC", [do("FULLY_CONNECTED", [whole, *cell.opening], shape, _SIGMOID)], shape, _SHARE)
        reset = do("LOGISTIC", [do("FULLY_CONNECTED", [whole, *cell.reset], shape, _SIGMOID)], shape, _SHARE)
        linear = do("FULLY_CONNECTED", [x, *cell.linear], shape, of_linear)
        back = do("FULLY_CONNECTED", [h, *cell.back], shape, of_back)
        product = do("MUL", [reset, back], shape, of_product)
        return opening, do("TANH", [do("ADD", [linear, product], shape, _TANH)], shape, _UNIT)

    def _move(self, h: Tensor, rest: Tensor | None, opening: Tensor, candidate: Tensor) -> tuple[Tensor, Tensor | None]:
        """h + (1 - z) (candidate - h) in two words.

        The way up and the way down are apart, for their difference spans two times what int8 does. The first
        eighth of a move is kept in fine steps, what goes beyond in those of the state.
        """
        do, shape = self.writer.operator, h.shape
        small, large = [], []
        for way in ([candidate, h], [h, candidate]):
            distance = do("SUB", way, shape, _MOVE)
            small.append(do("MUL", [opening, distance], shape, _FINE))
            whole = do("MUL", [opening, distance], shape, _COARSE)
            large.append(do("SUB", [whole, do("QUANTIZE", [whole], shape, _FINE)], shape, _MOVE))
        fine = do("SUB", small, shape, _STEP)
        if rest:
            kept = do("SUB", [rest, do("MUL", [opening, rest], shape, _TAKEN)], shape, _REST)
            fine = do("ADD", [kept, fine], shape, _STEP)
        coarse = do("SUB", [do("ADD", [h, large[0]], shape, _UNIT), large[1]], shape, _UNIT)
        new = do("ADD", [coarse, fine], shape, _UNIT)
        if rest:
            rest = do("ADD", [do("SUB", [coarse, new], shape, _STEP), fine], shape, _REST)
        return new, rest

    def _head(self, states: list[Tensor]) -> Tensor:
        """Logits of every step."""
        network, shape, writer = self.graph.network, self.graph.output_shape, self.writer
        size = len(network.head)
        head = self._dense(network.head, network.head_bias, _Told(self.heard.head, np.ones(size), np.zeros(size)))
        kind = _span(self.heard.logits, self.choices.spanned)
        each = [writer.operator("FULLY_CONNECTED", [h, *head], (shape[0], shape[2]), kind) for h in states]
        whole = writer.operator("PACK", each, shape, kind, valuesCount=len(each), axis=1)
        return writer.operator("DEQUANTIZE", [whole], shape, None)

    def _dense(self, weights: Array, bias: Array, told: _Told) -> tuple[Tensor, Tensor]:
        """Weights and bias of a multiplication of numbers in steps of 1/128."""
        shifted = bias + told.offset @ weights
        return self._weights(weights * told.gain[:, None], shifted, told, _UNIT, weights.shape[::-1])

    def _weights(
        self, weights: Array, bias: Array, told: _Told, kind: Quantised, shape: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Constants of an operator: `weights` (in, out) for inputs of `kind`, stored in `shape`, outputs first."""
        rounded = self._round(weights, told)
        steps = kind.scale * rounded.scales
        whole = np.rint((bias + rounded.bias) / steps).astype(np.int32)
        return (
            self.writer.weights(np.ascontiguousarray(rounded.weights.T).reshape(shape), rounded.scales),
            self.writer.weights(whole, steps),
        )

    def _round(self, weights: Array, told: _Told) -> Rounded:
        mean, covariance = told.seen()
        # With nothing in common between the inputs every weight is rounded for itself.
        return round_weights(weights, mean, covariance if self.choices.fitted else np.eye(len(mean)))

    def _reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        to = self.writer.constant(np.array(shape, np.int32))
        return self.writer.operator("RESHAPE", [x, to], shape, x.kind, newShape=np.array(shape, np.int32))


def _span(samples: list[Array], share: float) -> Quantised:
    """What spans this share of the samples, and 0."""
    values = np.concatenate(samples).ravel()
    low, high = (float(v) for v in np.quantile(values, (1 - share, share)))
    low, high = min(low, -1e-3), max(high, 1e-3)
    scale = (high - low) / 255
    return Quantised(scale, round(-128 - low / scale))
