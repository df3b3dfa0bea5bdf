"""What is to be learned of each clip, and of each step of it: emotions, danger, and how much each counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.corpora.clip import CLASSES, DANGER, EMOTIONS

_SMOOTHING = 0.05
_KNOWN_AFTER_FRAMES = 60.0  # so much of a voice tells what it is; before that the answer counts less
_VOTES = 0.3  # share of a target that the listeners' votes make, the rest is what the actor meant
# How much a clip counts for danger, by how strongly it was acted: what is hardly shown teaches little.
_STRENGTH = {"low": 0.6, "high": 1.5, "strong": 1.3}


@dataclass(frozen=True)
class Targets:
    """What is to be learned of each clip: emotions (n, 8), danger (n, 1), and how much each counts (n,)."""

    emotion: NDArray[np.float32]
    emotion_weight: NDArray[np.float32]
    danger: NDArray[np.float32]
    danger_weight: NDArray[np.float32]


def targets_of(clips: pd.DataFrame) -> Targets:
    """Targets of an index' rows: soft where listeners voted; surprise, boredom and others teach no emotion."""
    emotion = np.zeros((len(clips), len(CLASSES)), np.float32)
    for row, (label, votes) in enumerate(zip(clips["emotion"], clips["votes"], strict=True)):
        if label not in CLASSES:
            continue
        emotion[row, CLASSES.index(label)] = 1.0
        if votes is not None and label in EMOTIONS:
            emotion[row] *= 1 - _VOTES
            emotion[row, : len(EMOTIONS)] += _VOTES * np.asarray(votes, np.float32)
    known = clips["emotion"].isin(CLASSES).to_numpy()
    emotion = emotion * (1 - _SMOOTHING) + _SMOOTHING / len(CLASSES)
    # Ordinary speech was not acted: that nobody is in danger is sure, that it is neutral is not.
    ordinary = (clips["corpus"] == "Speech").to_numpy()
    danger = clips["emotion"].isin(DANGER).to_numpy(np.float32)[:, None]
    strength = np.where(danger[:, 0] > 0, clips["intensity"].map(_STRENGTH).fillna(1.0).to_numpy(np.float32), 1.0)
    unsure = (clips["emotion"] == "surprise").to_numpy()
    return Targets(
        emotion,
        known * np.where(ordinary, 0.3, 1.0).astype(np.float32),
        danger,
        np.where(unsure, 0.2, np.where(known | (clips["emotion"] == "boredom"), strength, 0.0)).astype(np.float32),
    )


def steps_of(
    targets: Targets,
    drawn: NDArray[np.int64],
    valid: NDArray[np.float32],
    begins: NDArray[np.int64],
    last_frames: NDArray[np.int64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Danger at each step (batch, steps, 1), and its weight (batch, steps): less while a danger has just begun.

    Args:
        targets: of all clips. `drawn`: the batch's clips.
        valid: (batch, frames), 1 where there is sound.
        begins: frame at which each clip begins (batch,). `last_frames`: the last frame of each step (steps,).
    """
    since = last_frames - begins[:, None]
    danger = targets.danger[drawn] * (since >= 0)
    ramp = np.clip(since / _KNOWN_AFTER_FRAMES, 0.1, 1.0)
    weight = np.where(danger > 0, ramp, 1.0) * targets.danger_weight[drawn][:, None] * valid[:, last_frames]
    return danger[:, :, None].astype(np.float32), weight.astype(np.float32)
