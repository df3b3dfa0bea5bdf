"""Run a package's graph step by step, as the device does, but with every number in sight.

Imports nothing of training or TensorFlow: `python -m convert.runner` also answers from a virtual environment
that holds tflite-runtime only, or on another processor.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.manifest import Geometry

KERNELS = ("xnnpack", "builtin")
Logits = NDArray[np.float32]


def interpreter(content: bytes, kernels: str) -> Any:
    """A LiteRT (else tflite-runtime) interpreter of one thread; `builtin` keeps XNNPACK out."""
    try:
        from ai_edge_litert import interpreter as runtime
    except ImportError:
        # Version 2.14 has XNNPACK switched off for int8 and knows no other kernels than the built-in ones.
        from tflite_runtime import interpreter as runtime
    kind = runtime.OpResolverType
    resolver = kind.AUTO if kernels == "xnnpack" else kind.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    made = runtime.Interpreter(model_content=content, experimental_op_resolver_type=resolver, num_threads=1)
    made.allocate_tensors()
    return made


@dataclass
class Runner:
    """One graph with its states."""

    content: bytes
    geometry: Geometry
    kernels: str = "xnnpack"
    seconds: float = field(default=0.0, init=False)  # CPU time spent in steps

    def __post_init__(self) -> None:
        """Find the tensors by their order, which the manifest repeats."""
        self.interpreter = interpreter(self.content, self.kernels)
        self._inputs = [d["index"] for d in self.interpreter.get_input_details()]
        self._outputs = [d["index"] for d in self.interpreter.get_output_details()]
        self.restart()

    def restart(self) -> None:
        """All windows start anew."""
        self._states = [
            np.ascontiguousarray(np.broadcast_to(np.array(s.initial, np.int8), s.shape)) for s in self.geometry.states
        ]

    def step(self, view: NDArray[np.float32]) -> Logits:
        """Logits (batch, outputs, classes + 2) of the next `view` (batch, frames_per_step, V)."""
        began = time.process_time()
        tensors = [np.ascontiguousarray(view, np.float32), *self._states]
        for index, tensor in zip(self._inputs, tensors, strict=True):
            self.interpreter.set_tensor(index, tensor)
        self.interpreter.invoke()
        logits, *self._states = (self.interpreter.get_tensor(index) for index in self._outputs)
        self.seconds += time.process_time() - began
        return np.asarray(logits, np.float32)

    def run(self, views: NDArray[np.float32]) -> Logits:
        """Logits (batch, n, classes + 2) of `views` (batch, frames, V) from the start, whole steps only."""
        self.restart()
        frames = self.geometry.frames_per_step
        starts = range(0, views.shape[1] // frames * frames, frames)
        return np.concatenate([self.step(views[:, at : at + frames]) for at in starts], axis=1)

    def run_each(self, views: list[NDArray[np.float32]]) -> list[Logits]:
        """Logits (n, classes + 2) of each view (frames, V); several at once where the graph has several windows.

        A shorter one beside a longer one is filled up behind its end, which changes nothing of what came
        before.
        """
        frames, batch, stride = self.geometry.frames_per_step, self.geometry.batch, self.stride
        order = sorted(range(len(views)), key=lambda i: len(views[i]))
        answers: dict[int, Logits] = {}
        for at in range(0, len(order), batch):
            group = order[at : at + batch]
            longest = -(-max(len(views[i]) for i in group) // frames) * frames
            padded = np.zeros((batch, longest, self.geometry.input.shape[2]), np.float32)
            for row, i in enumerate(group):
                padded[row, : len(views[i])] = views[i]
            logits = self.run(padded)
            answers |= {i: logits[row, : len(views[i]) // stride] for row, i in enumerate(group)}
        return [answers[i] for i in range(len(views))]

    @property
    def stride(self) -> int:
        """Frames from one output to the next."""
        return self.geometry.frames_per_step // self.geometry.logits.shape[1]


def split(frames: NDArray[Any], starts: NDArray[np.int64]) -> list[NDArray[Any]]:
    """Clips that were stored one behind the other in `frames`; `starts` ends with the length of all."""
    return np.split(frames, starts[1:-1])


def starts_of(clips: list[NDArray[Any]]) -> NDArray[np.int64]:
    """Where each clip starts when all are stored behind each other, and where the last one ends."""
    return np.cumsum([0, *map(len, clips)])
