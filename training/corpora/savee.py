"""SAVEE: four men, acted British English (research use)."""

import re
from pathlib import Path

from training.corpora.clip import Clip, Corpus, label

# `sa` before `s`, `su` before `s`: a loader that reads `sa01` as anger makes 60 sad clips angry.
_EMOTION = {
    "a": "angry",
    "d": "disgust",
    "f": "fear",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprise",
}


def _read(name: re.Match[str], _folder: Path) -> Clip:
    return Clip(
        emotion=label(_EMOTION, name["emotion"], "emotion"),
        speaker=name["speaker"],
        sex="male",
        language="en",
        part="speech",
        keyword=name["sentence"],
    )


CORPUS = Corpus(
    "SAVEE", re.compile(r"(?:.*/)?(?P<speaker>[A-Z]{2})_?/?(?P<emotion>[a-z]+)(?P<sentence>\d\d)"), _read
)
