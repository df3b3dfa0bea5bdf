"""What Home Assistant accepts as an MQTT device discovery payload, and how it renders the templates in it.

Written from its documentation (https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload and the
pages of the platforms) and the voluptuous schemas of its MQTT integration. Stricter than these in one point: an
option that a platform does not know is an error here, where Home Assistant drops it without a word.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import jinja2
import jinja2.filters
from jinja2.sandbox import SandboxedEnvironment

Check = Callable[[Any], bool]
DISCOVERY_TOPIC = re.compile(r"[^+#]+/device/(?:[a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config")


class InvalidError(AssertionError):
    """What Home Assistant would refuse, and where."""


def text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def flag(value: Any) -> bool:
    return isinstance(value, bool)


def positive(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def qos(value: Any) -> bool:
    return value in (0, 1, 2) and not isinstance(value, bool)


def one_of(*allowed: str) -> Check:
    return lambda value: value in allowed


def subscribe_topic(value: Any) -> bool:
    return text(value) and "\0" not in value and re.fullmatch(r"(\+|#|[^+#/]*)(/(\+|[^+#/]*))*(/#)?", value) is not None


def publish_topic(value: Any) -> bool:
    return text(value) and not re.search(r"[+#\0]", value) and len(value.encode()) <= 65535


def template(value: Any) -> bool:
    try:
        ENVIRONMENT.parse(value)
    except jinja2.TemplateSyntaxError:
        return False
    return text(value)


def icon(value: Any) -> bool:
    return text(value) and re.fullmatch(r"mdi:[a-z0-9-]+", value) is not None


def texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(text, value))


def availability_list(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    for index, entry in enumerate(value):
        check(entry, {"topic": subscribe_topic}, AVAILABILITY_ENTRY, f"availability[{index}]")
    return True


AVAILABILITY_ENTRY = {"payload_available": text, "payload_not_available": text, "value_template": template}
AVAILABILITY = {
    "availability": availability_list,
    "availability_mode": one_of("all", "any", "latest"),
    "availability_topic": subscribe_topic,
    "availability_template": template,
    "payload_available": text,
    "payload_not_available": text,
}
COMMON = {
    **AVAILABILITY,
    "enabled_by_default": flag,
    "encoding": text,
    "entity_category": one_of("config", "diagnostic"),
    "icon": icon,
    "json_attributes_topic": subscribe_topic,
    "json_attributes_template": template,
    "name": lambda value: value is None or text(value),
    "object_id": text,
    "default_entity_id": text,
    "qos": qos,
}
BINARY_SENSOR_CLASSES = one_of(
    "battery", "battery_charging", "carbon_monoxide", "cold", "connectivity", "door", "garage_door", "gas", "heat",
    "light", "lock", "moisture", "motion", "moving", "occupancy", "opening", "plug", "power", "presence", "problem",
    "running", "safety", "smoke", "sound", "tamper", "update", "vibration", "window",
)  # fmt: skip
SENSOR_CLASSES = one_of("timestamp", "battery", "temperature", "enum")
# (required, optional) of each platform that may stand here; `platform` itself aside.
PLATFORMS: dict[str, tuple[dict[str, Check], dict[str, Check]]] = {
    "binary_sensor": (
        {"unique_id": text, "state_topic": subscribe_topic},
        {
            **COMMON, "device_class": BINARY_SENSOR_CLASSES, "expire_after": positive,
            "force_update": flag,
            "off_delay": positive, "payload_on": text, "payload_off": text, "value_template": template,
        },
    ),
    "sensor": (
        {"unique_id": text, "state_topic": subscribe_topic},
        {
            **COMMON, "device_class": SENSOR_CLASSES, "expire_after": positive,
            "force_update": flag, "last_reset_value_template": template, "options": texts,
            "suggested_display_precision": positive,
            "state_class": one_of("measurement", "measurement_angle", "total", "total_increasing"),
            "unit_of_measurement": text, "value_template": template,
        },
    ),
    "event": (
        {"unique_id": text, "state_topic": subscribe_topic, "event_types": texts},
        {**COMMON, "device_class": one_of("button", "doorbell", "motion"), "value_template": template},
    ),
    "switch": (
        {"unique_id": text, "command_topic": publish_topic},
        {
            **COMMON, "command_template": template, "device_class": one_of("outlet", "switch"), "optimistic": flag,
            "payload_on": text, "payload_off": text, "state_on": text, "state_off": text, "retain": flag,
            "state_topic": subscribe_topic, "value_template": template,
        },
    ),
    "button": (
        {"unique_id": text, "command_topic": publish_topic},
        {
            **COMMON, "command_template": template, "device_class": one_of("identify", "restart", "update"),
            "payload_press": text, "retain": flag,
        },
    ),
    "device_automation": (
        {"automation_type": one_of("trigger"), "topic": subscribe_topic, "type": text, "subtype": text},
        {"payload": text, "qos": qos, "value_template": template},
    ),
}  # fmt: skip
DEVICE = {
    "configuration_url": text, "connections": lambda value: all(len(pair) == 2 for pair in value), "hw_version": text,
    "identifiers": texts, "manufacturer": text, "model": text, "model_id": text, "name": text, "serial_number": text,
    "suggested_area": text, "sw_version": text, "via_device": text,
}  # fmt: skip
ORIGIN = {"sw_version": text, "support_url": text}
SHARED = {**AVAILABILITY, "state_topic": subscribe_topic, "command_topic": publish_topic, "qos": qos, "encoding": text}


def validate(topic: str, payload: bytes) -> dict[str, Any]:
    """Return the payload, with what the root shares filled into the components, as Home Assistant does."""
    if not DISCOVERY_TOPIC.fullmatch(topic):
        raise InvalidError(f"{topic} is no topic for device discovery")
    root: dict[str, Any] = json.loads(payload)
    check(root, {"device": _is_map, "origin": _is_map, "components": _is_map}, SHARED, "payload")
    check(root["device"], {}, DEVICE, "device")
    if not root["device"].get("identifiers") and not root["device"].get("connections"):
        raise InvalidError("device has neither identifiers nor connections")
    check(root["origin"], {"name": text}, ORIGIN, "origin")
    seen: set[str] = set()
    for name, component in root["components"].items():
        if component.get("platform") not in PLATFORMS:
            raise InvalidError(f"{name}: no such platform: {component.get('platform')}")
        if set(component) == {"platform"}:
            continue  # removes what was there before
        required, optional = PLATFORMS[component["platform"]]
        check(component, {"platform": text, **required}, optional, name)
        if component.get("availability") and component.get("availability_topic"):
            raise InvalidError(f"{name}: availability and availability_topic exclude each other")
        if component.get("unique_id") in seen:
            raise InvalidError(f"{name}: unique_id {component['unique_id']} stands twice")
        seen |= {component["unique_id"]} if "unique_id" in component else set()
        if component["platform"] != "device_automation":
            for option in SHARED:
                if option in root and option not in component:
                    component[option] = root[option]
    return root


def check(given: Mapping[str, Any], required: Mapping[str, Check], optional: Mapping[str, Check], where: str) -> None:
    """Every required option is there, every option is known and of its kind."""
    missing = required.keys() - given.keys()
    unknown = given.keys() - required.keys() - optional.keys()
    if missing or unknown:
        raise InvalidError(f"{where}: missing {sorted(missing)}, unknown {sorted(unknown)}")
    for name, value in given.items():
        if not (required.get(name) or optional[name])(value):
            raise InvalidError(f"{where}.{name}: {value!r} is not allowed")


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(undefined=jinja2.Undefined)
    environment.globals["utcnow"] = lambda: datetime.now(UTC)
    environment.filters["tojson"] = json.dumps
    return environment


ENVIRONMENT = _environment()


def rendered(source: str, payload: str | bytes) -> str:
    """A value template on what came over MQTT (`value_json`, `value`)."""
    message = payload.decode() if isinstance(payload, bytes) else payload
    return ENVIRONMENT.from_string(source).render(value=message, value_json=json.loads(message))


def pressed(source: str, value: str = "PRESS") -> str:
    """A command template, as a button or a switch renders it."""
    return ENVIRONMENT.from_string(source).render(value=value)


def available(component: Mapping[str, Any], messages: Mapping[str, str]) -> bool:
    """Whether an entity is available after these messages (topic -> last payload)."""
    answers = []
    for entry in component["availability"]:
        if entry["topic"] not in messages:
            answers.append(False)
            continue
        payload = messages[entry["topic"]]
        if "value_template" in entry:
            payload = rendered(entry["value_template"], payload)
        answers.append(payload == entry.get("payload_available", "online"))
    return all(answers) if component.get("availability_mode", "latest") == "all" else answers[-1]
