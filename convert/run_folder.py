"""What a training run leaves for the conversion: one folder, described in `docs/package.md`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from convert.runner import split
from device.errors import BadDataError, MissingInputError
from device.features import FRAME_SIZE
from device.manifest import Calibration, DecisionDefaults, EmotionClass, Sensitivity
from device.view import ViewParameters

# The design's classes, in the order of the network's logits.
CLASSES = tuple(
    EmotionClass(name, danger=name in ("angry", "fear", "scream"))
    for name in ("angry", "disgust", "fear", "happy", "neutral", "sad", "background", "scream")
)
# For a network that nobody has measured yet: no figures stand beside them.
UNMEASURED = DecisionDefaults(
    {
        "fewer-alarms": Sensitivity(0.8, 0.5, 2.0, 4, 5),
        "balanced": Sensitivity(0.65, 0.4, 1.5, 3, 5),
        "catch-more": Sensitivity(0.5, 0.3, 1.0, 2, 5),
    },
    calibration=Calibration(),
)

Clips = list[NDArray[np.float32]]
_Kind = TypeVar("_Kind")


class Stream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the network is run: frames a step, windows beside each other, their length and distance in steps."""

    frames_per_step: int = 8
    batch: int = 3
    window_steps: int = 24
    hop_steps: int = 8


@dataclass(frozen=True)
class Utterances:
    """Clips of frames (n, F) and, where it is known, the class of each (else -1)."""

    clips: Clips
    emotions: NDArray[np.int64]


@dataclass(frozen=True)
class RunFolder:
    """A training run's folder."""

    path: Path

    def model(self) -> Any:
        """The Keras network."""
        import keras

        import training.networks.gru  # noqa: F401  (registers the layers)

        return keras.models.load_model(self._needed("network.keras"), compile=False)

    def view(self) -> ViewParameters:
        """The view's constants."""
        return self._json("view.json", ViewParameters)

    def decision(self) -> DecisionDefaults | None:
        """Calibration and sensitivities, or None where nothing was measured."""
        return self._json("decision.json", DecisionDefaults) if self._has("decision.json") else None

    def classes(self) -> tuple[EmotionClass, ...]:
        """The classes in the order of the logits; the design's where the run names none."""
        return self._json("classes.json", tuple[EmotionClass, ...]) if self._has("classes.json") else CLASSES

    def stream(self) -> Stream:
        """How to run the network; the usual way where the run says nothing."""
        return self._json("stream.json", Stream) if self._has("stream.json") else Stream()

    def metrics(self) -> dict[str, Any]:
        """What was measured of the network, for the model card; empty where nothing was."""
        return self._json("metrics.json", dict[str, Any]) if self._has("metrics.json") else {}

    def card(self) -> str | None:
        """The model card's text, where the run wrote one."""
        return (self.path / "README.md").read_text("utf-8") if self._has("README.md") else None

    def calibration(self) -> Clips:
        """Clips of training speakers, frames (n, F)."""
        return self._utterances("calibration.npz").clips

    def unseen(self) -> Utterances:
        """Utterances of speakers that the network was not trained on."""
        return self._utterances("unseen.npz")

    def _utterances(self, name: str) -> Utterances:
        path = self._needed(name)
        try:
            with np.load(path, allow_pickle=False) as stored:
                frames, starts = stored["frames"], stored["starts"].astype(np.int64)
                emotions = stored["emotions"] if "emotions" in stored else np.full(len(starts) - 1, -1)
        except (ValueError, KeyError, OSError, EOFError) as error:
            raise BadDataError(f"{path}: {error}; expected arrays frames (N, {FRAME_SIZE}), starts") from None
        fits = frames.ndim == 2 and frames.shape[1] == FRAME_SIZE and len(starts) == len(emotions) + 1
        if not fits or starts[0] != 0 or starts[-1] != len(frames) or (np.diff(starts) < 1).any():
            raise BadDataError(f"{path}: frames {frames.shape} do not fit {FRAME_SIZE} features and the starts")
        return Utterances(split(frames.astype(np.float32), starts), emotions.astype(np.int64))

    def _json(self, name: str, kind: type[_Kind]) -> _Kind:
        try:
            return msgspec.json.decode(self._needed(name).read_bytes(), type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise BadDataError(f"{self.path / name}: {error}") from None

    def _has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def _needed(self, name: str) -> Path:
        if not self._has(name):
            raise MissingInputError(f"{self.path / name} is missing; a run folder is described in docs/package.md")
        return self.path / name
