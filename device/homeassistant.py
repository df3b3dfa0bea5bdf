"""The discovery payload by which Home Assistant sets the device up by itself (MQTT device discovery).

One retained message: `device`, `origin`, `components`, each with `platform` and `unique_id`. What stands or
falls with the link alone (problem, SOS, arm, test) is available while the device is online; what needs ears
(danger, score, the danger event) only while it hears as well: deaf is unavailable, not calm. Pure.

Source: https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

import json
from typing import Any, Final

from device.config import Config
from device.events import Kind
from device.mqtt.announcing import Announcement

# Entities show these kinds; repeats of an alert (`repeat` above 0) are not new events.
EVENT_KINDS: Final[tuple[Kind, ...]] = ("alert", "sos", "acknowledged", "cancelled", "cleared")

Payload = dict[str, Any]


def discovery_topic(prefix: str, device: str) -> str:
    """Return the topic of the retained discovery message."""
    return f"{prefix}/device/{device}/config"


def discovery(device: str, version: str, *, place: str = "", level: bool = False, signed_only: bool = False) -> Payload:
    """Return the discovery payload; `level`: the device publishes its score, so show it from the start.

    `signed_only`: guardians' keys are configured. Home Assistant can't sign, so what it could press is taken
    away: a component with nothing but its platform removes an entity that was there before.
    """
    base = f"outcry/{device}"
    components: dict[str, Payload] = {**_hears(base, level), **_reports(base)}
    buttons = _presses(base)
    if signed_only:
        buttons = {name: {"platform": entity["platform"]} for name, entity in buttons.items()}
    components |= buttons
    for name, component in components.items():
        if len(component) > 1 and component["platform"] != "device_automation":
            component["unique_id"] = f"outcry_{device}_{name}"
    about: Payload = {
        "identifiers": [f"outcry_{device}"],
        "name": f"outcry {device}",
        "manufacturer": "outcry",
        "model": "worn alarm",
        "sw_version": version,
    }
    if place:
        about["suggested_area"] = place
    return {
        "device": about,
        "origin": {"name": "outcry", "sw_version": version},
        "components": components,
        "availability": [_link(base)],
        "qos": 1,
    }


def announcement(config: Config, version: str) -> Announcement:
    """Return what the broker is to publish for Home Assistant; empty, to take it back, where it is off."""
    mqtt = config.mqtt
    payload = discovery(
        config.device.name,
        version,
        place=config.device.place,
        level=mqtt.level,
        signed_only=bool(mqtt.guardian_keys),
    )
    return Announcement(
        discovery_topic(mqtt.home_assistant_prefix, config.device.name),
        json.dumps(payload, ensure_ascii=False).encode() if mqtt.home_assistant else b"",
        f"{mqtt.home_assistant_prefix}/status",
    )


def _link(base: str) -> Payload:
    return {
        "topic": f"{base}/availability",
        "payload_available": "online",
        "payload_not_available": "offline",
    }


def _ears(base: str) -> Payload:
    """Available only with link and hearing; a disarmed device listens to nothing and is not calm either."""
    hears = "value_json.hearing in ['healthy', 'suspect'] and value_json.mode != 'disarmed'"
    return {
        "availability": [
            _link(base),
            {
                "topic": f"{base}/state",
                "value_template": "{{ 'online' if " + hears + " else 'offline' }}",
                "payload_available": "online",
                "payload_not_available": "offline",
            },
        ],
        "availability_mode": "all",
    }


def _hears(base: str, level: bool) -> dict[str, Payload]:
    """What needs ears: whether danger stands, and how much of it there is."""
    return {
        "danger": {
            "platform": "binary_sensor",
            "name": "Danger",
            "device_class": "safety",
            "state_topic": f"{base}/state",
            "value_template": "{{ 'ON' if value_json.mode in ['alert', 'acknowledged'] else 'OFF' }}",
            "payload_on": "ON",
            "payload_off": "OFF",
            **_ears(base),
        },
        "score": {
            "platform": "sensor",
            "name": "Danger score",
            "icon": "mdi:account-voice",
            "state_topic": f"{base}/level",
            "value_template": "{{ (100 * value_json.danger) | round(0) }}",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "entity_category": "diagnostic",
            "enabled_by_default": level,
            **_ears(base),
        },
    }


def _reports(base: str) -> dict[str, Payload]:
    """What the link alone carries: the alarm itself (an SOS needs no ears), faults, the last proof."""
    kinds = json.dumps(list(EVENT_KINDS))
    first = f"value_json.kind in {kinds} and value_json.repeat | default(0) == 0"
    as_event = "dict(value_json, event_type=value_json.kind)"
    over = "value_json.kind in ['cancelled', 'cleared']"
    faulty = "value_json.hearing in ['recovering', 'failed'] or value_json.outbox == 'memory'"
    reasons = "{'hearing': value_json.hearing, 'reason': value_json.hearing_reason, 'outbox': value_json.outbox}"
    components: dict[str, Payload] = {
        "alarm": {
            "platform": "event",
            "name": "Alarm",
            "icon": "mdi:alarm-light",
            "event_types": list(EVENT_KINDS),
            "state_topic": f"{base}/alert",
            "value_template": "{% if " + first + " %}{{ " + as_event + " | tojson }}{% endif %}",
        },
        "sos": {
            "platform": "binary_sensor",
            "name": "SOS",
            "device_class": "safety",
            "state_topic": f"{base}/alert",
            "value_template": "{% if value_json.kind == 'sos' %}ON{% elif " + over + " %}OFF{% endif %}",
            "payload_on": "ON",
            "payload_off": "OFF",
        },
        "problem": {
            "platform": "binary_sensor",
            "name": "Problem",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": f"{base}/state",
            "value_template": "{{ 'ON' if " + faulty + " else 'OFF' }}",
            "payload_on": "ON",
            "payload_off": "OFF",
            "json_attributes_topic": f"{base}/state",
            "json_attributes_template": "{{ " + reasons + " | tojson }}",
        },
        "last_proven": {
            "platform": "sensor",
            "name": "Last proven",
            "device_class": "timestamp",
            "entity_category": "diagnostic",
            "state_topic": f"{base}/state",
            "value_template": "{{ value_json.last_proven }}",
        },
    }
    for kind in ("alert", "sos"):
        components[f"{kind}_trigger"] = {
            "platform": "device_automation",
            "automation_type": "trigger",
            "type": "danger" if kind == "alert" else "sos",
            "subtype": kind,
            "topic": f"{base}/alert",
            "value_template": "{{ value_json.kind if value_json.repeat | default(0) == 0 else '' }}",
            "payload": kind,
            "qos": 1,
        }
    return components


def _presses(base: str) -> dict[str, Payload]:
    """What a person can do from Home Assistant."""
    switch: Payload = {
        "platform": "switch",
        "name": "Armed",
        "icon": "mdi:shield-account",
        "state_topic": f"{base}/state",
        "value_template": "{{ 'arm' if value_json.armed else 'disarm' }}",
        "command_topic": f"{base}/command",
        "command_template": _command("{{ value }}"),
        "payload_on": "arm",
        "payload_off": "disarm",
        "optimistic": False,
        "retain": False,
        "qos": 1,
    }
    receipt = '{"id": "latest", "kind": "acknowledged", "by": "Home Assistant", "at": "{{ utcnow().isoformat() }}"}'
    return {
        "armed": switch,
        "cancel": _button("Cancel", "mdi:cancel", f"{base}/command", _command("cancel")),
        "acknowledge": _button("Acknowledge", "mdi:check", f"{base}/receipt", receipt),
        "test": _button("Test alarm", "mdi:bell-check", f"{base}/command", _command("test")),
    }


def _button(name: str, icon: str, topic: str, template: str) -> Payload:
    return {
        "platform": "button",
        "name": name,
        "icon": icon,
        "command_topic": topic,
        "command_template": template,
        "retain": False,
        "qos": 1,
    }


def _command(verb: str) -> str:
    """A template that renders a command; its `id` is new at each press (the sandbox allows no longer range)."""
    return (
        '{"command": "' + verb + '", "id": "ha-{{ utcnow().timestamp() }}-{{ range(99999) | random }}",'
        ' "by": "Home Assistant", "at": "{{ utcnow().isoformat() }}"}'
    )
