"""What every loader tells about a clip, and the words in which it tells it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".wav", ".flac", ".opus", ".ogg")
EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad")
"""The six that are judged; votes are in this order."""
CLASSES = (*EMOTIONS, "background", "scream")
LABELS = (*CLASSES, "surprise", "boredom", "other", "")
"""Every label of the index: surprise, boredom, other and "" stay out of accuracy and danger."""
DANGER = ("angry", "fear", "scream")


class UnknownLabelError(ValueError):
    """A file's name or table carries a label that no rule of its loader knows."""


class LeftOutError(ValueError):
    """A file that is known to be bad (its label is wrong, its sound is zeros): left out on purpose."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording. `speaker` is unique within the corpus; "" where nobody knows who speaks.

    `source` names the recording that the clip was cut from, where there is no speaker to split by.
    `votes` are listeners' shares in the order of EMOTIONS and sum to 1.
    """

    emotion: str
    speaker: str = ""
    sex: str = ""
    language: str = ""
    intensity: str = ""
    part: str = ""
    keyword: str = ""
    environment: str = ""
    source: str = ""
    votes: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Corpus:
    """One corpus: its folder's name, what its files are called, and how to read a name.

    `files` matches the path below the folder, without the suffix; `read` gets the match and the folder.
    """

    name: str
    files: re.Pattern[str]
    read: Callable[[re.Match[str], Path], Clip]


def label(table: dict[str, str], code: str, what: str) -> str:
    """The label that `table` has for `code`; UnknownLabelError names the code and those that are known."""
    try:
        return table[code]
    except KeyError:
        raise UnknownLabelError(f"{what} {code!r} is none of {', '.join(sorted(table))}") from None
