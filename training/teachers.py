"""Earlier runs as teachers: what their networks make of a crop softens its labels (Hinton et al., arXiv:1503.02531).

They hear more than the pupil: the crop before backgrounds, gaps and another microphone were laid over it, and with the
wearer's own means wherever there are some (privileged information: Lopez-Paz et al., arXiv:1511.03643). A network that
learned from some corpora alone teaches these alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import msgspec
import numpy as np
from numpy.typing import NDArray

from device.errors import MissingInputError, UsageError
from device.view import VIEW_SIZE, View, ViewParameters
from training.networks import gru  # noqa: F401  (registers its layers, which a saved network names)


class Told(NamedTuple):
    """Mean probabilities: emotion (batch, 8), danger (batch, 1), each step's danger (batch, steps, 1)."""

    emotion: NDArray[np.float32]
    danger: NDArray[np.float32]
    steps: NDArray[np.float32]


class Teachers:
    """The networks of some finished run folders, each behind its own view.

    `subjects`: for each, which clips it teaches, (teachers, clips); without them, all. Raises MissingInputError where a
    folder has no network, UsageError where a clip has no teacher.
    """

    def __init__(self, folders: Sequence[Path], subjects: NDArray[np.bool_] | None = None) -> None:
        self._parts = [(network_of(folder), _view_of(folder)) for folder in folders]
        if subjects is not None and (len(subjects) != len(folders) or not subjects.any(axis=0).all()):
            raise UsageError(
                f"subjects: {len(subjects)} for {len(folders)} teachers; one list each, and a clip that no list has "
                "needs a teacher whose list is empty: he teaches all"
            )
        self._subjects = subjects

    def __call__(
        self,
        frames: NDArray[np.float32],
        valid: NDArray[np.float32],
        means: NDArray[np.float32],
        drawn: NDArray[np.int64],
    ) -> Told:
        """What they say of crops (batch, n, F) of the clips `drawn` (batch,): sound where `valid` (batch, n).

        `means` (batch, F), the wearer's, or NaN.
        """
        told = []
        for network, parameters in self._parts:
            view = np.zeros((*frames.shape[:2], VIEW_SIZE), np.float32)
            for at, crop in enumerate(frames):
                wearer = None if np.isnan(means[at, 0]) else means[at]
                length = int(valid[at].sum())
                view[at, :length] = View(parameters, wearer).push(crop[:length])
            said = network.predict_on_batch({"view": view, "valid": valid})
            told.append((_softmax(said["emotion"]), _sigmoid(said["danger"]), _sigmoid(said["steps"])))
        share = np.ones((len(told), len(drawn)), np.float32)
        if self._subjects is not None:
            share = self._subjects[:, drawn].astype(np.float32)
        share /= share.sum(axis=0)
        parts = (np.stack(part) for part in zip(*told, strict=True))
        return Told(*(np.einsum("tb,tb...->b...", share, part) for part in parts))


def network_of(folder: Path) -> keras.Model:
    """The network that a finished run left; MissingInputError where there is none."""
    path = folder / "network.keras"
    if not path.is_file():
        raise MissingInputError(f"{path}: the recipe builds on this run; train it first")
    return keras.models.load_model(path, compile=False)


def _view_of(folder: Path) -> ViewParameters:
    return msgspec.json.decode((folder / "view.json").read_bytes(), type=ViewParameters)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-logits)))
