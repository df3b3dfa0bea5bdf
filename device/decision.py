"""From danger, step by step, to a Decision: smoothed, n of the last m, with hysteresis. Pure.

One loud syllable is not danger and one quiet one does not end it. What the network says is averaged over
`smooth_s`; danger begins when n of the last m averages reach the threshold, and ends when the average falls
below the release threshold.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Annotated

import msgspec

from device.errors import BadDataError
from device.settings.sections import DecisionSection

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class DecisionParameters(msgspec.Struct, frozen=True, kw_only=True):
    """How a danger becomes a Decision; a model package has one set for each sensitivity."""

    threshold: Share
    release: Share
    smooth_s: Annotated[float, msgspec.Meta(ge=0.0, le=30.0)]
    n: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    m: Annotated[int, msgspec.Meta(ge=1, le=1000)]

    def __post_init__(self) -> None:
        """Refuse what could never decide or never end."""
        if self.release > self.threshold:
            raise BadDataError(f"decision: release {self.release:g} is above the threshold {self.threshold:g}")
        if self.release <= 0.0:
            raise BadDataError("decision: release is 0, so that danger would never end")
        if self.n > self.m:
            raise BadDataError(f"decision: n {self.n} is above m {self.m}")

    def overridden(self, section: DecisionSection) -> "DecisionParameters":
        """Return these with what the configuration sets; the partner of a changed value is moved along."""
        threshold = section.threshold or self.threshold
        m = section.m or self.m
        return DecisionParameters(
            threshold=threshold,
            release=min(section.release or self.release, threshold),
            smooth_s=section.smooth_s or self.smooth_s,
            n=min(section.n or self.n, m),
            m=m,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What is known at one step."""

    danger: bool
    score: float  # smoothed danger, 0..1
    changed: bool  # danger has begun or ended with this step
    calm: bool  # the score is below the release threshold
    seconds_over: float  # time at or above the threshold since the score was last calm


class Decider:
    """Decides step by step. `reset` after a gap: what was before it says nothing of what comes."""

    def __init__(self, parameters: DecisionParameters) -> None:
        self.parameters = parameters
        self.reset()

    def reset(self) -> None:
        """Forget all steps; danger that stood ends without a `changed`."""
        self._steps: deque[tuple[float, float]] = deque()
        self._over: deque[bool] = deque(maxlen=self.parameters.m)
        self._danger = False
        self._seconds_over = 0.0
        self._last_t_s: float | None = None

    def update(self, t_s: float, danger: float) -> Decision:
        """Take in the danger (0..1) of the step at `t_s` (seconds, rising).

        Raises ValueError when danger is not a probability: a broken network must not look calm.
        """
        if not (math.isfinite(danger) and 0.0 <= danger <= 1.0):
            raise ValueError(f"danger {danger} is not a probability")
        score = self._smoothed(t_s, danger)
        parameters = self.parameters
        over, calm = score >= parameters.threshold, score < parameters.release
        elapsed_s = 0.0 if self._last_t_s is None else max(0.0, t_s - self._last_t_s)
        self._last_t_s = t_s
        if calm:
            self._seconds_over = 0.0
        elif over:
            self._seconds_over += elapsed_s
        self._over.append(over)
        was = self._danger
        self._danger = not calm and (was or sum(self._over) >= parameters.n)
        return Decision(self._danger, score, self._danger != was, calm, self._seconds_over)

    def _smoothed(self, t_s: float, danger: float) -> float:
        self._steps.append((t_s, danger))
        oldest_s = t_s - self.parameters.smooth_s
        while len(self._steps) > 1 and self._steps[0][0] <= oldest_s:
            self._steps.popleft()
        # Summed anew: a running sum drifts over days, and there are a few dozen steps at most.
        return min(1.0, math.fsum(danger for _, danger in self._steps) / len(self._steps))
