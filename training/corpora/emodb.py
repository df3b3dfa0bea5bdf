"""EMO-DB: acted German, 10 sentences, 10 speakers (research use)."""

import re
from pathlib import Path

from training.corpora.clip import Clip, Corpus, label

_EMOTION = {
    "W": "angry",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
_SEX = dict.fromkeys(("03", "10", "11", "12", "15"), "male") | dict.fromkeys(
    ("08", "09", "13", "14", "16"), "female"
)


def _read(name: re.Match[str], _folder: Path) -> Clip:
    return Clip(
        emotion=label(_EMOTION, name["emotion"], "emotion"),
        speaker=name["speaker"],
        sex=label(_SEX, name["speaker"], "speaker"),
        language="de",
        part="speech",
        keyword=name["text"],
    )


CORPUS = Corpus(
    "EMO-DB", re.compile(r"(?:.*/)?(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<emotion>[A-Z])[a-z]?"), _read
)
