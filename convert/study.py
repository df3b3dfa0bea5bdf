"""What each choice of the quantisation is worth: `python -m convert study RUN`.

Builds the graph of a run again and again, each time with one choice less, and asks all of `unseen.npz`. Prints
rows of a table: agreement on the even and on the odd utterances, what agreement the spread of the errors and the
margins let expect (steadier than a count of ten), the mean error of the probabilities, and the size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from convert.build import geometry, windows
from convert.fold import FoldedNetwork, fold, pool
from convert.listen import listen
from convert.quantise import Choices, quantise
from convert.run_folder import RunFolder
from convert.runner import Runner
from convert.step import StepGraph
from device.view import View, sounding

Array = NDArray[np.float64]
_ALL = Choices()
CASES = {
    "as it is": _ALL,
    "a state of one word": replace(_ALL, rest=False),
    "weights rounded one by one": replace(_ALL, fitted=False),
    "channels not levelled": replace(_ALL, levelled=False),
    "whole ranges": replace(_ALL, spanned=1.0),
    "0.999 of the ranges": replace(_ALL, spanned=0.999),
}


@dataclass(frozen=True)
class Clips:
    """Views of the utterances and what the float network says of each."""

    views: list[NDArray[np.float32]]
    expected: Array

    @classmethod
    def of(cls, run: RunFolder, network: FoldedNetwork, longest: int = 960) -> Clips:
        """All utterances of unseen speakers that fit a window."""
        parts = [clip[sounding(clip)] for clip in run.unseen().clips if len(clip) <= longest]
        views = [View(run.view()).push(part) for part in parts if len(part) >= network.stride]
        return cls(views, probabilities([network.logits(view) for view in views]))


def probabilities(logits: list[Array]) -> Array:
    """Of the classes, one row a clip."""
    pooled = np.stack([pool(one.astype(np.float64))[:-1] for one in logits])
    shares = np.exp(pooled - pooled.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def expected_agreement(told: Array, meant: Array) -> float:
    """If the errors of the two most probable classes' distance were drawn from one bell curve."""
    order = np.argsort(meant, axis=1)[:, -2:]
    first, second = (np.take_along_axis(p, order, axis=1) for p in (meant, told))
    margins = first[:, 1] - first[:, 0]
    spread = max(float((second[:, 1] - second[:, 0] - margins).std()), 1e-9)
    return float(np.mean([1 - 0.5 * math.erfc(m / spread / math.sqrt(2)) for m in margins]))


def study(run: RunFolder) -> Iterator[str]:
    """The table's rows, each as soon as it is known."""
    network, stream = fold(run.model()), run.stream()
    graph = StepGraph(network, stream.batch, stream.frames_per_step)
    heard, clips = listen(network, windows(run.calibration(), run.view())), Clips.of(run, network)
    for name, choices in CASES.items():
        made = quantise(graph, heard, choices)
        runner = Runner(made.content, geometry(stream, graph, made))
        told = probabilities(runner.run_each(clips.views))
        same = told.argmax(axis=1) == clips.expected.argmax(axis=1)
        expected, error = expected_agreement(told, clips.expected), np.abs(told - clips.expected).mean()
        yield (
            f"| {name} | {same[::2].mean():.4f} | {same[1::2].mean():.4f} | {expected:.4f} | {error:.4f} "
            f"| {len(made.content) / 1000:.0f} KB |"
        )
