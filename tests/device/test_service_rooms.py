"""The small rooms around the service: faults, systemd, telling, the weekly test, calibration's pupil, the meter."""

import io
import socket
import time

import numpy as np
import pytest

from device.alarm import Alarm
from device.audio import SAMPLE_RATE, Chunk
from device.bench import made_sound
from device.calibration import Pupil
from device.config import Config
from device.errors import BadDataError
from device.events import Told, decode_event
from device.installed_models import chosen
from device.machine.notify import Notifier
from device.meter import face
from device.outbox import Outbox
from device.running import rehearsal
from device.settings.sections import AlarmSection, DeviceSection
from device.telling.evidence import Level
from device.telling.faults import Faults
from device.telling.journal import Journal
from device.telling.teller import Teller


def test_a_fault_is_told_once_and_its_end_once():
    told = []
    faults = Faults(told.append)
    faults.note("hearing", "no sound")
    faults.note("hearing", "no sound")
    faults.note("hearing", "the microphone is not there")
    faults.note("outbox", None)
    assert faults.words() == ["hearing: the microphone is not there"]
    faults.note("hearing", None)
    faults.note("hearing", None)
    assert [one.kind for one in told] == ["fault", "recovered"]
    assert told[0].id == told[1].id
    assert not faults


def test_two_faults_stand_beside_each_other():
    told = []
    faults = Faults(told.append)
    faults.note("hearing", "a")
    faults.note("battery", "b")
    faults.note("hearing", None)
    assert "battery" in faults
    assert "hearing" not in faults
    assert faults


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path, abstract):
    name = f"\0outcry-test-{time.time()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name)
        systemd.settimeout(5)
        environ = {"NOTIFY_SOCKET": name.replace("\0", "@"), "WATCHDOG_USEC": "20000000"}
        notifier = Notifier(environ)
        assert notifier.watchdog_s == 20.0
        notifier.tell("READY=1", "STATUS=a")
        assert systemd.recv(100) == b"READY=1\nSTATUS=a"
        notifier.status("armed")
        notifier.status("armed")
        notifier.status("deaf")
        assert [systemd.recv(100) for _ in range(2)] == [b"STATUS=armed", b"STATUS=deaf"]


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, {"NOTIFY_SOCKET": "/nowhere"}],
)
def test_without_systemd_nothing_happens(environ):
    notifier = Notifier(environ)
    notifier.tell("READY=1")
    assert notifier.watchdog_s == 0.0


class Broken(io.BytesIO):
    """A standard output that nobody reads any more."""

    def write(self, _):
        raise BrokenPipeError


def test_an_alert_is_in_the_outbox_and_the_journal_though_nobody_reads_standard_output(tmp_path):
    outbox = Outbox(tmp_path / "outbox.sqlite")
    woken = []
    journal = Journal(tmp_path)
    teller = Teller(
        DeviceSection(place="kitchen"), outbox, journal, wake=lambda: woken.append(outbox.depth), output=Broken()
    )
    for number in range(3):
        teller.tell(Told("alert", f"id{number}"))
    assert [row.id for row in outbox.due()] == ["id0", "id1", "id2"]
    # The broker is woken only when the row is there.
    assert woken == [1, 2, 3]
    assert [event.id for event in journal.read()] == ["id0", "id1", "id2"]
    assert decode_event(outbox.due()[0].payload).place == "kitchen"
    outbox.close()


def test_what_is_private_stays_in_the_journal(tmp_path):
    outbox = Outbox(tmp_path / "outbox.sqlite")
    out = io.BytesIO()
    teller = Teller(DeviceSection(), outbox, Journal(tmp_path), output=out)
    teller.tell(Told("pre_alert", "p", private=True))
    assert outbox.depth == 0
    assert decode_event(out.getvalue()).kind == "pre_alert"
    outbox.close()


def at(day: int, clock: str) -> float:
    """Local time in the week of Monday, 16 November 2026 (day 0)."""
    hour, minute = (int(part) for part in clock.split(":"))
    return time.mktime((2026, 11, 16 + day, hour, minute, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("before", "now", "due"),
    [
        ((6, "11:59"), (6, "12:00"), True),
        ((6, "11:58"), (6, "11:59"), False),
        ((6, "12:00"), (6, "12:01"), False),
        ((5, "23:00"), (6, "13:00"), True),
        ((6, "12:01"), (6, "12:01"), False),
        ((0, "12:00"), (5, "12:00"), False),
        # The clock was set back: what was done is not done again at once.
        ((6, "12:05"), (6, "11:00"), False),
    ],
)
def test_the_weekly_time(before, now, due):
    assert rehearsal.is_due("sun 12:00", at(*before), at(*now)) is due
    assert rehearsal.is_due("", at(*before), at(*now)) is False


def test_the_rehearsal_takes_the_whole_road_and_disturbs_nobody():
    told = rehearsal.rehearse(chosen.in_force(Config()), "nurse")
    assert (told.kind, told.by, told.reason) == ("test", "nurse", "test alarm")
    assert told.audience == "event"
    assert told.evidence.emotions
    assert told.evidence.danger >= told.evidence.threshold


def test_an_alarm_on_duty_knows_nothing_of_a_rehearsal():
    alarm = Alarm(AlarmSection())
    rehearsal.rehearse(chosen.in_force(Config()), "nurse")
    assert alarm.mode == "armed"


def test_a_pupil_hears_as_long_as_it_was_told_and_learns_voice_only():
    pupil = Pupil(4.0)
    sound = made_sound(10)
    for start in range(0, len(sound), 1600):
        pupil.push(Chunk(sound[start : start + 1600], start / SAMPLE_RATE, gap=start == 0))
    assert pupil.done
    assert 1.0 < pupil.voiced_s <= 4.0
    view = chosen.in_force(Config()).manifest.view
    assert pupil.wearer(view, "mic").microphone == "mic"
    deaf = Pupil(1.0)
    deaf.push(Chunk(np.zeros(32_000, np.int16), 2.0))
    with pytest.raises(BadDataError, match="voice"):
        deaf.wearer(view, "mic")


@pytest.mark.parametrize("danger", [0.0, 0.5, 1.0])
def test_the_meter_shows_every_reading(danger):
    from rich.console import Console

    level = Level(-120.0, danger, 0.6, "danger" if danger > 0.6 else "calm", {"fear": danger, "calm": 1 - danger})
    console = Console(file=io.StringIO(), width=100)
    console.print(face(level))
    shown = console.file.getvalue()
    assert "danger" in shown
    assert "fear" in shown
    assert f"{danger:6.2f}" in shown
