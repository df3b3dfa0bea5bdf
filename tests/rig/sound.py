"""A sound server with a microphone that tests can break: PulseAudio, private, with a pipe for a microphone.

    with SoundRig() as rig:
        rig.speak("noise")          # a paced writer plays the person
        rig.kill(); rig.stop(); rig.unload_microphone(); ...

Works as root and as a user, needs no sound hardware, leaves nothing behind. PulseAudio's pipe source does not
pace: the writer does, in 20 ms pieces on the monotonic clock.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pytest

Voice = Literal["noise", "zeros", "dc", "clip", "frozen", "faint"]

_F_SETPIPE_SZ = 1031
_PIECE_S = 0.02
_START_DEADLINE_S = 60.0


@contextmanager
def real_time() -> Iterator[None]:
    """Let this thread, and what it starts, go before others, as sound servers do: a busy machine is no fault.

    Does nothing where that is not allowed.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(5))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, policy, parameters)


class SoundRig:
    """A private PulseAudio with one pipe source, `rig_mic`, and the writer that speaks into it."""

    def __init__(
        self, rate_hz: int = 48_000, channels: int = 1, sample_format: str = "s16le", pipe_bytes: int = 1 << 16
    ) -> None:
        self.rate_hz = rate_hz
        self.channels = channels
        self.sample_format = sample_format
        self.pipe_bytes = pipe_bytes  # how much sound waits for a server that is slow or stopped
        # Short, for a Unix socket's path has only 108 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="outcry-sound-"))
        self.fifo = self.folder / "mic.fifo"
        runtime = self.folder / "run"
        for each in (runtime / "pulse", self.folder / "home"):
            each.mkdir(parents=True, mode=0o700)
        self.environment: Mapping[str, str] = {
            "XDG_RUNTIME_DIR": str(runtime),
            "HOME": str(self.folder / "home"),
            "PULSE_RUNTIME_PATH": str(runtime / "pulse"),
            "PULSE_SERVER": f"unix:{runtime}/pulse/native",
        }
        self._server: subprocess.Popen[bytes] | None = None
        self._priority = ExitStack()
        self._voice: Voice | None = None
        self._speed = 1.0
        self._ending = threading.Event()
        self._writer = threading.Thread(target=self._write, name="rig microphone", daemon=True)

    def __enter__(self) -> Self:
        self._priority.enter_context(real_time())
        self.start()
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        if self._writer.is_alive():
            self._writer.join(5)
        self.kill()
        self._priority.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def environ(self) -> dict[str, str]:
        """The environment for a process that shall record from this server."""
        return {**os.environ, **self.environment}

    def speak(self, voice: Voice | None, speed: float = 1.0) -> None:
        """What the microphone hears from now on; None: no writer. `speed` 1.1: a clock that runs 10 % fast."""
        self._voice, self._speed = voice, speed

    def start(self) -> None:
        """Start the server, and wait until its source is there."""
        for stale in (Path(self.environment["PULSE_RUNTIME_PATH"]) / "native", self.fifo):
            stale.unlink(missing_ok=True)
        script = self.folder / "rig.pa"
        # The socket last: otherwise clients get through before the source exists.
        script.write_text(
            "load-module module-null-sink sink_name=rig_out rate=48000 channels=1 format=s16le norewinds=1\n"
            f"load-module {self._microphone_module()}\n"
            "set-default-sink rig_out\n"
            "set-default-source rig_mic\n"
            "load-module module-native-protocol-unix auth-anonymous=1 "
            f"socket={self.environment['PULSE_RUNTIME_PATH']}/native\n"
        )
        self._server = subprocess.Popen(
            [
                "pulseaudio", "-n", "-F", str(script), "--daemonize=no", "--exit-idle-time=-1",
                "--use-pid-file=no", f"--log-target=newfile:{self.folder}/pulseaudio.log",
            ],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + _START_DEADLINE_S
        while "rig_mic" not in self._pactl("list", "short", "sources", check=False):
            if time.monotonic() > until or self._server.poll() is not None:
                raise RuntimeError(f"PulseAudio did not start: {self.log()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL the server, as a crash would."""
        if self._server is not None:
            with suppress(ProcessLookupError):
                self._server.kill()
            self._server.wait(10)
            self._server = None

    def stop(self) -> None:
        """SIGSTOP: the server hangs."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT: the server lives again."""
        self._signal(signal.SIGCONT)

    def suspend(self, suspended: bool) -> None:
        """Suspend the source, or wake it up."""
        self._pactl("suspend-source", "rig_mic", "1" if suspended else "0")

    def mute(self, muted: bool) -> None:
        """Mute the source in the server, as a volume applet does."""
        self._pactl("set-source-mute", "rig_mic", "1" if muted else "0")

    def unplug(self, keep_monitor: bool = False) -> None:
        """Take the source away; without the monitor no source at all is left."""
        if not keep_monitor:
            self._pactl("unload-module", "module-null-sink")
        self._pactl("unload-module", "module-pipe-source")

    def plug_in(self) -> None:
        """Bring the source back, as the default."""
        self.fifo.unlink(missing_ok=True)
        self._pactl("load-module", *self._microphone_module().split())
        self._pactl("set-default-source", "rig_mic")

    def recorders(self) -> int:
        """How many streams record from this server just now."""
        return len(self._pactl("list", "short", "source-outputs").splitlines())

    def log(self) -> str:
        """What the server said."""
        return "\n".join(path.read_text() for path in self.folder.glob("pulseaudio.log*"))

    def _microphone_module(self) -> str:
        return (
            f"module-pipe-source source_name=rig_mic file={self.fifo} rate={self.rate_hz} "
            f"channels={self.channels} format={self.sample_format}"
        )

    def _signal(self, number: signal.Signals) -> None:
        assert self._server is not None
        self._server.send_signal(number)

    def _pactl(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            ["pactl", *words], env=self.environ, capture_output=True, text=True, timeout=10, check=False
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"pactl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def _write(self) -> None:
        """Speak into the pipe at the clock's pace; what nobody takes is lost, as in a room."""
        noise = np.random.default_rng(0)
        pipe, due = -1, time.monotonic()
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            voice = self._voice
            if voice is None or not self._same_file(pipe):
                if pipe >= 0:
                    os.close(pipe)
                pipe = self._open() if voice is not None else -1
                due = time.monotonic() + _PIECE_S
                continue
            due += _PIECE_S / self._speed
            with suppress(BlockingIOError, BrokenPipeError):
                os.write(pipe, self._piece(voice, noise))
        if pipe >= 0:
            os.close(pipe)

    def _open(self) -> int:
        try:
            pipe = os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # no server just now
            return -1
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, self.pipe_bytes)
        return pipe

    def _same_file(self, pipe: int) -> bool:
        """Whether the pipe that is open is still the one that the server reads."""
        try:
            return pipe >= 0 and os.fstat(pipe).st_ino == self.fifo.stat().st_ino
        except OSError:
            return False

    def _piece(self, voice: Voice, noise: np.random.Generator) -> bytes:
        shape = (round(self.rate_hz * _PIECE_S), 1)
        frozen = np.sin(2 * np.pi * 400 * np.arange(shape[0]) / self.rate_hz)[:, None]  # whole periods in 20 ms
        sound = {
            "noise": noise.normal(0, 0.05, shape),
            "zeros": np.zeros(shape),
            "dc": np.full(shape, 0.1),
            "clip": np.clip(noise.normal(0, 3, shape), -1, 1),
            "frozen": 0.3 * frozen,
            "faint": noise.normal(0, 0.0001, shape),
        }[voice]
        frames = np.repeat(np.clip(sound, -1, 1), self.channels, axis=1)
        if self.sample_format == "s32le":
            return (frames * 2_147_483_000).astype("<i4").tobytes()
        return np.rint(frames * 32_767).astype("<i2").tobytes()


@pytest.fixture
def sound_rig() -> Iterator[SoundRig]:
    """A sound server that runs, with a microphone that nobody speaks into yet."""
    if shutil.which("pulseaudio") is None or shutil.which("pactl") is None:
        pytest.skip("pulseaudio is not installed (apt install pulseaudio pulseaudio-utils libasound2-plugins)")
    with SoundRig() as rig:
        yield rig
