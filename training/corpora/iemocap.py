"""IEMOCAP: dyadic English, ten actors, scripted and improvised; licensed by its authors, not shared here.

Layout of the release: SessionN/sentences/wav/DIALOGUE/TURN.wav, SessionN/dialog/EmoEvaluation/DIALOGUE.txt.
"""

import re
from functools import cache
from pathlib import Path

from training.corpora.clip import Clip, Corpus, UnknownLabelError, label

_EMOTION = {
    "ang": "angry",
    "dis": "disgust",
    "fea": "fear",
    "hap": "happy",
    "exc": "happy",  # `keyword` keeps "exc" for those who leave it out
    "neu": "neutral",
    "sad": "sad",
    "sur": "surprise",
    "fru": "other",
    "oth": "other",
    "xxx": "",  # the listeners did not agree
}
_TURN = re.compile(r"^\[[\d. -]+\]\s+(\S+)\s+([a-z]{3})\s", re.MULTILINE)


@cache
def _labels(session: Path) -> dict[str, str]:
    """The agreed label of every turn of one session; {} without its evaluations."""
    tables = sorted((session / "dialog" / "EmoEvaluation").glob("Ses*.txt"))
    return dict(pair for table in tables for pair in _TURN.findall(table.read_text(encoding="latin-1")))


def _read(name: re.Match[str], folder: Path) -> Clip:
    labels = _labels(folder / name["session"])
    if name["turn"] not in labels:
        raise UnknownLabelError(f"{name['session']}/dialog/EmoEvaluation has no line for this turn")
    code = labels[name["turn"]]
    return Clip(
        emotion=label(_EMOTION, code, "emotion"),
        speaker=f"{name['number']}{name['sex']}",
        sex="female" if name["sex"] == "F" else "male",
        language="en",
        part="improvised" if "impro" in name["turn"] else "scripted",
        keyword=code if code == "exc" else "",
    )


CORPUS = Corpus(
    "IEMOCAP",
    re.compile(
        r"(?P<session>(?:.*/)?Session\d)/sentences/wav/[^/]+/(?P<turn>(?P<number>Ses\d\d)[FM]_\w+?_(?P<sex>[FM])\w*\d+)"
    ),
    _read,
)
