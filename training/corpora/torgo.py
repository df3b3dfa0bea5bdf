"""TORGO: dysarthric and control speakers reading English; licensed by its authors, not shared here.

Ordinary speech of the people that outcry is for: neutral in training, false alarms only in judging.
"""

import re
from pathlib import Path

from training.corpora.clip import Clip, Corpus


def _read(name: re.Match[str], folder: Path) -> Clip:
    prompt = folder / name["session"] / "prompts" / f"{name['number']}.txt"
    speaker = name["speaker"]
    return Clip(
        emotion="neutral",
        speaker=speaker,
        sex="female" if speaker.startswith("F") else "male",
        language="en",
        part="control" if "C" in speaker else "dysarthric",
        keyword=prompt.read_text(encoding="latin-1").strip() if prompt.is_file() else "",
        environment=name["microphone"],
    )


CORPUS = Corpus(
    "TORGO",
    re.compile(
        r"(?P<session>(?:.*/)?(?P<speaker>[FM]C?\d\d)/Session[^/]+)/wav_(?P<microphone>\w+Mic)/(?P<number>\d+)"
    ),
    _read,
)
