"""Round weights to int8 so that their errors cancel on what really comes in, not one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_DAMPING = 0.003  # of the mean variance: so that no direction which calibration hardly showed is trusted


@dataclass
class Moments:
    """Mean and covariance of rows that are added bit by bit."""

    count: int
    total: Array
    products: Array

    @classmethod
    def of(cls, size: int) -> Moments:
        """Of rows of `size` numbers, none yet."""
        return cls(0, np.zeros(size), np.zeros((size, size)))

    def add(self, rows: Array) -> None:
        """Take rows (n, size)."""
        self.count += len(rows)
        self.total += rows.sum(axis=0)
        self.products += rows.T @ rows

    def seen_as(self, gain: Array, offset: Array) -> tuple[Array, Array]:
        """Mean and covariance of t, where a row is gain * t + offset."""
        mean = self.total / self.count
        covariance = self.products / self.count - np.outer(mean, mean)
        return (mean - offset) / gain, covariance / np.outer(gain, gain)


@dataclass(frozen=True)
class Rounded:
    """int8 `weights` (in, out), the scale of each output, and what the mean error takes off the bias."""

    weights: NDArray[np.int8]
    scales: Array
    bias: Array


def round_weights(weights: Array, mean: Array, covariance: Array) -> Rounded:
    """Round `weights` (in, out) for inputs of this mean and covariance.

    One input at a time, the most varying first; what a weight's rounding does to the output is made good by the
    weights of the inputs still to come, as far as these vary with it (Frantar et al., GPTQ, arXiv 2210.17323).
    """
    variance = np.diag(covariance)
    damping = _DAMPING * max(float(variance.mean()), 1e-9)
    order = np.argsort(-variance, kind="stable")
    inverse = np.linalg.inv(covariance[np.ix_(order, order)] + damping * np.eye(len(order)))
    factor = np.linalg.cholesky((inverse + inverse.T) / 2).T
    scales = np.maximum(np.abs(weights).max(axis=0), 1e-9) / 127
    left, found = weights[order].astype(np.float64), np.empty((len(order), weights.shape[1]))
    for i in range(len(order)):
        found[i] = np.clip(np.rint(left[i] / scales), -127, 127)
        error = (left[i] - found[i] * scales) / factor[i, i]
        left[i + 1 :] -= np.outer(factor[i, i + 1 :], error)
    rounded = np.empty_like(found)
    rounded[order] = found
    return Rounded(rounded.astype(np.int8), scales, mean @ (weights - rounded * scales))
