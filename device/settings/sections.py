"""The tables of the configuration, each a type: every key, its bounds and its default. Pure.

`config.example.toml` says what each key is for.
"""

from typing import Annotated, Final, Literal

import msgspec

DISARM_LIMIT_S: Final = 43200.0  # 12 h: there is no disarm without end


def _number(least: float, most: float) -> msgspec.Meta:
    return msgspec.Meta(ge=least, le=most)


DeviceName = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,32}\Z", description="1 to 32 of a-z, 0-9 and -, as in a topic")
]
Text = Annotated[str, msgspec.Meta(max_length=200, description="text of at most 200 characters")]
FilePath = Annotated[str, msgspec.Meta(max_length=1000, description="a path, or empty")]
PublicKey = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([A-Za-z0-9+/]{43}=|[0-9a-fA-F]{64})?\Z",
        description="a public key of 32 bytes in base64 (44 characters) or hexadecimal (64)",
    ),
]
GuardianKey = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([A-Za-z0-9+/]{43}=|[0-9a-fA-F]{64})\Z",
        description="a list of Ed25519 public keys, each in base64 (44 characters) or hexadecimal (64)",
    ),
]
Pin = Annotated[int, msgspec.Meta(ge=-1, le=27, description="a GPIO number from 0 to 27, or -1: not fitted")]
WeeklyTime = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^((mon|tue|wed|thu|fri|sat|sun) ([01][0-9]|2[0-3]):[0-5][0-9])?\Z",
        description='day and local time like "sun 12:00", or empty',
    ),
]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file; a key that it does not know is refused."""


class DeviceSection(Section, frozen=True):
    """Who this device is and where it keeps things."""

    name: DeviceName = "outcry"
    place: Text = ""
    state_directory: FilePath = ""
    runtime_directory: FilePath = ""


class MicrophoneSection(Section, frozen=True):
    """Where sound comes from, and when its absence counts."""

    name: Text = ""
    rate_hz: Annotated[int, msgspec.Meta(ge=0, le=192000, description="0, or 8000 to 192000")] = 0
    chunk_ms: Annotated[int, _number(20, 500)] = 100
    suspect_after_s: Annotated[float, _number(0.5, 5)] = 1.5
    recover_after_s: Annotated[float, _number(1, 10)] = 3.0
    zeros_after_s: Annotated[float, _number(1, 60)] = 3.0
    call_deadline_s: Annotated[float, _number(1, 15)] = 5.0
    silence_gate: bool = True


class ModelSection(Section, frozen=True):
    """Which network listens, and how easily it alarms."""

    directory: FilePath = ""
    public_key: PublicKey = ""
    sensitivity: Literal["fewer-alarms", "balanced", "catch-more"] = "balanced"


class DecisionSection(Section, frozen=True):
    """Overrides of the model package's own decision parameters; 0 means as the package says."""

    threshold: Annotated[float, _number(0, 1)] = 0.0
    release: Annotated[float, _number(0, 1)] = 0.0
    smooth_s: Annotated[float, _number(0, 30)] = 0.0
    n: Annotated[int, _number(0, 1000)] = 0
    m: Annotated[int, _number(0, 1000)] = 0


class AlarmSection(Section, frozen=True):
    """The alarm's times and rules."""

    pre_alert_s: Annotated[float, _number(0, 60)] = 10.0
    deaf_after_cancel_s: Annotated[float, _number(0, 300)] = 30.0
    repeat_s: Annotated[float, _number(10, 3600)] = 60.0
    clear_after_s: Annotated[float, _number(60, 86400)] = 1800.0
    disarm_default_s: Annotated[float, _number(1, DISARM_LIMIT_S)] = 3600.0
    disarm_most_s: Annotated[float, _number(1, DISARM_LIMIT_S)] = DISARM_LIMIT_S
    remote_needs_press: bool = True
    remote_press_s: Annotated[float, _number(5, 120)] = 30.0
    publish_pre_alert: bool = False
    duress: bool = False


class MqttSection(Section, frozen=True):
    """The broker, and how persistently it is told."""

    host: Text = ""
    port: Annotated[int, _number(0, 65535)] = 0
    tls: bool = True
    ca_file: FilePath = ""
    cert_file: FilePath = ""
    key_file: FilePath = ""
    username: Text = ""
    password_file: FilePath = ""
    keepalive_s: Annotated[int, _number(5, 300)] = 15
    backoff_most_s: Annotated[float, _number(1, 600)] = 60.0
    guardian_keys: list[GuardianKey] = []
    repeats_without_receipts: Annotated[int, _number(0, 100)] = 3
    state_every_s: Annotated[float, _number(1, 600)] = 30.0
    level: bool = False
    home_assistant: bool = True
    home_assistant_prefix: Annotated[
        str,
        msgspec.Meta(pattern=r"^[^/+#\s]{1,64}(/[^/+#\s]{1,64})*\Z", description="a topic without + and #"),
    ] = "homeassistant"
    outbox_most_mb: Annotated[int, _number(1, 1000)] = 16


class PanelSection(Section, frozen=True):
    """LED, button, buzzer or motor (GPIO numbers as on the chip, BCM)."""

    led: Pin = 17
    button: Pin = 27
    buzzer: Pin = 22
    discreet: bool = False
    sos_hold_s: Annotated[float, _number(1, 5)] = 2.0


class WearerSection(Section, frozen=True):
    """What is learned of the wearer's ordinary voice."""

    learn: bool = False


class PrivacySection(Section, frozen=True):
    """The only way by which sound is ever kept: sealed, around an alert, for one key."""

    clip_public_key: PublicKey = ""
    clip_s: Annotated[float, _number(1, 60)] = 10.0
    journal_most_mb: Annotated[int, _number(1, 1000)] = 8


class PositionSection(Section, frozen=True):
    """Where the wearer is, from gpsd."""

    gpsd: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^([^\s:]{1,200}:[0-9]{1,5})?\Z", description='HOST:PORT like "localhost:2947", or empty'
        ),
    ] = ""


class BatterySection(Section, frozen=True):
    """When a battery that the kernel knows counts as low."""

    warn_below: Annotated[float, _number(0, 1)] = 0.25


class TestAlarmSection(Section, frozen=True):
    """The test alarm at a set time of the week."""

    weekly: WeeklyTime = ""
