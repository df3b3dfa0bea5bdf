"""That the package installs on a Pi: every dependency has a wheel for arm64 or is built there, and ours is whole."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# pip's --platform matches tags exactly, so the whole list has to be named.
PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in (34, 31, 28, 27, 26, 17)] + ["manylinux2014_aarch64"]
# From source on every machine: Debian has it as python3-pyaudio, else it is built in half a minute.
FROM_SOURCE = {"PyAudio"}
UNREACHABLE = re.compile(r"Temporary failure|Name or service|Connection|Network is unreachable|timed out|Retry")


def dependencies() -> list[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return [one for one in project["dependencies"] if re.split(r"[><=~]", one)[0] not in FROM_SOURCE]


def must_have_worked(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip(f"the package registry can't be reached: {done.stderr.strip().splitlines()[-1][:200]}")
    assert done.returncode == 0, done.stderr


@pytest.mark.rig
@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", ["3.11", "3.13"], ids=["bookworm", "trixie"])
def test_every_dependency_has_a_wheel_for_arm64(tmp_path, version):
    command = [
        sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
        "--target", str(tmp_path), "--only-binary=:all:", "--implementation", "cp", "--python-version", version,
        "--abi", "none", "--report", str(tmp_path / "report"),
        "--abi", f"cp{version.replace('.', '')}", "--abi", "abi3",
    ]  # fmt: skip
    for platform in PLATFORMS:
        command += ["--platform", platform]
    done = subprocess.run([*command, *dependencies()], capture_output=True, text=True, timeout=800, check=False)
    must_have_worked(done)
    report = (tmp_path / "report").read_text()
    for needed in ("ai-edge-litert", "numpy", "msgspec", "soxr", "PyNaCl"):
        assert re.search(rf'"name": "{needed}"', report, re.IGNORECASE)


@pytest.mark.rig
@pytest.mark.timeout(300)
def test_our_wheel_holds_every_room_and_every_file_beside_them(tmp_path):
    """pip builds it from a copy of the tree; a folder without its `__init__.py` or a pattern too narrow shows here."""
    source = tmp_path / "source"
    left = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "device", source / "device", ignore=left)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    here = {file.relative_to(source).as_posix() for file in (source / "device").rglob("*") if file.is_file()}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    must_have_worked(subprocess.run(command, capture_output=True, text=True, timeout=280, check=False))
    (wheel,) = tmp_path.glob("outcry-*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("device/")}
    assert inside == here
