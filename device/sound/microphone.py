"""The microphone: PortAudio in callback mode, made safe against the ways in which it hangs, lies and talks.

The callback only copies bytes into a bounded queue (`intake.py`); every other call into PortAudio runs in a
short-lived thread with a deadline, for each of them may hang for a minute (a stopped sound server) or for
ever. After a missed deadline only a new process helps: `SoundHangError` says so, and the caller ends with
`os._exit`. `stop_stream()` is never called: it waits for sound that may not come; `close()` alone returns
at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import pyaudio

from device.audio import SAMPLE_RATE, Chunk
from device.errors import MissingInputError, SoundHangError, UsageError
from device.sound.intake import BLOCK_MS, Intake, StreamFormat
from device.sound.portaudio import (
    MicrophoneBusyError,
    MicrophoneInfo,
    busy_words,
    choose,
    inputs,
    silence_libraries,
    within,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")

CALL_DEADLINE_S = 4.0  # under half of the service's WatchdogSec

_PORTAUDIO_FORMAT = {16: pyaudio.paInt16, 32: pyaudio.paInt32}
_DEVICE_UNAVAILABLE = -9985


SHARED_FORMATS = tuple(StreamFormat(rate_hz, 16, 1) for rate_hz in (SAMPLE_RATE, 48_000, 44_100))
"""For `default`, `pulse` and other devices behind a sound server or plug-in, which convert anyway."""

HARDWARE_FORMATS = tuple(
    StreamFormat(rate_hz, bits, channels)
    for rate_hz in (SAMPLE_RATE, 48_000, 44_100, 32_000, 96_000)
    for bits in (32, 16)
    for channels in (1, 2)
)
"""For cards, which deliver what they can. 32 bits first: I2S microphones speak them; a 16-bit card's samples
fit in exactly; and PortAudio adds dither where it narrows, which would hide all-zero samples."""


class Microphone:
    """One microphone, found by a name that stays, as chunks of 16 kHz mono.

    Not for use from two threads at once, but for `close()`, which may come from any.
    """

    def __init__(
        self,
        name: str = "",
        chunk_ms: int = 100,
        rate_hz: int = 0,
        call_deadline_s: float = CALL_DEADLINE_S,
        formats: Sequence[StreamFormat] = (),
    ) -> None:
        """Name it by ALSA card id, USB path or a part of its name ("" is the default).

        `rate_hz` 0 tries what devices usually offer; `formats`, where given, are tried instead, in order.
        """
        self.name = name
        self.info: MicrophoneInfo | None = None
        """The device in use, or the last one that was; None before the first opening."""
        self.format: StreamFormat | None = None
        """How the open device delivers; None while closed."""
        self.lost_s = 0.0
        """Sound that nobody read in time and that is gone, in all."""
        self._chunk_ms = chunk_ms
        self._rate_hz = rate_hz
        self._formats = tuple(formats)
        self._deadline_s = call_deadline_s
        self._audio: pyaudio.PyAudio | None = None
        self._stream: pyaudio.Stream | None = None
        self._intake: Intake | None = None
        self._hung: SoundHangError | None = None

    @property
    def opened(self) -> bool:
        """Whether a stream is open; whether sound comes from it is another matter."""
        return self._stream is not None

    def open(self) -> None:
        """Find the device and open it: after `close()` in a fresh enumeration.

        Raises:
            MicrophoneBusyError: somebody else holds it; says who.
            MissingInputError: it is not there.
            SoundHangError: PortAudio hangs; only a new process helps.
        """
        if self._stream is not None:
            return
        if self._audio is None:
            self._audio = self._within("enumeration", _enumerated)
        audio = self._audio
        info = self._within("device list", lambda: choose(self.name, inputs(audio)))
        self.info = info
        refusals: list[str] = []
        for wanted in self._wanted(info):
            intake = Intake(wanted, self._chunk_ms)
            opening = partial(_open_stream, audio, info, wanted, intake)
            try:
                self._stream = self._within("open()", opening)
            except (OSError, ValueError) as error:
                if isinstance(error, SoundHangError):
                    raise
                refusals.append(f"{wanted}: {_words(error)}")
                if _DEVICE_UNAVAILABLE in error.args and info.card is not None:
                    raise MicrophoneBusyError(busy_words(info.card, self.name)) from error
                continue
            self.format, self._intake = wanted, intake
            logger.info("listening to %s at %s", info, wanted)
            return
        raise MissingInputError(f"microphone {info} can't be opened ({refusals[0]}); check it with `arecord -L`")

    def read(self, timeout_s: float) -> Chunk | None:
        """Give the next chunk, or None when the rest of it has not come in time; what has come is kept.

        The first chunk after an opening, and the first after sound was lost, has `gap` set.
        """
        intake = self._intake
        if intake is None:
            raise UsageError("the microphone is closed; open it before reading")
        chunk = intake.read(timeout_s)
        self.lost_s += intake.take_lost_s()
        return chunk

    def close_stream(self) -> None:
        """Close the stream but keep the enumeration: the quick way to open it again.

        Raises:
            SoundHangError: PortAudio hangs; only a new process helps.
        """
        stream, self._stream, self._intake, self.format = self._stream, None, None, None
        if stream is not None:
            self._within("close()", stream.close)

    def close(self) -> None:
        """Release the device and PortAudio itself; the next `open()` sees what has been plugged in meanwhile.

        Raises:
            SoundHangError: as `close_stream`.
        """
        self.close_stream()
        audio, self._audio = self._audio, None
        if audio is not None:
            self._within("terminate()", audio.terminate)

    def _within(self, what: str, call: Callable[[], T]) -> T:
        """Call into PortAudio with a deadline; once it has hung, nothing calls it again."""
        if self._hung is not None:
            raise self._hung
        try:
            return within(self._deadline_s, what, call)
        except SoundHangError as error:
            self._hung = error
            raise

    def _wanted(self, info: MicrophoneInfo) -> tuple[StreamFormat, ...]:
        """The formats to try, best first."""
        known = self._formats or (HARDWARE_FORMATS if info.card is not None else SHARED_FORMATS)
        if self._rate_hz:
            own = [each for each in known if each.rate_hz == self._rate_hz]
            known = tuple(own) or (
                StreamFormat(self._rate_hz, 16, 1),
                StreamFormat(self._rate_hz, 32, 2),
            )
        return tuple(each for each in known if each.channels <= info.channels)


def list_microphones(call_deadline_s: float = CALL_DEADLINE_S) -> list[MicrophoneInfo]:
    """List what can be listened to now, in a fresh enumeration.

    Raises:
        SoundHangError: PortAudio hangs.
    """

    def listed() -> list[MicrophoneInfo]:
        audio = _enumerated()
        try:
            return inputs(audio)
        finally:
            audio.terminate()

    return within(call_deadline_s, "enumeration", listed)


def _enumerated() -> pyaudio.PyAudio:
    silence_libraries()
    return pyaudio.PyAudio()


def _open_stream(audio: pyaudio.PyAudio, info: MicrophoneInfo, wanted: StreamFormat, intake: Intake) -> pyaudio.Stream:
    return audio.open(
        rate=wanted.rate_hz,
        channels=wanted.channels,
        format=_PORTAUDIO_FORMAT[wanted.bits],
        input=True,
        input_device_index=info.index,
        frames_per_buffer=wanted.rate_hz * BLOCK_MS // 1000,
        stream_callback=partial(_copy, intake),
    )


def _copy(intake: Intake, data: bytes, _frames: int, _times: object, _status: int) -> tuple[None, int]:
    """PortAudio's callback: copies bytes and nothing else. It may not raise: that would end the stream."""
    intake.put(data)
    return None, pyaudio.paContinue


def _words(error: Exception) -> str:
    """PyAudio's errors carry code and text in either order."""
    texts = [str(part) for part in error.args if isinstance(part, str)]
    return texts[0] if texts else str(error)
