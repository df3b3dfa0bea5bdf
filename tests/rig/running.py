"""`outcry run` as a process that tests can watch and break, and a microphone that says what it is told.

with ToldRig() as sound, Running(tmp_path, config, sound.environ) as device:
    device.wait_for("armed"); sound.say(samples)
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from jsonschema import Draft202012Validator
from numpy.typing import NDArray

from tests.rig.sound import SoundRig

REPOSITORY = Path(__file__).parents[2]
SCHEMA = Draft202012Validator(json.loads((REPOSITORY / "device/event.schema.json").read_text("utf-8")))


class ToldRig(SoundRig):
    """A sound rig whose microphone can also say something given: `say`."""

    _said: NDArray[np.float64] = np.zeros(0)
    _at = 0

    def say(self, samples: NDArray[np.int16]) -> None:
        """Say samples (16 kHz) over and over from now on."""
        self._at = 0
        self._said = np.repeat(samples, self.rate_hz // 16_000).astype(np.float64) / 32_768
        self.speak("said")

    def _piece(self, voice, noise):
        if voice != "said":
            return super()._piece(voice, noise)
        size = round(self.rate_hz * 0.02)
        piece = np.take(self._said, range(self._at, self._at + size), mode="wrap")
        self._at = (self._at + size) % len(self._said)
        return np.rint(piece * 32_767).astype("<i2").tobytes()


def voice(text: str = "Help me! Let me go! No! Help!", pitch: int = 90) -> NDArray[np.int16]:
    """A machine's voice, at 16 kHz."""
    import io

    import soundfile
    import soxr

    made = subprocess.run(
        ["espeak-ng", "-p", str(pitch), "-a", "150", "--stdout", text], capture_output=True, check=True
    ).stdout
    samples, rate_hz = soundfile.read(io.BytesIO(made), dtype="float32")
    return (soxr.resample(samples, rate_hz, 16_000) * 32_767).clip(-32_768, 32_767).astype(np.int16)


class Running:
    """A running `outcry run`: its events, its log, its end."""

    def __init__(self, folder: Path, config: str = "", environ: Mapping[str, str] | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.config = folder / "config.toml"
        self.config.write_text(config)
        self.events: list[dict[str, Any]] = []
        self._log: list[str] = []
        self._off_schema: list[str] = []
        self._environ = {
            **os.environ,
            **(environ or {}),
            "STATE_DIRECTORY": str(folder / "state"),
            "RUNTIME_DIRECTORY": str(folder / "run"),
            "JOURNAL_STREAM": "0:0",
            "PYTHONPATH": str(REPOSITORY),
        }

    def command(self, *words: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run another command of outcry beside it."""
        return subprocess.run(
            [sys.executable, "-m", "device", *words, "--config", str(self.config)],
            env=self._environ, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=self.folder,
        )  # fmt: skip

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.kill()
        # Whatever it told must be what docs and schema say; a test that fails already keeps its own reason.
        assert kind or not self._off_schema, self._off_schema

    def start(self, **environ: str) -> None:
        """Start it (again); events and log go on."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "device", "run", "--config", str(self.config)],
            env={**self._environ, **environ}, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        for stream, take in ((self.process.stdout, self._event), (self.process.stderr, self._line)):
            threading.Thread(target=self._read, args=(stream, take), daemon=True).start()

    def kill(self) -> None:
        """SIGKILL, as a power loss."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait(10)

    def terminate(self, timeout_s: float = 10.0) -> tuple[int, float]:
        """SIGTERM; exit code, and the seconds that it took."""
        began = time.monotonic()
        self.process.terminate()
        return self.process.wait(timeout_s), time.monotonic() - began

    def wait_for(self, kind: str, timeout_s: float = 60.0, **fields: Any) -> dict[str, Any]:
        """The first event of a kind with these fields, earlier or still to come."""
        return self.until(
            lambda: next(
                (e for e in self.events if e["kind"] == kind and all(e.get(k) == v for k, v in fields.items())), None
            ),
            f"{kind} {fields}",
            timeout_s,
        )

    def until(self, looked_for: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
        """What `looked_for` gives as soon as it gives something."""
        deadline = time.monotonic() + timeout_s
        while not (found := looked_for()):
            if time.monotonic() > deadline or self.process.poll() is not None:
                code = self.process.poll()
                raise TimeoutError(f"no {what} within {timeout_s} s (exit {code}): {self.events}\n{self.log}")
            time.sleep(0.02)
        return found

    def state(self) -> dict[str, Any]:
        """What the running service says of itself."""
        from device import control

        answers = control.ask(self.folder / "run" / control.SOCKET_NAME, {"do": "state"})
        answer = None if answers is None else next(answers, None)
        # None as well where it ended just now: whoever waits sees that, and its log.
        return answer["state"] if answer else {}

    def hears(self, state: str, timeout_s: float = 90.0) -> dict[str, Any]:
        """Wait until its hearing is so."""

        def look() -> dict[str, Any] | None:
            now = self.state()
            return now if now.get("hearing") == state else None

        return self.until(look, f"hearing {state}", timeout_s)

    @property
    def log(self) -> str:
        """What it said to people."""
        return "".join(self._log)

    def _event(self, line: str) -> None:
        event = json.loads(line)
        self._off_schema += [f"{error.message}: {line}" for error in SCHEMA.iter_errors(event)]
        event["seen_at"] = time.monotonic()
        self.events.append(event)

    def _line(self, line: str) -> None:
        self._log.append(line)

    @staticmethod
    def _read(stream, take: Callable[[str], None]) -> None:
        for line in stream:
            take(line)


TOOLS = [tool for tool in ("pulseaudio", "pactl", "espeak-ng") if not shutil.which(tool)]
