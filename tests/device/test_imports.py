"""The house's import rules: a room imports only rooms that stand below it, and nothing heavy at all."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

DEVICE = Path(__file__).parents[2] / "device"

# Top to bottom, as docs/house.md has it; sound itself climbs from the bottom to the top.

FORBIDDEN = {"tensorflow", "keras", "scipy", "jax", "torch", "librosa", "sklearn", "pandas", "training", "convert"}
# Rooms that draw or that only `outcry explain` needs may import these inside a function.
EXTRAS = {"matplotlib": {"explain"}}


def rooms() -> list[Path]:
    return sorted(path for path in DEVICE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module that a file imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide the room they name"
            names.add(node.module)
            if node.module == "device":
                names |= {f"device.{alias.name}" for alias in node.names}
    return names


def order() -> list[str]:
    """The rooms from top to bottom, read from docs/house.md: the one place where they are listed."""
    listed = []
    for line in (DEVICE.parent / "docs" / "house.md").read_text().splitlines():
        if line.startswith("| `") and ".py`" in line:
            listed.append(line.split("`")[1].removesuffix(".py"))
    return listed


def test_every_room_is_listed_in_the_house_once():
    here = {path.stem for path in rooms()} - {"__init__"}
    listed = order()
    assert len(set(listed)) == len(listed)
    assert set(listed) == here


@pytest.mark.parametrize("path", rooms(), ids=lambda path: path.stem)
def test_a_room_imports_only_rooms_below_it(path):
    if path.stem == "__init__":
        assert not {name for name in imported(path) if name.startswith("device")}
        return
    listed = order()
    own = listed.index(path.stem)
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "device" and len(parts) > 1 and parts[1] in listed:
            assert listed.index(parts[1]) > own, f"{path.stem} imports {parts[1]}, which stands above it"


@pytest.mark.parametrize("path", rooms(), ids=lambda path: path.stem)
def test_nothing_heavy_is_imported_on_the_device(path):
    tops = {name.split(".")[0] for name in imported(path)}
    assert not tops & FORBIDDEN
    for extra, allowed in EXTRAS.items():
        assert extra not in tops or path.stem in allowed


@pytest.mark.parametrize("room", ["events", "alarm", "decision"])
def test_the_pure_rooms_know_no_clock_file_or_thread(room):
    tops = {name.split(".")[0] for name in imported(DEVICE / f"{room}.py")}
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
