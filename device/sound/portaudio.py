"""PortAudio, tamed: calls with a deadline, no chatter on standard error, devices found by names that stay."""

from __future__ import annotations

import ctypes
import ctypes.util
import logging
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import pyaudio

from device.errors import MissingInputError, SoundHangError
from device.sound.cards import Card, cards, holders

logger = logging.getLogger(__name__)
T = TypeVar("T")

_HARDWARE = re.compile(r"\(hw:(\d+),(\d+)\)$")
_TICK_S = 0.05  # deadlines are counted in ticks of our own: where the CPU is short, PortAudio may take longer too
_kept_callbacks: list[object] = []  # C keeps only their address


class MicrophoneBusyError(MissingInputError):
    """The microphone is there but somebody else holds it."""


@dataclass(frozen=True, slots=True)
class MicrophoneInfo:
    """A device that can be listened to, as PortAudio numbered it in this enumeration."""

    index: int
    """Valid only until the next enumeration: never store it."""
    name: str
    card_id: str | None
    """ALSA's card id; None for what stands behind a sound server or plug-in."""
    usb_path: str | None
    channels: int
    rate_hz: int
    """The rate that PortAudio proposes."""
    default: bool
    card: Card | None = None

    def __str__(self) -> str:
        stable = [
            f"card {self.card_id}" if self.card_id else "",
            f"usb {self.usb_path}" if self.usb_path else "",
        ]
        notes = ", ".join(note for note in [*stable, "default" if self.default else ""] if note)
        return f"{self.name}" + (f"  [{notes}]" if notes else "")

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {key: value for key, value in asdict(self).items() if key not in {"index", "card"}}


def within(deadline_s: float, what: str, call: Callable[[], T]) -> T:
    """Run a call that may hang in a thread of its own; give its result or raise its exception.

    Raises:
        SoundHangError: it did not return in time. The thread stays behind; only a new process is rid of it.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - handed over to the caller below
            errors.append(error)

    thread = threading.Thread(target=run, name=f"portaudio: {what}", daemon=True)
    thread.start()
    for _ in range(max(1, round(deadline_s / _TICK_S))):
        thread.join(_TICK_S)
        if not thread.is_alive():
            break
    else:
        raise SoundHangError(
            f"PortAudio: {what} did not return within {deadline_s:g} s; the sound server hangs: restart it"
        )
    if errors:
        raise errors[0]
    return results[0]


def inputs(audio: pyaudio.PyAudio) -> list[MicrophoneInfo]:
    """List what this PortAudio instance can listen to."""
    known = {card.number: card for card in cards()}
    try:
        default = int(audio.get_default_input_device_info()["index"])
    except OSError:
        default = -1
    found = []
    for index in range(audio.get_device_count()):
        info = audio.get_device_info_by_index(index)
        channels = int(info["maxInputChannels"])
        if channels < 1:
            continue
        name = str(info["name"])
        hardware = _HARDWARE.search(name)
        card = known.get(int(hardware[1])) if hardware else None
        found.append(
            MicrophoneInfo(
                index=index,
                name=name,
                card_id=card.id if card else None,
                usb_path=card.usb_path if card else None,
                channels=channels,
                rate_hz=int(info["defaultSampleRate"]),
                default=index == default,
                card=card,
            )
        )
    return found


def choose(name: str, found: Sequence[MicrophoneInfo], known: Sequence[Card] | None = None) -> MicrophoneInfo:
    """Find the microphone meant by a card id, USB path, full name or a part of one; "" is the default.

    Raises:
        MicrophoneBusyError: the kernel has such a card, but PortAudio could not open it.
        MissingInputError: there is none; says what there is.
    """
    if not name:
        chosen = next((info for info in found if info.default), None)
        if chosen is None:
            raise MissingInputError("no microphone found; plug one in (`outcry mics` lists them)")
        return chosen
    for matches in (_named_exactly, _named_in_part):
        fitting = [info for info in found if matches(name, info.card, info.name)]
        if fitting:
            if len(fitting) > 1:
                logger.debug("%d devices are called %r; taking %s", len(fitting), name, fitting[0])
            return fitting[0]
    known = cards() if known is None else known
    for matches in (_named_exactly, _named_in_part):
        for card in known:
            if matches(name, card, ""):
                raise MicrophoneBusyError(busy_words(card, name))
    there = "; ".join(str(info) for info in found) or "none"
    raise MissingInputError(f"no microphone is called {name!r}; plug it in or name another (there: {there})")


def busy_words(card: Card, name: str) -> str:
    """Say who holds a card, and what to do about it."""
    by = holders(card)
    held = f"held by {', '.join(by)}" if by else "held by a process that this user may not see, or without an input"
    advice = "stop that program"
    if any("pipewire" in holder or "pulseaudio" in holder for holder in by):
        advice += ' or share the microphone with it (microphone.name = "default")'
    return f"microphone {name or card.id!r} ({card.name}) can't be opened: {held}; {advice}"


def _named_exactly(name: str, card: Card | None, full_name: str) -> bool:
    stable = [card.id, card.usb_path, f"usb:{card.usb_path}"] if card else []
    return name in [*stable, full_name]


def _named_in_part(name: str, card: Card | None, full_name: str) -> bool:
    texts = [full_name, *([card.id, card.name] if card else [])]
    return any(name.casefold() in text.casefold() for text in texts)


def silence_libraries() -> None:
    """Keep ALSA's and JACK's remarks (about 80 lines for each enumeration) off standard error.

    Handlers, not a redirected descriptor: that one would swallow what other threads have to say, and for two
    minutes where a stopped sound server makes the enumeration hang.
    """
    if _kept_callbacks:
        return
    alsa_handler = ctypes.CFUNCTYPE(
        None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
    )(lambda *_: None)
    jack_handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(lambda _: None)
    _kept_callbacks.extend([alsa_handler, jack_handler])
    for library, functions, handler in [
        ("libasound.so.2", ["snd_lib_error_set_handler"], alsa_handler),
        ("libjack.so.0", ["jack_set_error_function", "jack_set_info_function"], jack_handler),
    ]:
        try:
            # NOLOAD: only the copy that PortAudio itself has brought in.
            loaded = ctypes.CDLL(library, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        except OSError:
            continue
        for function in functions:
            getattr(loaded, function)(handler)
