"""TESS: two actresses, 200 English words each (CC BY-NC-ND 4.0). A training extra, never a test."""

import re
from pathlib import Path

from training.corpora.clip import Clip, Corpus, label

_EMOTION = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprise",  # pleasant surprise
    "sad": "sad",
}


def _read(name: re.Match[str], _folder: Path) -> Clip:
    return Clip(
        emotion=label(_EMOTION, name["emotion"].lower(), "emotion"),
        # One file of the original is called OA_bite_neutral.
        speaker={"OA": "OAF"}.get(name["speaker"], name["speaker"]),
        sex="female",
        language="en",
        part="speech",
        keyword=name["word"],
    )


CORPUS = Corpus(
    "TESS", re.compile(r"(?:.*/)?(?P<speaker>OAF|OA|YAF)_(?P<word>[A-Za-z]+)_(?P<emotion>[A-Za-z]+)"), _read
)
