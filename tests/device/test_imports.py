"""The house's import rules: a room imports only rooms that stand below it, and nothing heavy at all."""

import ast
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

DEVICE = Path(__file__).parents[2] / "device"
HOUSE = (DEVICE.parent / "docs" / "house.md").read_text()
FORBIDDEN = {"tensorflow", "keras", "scipy", "jax", "torch", "librosa", "sklearn", "pandas", "training", "convert"}
# Rooms that draw or that only `outcry explain` needs may import these inside a function.
EXTRAS = {"matplotlib": {"explain"}}


def name_of(path: Path) -> str:
    """`hearing.road` for device/hearing/road.py."""
    return ".".join(path.relative_to(DEVICE).with_suffix("").parts)


PATHS = sorted(DEVICE.rglob("*.py"))
ROOMS = {name_of(path): path for path in PATHS if path.stem != "__init__"}
FACES = [path for path in PATHS if path.stem == "__init__"]


def imported(source: str) -> set[str]:
    """Every module that a source imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the room they name"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def entered(source: str) -> set[str]:
    """The rooms of device/ that a source imports."""
    return {name.removeprefix("device.") for name in imported(source)} & set(ROOMS)


def order() -> list[str]:
    """The rooms from top to bottom, read from docs/house.md: the one place where they are listed."""
    return [room.replace("/", ".") for room in re.findall(r"^\| `([\w/]+)\.py` \|", HOUSE, re.MULTILINE)]


def above(room: str, source: str) -> set[str]:
    """The rooms that a room with this source imports although they do not stand below it."""
    listed = order()
    return {name for name in entered(source) if listed.index(name) <= listed.index(room)}


def test_every_room_is_listed_in_the_house_once():
    assert sorted(order()) == sorted(ROOMS)


def test_the_rooms_of_a_folder_stand_together_under_its_name():
    rows = re.findall(r"^\| (?:\*\*)?`([\w/]+?)(?:\.py|/)`", HOUSE, re.MULTILINE)
    storeys = [row.split("/")[0] for row in rows]
    folders = [name for name, _ in itertools.groupby(storeys)]
    assert len(folders) == len(set(folders)), "a folder's rooms stand in two places"
    for folder in {path.parent.name for path in FACES} - {"device"}:
        assert rows[storeys.index(folder)] == folder, f"the line of {folder}/ is missing above its rooms"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room):
    assert not above(room, ROOMS[room].read_text())


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("alarm", "import device.broker"),
        ("alarm", "def late():\n    from device import broker"),
        ("hearing.road", "from device.hearing import thread"),
        ("hearing.road", "from device.hearing.thread import Hearing"),
        ("sound.intake", "from device import liveness"),
        ("liveness", "from device import liveness"),
    ],
)
def test_an_import_from_above_is_found(room, line):
    assert above(room, line)


@pytest.mark.parametrize("path", FACES, ids=lambda path: path.parent.name)
def test_a_folder_says_what_lies_in_it_from_top_to_bottom_and_imports_nothing(path):
    source = path.read_text()
    assert not {name for name in imported(source) if name.startswith("device")}
    if path.parent != DEVICE:
        rooms = [name.split(".")[1] for name in order() if name.startswith(f"{path.parent.name}.")]
        assert re.findall(r"^(\w+)  +\S", ast.get_docstring(ast.parse(source)), re.MULTILINE) == rooms


@pytest.mark.parametrize("path", PATHS, ids=name_of)
def test_nothing_heavy_is_imported_on_the_device(path):
    tops = {name.split(".")[0] for name in imported(path.read_text())}
    assert not tops & FORBIDDEN
    for extra, allowed in EXTRAS.items():
        assert extra not in tops or name_of(path) in allowed


@pytest.mark.parametrize("room", ["events", "alarm", "decision"])
def test_the_pure_rooms_know_no_clock_file_or_thread(room):
    tops = {name.split(".")[0] for name in imported(ROOMS[room].read_text())}
    assert not tops & {"time", "threading", "socket", "sqlite3", "os", "pathlib", "io", "subprocess", "asyncio"}


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter holds after a statement."""
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=DEVICE.parent)
    return set(done.stdout.split())


def test_the_whole_device_loads_without_tensorflow_and_scipy():
    loaded = {name.split(".")[0] for name in loaded_by("import device.service, device.replay, device.doctor")}
    assert not loaded & FORBIDDEN


def test_the_command_line_starts_without_numpy():
    loaded = {name.split(".")[0] for name in loaded_by("import device.cli")}
    assert not loaded & {"numpy", "msgspec", "paho", "gpiozero", "pyaudio", "rich", "sqlite3"}
