"""That the package installs on a Pi: every dependency has a wheel for arm64, or is known to be built there."""

import re
import subprocess
import sys
import tomllib
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
    if done.returncode and UNREACHABLE.search(done.stderr):
        pytest.skip(f"the package registry can't be reached: {done.stderr.strip().splitlines()[-1][:200]}")
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "report").read_text()
    for needed in ("ai-edge-litert", "numpy", "msgspec", "soxr", "PyNaCl"):
        assert re.search(rf'"name": "{needed}"', report, re.IGNORECASE)
