"""nEMO: acted Polish, 9 actors; what is said and by whom stands in data.tsv (CC BY-NC-SA 4.0)."""

import csv
import re
from functools import cache
from pathlib import Path

from training.corpora.clip import Clip, Corpus, label

_EMOTION = {
    "anger": "angry",
    "fear": "fear",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
}


@cache
def _sexes(folder: Path) -> dict[str, str]:
    """Sex by speaker; {} without the table. Its speaker ids stand behind blanks."""
    table = folder / "data.tsv"
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as rows:
        return {
            row["speaker_id"].strip(): row["gender"].strip() for row in csv.DictReader(rows, delimiter="\t")
        }


def _read(name: re.Match[str], folder: Path) -> Clip:
    return Clip(
        emotion=label(_EMOTION, name["emotion"], "emotion"),
        speaker=name["speaker"],
        sex=_sexes(folder).get(name["speaker"], ""),
        language="pl",
        part="speech",
        keyword=name["sentence"],
    )


CORPUS = Corpus(
    "nEMO", re.compile(r"(?:.*/)?(?P<speaker>[A-Z]{2}\d)_(?P<emotion>[a-z]+)_(?P<sentence>\d+)"), _read
)
