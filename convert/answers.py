"""What a package says of stored clips on this interpreter, with this runtime and these kernels.

`python -m convert.answers PACKAGE FRAMES.npz KERNELS OUTPUT.npz` runs anywhere: it imports `device` and numpy
only, so it also answers from a virtual environment that holds tflite-runtime, or on another processor.
"""

from __future__ import annotations

import platform
import sys
import time

import numpy as np
from numpy.typing import NDArray

from device import package
from device.installed_models import golden
from device.network import Network

_STREAM_FRAMES = 6000


def answer(folder: str, frames: NDArray[np.float32], starts: NDArray[np.int64], kernels: str) -> dict[str, object]:
    """Emotions (n, C) and danger (n,) of each clip; then of all of them as one stream: emotions, danger, CPU time."""
    found = package.load(folder)
    network = golden.open_network(found, kernels)
    clips = np.split(frames, starts[1:-1])
    told = [network.clip(clip) for clip in clips]
    k = found.manifest.geometry.frames_per_step
    stream = frames[: min(len(frames), _STREAM_FRAMES) // k * k]
    network.reset()
    network.push(stream[: 100 * k])
    network.reset()
    began = time.process_time()
    steps = network.push(stream)
    spent = time.process_time() - began
    result = golden.check(found, kernels)
    return {
        "emotions": np.stack([p.emotions for p in told]),
        "danger": np.array([p.danger for p in told]),
        "stream_emotions": np.stack([p.emotions for p in steps]),
        "stream_danger": np.array([p.danger for p in steps]),
        "ms_per_second": 1000 * spent / (len(stream) / 100),
        "graph_ms_per_second": graph_ms(network, found, stream),
        "golden_difference": result.difference,
        "kernels": result.kernels,
        "warnings": np.array(result.warnings, dtype=str),
        "runtime": network.runtime,
        "machine": f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}",
    }


def graph_ms(network: Network, found: package.Package, frames: NDArray[np.float32]) -> float:
    """CPU time of the graph alone, set and get of its tensors included, in ms for a second of sound."""
    geometry = found.manifest.geometry
    steps = len(frames) // geometry.frames_per_step
    views = np.zeros((steps, *geometry.input.shape), np.float32)
    network.answers(views[:50])
    began = time.process_time()
    network.answers(views)
    return 1000 * (time.process_time() - began) / (steps * geometry.frames_per_step / 100)


def main(folder: str, clips: str, kernels: str, output: str) -> None:
    """Answer the clips of an .npz (`frames` (N, F), `starts`) with another."""
    with np.load(clips, allow_pickle=False) as stored:
        told = answer(folder, stored["frames"].astype(np.float32), stored["starts"], kernels)
    np.savez(output, **told)


if __name__ == "__main__":
    main(*sys.argv[1:])
