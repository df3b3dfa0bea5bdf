"""EmoSpeech-Command: calls for help on phones in India, crowd-made labels (CC BY-NC-SA 4.0)."""

import re
from pathlib import Path

from training.corpora.clip import Clip, Corpus, label

_EMOTION = {"calm": "neutral", "happy": "happy", "angry": "angry", "fearful": "fear", "None": "background"}
_ENVIRONMENT = {
    "safe": "",
    "scream": "scream",
    "glass_break": "glass_break",
    "glass break": "glass_break",
    "gunshots": "gunshots",
}
# The SHA-224 of nothing: the app knew no user.
_NOBODY = "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f"


def _read(name: re.Match[str], _folder: Path) -> Clip:
    emotion = label(_EMOTION, name["emotion"], "emotion")
    environment = label(_ENVIRONMENT, name["environment"], "environment")
    if name["keyword"] == "background":  # no word was said; what the crowd called calm is a quiet room
        emotion = "scream" if environment == "scream" else "background"
    elif environment == "scream" and emotion in ("angry", "fear", "background"):
        emotion = "scream"
    return Clip(
        emotion=emotion,
        speaker="" if name["user"] == _NOBODY else name["user"],
        language="hi" if name["keyword"] == "bacho" else "en",
        part=name["place"],
        keyword=name["keyword"],
        environment=environment,
    )


CORPUS = Corpus(
    "EmoSpeech-Command",
    re.compile(
        r"(?:.*/)?(?P<place>[^/]+)/(?P<keyword>[^-/]+)-(?P<environment>[^-/]+)-(?P<emotion>[^-/]+)-[\d._]+(?:_copy)?-(?P<user>[0-9a-f]+)"
    ),
    _read,
)
