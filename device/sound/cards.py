"""What the kernel knows of sound cards: their stable names, and who holds one.

PortAudio numbers devices anew at every start; ALSA's card id and the USB path stay. Only reads /proc and
/sys, whose roots are arguments, so that tests can lay their own.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
SYS = Path("/sys")

_USB_PATH = re.compile(r"^\d+-\d+(\.\d+)*$")


@dataclass(frozen=True, slots=True)
class Card:
    """A sound card of the kernel."""

    number: int
    """Its place at present; changes with every boot and replug."""
    id: str
    """ALSA's card id, as in `hw:CARD=id`; stays, or is set by a udev rule."""
    name: str
    """Its long name, for people."""
    usb_path: str | None = None
    """The USB port it sits on, such as `1-1.3`; None for I2S and built-in cards."""


def cards(proc: Path = PROC, sys: Path = SYS) -> list[Card]:
    """List the kernel's sound cards by number; empty where there are none."""
    found = []
    for folder in (proc / "asound").glob("card[0-9]*"):
        number = int(folder.name.removeprefix("card"))
        identity = _text(folder / "id") or folder.name
        found.append(Card(number, identity, _long_name(proc, number) or identity, _usb_path(sys, number)))
    return sorted(found, key=lambda card: card.number)


def holders(card: Card, proc: Path = PROC) -> list[str]:
    """Who holds a card's capture devices open, such as `pipewire (pid 812)`; this process is left out.

    ALSA itself names the owner; a scan of open files finds those who wait or hold it by other roads, as far
    as this user may look.
    """
    pids = set()
    for status in (proc / "asound" / f"card{card.number}").glob("pcm*c/sub*/status"):
        owner = re.search(r"^owner_pid\s*:\s*(\d+)", _text(status), re.MULTILINE)
        if owner is not None:
            pids.add(int(owner[1]))
    device = re.compile(rf"/dev/snd/pcmC{card.number}D\d+c$")
    for link in proc.glob("[0-9]*/fd/*"):
        try:
            if device.search(str(link.readlink())):
                pids.add(int(link.parts[-3]))
        except OSError:  # closed meanwhile, or another user's
            continue
    pids.discard(os.getpid())
    return [f"{_process_name(proc, pid)} (pid {pid})" for pid in sorted(pids)]


def _process_name(proc: Path, pid: int) -> str:
    """A process's name; one that serves a thread of another process bears its leader's."""
    leader = re.search(r"^Tgid:\s*(\d+)", _text(proc / str(pid) / "status"), re.MULTILINE)
    return _text(proc / (leader[1] if leader else str(pid)) / "comm") or "a process of another user"


def _long_name(proc: Path, number: int) -> str:
    """The name in /proc/asound/cards: ` 1 [Device         ]: USB-Audio - USB PnP Sound Device`."""
    line = re.search(rf"^\s*{number} \[.*?\]: \S+ - (.+)$", _text(proc / "asound" / "cards"), re.MULTILINE)
    return line[1].strip() if line else ""


def _usb_path(sys: Path, number: int) -> str | None:
    """The innermost USB port in the card's place in the device tree."""
    try:
        parts = (sys / "class" / "sound" / f"card{number}" / "device").resolve(strict=True).parts
    except OSError:
        return None
    return next((part for part in reversed(parts) if _USB_PATH.match(part)), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
