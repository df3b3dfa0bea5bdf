"""Learning on: in calm hours the means of the wearer's voice follow the wearer, slowly and within bounds. Pure.

It must not learn itself deaf, so when in doubt it learns nothing. A stretch of voice counts only if it is as
loud, as high and as coloured as what is known of the wearer (one in fifty of a stranger is, one in two of the
wearer's); if in the minute before and after it mainly the wearer spoke; if no danger above a low bar was heard in
that time; and if the last alert is long over. Whatever it takes for the wearer, each of the means goes no further
than `most_per_hour` in an hour and `most_in_all` from what `calibrate` learned: a stranger's voice for a year moves
them no more than that.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from device.features import FRAME_SIZE, HOP_SAMPLES, PARAMETERS, SAMPLE_RATE
from device.view import F0, LEVEL, LEVEL_PER_DB, VOICING, ViewParameters
from device.wearer import Wearer

HOUR_S = 3600.0
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class LearningRules:
    """When a stretch of voice is the wearer's, and how far it may move the means."""

    stretch_frames: int = 150
    """Voiced frames that are judged as one stretch: 1.5 s."""
    stretch_most_s: float = 6.0
    """A stretch spread over more sound than this is dropped: who knows who spoke in it."""
    near_db: float = 5.0
    """A stretch this much louder or softer than the wearer ordinarily is comes from elsewhere."""
    pitch_semitones: float = 2.5
    """So does one that lies this much higher or lower."""
    likeness: float = 0.25
    """And one whose sound differs by more: root mean square over the coefficients, in units of the view's spread."""
    wait_s: float = 60.0
    """Danger above the bar within this time, before or after a stretch, and it counts for nothing."""
    company: float = 0.3
    """Of the stretches within `wait_s` before and after one at least this share must be the wearer's too."""
    company_least: int = 3
    """And at least so many, itself included."""
    calm_after_s: float = 600.0
    """After danger, an alert or a pre-alert nothing is learned for this long."""
    memory_s: float = 300.0
    """A stretch weighs as its share of this much voice."""
    most_per_hour: float = 0.04
    """How far each mean may move in an hour, in units of the view's spread."""
    most_in_all: float = 0.15
    """How far each mean may ever be from what was calibrated, in the same units."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    ended_s: float
    mean: NDArray[np.float64]
    seconds: float
    alike: bool


def drift(wearer: Wearer, view: ViewParameters) -> float:
    """How far the farthest mean is from what was calibrated, in units of the view's spread; 0 without learning."""
    if not wearer.start:
        return 0.0
    moved = np.abs(np.array(wearer.means) - np.array(wearer.start)) / np.array(view.own_scale)
    return float(moved.max())


class Apprentice:
    """Learns on from what is heard while it is calm.

    `hear` takes the frames, `judged` what was made of them; both in the order of the sound. `grown` gives what is
    known now, once an hour at most, so that a card is not worn out and a restart can't hurry the drift.
    """

    def __init__(
        self, wearer: Wearer, view: ViewParameters, low_bar: float, rules: LearningRules | None = None
    ) -> None:
        self.rules = rules or LearningRules()
        self._low_bar = low_bar
        self._spread = np.array(view.own_scale)
        self._wearer = wearer
        self._start = np.array(wearer.start or wearer.means)
        self._hour_start = self._means = self._bounded(np.array(wearer.means))
        self._voice_s = 0.0
        self._hour_began_s: float | None = None
        self._not_before_s = -float("inf")
        self._waiting: deque[_Stretch] = deque()  # for the minute after them to pass
        self._around: deque[_Stretch] = deque()  # all of the last two minutes
        self.reset()

    def reset(self) -> None:
        """Drop the stretch that was begun, as after a gap: the other side of it may be another voice."""
        self._sum = np.zeros(FRAME_SIZE)
        self._voiced = self._heard = 0
        self._ended: list[tuple[NDArray[np.float64], float]] = []

    @property
    def means(self) -> NDArray[np.float64]:
        """The means as they are now, shape (F,)."""
        return self._means.copy()

    def hear(self, frames: NDArray[np.float32]) -> None:
        """Take frames (n, F) of the stream."""
        voiced = frames[frames[:, VOICING] >= PARAMETERS.voicing_threshold].astype(np.float64)
        self._sum += voiced.sum(axis=0)
        self._voiced += len(voiced)
        self._heard += len(frames)
        if self._voiced >= self.rules.stretch_frames:
            seconds = self._voiced * HOP_SAMPLES / SAMPLE_RATE
            self._ended.append((self._sum / self._voiced, seconds))
        elif self._heard * HOP_SAMPLES / SAMPLE_RATE < self.rules.stretch_most_s:
            return
        self._sum = np.zeros(FRAME_SIZE)
        self._voiced = self._heard = 0

    def judged(self, t_s: float, danger: float, *, calm: bool) -> None:
        """What was made of the sound up to `t_s` (rising): danger 0..1, and whether no alarm is about.

        Raises ValueError where danger is no number: a broken network must not look calm.
        """
        if not 0.0 <= danger <= 1.0:
            raise ValueError(f"danger {danger} is not a probability")
        if self._hour_began_s is None:
            self._hour_began_s = t_s
        if not calm or danger > self._low_bar:
            pause_s = self.rules.wait_s if calm else self.rules.calm_after_s
            self._not_before_s = max(self._not_before_s, t_s + pause_s)
            self._waiting.clear()
        for mean, seconds in self._ended:
            stretch = _Stretch(t_s, mean, seconds, self.is_the_wearer(mean))
            self._around.append(stretch)
            if stretch.alike and t_s >= self._not_before_s:
                self._waiting.append(stretch)
        self._ended.clear()
        while self._around and self._around[0].ended_s < t_s - 2 * self.rules.wait_s:
            self._around.popleft()
        while self._waiting and self._waiting[0].ended_s <= t_s - self.rules.wait_s:
            stretch = self._waiting.popleft()
            if self._in_company():
                self._learn(stretch)

    def _in_company(self) -> bool:
        """Whether the wearer is who speaks here."""
        alike = sum(one.alike for one in self._around)
        return alike >= max(self.rules.company_least, self.rules.company * len(self._around))

    def is_the_wearer(self, mean: NDArray[np.float64]) -> bool:
        """Whether a stretch with this mean frame (F,) is as near, as high and as coloured as the wearer."""
        rules, off = self.rules, mean - self._means
        near = abs(off[LEVEL]) <= rules.near_db * LEVEL_PER_DB
        as_high = abs(off[F0]) <= rules.pitch_semitones
        return bool(near and as_high and likeness(off, self._spread) <= rules.likeness)

    def grown(self, t_s: float) -> Wearer | None:
        """What is known now, if an hour has passed since the last time and something was learned in it."""
        if self._hour_began_s is None or t_s - self._hour_began_s < HOUR_S:
            return None
        self._hour_began_s = t_s
        if not self._voice_s:
            return None
        means = tuple(round(float(x), _DIGITS) for x in self._means)
        self._wearer = msgspec.structs.replace(
            self._wearer,
            means=means,
            start=self._wearer.start or self._wearer.means,
            learned_s=round(self._wearer.learned_s + self._voice_s, 2),
        )
        self._hour_start, self._voice_s = self._means, 0.0
        return self._wearer

    def _learn(self, stretch: _Stretch) -> None:
        weight = min(1.0, stretch.seconds / self.rules.memory_s)
        wanted = self._means + weight * (stretch.mean - self._means)
        most = self.rules.most_per_hour * self._spread
        self._means = self._bounded(np.clip(wanted, self._hour_start - most, self._hour_start + most))
        self._voice_s += stretch.seconds

    def _bounded(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        most = self.rules.most_in_all * self._spread
        return np.clip(means, self._start - most, self._start + most)


def likeness(off: NDArray[np.float64], spread: NDArray[np.float64]) -> float:
    """How different two mean frames (F,) that are `off` sound: 0 is the same; level and pitch are left out."""
    return float(np.sqrt(np.mean(np.square(off[1:F0] / spread[1:F0]))))
