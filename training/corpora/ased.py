"""ASED: acted Amharic, 65 speakers (no licence stated; cite). Most clips end in exact zeros: trim."""

import re
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

from training.corpora.clip import SUFFIXES, Clip, Corpus, label

_EMOTION = {"n": "neutral", "f": "fear", "h": "happy", "s": "sad", "a": "angry"}
_SEX = {"01": "female", "02": "male"}
_FILES = re.compile(
    r"(?:.*/)?(?P<emotion>[A-Za-z])\d-(?P<sentence>\d\d)-(?P<take>\d\d)-(?P<sex>\d\d)-(?P<speaker>\d\d)"
)


@cache
def _sexes(folder: Path) -> dict[str, str]:
    """Sex by speaker, as most of the speaker's files have it: a few carry the wrong one."""
    told: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path in folder.rglob("*"):
        if path.suffix in SUFFIXES and (name := _FILES.fullmatch(path.stem)):
            told[name["speaker"]][name["sex"]] += 1
    return {speaker: count.most_common(1)[0][0] for speaker, count in told.items()}


def _read(name: re.Match[str], folder: Path) -> Clip:
    return Clip(
        emotion=label(_EMOTION, name["emotion"].lower(), "emotion"),
        speaker=name["speaker"],
        sex=label(_SEX, _sexes(folder).get(name["speaker"], name["sex"]), "sex"),
        language="am",
        part="speech",
        keyword=name["sentence"],
    )


CORPUS = Corpus("ASED", _FILES, _read)
