"""RAVDESS: acted English, speech and song, 24 actors (CC BY-NC-SA 4.0)."""

import re
from pathlib import Path

from training.corpora.clip import Clip, Corpus, label

_EMOTION = {
    "01": "neutral",
    "02": "neutral",  # calm counts as neutral
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
_PART = {"01": "speech", "02": "song"}
_INTENSITY = {"01": "normal", "02": "strong"}


def _read(name: re.Match[str], _folder: Path) -> Clip:
    return Clip(
        emotion=label(_EMOTION, name["emotion"], "emotion"),
        speaker=name["actor"],
        sex="male" if int(name["actor"]) % 2 else "female",
        language="en",
        intensity=label(_INTENSITY, name["intensity"], "intensity"),
        part=label(_PART, name["part"], "vocal channel"),
        # Calm and neutral are told apart by those who reproduce papers that do.
        keyword="calm" if name["emotion"] == "02" else "",
    )


CORPUS = Corpus(
    "RAVDESS",
    re.compile(
        r"(?:.*/)?\d\d-(?P<part>\d\d)-(?P<emotion>\d\d)-(?P<intensity>\d\d)-\d\d-\d\d-(?P<actor>\d\d)"
    ),
    _read,
)
