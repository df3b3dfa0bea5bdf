"""The main road from a chunk of sound to a Decision, for `run`, `replay` and `bench` alike.

    Chunk -> gate -> features -> network -> decision

It knows no clock: every time comes with the chunk, so a replay's seconds count from the file's start.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from device.audio import Chunk
from device.config import Config
from device.decision import Decider, Decision, DecisionParameters
from device.features import HOP_SAMPLES, PARAMETERS, SAMPLE_RATE, FeatureStream
from device.hearing.gate import SilenceGate
from device.manifest import Manifest, Sensitivity
from device.network import Network, Posterior

_FULL_SCALE = 32768.0
_QUIETEST = 1e-6  # -120 dBFS: the level of digital silence


class Stopwatch(Protocol):
    """Takes the CPU seconds of one stage of the road; only `bench` has one."""

    def add(self, stage: str, seconds: float) -> None:
        """Add to a stage's sum."""
        ...


class Ear(Protocol):
    """Hears the frames that the network hears, beside it."""

    def hear(self, frames: NDArray[np.float32]) -> None:
        """Take frames (n, F), in the stream's order."""
        ...

    def reset(self) -> None:
        """Start anew: what comes next does not follow on what came before."""
        ...


@dataclass(frozen=True, slots=True)
class Heard:
    """What the road made of one network step, or of a chunk that the gate held back (`posterior` None).

    `strongest` is the step with the most danger of its own among those that the decision averages: what an
    Event tells of, for the average is highest when a scream is over.
    """

    t_s: float
    posterior: Posterior | None
    decision: Decision
    loudness_dbfs: float
    strongest: Heard | None = None


def decision_parameters(manifest: Manifest, config: Config) -> DecisionParameters:
    """The package's parameters for the configured sensitivity, with the configuration's overrides."""
    return parameters_of(manifest.decision.sensitivities[config.model.sensitivity]).overridden(config.decision)


def parameters_of(named: Sensitivity) -> DecisionParameters:
    """How a named sensitivity decides."""
    return DecisionParameters(
        threshold=named.threshold, release=named.release, smooth_s=named.smooth_s, n=named.n, m=named.m
    )


def loudness_dbfs(samples: NDArray[np.int16]) -> float:
    """Root mean square in dB below full scale."""
    sound = samples.astype(np.float32)
    power = float(sound.dot(sound)) / max(len(sound), 1)
    return 20 * math.log10(max(math.sqrt(power) / _FULL_SCALE, _QUIETEST))


class Road:
    """Chunks in, a `Heard` out for every network step; states restart after a gap and after silence."""

    def __init__(
        self,
        network: Network,
        parameters: DecisionParameters,
        gate: SilenceGate | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.network = network
        self.decider = Decider(parameters)
        self.stepped_at: float | None = None
        """`heard_at` of the last chunk that a network step or the gate answered for."""
        self.ears: tuple[Ear, ...] = ()
        self._gate = gate
        self._stopwatch = stopwatch
        self._features = FeatureStream()
        self.reset()

    def reset(self) -> None:
        """Start anew, as after a gap: what was heard before says nothing of what comes."""
        self.decider.reset()
        self._begin()
        self._decided_s = -float("inf")
        self._recent: deque[tuple[float, Heard]] = deque()

    def _begin(self) -> None:
        """The next sample is the first of what is heard."""
        self._features.reset()
        self.network.reset()
        for ear in self.ears:
            ear.reset()
        self._samples = 0
        self._held: list[NDArray[np.int16]] = []
        self._due = self._end_of_step(1)

    def _end_of_step(self, number: int) -> int:
        """Samples that the network's step `number` (from 1) needs."""
        frames = number * self.network.package.manifest.geometry.frames_per_step
        return (frames - 1) * HOP_SAMPLES + PARAMETERS.window_samples

    def push(self, chunk: Chunk) -> list[Heard]:
        """Take one chunk; what became of it, oldest first."""
        if chunk.gap:
            self.reset()
        wanted = [chunk] if self._gate is None else self._gate.push(chunk)
        if not wanted:
            self.stepped_at = chunk.heard_at
            return [Heard(chunk.heard_at, None, self._decide(chunk.heard_at, 0.0), loudness_dbfs(chunk.samples))]
        heard = [one for piece in wanted for one in self._hear(piece, restarted=piece is not chunk)]
        if heard:
            self.stepped_at = chunk.heard_at
        return heard

    def _hear(self, chunk: Chunk, restarted: bool) -> list[Heard]:
        if chunk.gap and restarted:
            # The gate opens: the silence was heard, so what was decided stands; only the window is new.
            self._begin()
        self._samples += len(chunk.samples)
        self._held.append(chunk.samples)
        if self._samples < self._due:
            return []  # features of many chunks at once cost a third less, and no step comes later for it
        started = time.thread_time() if self._stopwatch else 0.0
        samples = np.concatenate(self._held)
        self._held = []
        frames = self._features.push(samples)
        steps = (self._samples - self._end_of_step(0)) // (self._end_of_step(1) - self._end_of_step(0))
        self._due = self._end_of_step(steps + 1)
        started = self._took("features", started)
        posteriors = self.network.push(frames)
        for ear in self.ears:
            ear.hear(frames)
        started = self._took("network", started)
        loudness = loudness_dbfs(samples)
        heard = []
        for posterior in posteriors:
            # Counted back from the chunk's own time: the sample clock drifts by seconds a day.
            ends = posterior.frame * HOP_SAMPLES + PARAMETERS.window_samples
            t_s = chunk.heard_at - (self._samples - ends) / SAMPLE_RATE
            decision = self._decide(t_s, posterior.danger)
            strongest = self._strongest(Heard(t_s, posterior, decision, loudness), posterior.danger)
            heard.append(Heard(t_s, posterior, decision, loudness, strongest))
        self._took("decision", started)
        return heard

    def _strongest(self, step: Heard, danger: float) -> Heard:
        self._recent.append((danger, step))
        while self._recent[0][1].t_s <= step.t_s - self.decider.parameters.smooth_s and len(self._recent) > 1:
            self._recent.popleft()
        return max(self._recent, key=lambda one: one[0])[1]

    def _decide(self, t_s: float, danger: float) -> Decision:
        # What the gate held back and hands over late must not turn the decision's clock back.
        self._decided_s = max(t_s, self._decided_s)
        return self.decider.update(self._decided_s, danger)

    def _took(self, stage: str, started: float) -> float:
        if self._stopwatch is None:
            return 0.0
        now = time.thread_time()
        self._stopwatch.add(stage, now - started)
        return now
