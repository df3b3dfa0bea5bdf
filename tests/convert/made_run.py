"""A run folder as training leaves one: an untrained network, and made voices as its clips."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from device.features import SAMPLE_RATE, features
from device.view import VIEW_SIZE, ViewParameters
from tests.convert.networks import random_network


def made_voice(draw: np.random.Generator, seconds: float) -> np.ndarray:
    """Something between a hum and a cry, int16."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    f0 = draw.uniform(100, 400) * (1 + 0.2 * np.sin(2 * np.pi * draw.uniform(0.3, 3) * t))
    phase = 2 * np.pi * np.cumsum(f0) / SAMPLE_RATE
    voice = sum(np.sin(n * phase) / n ** draw.uniform(0.8, 2) for n in range(1, 12))
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * draw.uniform(0.5, 4) * t)
    sound = draw.uniform(0.02, 0.2) * voice * swell + draw.normal(0, draw.uniform(1e-4, 1e-2), len(t))
    return (np.clip(sound, -1, 1) * 32767).astype(np.int16)


def made_clips(count: int, seed: int = 5) -> list[np.ndarray]:
    """Frames of `count` made voices of 1 to 3 s."""
    draw = np.random.default_rng(seed)
    return [features(made_voice(draw, draw.uniform(1, 3))) for _ in range(count)]


def write_clips(path: Path, clips: list[np.ndarray], **more: np.ndarray) -> None:
    starts = np.cumsum([0, *map(len, clips)])
    np.savez_compressed(path, frames=np.concatenate(clips).astype(np.float16), starts=starts, **more)


def made_run(folder: Path, **network: object) -> Path:
    """Write a whole run folder; `network` goes to `random_network`."""
    folder.mkdir(parents=True)
    clips = made_clips(24)
    frames = np.concatenate(clips)
    spread = tuple(float(s) for s in np.maximum(frames.std(axis=0), 1e-3))
    view = ViewParameters(tuple(float(m) for m in frames.mean(axis=0)), spread, spread)
    (folder / "view.json").write_bytes(msgspec.json.encode(view))
    write_clips(folder / "calibration.npz", clips)
    write_clips(folder / "unseen.npz", made_clips(40, seed=6), emotions=np.arange(40) % 8)
    random_network(frames=None, view_size=VIEW_SIZE, **network).save(folder / "network.keras")
    return folder
