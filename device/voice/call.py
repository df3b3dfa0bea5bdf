"""The wearer's own call: a sound that this person can make, known from five examples. Pure.

Kept are numbers alone: of each example the state that the network's own GRU had while it heard it, and a coarse
outline (the mean of the frames' first coefficients in six parts). A sound is the call when it is about as long as
the examples and close to the two nearest of them. Distances are in units of how far apart unlike sounds lie, for
the outline by measurement (features are fixed), for the memory as the network itself has it, so that one limit
serves every package: unlike sounds are about 2 apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from device.errors import BadDataError
from device.view import LEVEL, ViewParameters
from device.voice.segments import Segmenter

EXAMPLES: Final = 5
MOST_EXAMPLES: Final = 10
MOST_CALLS: Final = 5
PARTS: Final = 6  # of the outline
COEFFICIENTS: Final = 24  # of the frame: finer ones tell the room from the next, not a call from the next
_MOMENTS = 3  # of the network's memory: early, middle, end
_LONGER = 1.5  # a call may be so much longer than the longest example, or shorter than the shortest
_DEEPEST = -4.0  # in spreads under the loudest frame: below is silence, however deep
# tests/acceptance/call_bar.py measures these: docs/enrol.md.
LIMIT: Final = 1.28
_UNLIKE_OUTLINES = 1.11  # median distance between the outlines of two sounds
_ODD_LIMIT: Final = 1.3 * LIMIT  # for the oddest example of five
_ORDINARY_OUTLINE: Final = 0.82  # a call whose outline everyday speech comes as near as this is no call

Memory = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""The network's states (steps, units) over frames (n, F) heard alone: `Network.memory`."""


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of one sound: how many frames, the network's memory (3 U) and the outline (6 x 24)."""

    frames: int
    memory: tuple[float, ...]
    outline: tuple[float, ...]


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One call: its examples, and how close to them a sound must be.

    `unlike` is the angle (1 - cosine) between the network's memories of unlike sounds; `parameters` names the
    features, the view and the network that the numbers come from.
    """

    name: str
    examples: tuple[Example, ...]
    unlike: float
    parameters: str
    limit: float = LIMIT

    def __post_init__(self) -> None:
        """Refuse what can't be compared."""
        if not EXAMPLES <= len(self.examples) <= MOST_EXAMPLES:
            raise ValueError(f"call {self.name!r}: {EXAMPLES} to {MOST_EXAMPLES} examples are needed")
        if len({(len(one.memory), len(one.outline)) for one in self.examples}) > 1:
            raise ValueError(f"call {self.name!r}: its examples differ in size")
        if self.unlike <= 0 or self.limit <= 0 or min(one.frames for one in self.examples) < 1:
            raise ValueError(f"call {self.name!r}: lengths and limits must be above 0")
        numbers = [self.unlike, self.limit, *(x for one in self.examples for x in (*one.memory, *one.outline))]
        if not np.isfinite(numbers).all():
            raise ValueError(f"call {self.name!r}: finite numbers are needed")


def example(frames: NDArray[np.float32], view: ViewParameters, memory: Memory) -> Example:
    """What is kept of a sound, frames (n, F), n >= 1."""
    return Example(len(frames), _rounded(_moments(memory(frames))), outline_of(parts(frames), view))


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(x), 4) for x in values.ravel())


def _moments(states: NDArray[np.float32]) -> NDArray[np.float64]:
    """States (steps, U) at three moments spread over the sound, (3, U), between the steps in proportion."""
    at = np.linspace(0, len(states) - 1, _MOMENTS)
    before = np.floor(at).astype(int)
    share = (at - before)[:, None]
    return np.asarray(states[before] * (1 - share) + states[np.ceil(at).astype(int)] * share, np.float64)


def parts(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean frame of each part of a sound, (6, 24), the level against the loudest frame."""
    values = frames[:, :COEFFICIENTS].astype(np.float64)
    values[:, LEVEL] -= values[:, LEVEL].max()
    edges = np.linspace(0, len(frames), PARTS + 1)
    spans = [slice(int(a), max(int(a) + 1, int(np.ceil(b)))) for a, b in pairwise(edges)]
    return np.stack([values[span].mean(axis=0) for span in spans])


def outline_of(means: NDArray[np.float64], view: ViewParameters) -> tuple[float, ...]:
    """The parts (6, 24) of a sound in units of the view's spread."""
    outline = means / np.array(view.scale[:COEFFICIENTS])
    outline[:, LEVEL] = np.maximum(outline[:, LEVEL], _DEEPEST)
    return _rounded(outline)


def unlike_angle(examples: Sequence[Example]) -> float:
    """Mean angle between the network's memories of sounds that are unlike one another, two or more."""
    memories = np.array([one.memory for one in examples])
    units = memories / (np.linalg.norm(memories, axis=1, keepdims=True) + 1e-9)
    return max(1e-3, float((1 - units @ units.T)[np.triu_indices(len(examples), 1)].mean()))


class Likeness:
    """How far a sound is from the examples of a call."""

    def __init__(self, examples: Sequence[Example], unlike: float) -> None:
        self._memories = np.array([one.memory for one in examples])
        self._outlines = np.array([one.outline for one in examples])
        self._norms = np.linalg.norm(self._memories, axis=1) + 1e-9
        self._unlike = unlike
        lengths = [one.frames for one in examples]
        self._shortest, self._longest = min(lengths) / _LONGER, max(lengths) * _LONGER

    def as_long(self, frames: int) -> bool:
        """Whether a sound of so many frames is about as long as the examples: most sounds are not."""
        return self._shortest <= frames <= self._longest

    def outline_distance(self, one: Example) -> float:
        """Of the outline alone, in units of the view's spread."""
        return self._nearest(self._shapes(one)) if self.as_long(one.frames) else float("inf")

    def distance(self, one: Example) -> float:
        """Mean distance to the two nearest examples; infinite where it is much longer or shorter."""
        if not self.as_long(one.frames):
            return float("inf")
        memory = np.array(one.memory)
        angles = 1 - self._memories @ memory / (self._norms * (np.linalg.norm(memory) + 1e-9))
        return self._nearest(angles / self._unlike + self._shapes(one) / _UNLIKE_OUTLINES)

    def _shapes(self, one: Example) -> NDArray[np.float64]:
        return np.asarray(np.sqrt(np.mean(np.square(self._outlines - np.array(one.outline)), axis=1)))

    def _nearest(self, distances: NDArray[np.float64]) -> float:
        return float(np.sort(distances)[:2].mean())


def enrolled(
    name: str, examples: Sequence[Example], ordinary: Sequence[Example], unlike: float, parameters: str
) -> Call:
    """A call from its examples; `ordinary` are sounds of everyday speech, whose outline counts.

    Raises BadDataError where there are too few, where they are too unlike one another, or where the call is
    too like ordinary speech.
    """
    if len(examples) < EXAMPLES:
        heard = f"{len(examples)} single sounds were heard, {EXAMPLES} are needed"
        raise BadDataError(
            f"call {name!r}: {heard}; make the sound {EXAMPLES} times, with a second of quiet after each"
        )
    others = [Likeness([*examples[:at], *examples[at + 1 :]], unlike) for at in range(len(examples))]
    apart = np.array([rest.distance(one) for one, rest in zip(examples, others, strict=True)])
    # One that went astray is borne with, not two.
    if apart.max() > _ODD_LIMIT or np.sort(apart)[-2] > LIMIT:
        raise BadDataError(
            f"call {name!r}: example {int(apart.argmax()) + 1} is too unlike the others; make the same sound "
            f"{EXAMPLES} times, as long and as loud each time"
        )
    likeness = Likeness(examples, unlike)
    close = sum(likeness.outline_distance(one) <= _ORDINARY_OUTLINE for one in ordinary)
    if close:
        raise BadDataError(
            f"call {name!r}: too like ordinary speech ({close} of {len(ordinary)} everyday sounds have its outline); "
            "choose a longer or a stranger sound"
        )
    return Call(name, tuple(examples), round(unlike, 4), parameters)


class Caller:
    """Hears the wearer's calls in a stream of frames.

    A sound is heard a fraction of a second after its end. What was heard waits in `taken`.
    """

    def __init__(self, calls: Sequence[Call], view: ViewParameters, memory: Memory) -> None:
        self._calls = [(call, Likeness(call.examples, call.unlike)) for call in calls]
        self._view, self._memory = view, memory
        self._segmenter = Segmenter()
        self._heard: list[str] = []

    def reset(self) -> None:
        """Start anew, as after a gap."""
        self._segmenter.reset()

    def hear(self, frames: NDArray[np.float32]) -> None:
        """Take frames (n, F) of the stream."""
        for sound in self._segmenter.push(frames):
            if not any(likeness.as_long(len(sound)) for _, likeness in self._calls):
                continue
            one = example(sound, self._view, self._memory)
            near = [(likeness.distance(one) / call.limit, call.name) for call, likeness in self._calls]
            share, name = min(near)
            if share <= 1:
                self._heard.append(name)

    def taken(self) -> list[str]:
        """The names of the calls heard since the last time, oldest first."""
        heard, self._heard = self._heard, []
        return heard


PAUSE_S: Final = 5.0
REPEAT_S: Final = 60.0


class Debounce:
    """A call that is made again and again is one call: each new one would raise a new alert."""

    def __init__(self) -> None:
        self._raised_s = -float("inf")

    def heeds(self, t_s: float, *, alerting: bool) -> bool:
        """Whether the call heard at `t_s` is a new one; `alerting`: an alert that nobody answered stands."""
        if t_s - self._raised_s < (REPEAT_S if alerting else PAUSE_S):
            return False
        self._raised_s = t_s
        return True
