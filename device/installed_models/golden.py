"""The golden clip: does this package, on this machine, say what it said where it was made?

The tolerance, from samples to posteriors, decides. Other bits out of the same int8 inputs only warn: a
library may change its rounding, and that must not make a wearer deaf. So does XNNPACK that is not there: it
costs time, not truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.features import features
from device.manifest import refusal
from device.network import Network
from device.package import Package
from device.wearer import Wearer, digest


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """How far the answers were off, which kernels gave them, and what is worth a warning."""

    difference: float
    tolerance: float
    kernels: str
    warnings: tuple[str, ...]


def check(package: Package, kernels: str = "auto") -> GoldenResult:
    """Run the golden clip without a wearer and with the made one; some ten milliseconds.

    Raises BadDataError, one line, where the answers are beyond the tolerance or the network can't be run at
    all.
    """
    golden = package.golden
    network = open_network(package, kernels)
    # An answer is right when it is near that of either class: which one runs is no matter of trust.
    difference = max(
        _nearest(hear(package, kernels), golden.posteriors),
        _nearest(hear(package, kernels, wearer=True), golden.wearer_posteriors),
    )
    if not difference <= golden.tolerance:
        what = f"the golden clip is off by {difference:.3f}, allowed is {golden.tolerance:.3f}; install another"
        raise refusal(package.directory, what)
    return GoldenResult(difference, golden.tolerance, _kernels(network), _warnings(package, network, kernels))


def hear(package: Package, kernels: str, *, wearer: bool = False) -> NDArray[np.float32]:
    """Posteriors (n, classes + 1) of the golden samples in a stream: the emotions, then danger."""
    golden = package.golden
    made = None
    if wearer:
        means = tuple(float(x) for x in golden.wearer_means)
        made = Wearer(means, seconds=60.0, parameters=digest(package.manifest.view))
    network = open_network(package, kernels, made)
    told = network.push(features(golden.samples))
    return np.array([[*p.emotions, p.danger] for p in told], np.float32)


def open_network(package: Package, kernels: str = "auto", wearer: Wearer | None = None) -> Network:
    """The package's network; what the runtime says against it (a truncated graph, unknown operators) is one line.

    Raises BadDataError, also where the graph's tensors are not those of the manifest.
    """
    geometry = package.manifest.geometry
    try:
        network = Network(package, "auto" if kernels == "xnnpack" else kernels, wearer)
        network.answers(np.zeros((1, *geometry.input.shape), np.float32))
    except (ValueError, RuntimeError, TypeError, SystemError) as error:
        raise refusal(package.directory, f"the network can't be run: {error}") from None
    return network


def _nearest(told: NDArray[np.float32], expected: dict[str, NDArray[np.float32]]) -> float:
    return min(_difference(told, answers) for answers in expected.values())


def _difference(told: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    if told.shape != expected.shape or not len(told):
        return float("inf")
    return float(np.abs(told - expected).max())


def _kernels(network: Network) -> str:
    return "xnnpack" if network.delegated else "builtin"


def _warnings(package: Package, network: Network, kernels: str) -> tuple[str, ...]:
    golden, found = package.golden, []
    real = (golden.inputs.astype(np.float32) - golden.input_zero_point) * np.float32(golden.input_scale)
    told = network.answers(real.astype(np.float32))
    running = _kernels(network)
    if not np.array_equal(told, golden.logits[running]):
        found.append(f"{running} kernels of {network.runtime} give other bits than where the package was made")
    if kernels != "builtin" and running == "builtin" and network.runtime == "ai_edge_litert":
        found.append("XNNPACK dropped out: the network costs six times as much (is /proc/cpuinfo readable?)")
    return tuple(found)
