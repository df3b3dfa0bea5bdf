"""The discovery payload before a validator written from Home Assistant's documentation, and its templates at work."""

import json
from typing import Any

import pytest

from device import __version__, events, homeassistant
from device.config import Config
from device.events import Event, State
from device.settings.sections import DeviceSection, MqttSection
from tests.device.home_assistant import InvalidError, available, pressed, rendered, validate

TOPIC = "homeassistant/device/nora/config"
LINK_ALONE = {"alarm", "sos", "problem", "last_proven", "armed", "cancel", "acknowledge", "test"}
LINK_AND_HEARING = {"danger", "score"}


def announced(**mqtt: Any) -> dict[str, Any]:
    config = Config(device=DeviceSection(name="nora", place="hall"), mqtt=MqttSection(**mqtt))
    announcement = homeassistant.announcement(config, __version__)
    assert announcement.topic == TOPIC
    return validate(announcement.topic, announcement.payload)


@pytest.fixture(scope="module")
def components() -> dict[str, dict[str, Any]]:
    return announced()["components"]


def state(**more: Any) -> bytes:
    given = {"mode": "armed", "armed": True, "hearing": "healthy", "version": "1", **more}
    return events.encode(State(device="nora", **given))


def event(kind: str, **more: Any) -> bytes:
    return events.encode(Event(id="an alert", kind=kind, device="nora", at=None, **more))


def test_the_payload_is_valid_and_whole(components):
    platforms = {name: component["platform"] for name, component in components.items()}
    assert platforms == {
        "danger": "binary_sensor",
        "score": "sensor",
        "alarm": "event",
        "sos": "binary_sensor",
        "problem": "binary_sensor",
        "last_proven": "sensor",
        "alert_trigger": "device_automation",
        "sos_trigger": "device_automation",
        "armed": "switch",
        "cancel": "button",
        "acknowledge": "button",
        "test": "button",
    }
    assert components["danger"]["device_class"] == "safety"
    assert components["problem"]["device_class"] == "problem"


def test_device_and_origin_say_who_it_is():
    payload = announced()
    assert payload["device"]["identifiers"] == ["outcry_nora"]
    assert payload["device"]["sw_version"] == __version__
    assert payload["device"]["suggested_area"] == "hall"
    assert payload["origin"]["name"] == "outcry"


@pytest.mark.parametrize(
    "harm",
    [
        lambda payload: payload.pop("origin"),
        lambda payload: payload["device"].pop("identifiers"),
        lambda payload: payload["components"]["danger"].pop("unique_id"),
        lambda payload: payload["components"]["danger"].update(platform="bell"),
        lambda payload: payload["components"]["danger"].update(device_class="danger"),
        lambda payload: payload["components"]["danger"].update(availability_mode="every"),
        lambda payload: payload["components"]["danger"].update(value_template="{{ value_json.mode"),
        lambda payload: payload["components"]["danger"].update(surprise=1),
        lambda payload: payload["components"]["danger"].update(unique_id="outcry_nora_problem"),
        lambda payload: payload["components"]["alarm"].pop("event_types"),
        lambda payload: payload["components"]["cancel"].update(command_topic="outcry/+/command"),
        lambda payload: payload["components"]["alert_trigger"].pop("subtype"),
    ],
)
def test_the_validator_finds_what_is_wrong(harm):
    payload = homeassistant.discovery("nora", __version__)
    harm(payload)
    with pytest.raises(InvalidError):
        validate(TOPIC, json.dumps(payload).encode())


def test_the_topic_is_that_of_device_discovery():
    with pytest.raises(InvalidError):
        validate("homeassistant/sensor/nora/config", b"{}")
    payload = announced(home_assistant_prefix="homeassistant")
    assert payload["components"]


@pytest.mark.parametrize(
    ("link", "hearing", "mode", "of_the_link", "of_the_ears"),
    [
        ("online", "healthy", "armed", True, True),
        ("online", "suspect", "alert", True, True),
        ("online", "recovering", "armed", True, False),
        ("online", "failed", "armed", True, False),
        ("online", "healthy", "disarmed", True, False),
        ("offline", "healthy", "armed", False, False),
    ],
)
def test_a_deaf_device_is_unavailable_and_not_calm(components, link, hearing, mode, of_the_link, of_the_ears):
    messages = {
        "outcry/nora/availability": link,
        "outcry/nora/state": state(hearing=hearing, mode=mode).decode(),
    }
    shown = {name: available(each, messages) for name, each in components.items() if "availability" in each}
    assert {name for name in shown if name in LINK_ALONE and shown[name] != of_the_link} == set()
    assert {name for name in shown if name in LINK_AND_HEARING and shown[name] != of_the_ears} == set()
    assert shown.keys() == LINK_ALONE | LINK_AND_HEARING


def test_nothing_is_available_before_the_device_has_spoken(components):
    assert not any(available(each, {}) for each in components.values() if "availability" in each)
    assert not available(components["danger"], {"outcry/nora/availability": "online"})


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("armed", "OFF"), ("pre_alert", "OFF"), ("alert", "ON"), ("acknowledged", "ON"), ("disarmed", "OFF")],
)
def test_danger_is_shown_while_an_alert_stands(components, mode, expected):
    assert rendered(components["danger"]["value_template"], state(mode=mode)) == expected


@pytest.mark.parametrize(
    ("hearing", "outbox", "expected"),
    [("healthy", "disk", "OFF"), ("suspect", "disk", "OFF"), ("failed", "disk", "ON"), ("healthy", "memory", "ON")],
)
def test_a_problem_is_shown_with_its_reason(components, hearing, outbox, expected):
    message = state(hearing=hearing, outbox=outbox, hearing_reason="no microphone")
    assert rendered(components["problem"]["value_template"], message) == expected
    attributes = json.loads(rendered(components["problem"]["json_attributes_template"], message))
    assert attributes == {"hearing": hearing, "reason": "no microphone", "outbox": outbox}


def test_score_and_last_proven_are_read(components):
    assert rendered(components["score"]["value_template"], '{"danger": 0.123, "emotions": {}}') == "12.0"
    assert rendered(components["last_proven"]["value_template"], state(last_proven="2026-11-21T12:00:00Z")).startswith(
        "2026"
    )
    # Home Assistant takes "None" for unknown.
    assert rendered(components["last_proven"]["value_template"], state()) == "None"


@pytest.mark.parametrize("kind", homeassistant.EVENT_KINDS)
def test_the_event_entity_takes_first_deliveries_only(components, kind):
    alarm = components["alarm"]
    attributes = json.loads(rendered(alarm["value_template"], event(kind, danger=0.9)))
    assert attributes["event_type"] == kind
    assert attributes["event_type"] in alarm["event_types"]
    assert attributes["danger"] == 0.9
    assert rendered(alarm["value_template"], event(kind, repeat=1)) == ""


def test_triggers_fire_once_and_for_their_kind(components):
    for name, kind in (("alert_trigger", "alert"), ("sos_trigger", "sos")):
        trigger = components[name]
        assert rendered(trigger["value_template"], event(kind)) == trigger["payload"]
        assert rendered(trigger["value_template"], event(kind, repeat=2)) != trigger["payload"]
        assert rendered(trigger["value_template"], event("cancelled")) != trigger["payload"]


def test_sos_is_on_until_it_is_over(components):
    template = components["sos"]["value_template"]
    shown = [rendered(template, event(kind)) for kind in ("sos", "acknowledged", "alert", "cleared", "cancelled")]
    assert shown == ["ON", "", "", "OFF", "OFF"]


def test_the_switch_shows_and_commands(components):
    switch = components["armed"]
    assert rendered(switch["value_template"], state(armed=True)) == switch["payload_on"]
    assert rendered(switch["value_template"], state(armed=False)) == switch["payload_off"]
    for payload in (switch["payload_on"], switch["payload_off"]):
        command = events.decode_command(pressed(switch["command_template"], payload))
        assert command.command == payload
    assert switch["optimistic"] is False
    assert switch["retain"] is False


@pytest.mark.parametrize("name", ["cancel", "test"])
def test_buttons_send_commands_that_the_device_reads(components, name):
    button = components[name]
    assert button["command_topic"] == "outcry/nora/command"
    first, second = (events.decode_command(pressed(button["command_template"])) for _ in range(2))
    assert first.command == name
    assert first.id != second.id
    assert events.parse_at(first.at) > 0


def test_the_acknowledge_button_sends_a_receipt(components):
    button = components["acknowledge"]
    assert button["command_topic"] == "outcry/nora/receipt"
    receipt = events.decode_receipt(pressed(button["command_template"]))
    assert (receipt.id, receipt.kind) == ("latest", "acknowledged")


def test_with_guardians_keys_home_assistant_can_only_look():
    key = "A" * 43 + "="
    components = announced(guardian_keys=[key])["components"]
    for name in ("armed", "cancel", "acknowledge", "test"):
        assert set(components[name]) == {"platform"}, name
    assert components["danger"]["unique_id"] == "outcry_nora_danger"


def test_switched_off_it_takes_its_message_back():
    config = Config(device=DeviceSection(name="nora"), mqtt=MqttSection(home_assistant=False))
    assert homeassistant.announcement(config, __version__).payload == b""


def test_the_score_is_shown_from_the_start_only_where_it_is_published():
    assert announced(level=True)["components"]["score"]["enabled_by_default"] is True
    assert announced()["components"]["score"]["enabled_by_default"] is False
