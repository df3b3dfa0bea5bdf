"""The golden clip: a short made sound and what the package's own network answers to it."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from convert.runner import KERNELS, Runner
from convert.writer import Quantised
from device.features import SAMPLE_RATE, features
from device.manifest import Manifest
from device.view import View

_SECONDS = 3.0
_GRAIN = 256  # samples are multiples of it, so that the archive packs small
# Rounding on other processors moves a posterior by far less; another network moves it by far more.
_LEAST_TOLERANCE = 0.03


def golden_samples() -> NDArray[np.int16]:
    """Three made seconds, int16 at 16 kHz: near-silence, a gliding voice, a pause, a shriek, noise."""
    draw = np.random.default_rng(20_240_601)
    t = np.arange(int(_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    f0 = 170 + 90 * np.clip(t - 0.3, 0, 1) + 650 * ((t > 1.7) & (t < 2.5))
    phase = 2 * np.pi * np.cumsum(f0) / SAMPLE_RATE
    voice = sum(np.sin(n * phase) / n**1.2 for n in range(1, 9))
    loud = np.select([(t > 0.3) & (t < 1.5), (t > 1.7) & (t < 2.5)], [0.15, 0.35], 0.0)
    noise = draw.normal(0, 1, len(t)) * np.where(t > 1.7, 0.03, 0.004)
    samples = (loud * voice * (1 + 0.3 * np.sin(2 * np.pi * 5 * t)) + noise) * 32767
    return (np.clip(np.round(samples / _GRAIN), -127, 127) * _GRAIN).astype(np.int16)


def made_wearer(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Means (F,) of a wearer who does not exist: those of the clip's voice."""
    frames = features(samples)
    return frames[frames[:, -1] > 0.5].mean(axis=0).astype(np.float32)


def golden_inputs(
    samples: NDArray[np.int16], manifest: Manifest, edge: Quantised
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """The clip's view as the graph's raw int8 inputs (steps, batch, k, V), and the float that they mean.

    Each window hears the clip from another frame on, so that no two rows of the batch are alike.
    """
    frames, k, batch = features(samples), manifest.geometry.frames_per_step, manifest.geometry.batch
    steps = (len(frames) - (batch - 1) * k) // k
    rows = [View(manifest.view).push(frames[row * k : (row + steps) * k]) for row in range(batch)]
    view = np.stack(rows).reshape(batch, steps, k, -1).swapaxes(0, 1)
    raw = np.clip(np.round(view / edge.scale) + edge.zero_point, -128, 127).astype(np.int8)
    return raw, ((raw.astype(np.float32) - edge.zero_point) * np.float32(edge.scale)).astype(np.float32)


def golden_arrays(content: bytes, manifest: Manifest, edge: Quantised) -> dict[str, NDArray[np.generic]]:
    """All arrays of `golden.npz` but the posteriors, which need a whole package."""
    samples = golden_samples()
    raw, meant = golden_inputs(samples, manifest, edge)
    arrays: dict[str, NDArray[np.generic]] = {
        "samples": samples,
        "wearer_means": made_wearer(samples),
        "inputs": raw,
        "input_scale": np.float32(edge.scale),
        "input_zero_point": np.int8(edge.zero_point),
    }
    for kernels in KERNELS:
        runner = Runner(content, manifest.geometry, kernels)
        arrays[f"logits_{kernels}"] = np.stack([runner.step(view) for view in meant])
    return arrays


def tolerance(posteriors: dict[str, NDArray[np.float32]]) -> np.float32:
    """Greatest difference allowed: the two kernel classes' own, doubled, and no less than a fixed one."""
    return np.float32(max(_LEAST_TOLERANCE, 2 * float(np.abs(posteriors["xnnpack"] - posteriors["builtin"]).max())))


def packed(arrays: dict[str, NDArray[np.generic]]) -> bytes:
    """The arrays as a compressed .npz."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def no_posteriors(manifest: Manifest) -> dict[str, NDArray[np.generic]]:
    """Stand-ins for what a network has yet to say, so that the package can be opened for it."""
    empty = np.zeros((0, len(manifest.classes) + 1), np.float32)
    names = [f"{kind}_{k}" for kind in ("posteriors", "wearer_posteriors") for k in KERNELS]
    return {name: empty for name in names} | {"tolerance": np.float32(1)}
