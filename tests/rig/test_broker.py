"""The broker's connection on a real mosquitto: delivery, refusals in words, outages of every kind."""

import contextlib
import itertools
import json
import logging
import multiprocessing
import random
import socket
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import pytest
from nacl.signing import SigningKey

from device import __version__, events, homeassistant
from device import broker as broker_room
from device import outbox as outbox_room
from device.broker import Broker
from device.config import Config
from device.events import Command, Event, Receipt, State
from device.mqtt import flight
from device.mqtt import link as link_room
from device.mqtt.announcing import Announcement
from device.outbox import Outbox
from device.pending.rules import RepeatRules
from device.pending.waiting import Row
from device.settings.sections import DeviceSection, MqttSection
from tests.rig.broker import MISSING, PASSWORD, SHIPPED, BrokerRig, make_ca, mute_broker, sign
from tests.signing import public, signed

pytestmark = [
    pytest.mark.rig,
    pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
log = logging.getLogger(__name__)
FAST = {"backoff_most_s": 1.0}


class Device:
    """Outbox and broker as the service has them, and what they were told."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        *,
        name: str = "nora",
        password: str | None = PASSWORD,
        rules: RepeatRules | None = None,
        announcement: Announcement | None = None,
    ) -> None:
        self.heard: list[Command | Receipt] = []
        self.delivered: list[Row] = []
        self.refused: list[str] = []
        self.outbox = Outbox(folder / f"{name}.sqlite", rules)
        self.broker = Broker(
            MqttSection(**{**FAST, **settings}),
            name,
            self.outbox,
            self.heard.append,
            self.heard.append,
            password=password,
            announcement=announcement,
            on_delivered=self.delivered.append,
            on_refused=self.refused.append,
        )
        self._name = name

    def tell(self, kind: str = "alert", **more: Any) -> Event:
        event = Event(id=events.new_id(), kind=kind, device=self._name, at=None, **more)
        self.outbox.add(event, events.topic_of(kind))
        self.broker.wake()
        return event

    def state(self, **more: Any) -> None:
        given = {"mode": "armed", "armed": True, "hearing": "healthy", "version": "0", **more}
        self.broker.publish_state(State(device=self._name, **given))

    def __enter__(self) -> Self:
        self.broker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.broker.stop(1.0)
        self.outbox.close()


def eventually(what: Callable[[], Any], timeout_s: float = 15.0) -> Any:
    """The first true answer; fails when none comes in time."""
    deadline = time.monotonic() + timeout_s
    while not (answer := what()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
    return answer


def of(identity: str) -> Callable[[Any], bool]:
    return lambda message: message.topic.endswith("/alert") and message.json["id"] == identity


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """One broker with TLS, password and the shipped ACL, for tests that do not break it."""
    with BrokerRig(tmp_path_factory.mktemp("mosquitto")) as rig:
        yield rig


@pytest.fixture
def own(tmp_path):
    """A broker to break: no TLS, for speed."""
    with BrokerRig(tmp_path / "mosquitto", tls=False) as rig:
        yield rig


# --- delivery ------------------------------------------------------------------------------------------


def test_a_plain_subscriber_gets_the_alert_with_where_to_answer(running, tmp_path):
    with running.subscriber() as guardian, Device(tmp_path, running.config()) as device:
        alert = device.tell(danger=0.97, place="kitchen")
        got = guardian.wait_for(of(alert.id))
        assert (got.json["kind"], got.json["danger"], got.json["place"]) == ("alert", 0.97, "kitchen")
        assert (got.json["seq"], got.json["repeat"], got.retained) == (1, 0, False)
        assert got.properties["response-topic"] == "outcry/nora/receipt"
        assert got.properties["correlation-data"] == alert.id
        assert "message-expiry-interval" not in got.properties
        eventually(lambda: [row.id for row in device.delivered] == [alert.id])
        assert device.outbox.status(alert.id) == "sent"


def test_from_decision_to_a_local_subscriber_in_under_300_ms(running, tmp_path):
    taken = []
    with running.subscriber() as guardian, Device(tmp_path, running.config()) as device:
        eventually(lambda: device.broker.connected)
        for _ in range(20):
            began = time.monotonic()
            alert = device.tell()
            taken.append(guardian.wait_for(of(alert.id)).at - began)
    assert statistics.median(taken) < 0.3, taken


def test_telemetry_expires_and_alerts_do_not(running, tmp_path):
    with running.subscriber("outcry/nora/event") as guardian, Device(tmp_path, running.config()) as device:
        device.tell("armed")
        device.tell("fault")
        armed = guardian.wait_for(lambda message: message.json["kind"] == "armed")
        fault = guardian.wait_for(lambda message: message.json["kind"] == "fault")
    assert 3590 <= armed.properties["message-expiry-interval"] <= 3600
    assert "message-expiry-interval" not in fault.properties


def test_an_alert_is_repeated_until_a_client_answers(running, tmp_path):
    rules = RepeatRules(at_s=tuple(0.2 * step for step in range(1, 50)), without_receipts=40)
    with running.subscriber() as guardian, Device(tmp_path, running.config(), rules=rules) as device:
        alert = device.tell()
        guardian.wait_for(lambda message: of(alert.id)(message) and message.json["repeat"] == 2)
        running.publish("outcry/nora/receipt", json.dumps({"id": alert.id, "kind": "received", "by": "g"}))
        answer = eventually(lambda: device.heard)[0]
        assert (answer.id, answer.kind) == (alert.id, "received")
        assert device.outbox.status(alert.id) == "over"
        count = len(guardian.take(quiet_s=0.6))
        assert len(guardian.take(quiet_s=0.6)) == count
        repeats = [message.json["repeat"] for message in guardian.messages if of(alert.id)(message)]
        assert repeats == list(range(len(repeats)))
        assert len({message.json["seq"] for message in guardian.messages}) == 1


def test_state_is_retained_and_the_level_is_not_published_unless_wanted(running, tmp_path):
    with Device(tmp_path, running.config()) as device:
        eventually(lambda: device.broker.connected)
        device.broker.publish_level(0.5, {"fear": 0.5})
        device.state(audio_age_s=0.1)
        with running.subscriber("outcry/nora/#") as late:
            state = late.wait_for(lambda message: message.topic.endswith("/state"))
            assert state.retained
            assert state.json["audio_age_s"] == 0.1
            assert state.json["last_proven"] is None
            assert not [message for message in late.take() if message.topic.endswith("/level")]


def test_the_level_where_it_is_wanted(running, tmp_path):
    device = Device(tmp_path, running.config(level=True))
    with running.subscriber("outcry/nora/level") as watching, device:
        eventually(lambda: device.broker.connected)
        device.broker.publish_level(0.25, {"fear": 0.2})
        got = watching.wait_for(lambda message: True)
    assert got.json == {"danger": 0.25, "emotions": {"fear": 0.2}}


def test_a_clean_stop_says_offline_at_once(running, tmp_path):
    with running.subscriber("outcry/nora/availability") as watching:
        with Device(tmp_path, running.config()) as device:
            eventually(lambda: device.broker.connected)
            began = time.monotonic()
        assert time.monotonic() - began < 1.0
        assert [message.payload for message in watching.take()][-2:] == ["online", "offline"]


def test_what_waits_still_goes_out_with_a_stop(running, tmp_path):
    with running.subscriber("outcry/nora/event") as guardian:
        with Device(tmp_path, running.config()) as device:
            eventually(lambda: device.broker.connected)
            device.outbox.add(Event(id="last words", kind="fault", device="nora"), "event")
        guardian.wait_for(lambda message: message.json["id"] == "last words")


# --- commands ------------------------------------------------------------------------------------------


def test_commands_arrive_and_retained_stale_and_repeated_ones_do_not(running, tmp_path):
    with Device(tmp_path, running.config()) as device:
        eventually(lambda: device.broker.connected)
        fresh = {"command": "test", "id": events.new_id(), "by": "Ada", "at": events.format_at(time.time())}
        running.publish("outcry/nora/command", json.dumps({**fresh, "id": "retained"}), retain=True)
        running.publish("outcry/nora/command", json.dumps({**fresh, "id": "old", "at": "2020-01-01T00:00:00Z"}))
        running.publish("outcry/nora/command", "nonsense")
        running.publish("outcry/nora/command", json.dumps(fresh))
        running.publish("outcry/nora/command", json.dumps(fresh))
        eventually(lambda: device.heard)
        time.sleep(0.3)
        assert [command.id for command in device.heard] == [fresh["id"]]
        # Whoever floods the device with nonsense does not fill its log: one refusal a minute is told.
        assert len(device.refused) == 1
    running.publish("outcry/nora/command", "", retain=True)


def test_a_command_that_lies_retained_is_refused_at_the_next_start(running, tmp_path):
    command = {"command": "disarm", "id": "trap", "at": events.format_at(time.time())}
    running.publish("outcry/nora/command", json.dumps(command), retain=True)
    with Device(tmp_path, running.config()) as device:
        assert "retained" in eventually(lambda: device.refused)[0]
        assert device.heard == []
    running.publish("outcry/nora/command", "", retain=True)


def test_with_guardians_keys_a_stolen_password_silences_nobody(running, tmp_path):
    ada, mallory = SigningKey.generate(), SigningKey.generate()
    with (
        running.subscriber() as guardian,
        Device(
            tmp_path, running.config(guardian_keys=[public(ada)]), rules=RepeatRules(at_s=(1.0, 2.0, 3.0))
        ) as device,
    ):
        alert = device.tell()
        guardian.wait_for(of(alert.id))
        receipt = {"id": alert.id, "kind": "acknowledged", "by": "Ada"}
        running.publish("outcry/nora/receipt", json.dumps(receipt))
        running.publish("outcry/nora/receipt", signed(receipt, mallory))
        command = {"command": "disarm", "id": "1", "by": "x", "at": events.format_at(time.time()), "device": "nora"}
        running.publish("outcry/nora/command", signed(command, mallory))
        assert "not signed" in eventually(lambda: device.refused)[0]
        # The alert goes on: the next repeat comes.
        guardian.wait_for(lambda message: of(alert.id)(message) and message.json["repeat"] == 1)
        assert device.heard == []
        running.publish("outcry/nora/receipt", signed(receipt, ada))
        running.publish("outcry/nora/command", signed(command, ada))
        eventually(lambda: len(device.heard) == 2)
        assert device.outbox.status(alert.id) == "over"


# --- refusals, in words --------------------------------------------------------------------------------


def test_a_wrong_password_is_said_and_tried_on_until_it_fits(own, tmp_path, caplog):
    with own.subscriber() as guardian, Device(tmp_path, own.config(), password="wrong") as device:
        alert = device.tell()
        words = eventually(lambda: device.broker.last_error)
        assert "password" in words
        assert "'nora'" in words
        eventually(lambda: (own.folder / "log").read_text().count("not authorised") >= 3)
        assert sum("password" in record.message for record in caplog.records) == 1
        assert not device.broker.connected
        own.set_password("nora", "wrong")
        guardian.wait_for(of(alert.id), 20)
        assert device.broker.last_error is None


def test_a_publication_that_the_acl_denies_is_no_success(own, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(outbox_room, "REFUSED_RETRY_S", 0.3)
    rules = (own.folder / "acl").read_text()
    own.reload(acl=rules.replace("pattern write outcry/%u/alert\n", ""))
    own.wait_for_log("Reloading config")
    with own.subscriber() as guardian, Device(tmp_path, own.config()) as device:
        alert = device.tell()
        words = eventually(lambda: device.broker.last_error)
        assert "ACL denies" in words
        assert "outcry/nora/alert" in words
        time.sleep(1.0)
        assert device.outbox.status(alert.id) == "queued"
        assert device.delivered == []
        assert sum("ACL denies" in record.message for record in caplog.records) == 1
        own.reload(acl=rules)
        guardian.wait_for(of(alert.id))
        eventually(lambda: device.outbox.status(alert.id) == "sent")
        assert device.broker.last_error is None


def test_two_devices_with_one_name_are_told_so(own, tmp_path):
    (tmp_path / "twin").mkdir()
    with Device(tmp_path, own.config()) as one, Device(tmp_path / "twin", own.config()) as two:
        eventually(lambda: any("device.name" in (each.broker.last_error or "") for each in (one, two)), 30)


def test_a_wrong_ca_is_said_and_nothing_is_sent(running, tmp_path):
    make_ca(tmp_path / "foreign", "somebody else")
    settings = running.config(ca_file=str(tmp_path / "foreign" / "ca.crt"))
    with Device(tmp_path, settings) as device:
        device.tell()
        words = eventually(lambda: device.broker.last_error)
        assert "not trusted" in words
        assert "mqtt.ca_file" in words
        assert device.outbox.depth == 1


def test_a_renewed_ca_file_is_read_without_a_restart(running, tmp_path):
    make_ca(tmp_path / "foreign", "somebody else")
    used = tmp_path / "used.crt"
    used.write_bytes((tmp_path / "foreign" / "ca.crt").read_bytes())
    with running.subscriber() as guardian, Device(tmp_path, running.config(ca_file=str(used))) as device:
        alert = device.tell()
        eventually(lambda: device.broker.last_error)
        used.write_bytes((running.folder / "ca.crt").read_bytes())
        guardian.wait_for(of(alert.id), 20)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"port": 1}, "nobody listens"),
        ({"host": "127.0.0.2", "port": 1}, "nobody listens"),
        ({"host": "no-such-host.invalid"}, "not known"),
        ({"ca_file": "/nowhere/ca.crt"}, "mqtt.ca_file /nowhere/ca.crt can't be used"),
        ({"cert_file": "/nowhere/me.crt"}, "mqtt.cert_file /nowhere/me.crt"),
        ({"tls": False, "ca_file": ""}, "TLS"),
    ],
)
def test_what_is_wrong_is_said_in_words(running, tmp_path, change, expected):
    with Device(tmp_path, running.config(**change)) as device:
        words = eventually(lambda: device.broker.last_error)
        assert expected in words
        assert "\n" not in words
        assert device.broker.alive


def test_tls_to_a_plain_port_is_said(own, tmp_path):
    make_ca(tmp_path / "ca")
    with Device(tmp_path, own.config(tls=True, ca_file=str(tmp_path / "ca" / "ca.crt"))) as device:
        assert "mqtt.tls" in eventually(lambda: device.broker.last_error)


def test_a_certificate_for_another_name_is_refused(running, tmp_path):
    with Device(tmp_path, running.config(host="127.0.0.1")) as device:
        # The certificate bears 127.0.0.1 too: this one is fine.
        eventually(lambda: device.broker.connected)
    folder = tmp_path / "named"
    with BrokerRig(folder) as rig:
        sign(folder, "srv", "elsewhere", "subjectAltName=DNS:elsewhere.example\nextendedKeyUsage=serverAuth\n")
        rig.stop()
        rig.start()
        with Device(tmp_path, rig.config(), name="nora") as device:
            assert "not trusted" in eventually(lambda: device.broker.last_error)


def test_a_client_certificate_instead_of_a_password(tmp_path):
    folder = tmp_path / "mosquitto"
    with BrokerRig(folder, password=False, client_certificates=True) as rig:
        usage = "extendedKeyUsage=clientAuth\n"
        sign(folder, "nora", "nora", usage)
        files = {"cert_file": str(folder / "nora.crt"), "key_file": str(folder / "nora.key")}
        with Device(tmp_path, rig.config(**files), password=None) as device:
            alert = device.tell()
            eventually(lambda: device.outbox.status(alert.id) == "sent")
        with Device(tmp_path, rig.config(), name="nobody", password=None) as device:
            assert "certificate" in eventually(lambda: device.broker.last_error)


# --- outages -------------------------------------------------------------------------------------------


def test_a_broker_that_is_not_there_yet_gets_everything_in_order_later(tmp_path):
    rig = BrokerRig(tmp_path / "mosquitto", tls=False)
    rules = (rig.folder / "acl").read_text()
    with Device(tmp_path, rig.config()) as device:
        told = [device.tell(kind).id for kind in ("alert", "fault", "cleared", "sos", "recovered")]
        assert "nobody listens" in eventually(lambda: device.broker.last_error)
        # The device may not publish before the guardian has subscribed.
        rig.reload(acl="user guardian\ntopic read outcry/#\n")
        with rig, rig.subscriber("outcry/nora/#") as guardian:
            rig.reload(acl=rules)
            guardian.wait_for(lambda message: "recovered" in message.payload, 45)
            ids = [m.json["id"] for m in guardian.messages if m.topic.endswith(("/alert", "/event"))]
            assert list(dict.fromkeys(ids)) == told
            assert all(m.json["age_s"] > 0.1 for m in guardian.messages if m.topic.endswith("/event"))


def test_a_killed_broker_that_comes_back_with_an_empty_disk_is_told_everything_again(own, tmp_path):
    announcement = homeassistant.announcement(
        Config(device=DeviceSection(name="nora"), mqtt=MqttSection(**own.config())), __version__
    )
    with Device(tmp_path, own.config(), announcement=announcement) as device:
        device.state(mode="alert")
        eventually(lambda: device.broker.connected)
        own.kill()
        eventually(lambda: not device.broker.connected)
        alert = device.tell()
        own.start(empty=True)
        with own.subscriber("outcry/nora/#") as guardian, own.subscriber("homeassistant/#", "homeassistant") as house:
            guardian.wait_for(lambda message: message.payload == "online", 20)
            guardian.wait_for(lambda message: message.topic.endswith("/state") and message.json["mode"] == "alert")
            house.wait_for(lambda message: message.topic == "homeassistant/device/nora/config")
            eventually(lambda: device.outbox.status(alert.id) == "sent")


def test_a_stopped_broker_is_noticed_and_the_alert_comes_after_it(own, tmp_path, monkeypatch):
    monkeypatch.setattr(flight, "PUBACK_TIMEOUT_S", 1.0)
    monkeypatch.setattr(link_room, "CONNACK_TIMEOUT_S", 1.0)
    with own.subscriber() as guardian, Device(tmp_path, own.config(keepalive_s=5)) as device:
        eventually(lambda: device.broker.connected)
        own.pause()
        alert = device.tell()
        assert "does not" in eventually(lambda: device.broker.last_error)
        assert device.outbox.status(alert.id) == "queued"
        own.resume()
        guardian.wait_for(of(alert.id), 20)
        eventually(lambda: device.outbox.status(alert.id) == "sent")
        assert len({message.json["seq"] for message in guardian.messages}) == 1


def test_a_silent_link_is_noticed_by_the_keepalive(own, tmp_path):
    with Device(tmp_path, own.config(keepalive_s=5)) as device:
        eventually(lambda: device.broker.connected)
        own.pause()
        eventually(lambda: not device.broker.connected, 20)
        own.resume()
        eventually(lambda: device.broker.connected, 30)


def test_a_broker_that_accepts_and_never_answers_is_replaced_by_one_that_does(tmp_path, monkeypatch):
    monkeypatch.setattr(link_room, "CONNACK_TIMEOUT_S", 1.0)
    rig = BrokerRig(tmp_path / "mosquitto", tls=False)
    with mute_broker() as port:
        rig.port = port
        (rig.folder / "m.conf").write_text(
            (rig.folder / "m.conf").read_text().replace(rig.config()["host"], "localhost")
        )
        device = Device(tmp_path, rig.config())
        device.broker.start()
        alert = device.tell()
        assert "does not answer" in eventually(lambda: device.broker.last_error)
    text = (rig.folder / "m.conf").read_text()
    listener = next(line for line in text.splitlines() if line.startswith("listener"))
    (rig.folder / "m.conf").write_text(text.replace(listener, f"listener {port} 127.0.0.1"))
    with rig:
        eventually(lambda: device.outbox.status(alert.id) == "sent", 30)
        device.__exit__()


def attempts(folder: Path, seconds: float, *, alert: bool, most_s: float) -> list[float]:
    """When a broker that hangs up at once was called, in seconds since the first time."""
    called: list[float] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.1)
        settings = {"host": "127.0.0.1", "port": listener.getsockname()[1], "tls": False, "backoff_most_s": most_s}
        with Device(folder, settings) as device:
            device.tell("alert" if alert else "fault")
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                with contextlib.suppress(TimeoutError):
                    listener.accept()[0].close()
                    called.append(time.monotonic())
    return [at - called[0] for at in called]


def test_attempts_come_less_and_less_often_up_to_the_bound(tmp_path):
    called = attempts(tmp_path, 8.0, alert=False, most_s=3.0)
    waits = [later - earlier for earlier, later in itertools.pairwise(called)]
    # 1, 2, 3, 3 s, each with up to half of it taken off at random.
    assert 3 <= len(waits) <= 6, waits
    assert 0.4 <= waits[0] <= 1.3
    assert all(0.9 <= wait <= 3.3 for wait in waits[1:]), waits


def test_while_an_alert_waits_no_wait_is_longer_than_5_s(tmp_path, monkeypatch):
    monkeypatch.setattr(broker_room, "BACKOFF_LEAST_S", 60.0)
    assert len(attempts(tmp_path, 7.0, alert=True, most_s=60.0)) >= 2


def test_a_stop_does_not_wait_for_a_broker_that_hangs(tmp_path):
    with mute_broker() as port:
        device = Device(tmp_path, {"host": "127.0.0.1", "port": port, "tls": False})
        device.broker.start()
        device.tell()
        time.sleep(0.3)
        began = time.monotonic()
        device.__exit__()
        assert time.monotonic() - began < 1.5


def test_a_fault_of_ours_ends_one_link_and_not_the_telling(own, tmp_path, caplog):
    device = Device(tmp_path, own.config())
    device.broker._incoming._on_command = lambda command: 1 / 0
    with own.subscriber() as guardian, device:
        eventually(lambda: device.broker.connected)
        own.publish("outcry/nora/command", '{"command": "test", "id": "1"}')
        eventually(lambda: "fault of ours" in caplog.text)
        alert = device.tell()
        guardian.wait_for(of(alert.id))
        assert device.broker.alive


def test_a_late_will_of_an_earlier_link_is_answered(own, tmp_path):
    with Device(tmp_path, own.config()) as device, own.subscriber("outcry/nora/availability") as watching:
        eventually(lambda: device.broker.connected)
        own.publish("outcry/nora/availability", "offline", user="nora", retain=True)
        watching.wait_for(lambda message: message.payload == "offline")
        eventually(lambda: watching.take(0.2)[-1].payload == "online")


# --- Home Assistant ------------------------------------------------------------------------------------


def announced(settings: dict[str, Any], **more: Any) -> Announcement:
    config = Config(device=DeviceSection(name="nora", place="hall"), mqtt=MqttSection(**settings, **more))
    return homeassistant.announcement(config, __version__)


def test_discovery_is_retained_and_comes_again_when_home_assistant_starts(running, tmp_path):
    settings = running.config()
    device = Device(tmp_path, settings, announcement=announced(settings))
    with running.subscriber("homeassistant/device/#", "homeassistant") as house, device:
        device.state()
        first = house.wait_for(lambda message: message.json["device"]["suggested_area"] == "hall")
        running.publish("homeassistant/status", "online", user="homeassistant")
        began = time.monotonic()
        eventually(lambda: len(house.take(0.1)) >= 2)
        assert 0.9 <= house.messages[1].at - began <= 6.0
        assert house.messages[1].payload == first.payload
    with running.subscriber("homeassistant/device/#", "homeassistant") as late:
        assert late.wait_for(lambda message: True).retained


def test_discovery_is_taken_back_where_home_assistant_is_switched_off(running, tmp_path):
    settings = running.config()
    with running.subscriber("homeassistant/device/#", "homeassistant") as house:
        with Device(tmp_path, settings, announcement=announced(settings)):
            house.wait_for(lambda message: bool(message.payload))
        with Device(tmp_path, settings, announcement=announced(settings, home_assistant=False)):
            house.wait_for(lambda message: message.payload == "")
    with running.subscriber("homeassistant/device/#", "homeassistant") as late:
        assert late.take() == []


# --- who may do what -----------------------------------------------------------------------------------

ALLOWED = [
    ("nora", "outcry/nora/alert"),
    ("nora", "outcry/nora/event"),
    ("nora", "outcry/nora/state"),
    ("nora", "homeassistant/device/nora/config"),
    ("guardian", "outcry/nora/command"),
    ("guardian", "outcry/nora/receipt"),
    ("homeassistant", "outcry/nora/command"),
    ("homeassistant", "homeassistant/status"),
]
DENIED = [
    ("other", "outcry/nora/alert"),
    ("other", "outcry/nora/state"),
    ("other", "outcry/nora/availability"),
    ("other", "outcry/nora/command"),
    ("other", "outcry/nora/receipt"),
    ("other", "homeassistant/device/nora/config"),
    ("nora", "outcry/nora/command"),
    ("nora", "homeassistant/status"),
    ("guardian", "outcry/nora/alert"),
    ("guardian", "outcry/nora/availability"),
    ("homeassistant", "outcry/nora/alert"),
]


@pytest.mark.parametrize(
    ("user", "topic", "allowed"), [(*each, True) for each in ALLOWED] + [(*each, False) for each in DENIED]
)
def test_the_shipped_acl_lets_write(running, user, topic, allowed):
    numbers: list[tuple[int, int]] = []
    settings = link_room.Settings(
        host="localhost", port=running.port, client_id=f"acl-{user}", username=user, password=PASSWORD,
        ca_file=str(running.folder / "ca.crt"),
    )  # fmt: skip
    link = link_room.Link(settings, lambda message: None, lambda number, code: numbers.append((number, code)))
    try:
        link.open()
        link.publish(topic, b"{}", qos=1, retain=False)
        deadline = time.monotonic() + 5
        while not numbers and time.monotonic() < deadline:
            link.turn(0.2)
    finally:
        link.close()
    assert [code in (0, 16) for _, code in numbers] == [allowed]


def test_the_shipped_acl_confines_a_device_to_its_own_commands(running, tmp_path):
    with running.subscriber("#", "other") as spy:
        running.publish("outcry/nora/command", '{"command": "arm", "id": "for nora"}')
        running.publish("outcry/nora/alert", "{}", user="nora")
        running.publish("outcry/other/command", '{"command": "arm", "id": "for other"}')
        spy.wait_for(lambda message: message.topic == "outcry/other/command")
        assert {message.topic for message in spy.take()} == {"outcry/other/command"}


def test_the_shipped_configuration_starts_as_it_is_written(tmp_path):
    rig = BrokerRig(tmp_path / "mosquitto")
    shipped = (SHIPPED / "outcry.conf").read_text()
    for path, here in {
        "/etc/mosquitto/outcry.passwd": "passwords",
        "/etc/mosquitto/outcry.acl": "acl",
        "/etc/mosquitto/outcry/ca.crt": "ca.crt",
        "/etc/mosquitto/outcry/server.crt": "srv.crt",
        "/etc/mosquitto/outcry/server.key": "srv.key",
        "/var/lib/mosquitto/": "store/",
    }.items():
        assert path in shipped
        shipped = shipped.replace(path, f"{rig.folder}/{here}")
    text = f"user root\nlog_type all\nlog_dest stderr\n{shipped}".replace("listener 8883", f"listener {rig.port}")
    (rig.folder / "m.conf").write_text(text)
    with rig, rig.subscriber() as guardian, Device(tmp_path, rig.config()) as device:
        alert = device.tell()
        guardian.wait_for(of(alert.id))


# --- SIGKILL -------------------------------------------------------------------------------------------


def publish_until_killed(folder: str, settings: dict[str, Any], pipe: Connection, first: int) -> None:
    """A small process that tells one alert after the other; what is committed it reports through the pipe."""
    device = Device(Path(folder), settings)
    device.broker.start()
    for number in range(first, first + 10_000):
        event = Event(id=f"{number}", kind="alert", device="nora", at=None)
        device.outbox.add(event, "alert")
        pipe.send(number)
        device.broker.wake()
        time.sleep(random.expovariate(1 / 0.01))


KILLS = 100


@pytest.mark.timeout(280)
def test_of_100_kills_at_random_instants_none_loses_an_alert_that_was_committed(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "device.broker", "device.outbox"])
    seed = random.randrange(2**32)
    instants = random.Random(seed)
    committed: list[int] = []
    with BrokerRig(tmp_path / "mosquitto", tls=False, persistence=False) as rig, rig.subscriber() as guardian:
        for _ in range(KILLS):
            ours, theirs = context.Pipe(duplex=False)
            first = committed[-1] + 1 if committed else 1
            child = context.Process(target=publish_until_killed, args=(str(tmp_path), rig.config(), theirs, first))
            child.start()
            theirs.close()
            try:
                assert ours.poll(20), "the publishing process does not begin"
                time.sleep(instants.uniform(0.0, 0.12))
            finally:
                child.kill()
                child.join(10)
            with contextlib.suppress(EOFError):
                while ours.poll():
                    committed.append(ours.recv())
            # Killed between commit and report: the number is on disk although nobody said so.
            guardian.take(quiet_s=0.0)
            on_disk = Outbox(tmp_path / "nora.sqlite")
            committed += [number for number in [int(on_disk.latest_alert() or 0)] if number > (committed or [0])[-1]]
            on_disk.close()
        with Device(tmp_path, rig.config()) as last:
            eventually(lambda: last.outbox.depth == 0, 30)
        got = guardian.take(quiet_s=1.0)
    told = [int(message.json["id"]) for message in got]
    lost = sorted(set(committed) - set(told))
    log.info(
        "%d kills, %d committed, %d told, %d duplicates", KILLS, len(committed), len(told), len(told) - len(set(told))
    )
    assert lost == [], f"seed {seed}"
    assert len(committed) >= KILLS
    # Each id has one seq of one epoch, without gaps; a duplicate is known by its id.
    seqs = {message.json["id"]: (message.json["epoch"], message.json["seq"]) for message in got}
    assert all(seqs[message.json["id"]] == (message.json["epoch"], message.json["seq"]) for message in got)
    assert len({epoch for epoch, _ in seqs.values()}) == 1
    assert sorted(seq for _, seq in seqs.values()) == list(range(1, len(seqs) + 1))
    first_told = list(dict.fromkeys(told))
    assert first_told == sorted(first_told), "out of order"


def test_a_killed_device_is_offline_within_35_seconds(own, tmp_path):
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=publish_until_killed, args=(str(tmp_path), own.config(), theirs, 1))
    with own.subscriber("outcry/nora/availability") as watching:
        child.start()
        watching.wait_for(lambda message: message.payload == "online")
        child.kill()
        child.join(10)
        began = time.monotonic()
        gone = watching.wait_for(lambda message: message.payload == "offline", 35)
        # The will's delay: whoever comes back within 10 s was never offline.
        assert 9.0 <= gone.at - began <= 35.0
    ours.close()
