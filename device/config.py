"""One TOML file -> one typed, validated Config. Every key has a default, so no file is needed at all.

`config.example.toml` documents every key. Secrets never stand in the file itself: they come from a file that
it names, from a systemd credential or from an environment variable.
"""

import base64
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from device.errors import ConfigError
from device.settings.refusals import converted, one_line
from device.settings.sections import (
    AlarmSection,
    BatterySection,
    DecisionSection,
    DeviceSection,
    MicrophoneSection,
    ModelSection,
    MqttSection,
    PanelSection,
    PositionSection,
    PrivacySection,
    Section,
    TestAlarmSection,
    WearerSection,
)

SYSTEM_CONFIG: Final = Path("/etc/outcry/config.toml")
# Of systemd/outcry.service. Whoever reads its configuration means its directories too, also by hand, with sudo.
SYSTEM_STATE: Final = "/var/lib/outcry"
SYSTEM_RUNTIME: Final = "/run/outcry"
FILE_LIMIT_BYTES: Final = 1 << 20


class Config(Section, frozen=True):
    """The whole configuration. After `load` every path is absolute and `mqtt.port` is the port to use."""

    device: DeviceSection = DeviceSection()
    microphone: MicrophoneSection = MicrophoneSection()
    model: ModelSection = ModelSection()
    decision: DecisionSection = DecisionSection()
    alarm: AlarmSection = AlarmSection()
    mqtt: MqttSection = MqttSection()
    panel: PanelSection = PanelSection()
    wearer: WearerSection = WearerSection()
    privacy: PrivacySection = PrivacySection()
    position: PositionSection = PositionSection()
    battery: BatterySection = BatterySection()
    test_alarm: TestAlarmSection = TestAlarmSection()


def load(path: Path | str | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check the configuration.

    Without a path: $OUTCRY_CONFIG, else /etc/outcry/config.toml where it exists, else the defaults.
    Paths in it count from its folder. Raises ConfigError: one line with file, key, what is allowed.
    """
    source = config_path(path, environ)
    config = parse(_text(source), str(source)) if source else Config()
    if source == SYSTEM_CONFIG:
        environ = {"STATE_DIRECTORY": SYSTEM_STATE, "RUNTIME_DIRECTORY": SYSTEM_RUNTIME, **environ}
    return _resolved(config, source.absolute().parent if source else Path.cwd(), environ)


def config_path(path: Path | str | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file that `load` reads, None for the defaults."""
    if path is not None:
        return Path(path)
    if environ.get("OUTCRY_CONFIG"):
        return Path(environ["OUTCRY_CONFIG"])
    return SYSTEM_CONFIG if _may_exist(SYSTEM_CONFIG) else None


def _may_exist(path: Path) -> bool:
    """Whether it is there, or lies where this user may not look."""
    try:
        return path.exists()
    except PermissionError:
        return True


def parse(text: str, source: str = "configuration") -> Config:
    """Turn TOML text into a Config, as written: paths not resolved. Raises ConfigError."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: not TOML: {one_line(str(error))}") from error
    config = converted(tables, Config, source)
    _check_together(config, source)
    return config


def mqtt_password(config: Config, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the broker's password: of its file, of the credential `mqtt-password` or of the environment.

    None where none is set. Raises ConfigError for a file that is named but missing, unreadable or empty.
    """
    file = config.mqtt.password_file or _credential("mqtt-password", environ)
    if not file:
        return environ.get("OUTCRY_MQTT_PASSWORD") or None
    try:
        password = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"mqtt.password_file: {file} can't be read: {_cause(error)}; give the service's user access"
        ) from error
    if not password:
        raise ConfigError(f"mqtt.password_file: {file} is empty; write the broker's password into it")
    return password


def public_key_bytes(text: str) -> bytes:
    """Return the 32 bytes of a public key that `parse` let through (base64 or hexadecimal)."""
    return bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)


def _text(source: Path) -> str:
    try:
        with source.open("rb") as file:
            raw = file.read(FILE_LIMIT_BYTES + 1)
    except OSError as error:
        hint = "; use sudo" if isinstance(error, PermissionError) and os.geteuid() else ""
        raise ConfigError(f"{source}: configuration can't be read: {_cause(error)}{hint}") from error
    if len(raw) > FILE_LIMIT_BYTES:
        raise ConfigError(f"{source}: larger than {FILE_LIMIT_BYTES} bytes: not a configuration")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source}: not UTF-8 text (byte {error.start})") from error


def _resolved(config: Config, folder: Path, environ: Mapping[str, str]) -> Config:
    def absolute(path: str) -> str:
        return str(folder / _expanded(path, environ)) if path else ""

    home = Path(environ.get("HOME") or "/")
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    state_directory = (
        absolute(config.device.state_directory)
        or state
        or str(Path(environ.get("XDG_STATE_HOME") or home / ".local/state") / "outcry")
    )
    runtime = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    user_runtime = environ.get("XDG_RUNTIME_DIR")
    runtime_directory = (
        absolute(config.device.runtime_directory)
        or runtime
        or str(Path(user_runtime) / "outcry" if user_runtime else Path(state_directory) / "run")
    )
    mqtt = config.mqtt
    replace = msgspec.structs.replace
    return replace(
        config,
        device=replace(config.device, state_directory=state_directory, runtime_directory=runtime_directory),
        model=replace(config.model, directory=absolute(config.model.directory)),
        mqtt=replace(
            mqtt,
            port=mqtt.port or (8883 if mqtt.tls else 1883),
            ca_file=absolute(mqtt.ca_file),
            cert_file=absolute(mqtt.cert_file),
            key_file=absolute(mqtt.key_file) or (_credential("mqtt-key", environ) if mqtt.cert_file else ""),
            password_file=absolute(mqtt.password_file),
        ),
    )


def _expanded(path: str, environ: Mapping[str, str]) -> str:
    return environ["HOME"] + path[1:] if path.startswith("~/") and environ.get("HOME") else path


def _credential(name: str, environ: Mapping[str, str]) -> str:
    # systemd/outcry.service gives a lone newline where no secret was set: a missing file would stop the unit.
    directory = environ.get("CREDENTIALS_DIRECTORY")
    file = Path(directory, name) if directory else None
    return str(file) if file and file.exists() and file.stat().st_size > 1 else ""


def _check_together(config: Config, source: str) -> None:
    """Refuse what each key allows alone and the keys together do not."""
    alarm, decision, mqtt = config.alarm, config.decision, config.mqtt
    pins = [pin for pin in (config.panel.led, config.panel.button, config.panel.buzzer) if pin >= 0]
    wrong = None
    if len(set(pins)) < len(pins):
        wrong = "panel.led, panel.button, panel.buzzer: two of them share a GPIO; give each its own, or -1"
    elif alarm.disarm_default_s > alarm.disarm_most_s:
        wrong = f"alarm.disarm_default_s: above alarm.disarm_most_s ({alarm.disarm_most_s:g})"
    elif decision.threshold and decision.release > decision.threshold:
        wrong = f"decision.release: {decision.release:g} is above decision.threshold ({decision.threshold:g})"
    elif decision.n > decision.m:
        wrong = f"decision.n: {decision.n} is above decision.m ({decision.m}); n of the last m steps must be over"
    elif mqtt.key_file and not mqtt.cert_file:
        wrong = "mqtt.cert_file: needed beside mqtt.key_file"
    elif (mqtt.cert_file or mqtt.ca_file) and not mqtt.tls:
        wrong = "mqtt.tls: must be true where mqtt.ca_file or mqtt.cert_file is set"
    elif config.microphone.recover_after_s < config.microphone.suspect_after_s:
        wrong = "microphone.recover_after_s: must not be below microphone.suspect_after_s"
    elif 0 < config.microphone.rate_hz < 8000:
        wrong = f"microphone.rate_hz: {config.microphone.rate_hz} is not allowed; allowed: 0, or 8000 to 192000"
    elif config.position.gpsd and not 1 <= int(config.position.gpsd.rpartition(":")[2]) <= 65535:
        wrong = f'position.gpsd: "{config.position.gpsd}" has no port from 1 to 65535'
    if wrong:
        raise ConfigError(f"{source}: {wrong}")


def _cause(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or "").lower() or "not UTF-8 text"
