"""Every room of `training/` is told of in docs/training.md, once."""

import re

import pytest

from training.places import HOME

pytestmark = pytest.mark.training
FOLDERS = ("corpora", "networks", "reproductions")  # told of as a whole


def test_every_room_is_listed_once() -> None:
    told = re.findall(r"^\| `([\w/]+\.py)` \|", (HOME / "docs/training.md").read_text(), re.MULTILINE)
    rooms = [path.relative_to(HOME / "training") for path in (HOME / "training").rglob("*.py")]
    wanted = [str(room) for room in rooms if room.parts[0] not in FOLDERS and not room.stem.startswith("__")]
    assert sorted(told) == sorted(wanted)
