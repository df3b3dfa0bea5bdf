"""Plain folders of sound: screams, other sounds of people, everyday sound, ordinary speech, and your own.

Own/SPEAKER/EMOTION/anything.wav is read as it is; EMOTION is a label of the index or one of the words below.
"""

import re
from pathlib import Path

from training.corpora.clip import LABELS, Clip, Corpus, label

_ANY = re.compile(r"(?P<kind>[^/]+)(?P<below>(?:/.*)?)/(?P<stem>[^/]+)")
_TAKE = re.compile(r"[-_]\d+$")
_INFANT = re.compile(r"(?P<infant>[0-9A-Fa-f-]{36})-\d+-[\d.]+-(?P<sex>[mf])-")
_LANGUAGE = re.compile(r"(?:^|[/-])(en|es|de|fr|it|nl|pl|ru)(?=$|[/_-])")
_WORDS = {name: name for name in LABELS if name} | {
    "calm": "neutral",
    "anger": "angry",
    "fearful": "fear",
    "afraid": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
    "noise": "background",
    "screams": "scream",
}


def _screams(name: re.Match[str], _folder: Path) -> Clip:
    """damm_0 to damm_6 were cut from one recording; femaleScream-002 and -004 were not."""
    stem = name["stem"]
    return Clip(
        emotion="scream" if name["kind"] == "scream" else "background",
        part=name["kind"],
        source=_TAKE.sub("", stem) if "_" in stem and "__" not in stem else stem,
    )


def _nonverbal(name: re.Match[str], _folder: Path) -> Clip:
    return Clip(
        emotion="scream" if name["kind"] == "screaming" else "background",
        speaker=name["stem"].split("_")[0],
        part=name["kind"],
    )


def _background(name: re.Match[str], _folder: Path) -> Clip:
    kind, stem = name["kind"], name["stem"]
    part = kind + name["below"]
    if infant := _INFANT.match(stem):
        sex = {"m": "male", "f": "female"}[infant["sex"]]
        return Clip("background", speaker=infant["infant"].lower(), sex=sex, part=part)
    if kind == "ESC-10":  # fold-recording-take
        source = stem.split("-")[1] if stem.count("-") >= 2 else stem
    else:
        source = _TAKE.sub("", stem) if kind == "infant-laughs" else stem
    return Clip("background", part=part, source=f"{kind}/{source}")


def _speech(name: re.Match[str], _folder: Path) -> Clip:
    kind, below, stem = name["kind"], name["below"], name["stem"]
    speaker = sex = ""
    language = _LANGUAGE.search(f"{kind}{below}")
    if kind == "parent-child":
        speaker = kind  # two people in two rooms, who speaks is not told: they stay together
    elif kind == "prompts":  # en_US_f_Allison, who speaks Spanish as well
        sex = {"f": "female", "m": "male"}.get(below.split("_")[2], "")
        speaker = below.split("_")[3]
    elif "librispeech" in below:
        speaker = f"librispeech-{stem.split('-')[0]}"
    elif kind == "read-en":
        speaker = below.split("/")[1]
    return Clip(
        emotion="neutral",
        speaker=speaker,
        sex=sex,
        language=language[1] if language else "en",
        part=kind + below,
        source="" if speaker else f"{below}/{stem}",
    )


def _own(name: re.Match[str], _folder: Path) -> Clip:
    emotion = label(_WORDS, name["emotion"].lower(), "folder")
    return Clip(emotion, speaker=name["speaker"], part="own", source=name["stem"])


CORPORA = (
    Corpus("Screams", _ANY, _screams),
    Corpus("Nonverbal", _ANY, _nonverbal),
    Corpus("Background", _ANY, _background),
    Corpus("Speech", _ANY, _speech),
    Corpus("Own", re.compile(r"(?P<speaker>[^/]+)/(?P<emotion>[^/]+)/(?:.*/)?(?P<stem>[^/]+)"), _own),
)
