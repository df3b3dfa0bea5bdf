"""Hearing on a real sound server that is killed, stopped, unplugged, starved: deafness is known within 5 s.

Each test listens in a process of its own (`hear.py`), for PortAudio may hang in it, and breaks the server
beside it. With OUTCRY_SOUND_TABLE=FILE the measured times are appended to FILE, for docs/hearing.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from device.hearing.listening import Listening
from device.sound.microphone import Microphone, list_microphones
from tests.rig.sound import SoundRig, sound_rig  # noqa: F401

pytestmark = [pytest.mark.rig, pytest.mark.timeout(180)]

DEAF_BAR_S = 5.0
ROOT = Path(__file__).parents[2]
Line = dict[str, Any]


class Hearing:
    """The listening process, and what it has said so far."""

    def __init__(self, rig: SoundRig, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.rig.hear", *options],
            cwd=ROOT,
            env=rig.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.lines: list[Line] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            with self._news:
                self.lines.append(json.loads(text))
                self._news.notify_all()

    def wait(self, wanted: Callable[[Line], bool], within_s: float, after: float = 0.0) -> Line:
        """The first line said after a time that is as wanted."""
        until = time.monotonic() + within_s
        with self._news:
            while True:
                for line in self.lines:
                    if line["at"] > after and wanted(line):
                        return line
                if not self._news.wait(max(0.0, until - time.monotonic())) and time.monotonic() >= until:
                    raise AssertionError(f"not within {within_s} s; last: {self.lines[-3:]}")

    def healthy(self, within_s: float = 60.0, after: float = 0.0) -> Line:
        return self.wait(lambda line: line.get("state") == "healthy", within_s, after)

    def deaf(self, after: float, within_s: float = 60.0) -> Line:
        return self.wait(lambda line: line.get("state") in ("recovering", "failed"), within_s, after)

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def hear(sound_rig: SoundRig) -> Iterator[Callable[..., Hearing]]:  # noqa: F811
    started: list[Hearing] = []

    def start(*options: str) -> Hearing:
        started.append(Hearing(sound_rig, *options))
        return started[-1]

    yield start
    for each in started:
        each.end()


def note(fault: str, seconds: float, healed_s: float | None) -> None:
    """Keep a measured time for the table in the docs."""
    path = os.environ.get("OUTCRY_SOUND_TABLE")
    if path:
        healed = "" if healed_s is None else f"{healed_s:.1f} s"
        with Path(path).open("a", encoding="utf-8") as table:
            table.write(f"| {fault} | {seconds:.1f} s | {healed} |\n")


@pytest.mark.parametrize(
    ("rate", "bits", "channels"),
    [(16_000, 16, 1), (44_100, 16, 1), (48_000, 16, 2), (44_100, 32, 2), (48_000, 32, 1)],
)
def test_captures_at_the_devices_rate_width_and_channels(sound_rig, hear, rate, bits, channels):  # noqa: F811
    sound_rig.speak("noise")
    hearing = hear("--rate", str(rate), "--bits", str(bits), "--channels", str(channels))
    hearing.healthy()
    first = hearing.wait(lambda line: line["sound_s"] > 1, 60)  # starting up takes the server a moment
    line = hearing.wait(lambda line: line["sound_s"] - first["sound_s"] > 2.5, 60, first["at"])
    assert line["format"] == f"{rate} Hz, {bits} bit, {'mono' if channels == 1 else 'stereo'}"
    passed_s = line["at"] - first["at"]
    assert line["sound_s"] - first["sound_s"] == pytest.approx(passed_s, rel=0.25)
    assert line["rms"] == pytest.approx(0.05 * (16_000 / 48_000) ** 0.5, rel=0.25)  # 8 of 24 kHz of the noise


def test_a_32_bit_stereo_source(hear, tmp_path):
    with SoundRig(rate_hz=44_100, channels=2, sample_format="s32le") as rig:
        rig.speak("noise")
        hearing = Hearing(rig, "--rate", "44100", "--bits", "32", "--channels", "2")
        try:
            line = hearing.wait(lambda line: line.get("sound_s", 0) > 1, 60)
        finally:
            hearing.end()
    assert line["rms"] == pytest.approx(0.05 * (16_000 / 44_100) ** 0.5, rel=0.25)


def test_server_killed_and_back(sound_rig, hear):  # noqa: F811
    sound_rig.speak("noise")
    hearing = hear()
    hearing.healthy()
    broken = time.monotonic()
    sound_rig.kill()
    deaf = hearing.deaf(broken)
    assert deaf["at"] - broken < DEAF_BAR_S
    hearing.wait(lambda line: line["fault"] == "missing", 60, broken)
    time.sleep(2)
    mended = time.monotonic()
    sound_rig.start()
    healed = hearing.healthy(60, mended)
    assert healed["gaps"] >= 2  # the network's states start anew
    note("sound server killed (SIGKILL), started again", deaf["at"] - broken, healed["at"] - mended)


def test_server_stopped_for_a_moment(sound_rig, hear):  # noqa: F811
    """SIGSTOP: `is_active()` says True for ever, close() hangs; on SIGCONT the old sound comes in a burst."""
    sound_rig.speak("noise")
    hearing = hear()
    hearing.healthy()
    broken = time.monotonic()
    sound_rig.stop()
    try:
        deaf = hearing.deaf(broken)
        assert deaf["at"] - broken < DEAF_BAR_S
        hearing.wait(lambda line: line["age_s"] > 4, 60, broken)
        # PortAudio hangs now, and whoever reads is not kept waiting by it.
        assert max(line["read_s"] for line in hearing.lines[1:]) < 1.0
    finally:
        mended = time.monotonic()
        sound_rig.go_on()
    healed = hearing.healthy(60, mended)
    note("sound server stopped (SIGSTOP), goes on", deaf["at"] - broken, healed["at"] - mended)


def test_server_stopped_for_good_ends_the_process(sound_rig, hear):  # noqa: F811
    sound_rig.speak("noise")
    hearing = hear("--deadline", "2")
    hearing.healthy()
    broken = time.monotonic()
    sound_rig.stop()
    try:
        deaf = hearing.deaf(broken)
        assert hearing.process.wait(20) == 69
        last = hearing.wait(lambda line: "error" in line, 5)
    finally:
        sound_rig.go_on()
    assert last["code"] == 69
    assert "PortAudio: close() did not return within 2 s" in last["error"]
    assert deaf["at"] - broken < DEAF_BAR_S
    note("sound server stopped for good: the process ends (69)", deaf["at"] - broken, None)


def test_a_short_stop_of_the_server_loses_nothing():
    """Too short for recovery: the stream lives on, and what was said meanwhile is heard a second late."""
    with SoundRig(pipe_bytes=1 << 20) as rig:
        rig.speak("noise")
        hearing = Hearing(rig)
        try:
            before = hearing.wait(lambda line: line.get("sound_s", 0) > 2, 60)
            rig.stop()
            time.sleep(0.8)
            mended = time.monotonic()
            rig.go_on()
            later = hearing.wait(lambda line: line["at"] > mended + 2, 60)
        finally:
            hearing.end()
    assert later["dropped_s"] == 0
    assert later["gaps"] == 1
    assert later["sound_s"] - before["sound_s"] == pytest.approx(later["at"] - before["at"], abs=0.6)


def test_only_source_removed_and_returned(sound_rig, hear):  # noqa: F811
    sound_rig.speak("noise")
    hearing = hear()
    hearing.healthy()
    broken = time.monotonic()
    sound_rig.unplug()
    deaf = hearing.deaf(broken)
    assert deaf["at"] - broken < DEAF_BAR_S
    time.sleep(3)
    mended = time.monotonic()
    sound_rig.plug_in()
    healed = hearing.healthy(60, mended)
    note("microphone unplugged, plugged in again", deaf["at"] - broken, healed["at"] - mended)


def test_source_removed_and_the_stream_silently_moved_to_a_monitor(sound_rig, hear):  # noqa: F811
    """The server connects the stream to what is left, the monitor of an output, and sound (zeros) goes on."""
    sound_rig.speak("noise")
    hearing = hear()
    hearing.wait(lambda line: line.get("sound_s", 0) > 3, 60)  # the source has been asked for meanwhile
    broken = time.monotonic()
    sound_rig.unplug(keep_monitor=True)
    deaf = hearing.deaf(broken)
    assert deaf["at"] - broken < DEAF_BAR_S
    told = hearing.wait(lambda line: "moved" in line["reasons"] or "zeros" in line["reasons"], 60, broken)
    moved = hearing.wait(lambda line: "moved" in line["reasons"], 60, broken)
    assert "rig_out.monitor" in moved["detail"]
    mended = time.monotonic()
    sound_rig.plug_in()
    healed = hearing.healthy(60, mended)
    note("stream moved to a monitor, microphone back", told["at"] - broken, healed["at"] - mended)


def test_pipe_without_a_writer(sound_rig, hear):  # noqa: F811
    """Callbacks stop, nothing else shows it; stop_stream() would hang here for 43 s."""
    sound_rig.speak("noise")
    hearing = hear()
    hearing.healthy()
    broken = time.monotonic()
    sound_rig.speak(None)
    deaf = hearing.deaf(broken)
    assert deaf["at"] - broken < DEAF_BAR_S
    hearing.wait(lambda line: line["age_s"] > 6, 60, broken)
    mended = time.monotonic()
    sound_rig.speak("noise")
    healed = hearing.healthy(60, mended)
    note("source without a writer: callbacks stop", deaf["at"] - broken, healed["at"] - mended)


def test_never_a_sound_since_the_start(sound_rig, hear):  # noqa: F811
    hearing = hear()
    first = hearing.wait(lambda line: True, 60)
    deaf = hearing.deaf(0)
    assert deaf["at"] - first["at"] < DEAF_BAR_S
    mended = time.monotonic()
    sound_rig.speak("noise")
    healed = hearing.healthy(60, mended)
    note("no sound since the start", deaf["at"] - first["at"], healed["at"] - mended)


def test_suspended_source(sound_rig, hear):  # noqa: F811
    sound_rig.speak("noise")
    hearing = hear()
    hearing.healthy()
    broken = time.monotonic()
    sound_rig.suspend(True)
    deaf = hearing.deaf(broken)
    assert deaf["at"] - broken < DEAF_BAR_S
    mended = time.monotonic()
    sound_rig.suspend(False)
    healed = hearing.healthy(60, mended)
    note("source suspended, woken up", deaf["at"] - broken, healed["at"] - mended)


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda rig: rig.mute(True), "zeros"),
        (lambda rig: rig.speak("zeros"), "zeros"),
        (lambda rig: rig.speak("dc"), "dc"),
        (lambda rig: rig.speak("frozen"), "frozen"),
    ],
    ids=["muted in the server", "zeros", "constant", "frozen buffer"],
)
def test_sound_that_is_none(sound_rig, hear, request, break_it, reason):  # noqa: F811
    sound_rig.speak("noise")
    hearing = hear()
    hearing.healthy()
    broken = time.monotonic()
    break_it(sound_rig)
    deaf = hearing.deaf(broken)
    assert deaf["at"] - broken < DEAF_BAR_S
    assert deaf["fault"] == reason
    mended = time.monotonic()
    sound_rig.mute(False)
    sound_rig.speak("noise")
    healed = hearing.healthy(60, mended)
    note(f"sound is none: {request.node.callspec.id}", deaf["at"] - broken, healed["at"] - mended)


def test_microphone_not_there_at_the_start_is_waited_for(sound_rig, hear):  # noqa: F811
    sound_rig.kill()
    sound_rig.speak("noise")
    hearing = hear()
    hearing.wait(lambda line: line["fault"] == "missing", 60)
    mended = time.monotonic()
    sound_rig.start()
    healed = hearing.healthy(60, mended)
    note("microphone missing at boot, comes later", 0.0, healed["at"] - mended)


def test_an_unknown_name_says_what_there_is(sound_rig, hear):  # noqa: F811
    hearing = hear("--name", "Jabra")
    line = hearing.wait(lambda line: line.get("detail", "") != "", 60)
    assert "no microphone is called 'Jabra'" in line["detail"]
    assert "default" in line["detail"]


def test_list_and_capture_in_process_without_chatter(sound_rig, monkeypatch, capfd):  # noqa: F811
    for name, value in sound_rig.environment.items():
        monkeypatch.setenv(name, value)
    sound_rig.speak("noise")
    found = list_microphones(call_deadline_s=20)
    assert [info.default for info in found].count(True) == 1
    assert any("default" in str(info) for info in found)
    microphone = Microphone("pulse", chunk_ms=50, call_deadline_s=20)
    microphone.open()
    try:
        chunks = [microphone.read(2.0) for _ in range(10)]
    finally:
        microphone.close()
    assert all(chunk is not None and len(chunk.samples) == 800 for chunk in chunks)
    assert [chunk.gap for chunk in chunks if chunk is not None] == [True] + [False] * 9
    times = [chunk.heard_at for chunk in chunks if chunk is not None]
    assert times == sorted(times)
    assert time.monotonic() - times[-1] < 2
    microphone.open()  # again, in a fresh enumeration
    assert microphone.read(2.0) is not None
    microphone.close()
    assert capfd.readouterr().err == ""


def test_pause_releases_the_microphone_and_resume_takes_it_again(sound_rig, monkeypatch):  # noqa: F811
    """Disarmed, nobody listens: the server has no stream of ours; the silence meanwhile is no fault."""
    for name, value in sound_rig.environment.items():
        monkeypatch.setenv(name, value)
    sound_rig.speak("noise")
    listening = Listening(Microphone(call_deadline_s=20))

    def read_until(reached: Callable[[], bool]) -> list[bool]:
        until = time.monotonic() + 60
        chunks = []
        while not reached():
            assert time.monotonic() < until, listening.report
            chunk = listening.read(0.1)
            chunks += [chunk.gap] if chunk is not None else []
        return chunks

    try:
        read_until(lambda: listening.report.state == "healthy")
        assert sound_rig.recorders() == 1
        listening.pause()
        read_until(lambda: not listening.microphone.opened and sound_rig.recorders() == 0)
        paused_at = time.monotonic()
        assert read_until(lambda: time.monotonic() - paused_at > 4) == []
        assert (listening.report.reasons, listening.report.fault) == (("released",), None)
        assert not listening.report.deaf
        listening.resume()
        gaps = read_until(lambda: listening.report.state == "healthy")
        assert gaps[0]  # the states start anew
        assert sound_rig.recorders() == 1
    finally:
        listening.close()
    assert sound_rig.recorders() == 0


def test_opening_again_and_again_leaves_nothing_behind(sound_rig, monkeypatch):  # noqa: F811
    """A device that has looked for its microphone for a week has no more threads and files than at the start."""
    for name, value in sound_rig.environment.items():
        monkeypatch.setenv(name, value)
    sound_rig.speak("noise")
    microphone = Microphone(call_deadline_s=20)
    held = []
    for round_ in range(20):
        microphone.open()
        assert microphone.read(5.0) is not None
        if round_ % 2:
            microphone.close()
            held.append((len(os.listdir("/proc/self/fd")), threading.active_count()))
        else:
            microphone.close_stream()
    assert held[-1] <= held[1]
