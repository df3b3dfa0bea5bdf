"""Weights rounded together err less, on what comes in, than weights rounded one by one."""

from __future__ import annotations

import numpy as np
import pytest

from convert.rounding import Moments, Rounded, round_weights

pytestmark = pytest.mark.training


def drawn(seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, 40) that have much in common and a mean, and weights (40, 10)."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(0, 1, (3000, 8)) @ draw.normal(0, 1, (8, 40)) + draw.normal(0, 0.2, (3000, 40)) + 1.5
    return rows, draw.normal(0, 0.3, (40, 10))


def error(rows: np.ndarray, weights: np.ndarray, made: Rounded) -> np.ndarray:
    return rows @ (made.weights * made.scales) + made.bias - rows @ weights


def test_fitted_weights_err_less_on_rows_not_seen() -> None:
    rows, weights = drawn()
    moments = Moments.of(40)
    for part in np.split(rows[:2000], 4):
        moments.add(part)
    mean, covariance = moments.seen_as(np.ones(40), np.zeros(40))
    assert np.abs(covariance - np.cov(rows[:2000].T, bias=True)).max() < 1e-9
    fitted, plain = (error(rows[2000:], weights, round_weights(weights, mean, c)) for c in (covariance, np.eye(40)))
    assert fitted.std() < 0.5 * plain.std()
    assert abs(fitted.mean()) < 0.1 * fitted.std()


def test_weights_that_fit_the_grid_stay() -> None:
    rows, weights = drawn()
    scales = np.abs(weights).max(axis=0) / 127
    exact = np.rint(weights / scales) * scales
    made = round_weights(exact, rows.mean(axis=0), np.cov(rows.T))
    assert np.allclose(made.weights * made.scales, exact)
    assert np.abs(made.bias).max() < 1e-9


def test_moments_follow_gain_and_offset() -> None:
    rows, _ = drawn()
    moments, gain, offset = Moments.of(40), np.linspace(0.5, 2, 40), np.linspace(-1, 1, 40)
    moments.add(rows)
    mean, covariance = moments.seen_as(gain, offset)
    seen = (rows - offset) / gain
    assert np.allclose(mean, seen.mean(axis=0))
    assert np.allclose(covariance, np.cov(seen.T, bias=True))


def test_inputs_that_never_vary_do_no_harm() -> None:
    weights = np.ones((3, 2))
    made = round_weights(weights, np.zeros(3), np.zeros((3, 3)))
    assert made.weights.tolist() == [[127, 127]] * 3
