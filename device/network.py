"""Frames in, posteriors out: the graph of a package over LiteRT or tflite-runtime.

Windows run staggered: each restarts after `window_steps` steps, the next one `hop_steps` later, so that there
is always one that has heard the last seconds and none that drags a whole day along. What a step says is the
mean of its outputs' logits, weighted by the exponential of the network's own attention logit, in the oldest
window; `decision.py` averages over steps, which measured better than to pool a window (docs/experiments.md).
What a whole clip says is the mean over all its outputs, weighted alike.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import OutcryError
from device.features import FRAME_SIZE, PARAMETERS, Samples, as_float, features
from device.machine import quiet
from device.package import Package
from device.view import View, Views, sounding
from device.wearer import Wearer

_RUNTIMES = ("ai_edge_litert", "tflite_runtime")
# A clip that is judged as a whole restarts its window after as many seconds as training clips have at most.
_CLIP_FRAMES = 960
_ATTENTION_LIMIT = 20.0


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the network says after `frame` (the index of the last frame it heard since its start).

    `emotions` (C,) sum to 1, in the order of the manifest's classes; `danger` is a calibrated probability.
    """

    frame: int
    emotions: NDArray[np.float32]
    danger: float


def _runtime() -> ModuleType:
    for name in _RUNTIMES:
        try:
            return importlib.import_module(f"{name}.interpreter")
        except ImportError:
            continue
    raise OutcryError("no runtime for the network: install ai-edge-litert (or tflite-runtime 2.14)")


def pooled(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean of logits (n, outputs + 1) over n, weighted by the exponential of the last column: (outputs,)."""
    # Python's own numbers: on a step's five outputs each call of NumPy costs more than they do.
    limit = _ATTENTION_LIMIT
    weights = [math.exp(min(max(attention, -limit), limit)) for attention in logits[:, -1].tolist()]
    return np.asarray(np.dot(weights, logits[:, :-1]) / sum(weights))


class Network:
    """One package at work. Not to be shared by threads.

    Args:
        package: checked and loaded.
        kernels: "auto" (XNNPACK where the runtime has it) or "builtin" (the same bits on every machine).
        wearer: what is known of the wearer's voice, or nothing. One that does not fit the package counts
            as nothing.
    """

    def __init__(self, package: Package, kernels: str = "auto", wearer: Wearer | None = None) -> None:
        self.package = package
        manifest = package.manifest
        self._geometry = manifest.geometry
        self._calibration = manifest.decision.calibration
        self._classes = len(manifest.classes)
        self._risky = np.array([c.danger for c in manifest.classes])
        runtime = _runtime()
        self.runtime = runtime.__name__.partition(".")[0]
        resolver = runtime.OpResolverType
        with quiet.libraries():
            self._interpreter: Any = runtime.Interpreter(
                model_content=package.network_bytes,
                experimental_op_resolver_type=(
                    resolver.AUTO if kernels == "auto" else resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES
                ),
                num_threads=1,
            )
            self._interpreter.allocate_tensors()
        self._inputs = [tensor["index"] for tensor in self._interpreter.get_input_details()]
        self._outputs = [tensor["index"] for tensor in self._interpreter.get_output_details()]
        self._initial = [
            np.ascontiguousarray(np.broadcast_to(np.array(s.initial, np.int8), s.shape)) for s in self._geometry.states
        ]
        states = self._geometry.states
        self._recurrent = [at for at, state in enumerate(states) if state.name.startswith("gru")]
        sizes = [int(np.prod(states[at].shape[1:])) for at in self._recurrent]
        self._zeros = np.repeat([np.float32(states[at].zero_point) for at in self._recurrent], sizes)
        self._scales = np.repeat([np.float32(states[at].scale) for at in self._recurrent], sizes)
        self.wear(wearer)

    @property
    def delegated(self) -> bool:
        """Whether XNNPACK runs the graph; it drops out silently where it can't read the processor's kind."""
        operators = self._interpreter._get_ops_details()
        return any(operator["op_name"] == "DELEGATE" for operator in operators)

    @property
    def seconds_per_step(self) -> float:
        """Seconds of sound that one step takes."""
        return self._geometry.frames_per_step * PARAMETERS.hop_samples / PARAMETERS.sample_rate_hz

    def wear(self, wearer: Wearer | None) -> None:
        """From now on this wearer is known, or nobody; starts anew."""
        fits = wearer is not None and wearer.fits(self.package.manifest.view)
        self.wearer = wearer if fits else None
        self.reset()

    @property
    def _means(self) -> NDArray[np.float32] | None:
        return None if self.wearer is None else np.array(self.wearer.means, np.float32)

    def reset(self) -> None:
        """Forget what was heard: all windows start with the next frame."""
        geometry = self._geometry
        self._waiting = np.zeros((0, FRAME_SIZE), np.float32)
        self._step = 0
        self._states = [state.copy() for state in self._initial]
        self._views = Views(self.package.manifest.view, self._means, windows=geometry.batch)

    def push(self, frames: NDArray[np.float32]) -> list[Posterior]:
        """Take frames (n, F); the posterior after each step that became whole, oldest first."""
        size = self._geometry.frames_per_step
        waiting = np.concatenate([self._waiting, frames]) if len(self._waiting) else frames
        steps = len(waiting) // size
        told = [self._take(waiting[at * size : (at + 1) * size]) for at in range(steps)]
        self._waiting = waiting[steps * size :]
        return told

    def _take(self, frames: NDArray[np.float32]) -> Posterior:
        geometry = self._geometry
        for window in range(geometry.batch):
            # Window w is new at steps hop * (w + 1), and every window_steps after.
            age = self._step - geometry.hop_steps * (window + 1)
            if age >= 0 and age % geometry.window_steps == 0:
                self._restart(window)
        logits = self._invoke(self._views.push(frames))
        # The oldest window is the next one to restart.
        oldest = (self._step // geometry.hop_steps) % geometry.batch
        self._step += 1
        return self._posterior(pooled(logits[oldest]), self._step * geometry.frames_per_step - 1)

    def _restart(self, window: int) -> None:
        self._views.restart(window)
        for state, initial in zip(self._states, self._initial, strict=True):
            state[window] = initial[window]

    def _invoke(self, view: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (batch, outputs, C + 2) of a view (batch, frames per step, V); moves the states on."""
        interpreter = self._interpreter
        for index, tensor in zip(self._inputs, (view, *self._states), strict=True):
            interpreter.set_tensor(index, tensor)
        interpreter.invoke()
        logits, *self._states = (interpreter.get_tensor(index) for index in self._outputs)
        return np.asarray(logits, np.float32)

    def answers(self, views: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw logits (steps, batch, outputs, C + 2) of `views` (steps, batch, frames per step, V).

        From the start, with no restart between; the stream is left as it was. The golden clip asks.
        """
        kept, self._states = self._states, self._initial
        told = [self._invoke(view) for view in views]
        self._states = kept
        return np.stack(told)

    def memory(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """The GRU's state after each step over frames (n, F), n >= 1, alone: (steps, units), real values.

        From its start and without the wearer's means, so that it stays the same whatever is learned of the
        voice. The last step is filled up with the last frame; the stream is left as it was.
        """
        geometry = self._geometry
        spare = -len(frames) % geometry.frames_per_step
        padded = np.concatenate([frames, np.repeat(frames[-1:], spare, axis=0)])
        steps = View(self.package.manifest.view).push(padded).reshape(-1, *geometry.input.shape[1:])
        view = np.zeros(geometry.input.shape, np.float32)
        kept, self._states = self._states, self._initial
        told = []
        for view[0] in steps:
            self._invoke(view)
            told.append(np.concatenate([self._states[at][0].ravel() for at in self._recurrent]))
        self._states = kept
        return np.asarray((np.stack(told).astype(np.float32) - self._zeros) * self._scales)

    def _posterior(self, mean: NDArray[np.float64], frame: int) -> Posterior:
        """What mean logits (C + 1,) say."""
        calibration = self._calibration
        logits = mean.tolist()
        top = max(logits[: self._classes])
        scores = [math.exp((logit - top) / calibration.temperature) for logit in logits[: self._classes]]
        total = sum(scores)
        emotions = np.array([score / total for score in scores], np.float32)
        if self.package.manifest.decision.danger == "classes":
            danger = float(np.clip(emotions[self._risky].sum(), 1e-6, 1 - 1e-6))
            logit = math.log(danger / (1 - danger))
        else:
            logit = logits[self._classes]
        danger = 1 / (1 + math.exp(-min(max(calibration.scale * logit + calibration.bias, -50.0), 50.0)))
        return Posterior(frame, emotions, danger)

    def clip(self, frames: NDArray[np.float32]) -> Posterior:
        """Judge the frames of a whole clip (n, F), n >= 1, in windows of up to 9.6 s beside each other."""
        geometry = self._geometry
        stride = geometry.frames_per_step // geometry.logits.shape[1]
        span = frames[sounding(frames)]
        spare = -len(span) % stride if len(span) < stride else 0
        span = np.concatenate([span, np.repeat(span[-1:], spare, axis=0)])
        windows = [span[at : at + _CLIP_FRAMES] for at in range(0, len(span), _CLIP_FRAMES)]
        told: list[NDArray[np.float32]] = []
        for at in range(0, len(windows), geometry.batch):
            told += self._side_by_side(windows[at : at + geometry.batch], stride)
        return self._posterior(pooled(np.concatenate(told)), len(frames) - 1)

    def _side_by_side(self, windows: list[NDArray[np.float32]], stride: int) -> list[NDArray[np.float32]]:
        """Logits of each window (frames (n, F)), all of them from their start; the stream is left as it was."""
        geometry = self._geometry
        size = geometry.frames_per_step
        longest = -(-max(map(len, windows)) // size) * size
        view = np.zeros((geometry.batch, longest, geometry.input.shape[2]), np.float32)
        for row, window in enumerate(windows):
            view[row, : len(window)] = View(self.package.manifest.view, self._means).push(window)
        kept, self._states = self._states, self._initial
        told = [self._invoke(view[:, at : at + size]) for at in range(0, longest, size)]
        self._states = kept
        logits = np.concatenate(told, axis=1)
        return [logits[row, : len(window) // stride] for row, window in enumerate(windows)]


def classify(network: Network, samples: Samples) -> tuple[Posterior, list[Posterior]]:
    """Judge a recording: as a whole, and step by step as a stream would. Short ones are padded with silence."""
    window = PARAMETERS.window_samples
    padded = np.pad(as_float(samples), (0, max(0, window - len(samples))))
    frames = features(padded)
    whole = network.clip(frames)
    spare = -len(frames) % network.package.manifest.geometry.frames_per_step
    network.reset()
    steps = network.push(np.concatenate([frames, np.repeat(frames[-1:], spare, axis=0)]))
    network.reset()
    return whole, steps
