"""Quantise a step graph to int8, calibrated on real roll-outs: (frames, states) as they occur on the device."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from convert.edges import Flatbuffer, Operator, Quantised
from convert.step import StepGraph
from device.errors import BadDataError

Pair = dict[str, NDArray[np.float32]]
_CLOSING_ROUNDS = 50


@dataclass(frozen=True)
class QuantisedNetwork:
    """The .tflite and what its boundary means."""

    content: bytes
    input: Quantised
    states: dict[str, Quantised]
    operators: tuple[Operator, ...]


def roll_out(graph: StepGraph, windows: list[NDArray[np.float32]]) -> list[Pair]:
    """Every call's inputs while the float graph hears `windows`, views of shape (n, V), each from the start.

    Windows run `graph.batch` at a time, as long as the shortest of them has whole steps. What a state is at
    the end of a window goes in nowhere, so its range may be wider coming out than going in; a few more calls
    on the extremes close that gap, for the two must get one scale.
    """
    function, names = graph.function(), list(graph.state_shapes)
    pairs: list[Pair] = []
    lasts: list[Pair] = []
    for at in range(0, len(windows), graph.batch):
        group = [windows[i % len(windows)] for i in range(at, at + graph.batch)]
        states = dict(zip(names, graph.start(), strict=True))
        steps = min(len(w) for w in group) // graph.frames
        for step in range(steps):
            view = np.stack([w[step * graph.frames : (step + 1) * graph.frames] for w in group])
            pairs.append({"input": view, **states})
            out = function(*pairs[-1].values())
            states = {n: np.asarray(out[f"{n}_out"]) for n in names}
        if steps:
            lasts.append({"input": pairs[-1]["input"], **states})
    if not pairs:
        raise BadDataError(f"calibration: no window is as long as a step of {graph.frames} frames")
    _close(pairs, lasts, function, names)
    return pairs


def _close(pairs: list[Pair], lasts: list[Pair], function: object, names: list[str]) -> None:
    """Append calls until no state comes out wider than states go in."""
    low = {n: min(float(p[n].min()) for p in pairs) for n in names}
    high = {n: max(float(p[n].max()) for p in pairs) for n in names}
    for _ in range(_CLOSING_ROUNDS):
        wider = [p for p in lasts if any(p[n].min() < low[n] or p[n].max() > high[n] for n in names)]
        if not wider:
            return
        lasts = []
        for pair in wider:
            pairs.append(pair)
            low = {n: min(low[n], float(pair[n].min())) for n in names}
            high = {n: max(high[n], float(pair[n].max())) for n in names}
            out = function(*pair.values())  # type: ignore[operator]
            lasts.append({"input": pair["input"], **{n: np.asarray(out[f"{n}_out"]) for n in names}})


def quantise(graph: StepGraph, pairs: list[Pair]) -> QuantisedNetwork:
    """The graph as int8 .tflite; raises BadDataError for a float operator or a state with two scales."""
    flatbuffer = Flatbuffer(_convert(graph, pairs))
    states = flatbuffer.cut_state_edges(list(graph.state_shapes))
    flatbuffer.narrow_saturated()
    flatbuffer.check_int8()
    return QuantisedNetwork(
        flatbuffer.content(), flatbuffer.input_quantisation(), states, tuple(flatbuffer.operators())
    )


def _convert(graph: StepGraph, pairs: list[Pair]) -> bytes:
    module = tf.Module()
    function = graph.function()

    def representative() -> Iterator[Pair]:
        yield from pairs

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"step": function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["step"])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        return bytes(converter.convert())
