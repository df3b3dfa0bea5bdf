"""What the machine gives: Python, the network's runtime, GPIO, clock, supply, systemd."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from device import __version__
from device.checks.finding import Examination, Finding, fail, ok, warn
from device.machine import board

_HOT_C = 75.0  # a Pi slows itself down at 80
_COMMAND_TIMEOUT_S = 5.0


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


def check_clock(_: Examination) -> Iterator[Finding]:
    """Events carry the time only when somebody set the clock."""
    synchronised = board.clock_synchronised()
    if synchronised:
        yield ok("clock", "synchronised")
    else:
        known = "is not synchronised" if synchronised is False else "can't be judged"
        yield warn("clock", f"{known}; it says {time.strftime('%F %T %Z')}", "timedatectl set-ntp true")


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
