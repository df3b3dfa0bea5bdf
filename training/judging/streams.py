"""Judging streams: alarms by event and by hour, not by frame.

A stream is a stretch of sound with the spans in which there was danger, and the spans in which the decision said
danger. An event counts as heard when a decision begins or stands within it or shortly after it; every spell of
decisions that touches no event is one false alarm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class StreamScore:
    """What was heard and what was cried in vain; latencies from the event's start to the decision, in s."""

    hours: float
    events: int
    heard: int
    false_alarms: int
    latencies_s: tuple[float, ...]
    after_end_s: tuple[float, ...] = ()
    """From each heard event's end to the decision; below 0: the decision came before the end."""

    @property
    def false_alarms_per_hour(self) -> float:
        """Spells of decisions without an event, per hour of sound (nan without sound)."""
        return self.false_alarms / self.hours if self.hours else float("nan")

    @property
    def recall(self) -> float:
        """Share of the events that were heard (nan without events)."""
        return self.heard / self.events if self.events else float("nan")

    @property
    def latency_s(self) -> float:
        """Median time from an event's start to the decision (nan where none was heard)."""
        return float(np.median(self.latencies_s)) if self.latencies_s else float("nan")


def spells(times_s: Sequence[float], danger: Sequence[bool], end_s: float) -> list[Span]:
    """Spans of danger from the times at which a decision changed (or was made again) to `end_s`."""
    found: list[Span] = []
    begun: float | None = None
    for time_s, now in zip(times_s, danger, strict=True):
        if now and begun is None:
            begun = float(time_s)
        elif not now and begun is not None:
            found.append((begun, float(time_s)))
            begun = None
    if begun is not None:
        found.append((begun, float(end_s)))
    return found


def judge(
    events: Sequence[Span],
    decided: Sequence[Span],
    duration_s: float,
    *,
    grace_s: float = 2.0,
    rearm_s: float = 10.0,
) -> StreamScore:
    """Compare the spans of danger with the spans of the decision.

    Args:
        events: when there was danger, (start, end) in s, none overlapping another.
        decided: when the decision said danger, in order.
        duration_s: of the whole stream; false alarms are counted against all of it.
        grace_s: how long after an event's end a decision still belongs to it (the decision is smoothed).
        rearm_s: a spell that begins sooner than this after the last one's end is the same alarm going on: one
            false alarm, as the wearer would see it.
    """
    latencies: list[float] = []
    after_end: list[float] = []
    heard = 0
    for start, end in events:
        hits = [spell for spell in decided if spell[0] < end + grace_s and spell[1] > start]
        if hits:
            heard += 1
            latencies.append(max(0.0, hits[0][0] - start))
            after_end.append(hits[0][0] - end)
    false = 0
    last_end = -np.inf
    for start, end in decided:
        belongs = any(start < event[1] + grace_s and end > event[0] for event in events)
        if not belongs:
            false += start - last_end >= rearm_s
            last_end = end
    return StreamScore(duration_s / 3600, len(events), heard, false, tuple(latencies), tuple(after_end))


def together(scores: Sequence[StreamScore]) -> StreamScore:
    """Several streams as one: sums, and all latencies."""
    return StreamScore(
        sum(score.hours for score in scores),
        sum(score.events for score in scores),
        sum(score.heard for score in scores),
        sum(score.false_alarms for score in scores),
        tuple(latency for score in scores for latency in score.latencies_s),
        tuple(after for score in scores for after in score.after_end_s),
    )


def sweep(
    streams: Sequence[tuple[NDArray[np.floating], NDArray[np.floating], Sequence[Span], float]],
    thresholds: Sequence[float],
) -> list[StreamScore]:
    """The score at each threshold of streams given as (times in s, danger, events, duration in s).

    The decision is the plain comparison danger >= threshold; a device's n of m and smoothing come before, by
    device.decision, in what is given as danger or as spans for `judge`.
    """
    return [
        together(
            [
                judge(events, spells(list(times), list(np.asarray(danger) >= threshold), duration_s), duration_s)
                for times, danger, events, duration_s in streams
            ]
        )
        for threshold in thresholds
    ]


def choose(scores: Sequence[StreamScore], *, false_alarms_per_hour: float) -> int:
    """Number of the score with the best recall among those with at most so many false alarms; the calmest if none."""
    allowed = [n for n, score in enumerate(scores) if score.false_alarms_per_hour <= false_alarms_per_hour]
    if not allowed:
        return min(range(len(scores)), key=lambda n: scores[n].false_alarms_per_hour)
    return max(allowed, key=lambda n: (scores[n].recall, -scores[n].false_alarms_per_hour))
