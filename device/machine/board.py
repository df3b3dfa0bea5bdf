"""What the machine says of itself: model, temperature, throttling, under-voltage, battery, clock.

Everything is read from files of the kernel, in microseconds, and is None where this machine does not tell.
`root` is `/` but in tests.
"""

import ctypes
import errno
import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 256  # struct timex has 208 bytes on 64-bit systems; `modes` = 0 only reads
# Bits of the firmware's answer: now under-voltage, frequency capped, throttled, soft temperature limit.
_UNDER_VOLTAGE, _CAPPED, _THROTTLED, _SOFT_LIMIT = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class Battery:
    """The battery that a UPS or a fuel gauge tells the kernel of."""

    charge: float
    """0..1"""
    charging: bool | None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return None


def _number(path: Path) -> float | None:
    text = _text(path)
    try:
        return float(text) if text else None
    except ValueError:
        return None


def model(root: Path = ROOT) -> str | None:
    """Return the board's name, like "Raspberry Pi Zero 2 W Rev 1.0"; None off a board with a device tree."""
    return _text(root / "proc/device-tree/model")


def is_pi(root: Path = ROOT) -> bool:
    """Whether this is a Raspberry Pi."""
    return (model(root) or "").startswith("Raspberry Pi")


def temperature_c(root: Path = ROOT) -> float | None:
    """Return the processor's temperature in degrees Celsius."""
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    zones.sort(key=lambda zone: "cpu" not in (_text(zone / "type") or ""))
    for zone in zones:
        value = _number(zone / "temp")
        if value is not None:
            return value / 1000
    return None


def under_voltage(root: Path = ROOT) -> bool | None:
    """Whether the Pi's supply has sagged since boot (by hwmon; the sandbox closes `vcgencmd`)."""
    for monitor in (root / "sys/class/hwmon").glob("hwmon*"):
        if _text(monitor / "name") == "rpi_volt":
            alarm = _number(monitor / "in0_lcrit_alarm")
            return None if alarm is None else alarm > 0
    flags = _firmware_flags(root)
    return None if flags is None else bool(flags & _UNDER_VOLTAGE)


def throttled(root: Path = ROOT) -> bool | None:
    """Whether the processor is slowed down just now, by heat or by its supply."""
    flags = _firmware_flags(root)
    if flags is not None:
        return bool(flags & (_CAPPED | _THROTTLED | _SOFT_LIMIT))
    return under_voltage(root)


def _firmware_flags(root: Path) -> int | None:
    for folder in ("sys/devices/platform/soc", "sys/devices/platform/axi"):
        text = _text(root / folder / "soc:firmware/get_throttled")
        if text:
            try:
                return int(text, 16)
            except ValueError:
                return None
    return None


def battery(root: Path = ROOT) -> Battery | None:
    """Return the battery's charge; the emptiest where there are several."""
    found = []
    for supply in (root / "sys/class/power_supply").glob("*"):
        charge = _number(supply / "capacity")
        if _text(supply / "type") != "Battery" or charge is None:
            continue
        status = _text(supply / "status")
        charging = None if status in (None, "Unknown") else status in ("Charging", "Full")
        found.append(Battery(min(max(charge / 100, 0.0), 1.0), charging))
    return min(found, key=lambda one: one.charge, default=None)


def clock_synchronised(root: Path = ROOT) -> bool | None:
    """Whether the wall clock was set from outside; None where nobody can tell.

    The sandbox of the service forbids adjtimex(2); there systemd-timesyncd's mark tells.
    """
    if (root / "run/systemd/timesync/synchronized").exists():
        return True
    if root != ROOT:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state < 0:
        return None if ctypes.get_errno() in (errno.EPERM, errno.ENOSYS) else False
    return bool(state != _TIME_ERROR)


def clock_is_set(root: Path = ROOT) -> bool:
    """Whether a time of the wall clock may be told to others.

    A Pi has no battery behind its clock: until synchronised it goes on from the time of the last shutdown.
    """
    return not is_pi(root) or clock_synchronised(root) is True


def free_bytes(folder: Path) -> int | None:
    """Return the bytes that may still be written beneath a folder, or its nearest parent."""
    for place in (folder, *folder.parents):
        if place.exists():
            status = os.statvfs(place)
            return status.f_bavail * status.f_frsize
    return None
