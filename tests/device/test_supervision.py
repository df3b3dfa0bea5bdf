"""What the service does of itself: feeds the watchdog only while it tells the truth, proves the chain."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory
from nacl.public import PrivateKey, SealedBox

from device.audio import Chunk
from device.config import Config
from device.errors import SoundHangError
from device.events import Command, Receipt
from device.installed_models import chosen
from device.liveness import HearingReport
from device.machine import board
from device.running import rehearsal
from device.running.rehearsal import ANSWER_S
from device.running.watch import FRESH_S, STUCK_S
from device.service import Service
from device.settings.sections import DeviceSection, ModelSection, MqttSection, PrivacySection, TestAlarmSection


@pytest.fixture(autouse=True)
def pins() -> Iterator[MockFactory]:
    """Mock pins that behave; given from outside, they count as real."""
    Device.pin_factory = MockFactory()
    yield Device.pin_factory
    Device.pin_factory.reset()
    Device.pin_factory = None


@pytest.fixture
def made(tmp_path: Path) -> Iterator:
    """Make services that were never told to listen; each is let go of afterwards."""
    services: list[Service] = []

    def make(**sections: object) -> Service:
        place = DeviceSection(state_directory=str(tmp_path / "state"), runtime_directory=str(tmp_path / "run"))
        services.append(Service(Config(**{"device": place, **sections})))
        return services[-1]

    yield make
    for one in services:
        one._stop()


@dataclass
class Ear:
    """Stands for the listening thread: what the supervisor sees of it."""

    now: float
    state: str = "healthy"
    reasons: tuple[str, ...] = ()
    age_s: float = 0.1
    stepped_at: float | None = None
    turned_at: float = 0.0
    failure: BaseException | None = None
    alive: bool = True
    paused: bool = False
    latest: None = None
    calls_known: str = "none"
    wearer_known: str = "none"
    road: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(network=SimpleNamespace(package=chosen.in_force(Config())))
    )

    def __post_init__(self) -> None:
        self.turned_at = self.turned_at or self.now
        self.stepped_at = self.now if self.stepped_at is None else self.stepped_at

    @property
    def report(self) -> HearingReport:
        return HearingReport(self.state, self.reasons, self.age_s, -40.0, self.now)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def stop(self, _timeout_s: float) -> bool:
        return True


def listening(one: Service, **how: object) -> Service:
    one.parts.hearing = Ear(time.monotonic(), **how)
    return one


def queued(one: Service) -> list[tuple[str, str]]:
    return [(row.kind, row.topic) for row in one.outbox.due()]


# --- the watchdog ------------------------------------------------------------------------------


def test_a_quiet_room_is_fed(made):
    # The gate answers for silence, so steps go on; zeros would be a fault of their own.
    one, now = listening(made()), time.monotonic()
    one._supervise(now)
    assert one.watch.truthful(now)


def test_disarmed_is_fed_and_has_released_the_microphone(made):
    one = listening(made(), age_s=900.0, stepped_at=1.0, state="suspect", reasons=("released",))
    one._act(lambda now: one.alarm.command(now, Command(command="disarm", id="d"), local=True))
    now = time.monotonic()
    one._supervise(now)
    assert one.hearing.paused
    assert one.watch.truthful(now)


def test_armed_with_the_microphone_released_is_not_fed(made):
    one = listening(made(), age_s=900.0, stepped_at=1.0, state="suspect", reasons=("released",))
    assert not one.watch.truthful(time.monotonic()), "whoever pauses owes the resume"


def test_a_missing_microphone_is_fed_once_the_fault_is_told(made):
    one, now = listening(made(), state="failed", reasons=("missing",), age_s=900.0, stepped_at=1.0), time.monotonic()
    assert not one.watch.truthful(now), "deaf, and nobody was told yet"
    one._supervise(now)
    assert one.watch.truthful(now)
    assert ("fault", "event") in queued(one)
    assert one._exit_code is None


def test_a_stuck_listening_thread_is_not_fed(made):
    now = time.monotonic()
    one = listening(made(), turned_at=now - STUCK_S - 1)
    one._supervise(now)
    assert not one.watch.truthful(now)
    assert "hearing" in one.faults
    # Not even disarmed: a thread that is stuck could not listen again.
    one.alarm.mode = "disarmed"
    assert not one.watch.truthful(now)


def test_a_network_that_no_longer_steps_is_not_fed(made):
    now = time.monotonic()
    assert not listening(made(), stepped_at=now - FRESH_S - 1).watch.truthful(now)


def test_stale_audio_that_nobody_noticed_is_not_fed(made):
    assert not listening(made(), age_s=FRESH_S + 1).watch.truthful(time.monotonic())


@pytest.mark.parametrize(("failure", "code"), [(None, 70), (ValueError("broken"), 70), (SoundHangError("hangs"), 69)])
def test_a_dead_listening_thread_ends_the_process_and_is_told(made, failure, code):
    one = listening(made(), alive=False, failure=failure)
    one._supervise(time.monotonic())
    assert one._exit_code == code
    assert ("fault", "event") in queued(one)


def test_a_dead_connection_thread_ends_the_process(made):
    one = listening(made(mqtt=MqttSection(host="localhost", tls=False)))
    one._supervise(time.monotonic())
    assert one._exit_code == 70


# --- the test alarm ----------------------------------------------------------------------------


def weekly(one: Service, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the weekly time pass; the id of the test that goes out."""
    monkeypatch.setattr(board, "clock_is_set", lambda: True)
    noon = time.mktime((2026, 11, 22, 12, 0, 0, 0, 0, -1))  # a Sunday
    clock = SimpleNamespace(**{name: getattr(time, name) for name in ("monotonic", "localtime")})
    monkeypatch.setattr(rehearsal, "time", clock)
    one.rehearsals._looked_at_unix_s, clock.time = noon - 20, lambda: noon - 10
    one._look_around(time.monotonic())
    assert queued(one) == []
    clock.time = lambda: noon + 1
    one._look_around(time.monotonic())
    assert queued(one) == [("test", "event")], "told to nobody who waits for alerts"
    one._look_around(time.monotonic())
    assert len(queued(one)) == 1, "once a week"
    return one.outbox.due()[0].id


def test_the_weekly_test_alarm_runs_and_a_receipt_proves_it(made, monkeypatch):
    one = listening(made(test_alarm=TestAlarmSection(weekly="sun 12:00")))
    identity = weekly(one, monkeypatch)
    assert one.reporter.state().last_proven is None
    one._receipt(Receipt(id=identity, kind="received", by="ada's phone"))
    assert one.reporter.state().last_proven
    assert one.alarm.mode == "armed"
    one._look_around(time.monotonic() + ANSWER_S + 1)
    assert "test alarm" not in one.faults


def test_a_weekly_test_alarm_that_no_client_answers_is_a_fault(made, monkeypatch):
    one = listening(made(test_alarm=TestAlarmSection(weekly="sun 12:00")))
    identity = weekly(one, monkeypatch)
    one._look_around(time.monotonic() + ANSWER_S + 1)
    assert one.faults.words() == ["test alarm: no guardian's client has answered it"]
    assert one.reporter.state().last_proven is None
    # Late, for the broker was away meanwhile.
    one._receipt(Receipt(id=identity, kind="received"))
    assert one.reporter.state().last_proven
    assert not one.faults


# --- what it does without ----------------------------------------------------------------------


def test_sos_goes_out_without_model_microphone_and_broker(made, pins, tmp_path):
    one = made(model=ModelSection(directory=str(tmp_path / "nowhere")))
    one._start()
    state = one.reporter.state()
    assert (state.hearing, state.model) == ("failed", None)
    assert "hearing" in one.faults
    assert one.watch.truthful(time.monotonic())
    pins.pin(27).drive_low()
    deadline = time.monotonic() + 10
    while one.alarm.mode != "alert" and time.monotonic() < deadline:
        time.sleep(0.05)
        one._turn(time.monotonic())
    pins.pin(27).drive_high()
    assert ("sos", "alert") in queued(one)
    assert one.panel._pattern == "undelivered"


def test_a_remote_disarm_waits_for_the_wearers_press_where_there_is_a_button(made):
    one = listening(made())
    one._command(Command(command="disarm", id="d", by="thief"))
    one._turn(time.monotonic())
    assert one.alarm.mode == "armed"
    assert one.panel._pattern == "asked"
    one._act(lambda now: one.alarm.press(now, 1))
    assert one.alarm.mode == "disarmed"
    assert one.hearing.paused
    assert ("disarmed", "event") in queued(one)


def test_a_disk_that_takes_nothing_is_said_in_the_state_and_the_alert_waits_in_memory(made, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "outbox.sqlite").mkdir()  # what can't be opened, whoever asks
    one = listening(made())
    one._act(one.alarm.hold)
    one._look_around(time.monotonic())
    assert one.reporter.state().outbox == "memory"
    assert any(words.startswith("outbox: ") for words in one.faults.words())
    assert ("sos", "alert") in queued(one)
    one._turn(time.monotonic())
    assert one.panel._pattern == "undelivered"
    # Room again, and nothing new to tell: it is written and said all the same.
    (tmp_path / "state" / "outbox.sqlite").rmdir()
    one.outbox._shelf._reopen_at = 0.0
    one._look_around(time.monotonic())
    assert one.reporter.state().outbox == "disk"
    assert not one.faults
    assert ("recovered", "event") in queued(one)


def test_a_low_battery_and_a_sagging_supply_are_told_and_so_is_their_end(made, monkeypatch):
    one = listening(made())
    monkeypatch.setattr(board, "battery", lambda: SimpleNamespace(charge=0.05, charging=False))
    monkeypatch.setattr(board, "under_voltage", lambda *_: True)
    one._look_around(time.monotonic())
    assert "battery" in one.faults
    assert "supply" in one.faults
    assert one.reporter.state().battery == 0.05
    monkeypatch.setattr(board, "battery", lambda: None)
    monkeypatch.setattr(board, "under_voltage", lambda *_: False)
    one._look_around(time.monotonic())
    assert not one.faults


def test_no_sound_is_kept_around_an_alert_unless_a_key_says_so(made, tmp_path):
    one = listening(made())
    one._act(one.alarm.hold)
    one._turn(time.monotonic())
    assert one.clips is None
    assert {path.name for path in (tmp_path / "state").iterdir() if path.is_dir()} == set()


def test_with_a_key_a_clip_of_the_alert_is_sealed_for_it(made, tmp_path):
    private = PrivateKey.generate()
    one = listening(made(privacy=PrivacySection(clip_public_key=bytes(private.public_key).hex(), clip_s=1.0)))
    one.clips.heard(Chunk(np.full(1600, 1234, np.int16), time.monotonic()))
    one._act(one.alarm.hold)
    one._turn(time.monotonic() + 2.0)
    (clip,) = (tmp_path / "state" / "clips").iterdir()
    assert clip.name.startswith(one.alarm.standing.id)
    assert SealedBox(private).decrypt(clip.read_bytes()).startswith(b"RIFF")
