"""Where a package is asked: this interpreter, one with tflite-runtime, an emulated arm64; each by the same script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convert.run_folder import Clips
from convert.runner import starts_of
from device.errors import BadDataError

ROOT = Path(__file__).parents[1]
# A Pi 4 for qemu-user: its default processor emulates pointer authentication, 17 times slower.
_EMULATED = {"QEMU_CPU": "cortex-a72"}
_SHARED = "opt/outcry-verify"


@dataclass(frozen=True)
class Engine:
    """One way to run a package: a Python, kernels, and the root of another system where it is one."""

    name: str
    kernels: str
    python: str = sys.executable
    root: Path | None = None
    most: int | None = None  # clips that are asked, spread over all; an emulated processor is a hundred times slower

    def ask(self, package: Path, clips: Clips) -> dict[str, Any]:
        """What `convert.answers` says of the clips; raises BadDataError where it fails."""
        if self.root is None:
            with tempfile.TemporaryDirectory() as folder:
                return self._ask(package, Path(folder), Path(folder), clips)
        inside = Path("/") / _SHARED
        folder = self.root / _SHARED
        shutil.rmtree(folder, ignore_errors=True)
        try:
            for name in ("device", "convert"):
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("models", "__pycache__"))
            shutil.copytree(package, folder / "package" / package.name)
            return self._ask(inside / "package" / package.name, folder, inside, clips)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _ask(self, package: Path, folder: Path, inside: Path, clips: Clips) -> dict[str, Any]:
        np.savez(folder / "clips.npz", frames=np.concatenate(clips), starts=starts_of(clips))
        command = [self.python, "-m", "convert.answers", str(package), str(inside / "clips.npz"), self.kernels]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        if self.root is not None:
            environment |= _EMULATED | {"PYTHONPATH": f"{inside}:/opt/site"}
            command = ["chroot", str(self.root), *command]
        done = subprocess.run(
            [*command, str(inside / "told.npz")], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            raise BadDataError(f"{self.name}: exit code {done.returncode}: {last}")
        with np.load(folder / "told.npz", allow_pickle=False) as told:
            return dict(told)

    def replay(self, package: Path, recording: Path) -> list[str]:
        """The lines of `outcry replay --decisions` and of its events, of one recording."""
        lines: list[str] = []
        for option in ([], ["--decisions"]):
            command = [self.python, "-m", "device", "replay", str(recording), "--model", str(package), *option]
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BadDataError(f"{self.name}: replay of {recording.name}: {done.stderr.strip()[-200:]}")
            lines += done.stdout.splitlines()
        return lines
