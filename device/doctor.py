"""`outcry doctor`: every part that outcry needs, each checked for itself; one line each, and the next step.

Safe while the service runs: what the service owns (the microphone, the state directory) it is asked about.
"""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from device import __version__, control
from device import config as configuration
from device.config import Config
from device.errors import MissingInputError, OutcryError
from device.machine import board

Verdict = Literal["ok", "warn", "fail"]
_MARKS: dict[Verdict, str] = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
_HOT_C = 75.0  # a Pi slows itself down at 80
_LITTLE_DISK_BYTES = 100_000_000
_COMMAND_TIMEOUT_S = 5.0


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    check: str
    verdict: Verdict
    words: str
    next_step: str = ""
    code: int = 0


def ok(check: str, words: str) -> Finding:
    """It is as it should be."""
    return Finding(check, "ok", words)


def warn(check: str, words: str, next_step: str) -> Finding:
    """It works, but somebody should look."""
    return Finding(check, "warn", words, next_step)


def fail(check: str, words: str, next_step: str, code: int = 70) -> Finding:
    """It does not work."""
    return Finding(check, "fail", words, next_step, code)


class Examination:
    """What the checks share: the configuration in force and the answer of the running service, if one runs."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.service: control.Message | None = None
        """What the running service says of itself; None where none runs."""
        answers = control.ask(Path(config.device.runtime_directory, control.SOCKET_NAME), {"do": "state"})
        if answers is not None:
            self.service = next(answers, None)

    @property
    def state(self) -> dict[str, Any]:
        """The running service's state; empty where none runs."""
        state = (self.service or {}).get("state")
        return state if isinstance(state, dict) else {}


Check = Callable[[Examination], Iterator[Finding]]


def check_versions(_: Examination) -> Iterator[Finding]:
    """Outcry, Python, the system."""
    where = board.model() or platform.machine()
    yield ok("versions", f"outcry {__version__}, Python {platform.python_version()}, {where}, {platform.release()}")


def check_runtime(_: Examination) -> Iterator[Finding]:
    """What runs the network."""
    for name in ("ai-edge-litert", "tflite-runtime"):
        try:
            yield ok("runtime", f"{name} {metadata.version(name)}, numpy {metadata.version('numpy')}")
        except metadata.PackageNotFoundError:
            continue
        return
    yield fail("runtime", "neither ai-edge-litert nor tflite-runtime is installed", "pip install ai-edge-litert")


def check_model(examination: Examination) -> Iterator[Finding]:
    """The package in force: whole, signed where a key is configured, and its golden clip."""
    from device.installed import chosen, golden

    config = examination.config
    package = chosen.in_force(config)
    result = golden.check(package)
    signed = "signed by the configured key" if package.signed else "not signed"
    name = package.manifest.identity
    yield ok("model", f"{name} is whole, {signed}; golden clip within {result.difference:.3f} ({result.kernels})")
    if not config.model.public_key:
        yield warn("model", "no key is configured, so any package is trusted", "set model.public_key")
    for warning in result.warnings:
        yield warn("runtime", warning, "see docs/package.md")


def check_microphone(examination: Examination) -> Iterator[Finding]:
    """Found, opens, delivers, is not zeros, has a plausible level; the service is asked where it runs."""
    from device.checks import microphone

    state = examination.state
    if state.get("mode") == "disarmed":
        yield ok("microphone", "released: the device is disarmed")
    elif state:
        words = f"the service hears: {state.get('hearing')}, {state.get('level_dbfs')} dBFS"
        if state.get("hearing") == "healthy":
            yield ok("microphone", words)
        elif state.get("hearing") == "suspect":
            yield warn("microphone", f"{words}; {state.get('hearing_reason')}", "run doctor again in a while")
        else:
            yield fail("microphone", f"{words}; {state.get('hearing_reason')}", "see `outcry mics`", 66)
    else:
        for verdict, words, next_step in microphone.listen(examination.config.microphone):
            yield Finding("microphone", verdict, words, next_step, 0 if verdict != "fail" else 66)


def check_gpio(examination: Examination) -> Iterator[Finding]:
    """Pins for LED, button and buzzer, and the right to use them."""
    chips = sorted(Path("/dev").glob("gpiochip*"))
    if not chips:
        yield warn("gpio", "no GPIO here: LED, button and buzzer are simulated", "run it on a Raspberry Pi")
        return
    if not any(os.access(chip, os.R_OK | os.W_OK) for chip in chips):
        yield fail("gpio", f"{chips[0]} may not be used by this user", "sudo usermod -aG gpio $USER; log in again")
        return
    section = examination.config.panel
    yield ok("gpio", f"{chips[0]}; LED {section.led}, button {section.button}, buzzer {section.buzzer}")


def check_broker(examination: Examination) -> Iterator[Finding]:
    """Reachable, lets us in, takes what we publish, lets us subscribe."""
    from device.checks import broker

    config = examination.config
    if not config.mqtt.host:
        yield warn("broker", "none is configured: nobody but the wearer learns of an alarm", "set mqtt.host")
        return
    for verdict, words, next_step in broker.probe(config):
        yield Finding("broker", verdict, words, next_step, 0 if verdict != "fail" else 70)


def check_clock(_: Examination) -> Iterator[Finding]:
    """Events carry the time only when somebody set the clock."""
    synchronised = board.clock_synchronised()
    if synchronised:
        yield ok("clock", "synchronised")
    else:
        known = "is not synchronised" if synchronised is False else "can't be judged"
        yield warn("clock", f"{known}; it says {time.strftime('%F %T %Z')}", "timedatectl set-ntp true")


def check_state(examination: Examination) -> Iterator[Finding]:
    """Room on the disk, and the outbox."""
    folder = Path(examination.config.device.state_directory)
    free = board.free_bytes(folder)
    if free is None or free < _LITTLE_DISK_BYTES:
        yield warn("disk", f"{(free or 0) / 1e6:.0f} MB free at {folder}", "make room: alerts are kept there")
    else:
        yield ok("disk", f"{free / 1e9:.1f} GB free at {folder}")
    if folder.exists() and not os.access(folder, os.W_OK) and not examination.service:
        yield fail(
            "disk",
            f"{folder} may not be written by this user",
            "run doctor as the service's user, or sudo",
            78,
        )
    state = examination.state
    if state:
        depth = state.get("outbox_depth")
        if state.get("outbox") == "memory":
            yield fail("outbox", "held in memory: the disk takes no more", f"make room at {folder}")
        elif depth:
            yield warn("outbox", f"{depth} events wait for the broker", "see the check of the broker")
        else:
            yield ok("outbox", "nothing waits")
        proven = state.get("last_proven")
        step = "press Test alarm, or publish a `test` command; a guardian's client must answer"
        yield (ok("test alarm", f"last proven {proven}") if proven else warn("test alarm", "never proven yet", step))


def check_wearer(examination: Examination) -> Iterator[Finding]:
    """What is known of the wearer: the ordinary voice, how far it was learned on, and the own calls."""
    from device import wearer
    from device.installed import chosen
    from device.voice import callbook, learning

    manifest = chosen.in_force(examination.config).manifest
    folder = Path(examination.config.device.state_directory)
    said = examination.state.get("wearer")
    try:
        known = wearer.load(folder / wearer.FILE_NAME)
    except MissingInputError:
        yield ok("wearer", "no voice is learned; `outcry calibrate` makes it hear its wearer better")
    else:
        if said == "does_not_fit" or not known.fits(manifest.view):
            words = "the voice was learned with another model package or microphone, so it counts for nothing"
            yield warn("wearer", words, "run `outcry calibrate` again")
        else:
            grown = f"; learned on by itself from {known.learned_s / 60:.0f} min, " if known.start else ""
            most = learning.LearningRules().most_in_all
            far = f"moved by {learning.drift(known, manifest.view):.2f} of at most {most:g}" if known.start else ""
            yield ok("wearer", f"learned from {known.seconds:.0f} s of voice{grown}{far}")
    try:
        calls = callbook.load(folder / callbook.FILE_NAME)
    except MissingInputError:
        return
    names = ", ".join(repr(call.name) for call in calls.fitting(manifest))
    if names:
        yield ok("call", f"listens for {names}")
    else:
        yield warn("call", "enrolled with another model package: it is not heard", "run `outcry enrol` again")


def check_supply(_: Examination) -> Iterator[Finding]:
    """Heat, throttling, under-voltage, battery: where this machine tells."""
    heat = board.temperature_c()
    if heat is not None:
        hot = warn("temperature", f"{heat:.0f} °C", "give it air; at 80 °C it slows down")
        yield hot if heat >= _HOT_C else ok("temperature", f"{heat:.0f} °C")
    if board.under_voltage():
        yield fail("supply", "under-voltage was seen", "use the official supply and a short cable")
    elif board.throttled():
        yield warn("supply", "the processor is throttled", "give it air and a better supply")
    elif board.under_voltage() is False:
        yield ok("supply", "no under-voltage, not throttled")
    battery = board.battery()
    if battery is not None:
        charging = ", charging" if battery.charging else ""
        low = battery.charge < 0.25 and not battery.charging
        words = f"{battery.charge:.0%}{charging}"
        yield warn("battery", words, "charge it") if low else ok("battery", words)


def check_service(examination: Examination) -> Iterator[Finding]:
    """Installed, enabled, running, watched by systemd."""
    if not Path("/run/systemd/system").exists() or not shutil.which("systemctl"):
        running = "it runs" if examination.service else "it does not run"
        yield warn("service", f"no systemd here; {running}", "on a Pi: sudo systemd/install.sh")
        return
    unit = _unit()
    if unit.get("LoadState") != "loaded":
        yield warn("service", "not installed", "sudo systemd/install.sh")
        return
    if unit.get("UnitFileState") != "enabled":
        yield warn("service", "not enabled: it does not start at boot", "sudo systemctl enable outcry")
    if unit.get("ActiveState") != "active":
        yield fail(
            "service",
            f"{unit.get('ActiveState')}, not running",
            "sudo systemctl restart outcry; journalctl -u outcry",
        )
    elif unit.get("WatchdogUSec") in ("0", "infinity", None):
        yield warn("service", "running, without a watchdog", "set WatchdogSec= in its unit")
    else:
        yield ok("service", f"running, watchdog {unit['WatchdogUSec']}, {unit.get('NRestarts', '?')} restarts")


def _unit() -> dict[str, str]:
    """What systemd knows of outcry.service."""
    keys = "LoadState,UnitFileState,ActiveState,WatchdogUSec,NRestarts"
    command = ["systemctl", "show", "outcry.service", "--property", keys]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


CHECKS: tuple[Check, ...] = (
    check_versions,
    check_microphone,
    check_model,
    check_runtime,
    check_gpio,
    check_broker,
    check_clock,
    check_state,
    check_wearer,
    check_supply,
    check_service,
)


def findings(config_path: Path | None) -> Iterator[Finding]:
    """Every finding, as it is found; an error within a check is that check's finding."""
    try:
        config = configuration.load(config_path)
        configuration.mqtt_password(config)
        where = configuration.config_path(config_path, os.environ)
        yield ok("configuration", str(where) if where else "defaults, no file")
    except OutcryError as error:
        yield fail("configuration", str(error), "outcry check-config", error.code)
        return
    examination = Examination(config)
    for check in CHECKS:
        name = check.__name__.removeprefix("check_")
        try:
            yield from check(examination)
        except OutcryError as error:
            yield Finding(name, "fail", str(error), code=error.code)


def examine(config_path: Path | None, as_json: bool) -> int:
    """Print every finding; the exit code: 0, or that of the first failure."""
    code = 0
    for finding in findings(config_path):
        code = code or finding.code
        if as_json:
            click.echo(msgspec.json.encode(finding).decode())
        else:
            step = f"  -> {finding.next_step}" if finding.next_step else ""
            click.echo(f"{_MARKS[finding.verdict]}  {finding.check:<13} {finding.words}{step}")
    return code
