"""CREMA-D: acted English, 12 sentences, with the listeners' votes (ODbL 1.0)."""

import csv
import re
from functools import cache
from pathlib import Path

from training.corpora.clip import EMOTIONS, Clip, Corpus, LeftOutError, label

_EMOTION = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
_LEVEL = {"LO": "low", "MD": "medium", "HI": "high", "XX": "", "X": ""}
_LEFT_OUT = {
    "1006_TIE_NEU_XX": "the same sound as 1006_TIE_HAP_XX",
    "1006_TIE_HAP_XX": "the same sound as 1006_TIE_NEU_XX",
    "1017_IWW_FEA_XX": "the same sound as 1017_IWW_ANG_XX",
    "1017_IWW_ANG_XX": "the same sound as 1017_IWW_FEA_XX",
    "1013_WSI_SAD_XX": "the same sound as 1013_WSI_DIS_XX",
    "1013_WSI_DIS_XX": "the same sound as 1013_WSI_SAD_XX",
    "1076_MTI_SAD_XX": "all zeros",
}


@cache
def _votes(folder: Path) -> dict[str, tuple[float, ...]]:
    """What most listeners heard in the voice alone; a tie ("A:D") is shared evenly. {} without the table."""
    table = folder / "summaryTable.csv"
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as rows:
        heard = {row["FileName"]: row["VoiceVote"].split(":") for row in csv.DictReader(rows)}
    initials = [emotion[0].upper() for emotion in EMOTIONS]
    return {
        name: tuple(votes.count(initial) / len(votes) for initial in initials)
        for name, votes in heard.items()
    }


@cache
def _sexes(folder: Path) -> dict[str, str]:
    table = folder / "VideoDemographics.csv"
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as rows:
        return {row["ActorID"]: row["Sex"].lower() for row in csv.DictReader(rows)}


def _read(name: re.Match[str], folder: Path) -> Clip:
    actor, stem = name["actor"], name["stem"]
    if stem in _LEFT_OUT:
        raise LeftOutError(_LEFT_OUT[stem])
    return Clip(
        emotion=label(_EMOTION, name["emotion"], "emotion"),
        speaker=actor,
        sex=_sexes(folder).get(actor, ""),
        language="en",
        intensity=label(_LEVEL, name["level"], "level"),
        part="speech",
        keyword=name["sentence"],
        votes=_votes(folder).get(stem),
    )


CORPUS = Corpus(
    "CREMA-D",
    re.compile(
        r"(?:.*/)?(?P<stem>(?P<actor>\d{4})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]+)_(?P<level>[A-Z]+))"
    ),
    _read,
)
