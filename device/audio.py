"""Where sound comes from when it is a file, and the form in which all sound travels.

Everything downstream speaks of mono int16 samples at 16 kHz in `Chunk`s; the microphone (`sound/microphone.py`)
and a file (`Recording`) both yield them, through the same `Resampler`: a replay takes the microphone's road.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from device.errors import BadDataError, MissingInputError
from device.machine import quiet

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
"""Samples per second of everything downstream."""

_PLAUSIBLE_RATES_HZ = range(1_000, 768_001)  # below it a small file would swell to gigabytes of samples
_BLOCK_FRAMES = 16_384
_UNKNOWN_LENGTH_BYTES = 0x7FFF_F000  # a WAV written into a pipe claims this much or more
_MP3_FRAME = 1_152


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of sound, as the microphone or a file delivered it."""

    samples: NDArray[np.int16]
    """(n,) mono at 16 kHz; n differs a little from chunk to chunk where the device has another rate."""
    heard_at: float
    """Monotonic seconds at which its last sample was heard; in a Recording, seconds into the file."""
    gap: bool = False
    """Sound was lost just before it, so whatever remembers the past must start anew."""

    @property
    def seconds(self) -> float:
        """Its duration."""
        return len(self.samples) / SAMPLE_RATE


class Resampler:
    """Any rate and number of channels in, mono int16 at 16 kHz out; streaming, by soxr.

    The same samples come out whatever the sizes of the blocks that go in. At 16 kHz it only mixes and rounds.
    """

    def __init__(self, rate_hz: int) -> None:
        self._stream = None
        if rate_hz != SAMPLE_RATE:
            self._stream = soxr.ResampleStream(rate_hz, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def push(self, frames: NDArray[np.float32], last: bool = False) -> NDArray[np.int16]:
        """Turn frames (n, channels), full scale 1.0, into what samples exist by now; `last` drains it."""
        channels = frames.shape[1]
        mono = frames[:, 0] if channels == 1 else frames @ np.full(channels, 1 / channels, np.float32)
        if self._stream is not None:
            mono = self._stream.resample_chunk(np.ascontiguousarray(mono), last=last)
        samples: NDArray[np.int16] = np.clip(np.rint(mono * 32_768.0), -32_768, 32_767).astype(np.int16)
        return samples


class Recording:
    """A sound file (WAV, FLAC, Ogg Vorbis, Opus, MP3 and what else libsndfile reads) as chunks.

    It is opened at once, so that a bad path fails here and not in the middle of work; each iteration reads it
    from its start.

    Raises:
        MissingInputError: there is no such file, or it may not be read.
        BadDataError: a folder, empty, no sound, an unknown format; while iterating: cut short, broken.
    """

    def __init__(self, path: str | os.PathLike[str], chunk_ms: int = 100) -> None:
        self.path = os.fspath(path)
        self._chunk_samples = SAMPLE_RATE * chunk_ms // 1000
        _check_path(self.path)
        with _opened(self.path) as file:
            self.rate_hz: int = file.samplerate
            self.channels: int = file.channels
            self.seconds: float = file.frames / file.samplerate
            """Duration that the file's header claims."""

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the file in chunks of `chunk_ms`; the last one may be shorter."""
        pending = np.zeros(0, np.int16)
        done = 0
        for samples in _blocks(self.path):
            pending = np.concatenate([pending, samples])
            whole = len(pending) - len(pending) % self._chunk_samples
            for start in range(0, whole, self._chunk_samples):
                done += self._chunk_samples
                yield Chunk(pending[start : start + self._chunk_samples], done / SAMPLE_RATE)
            pending = pending[whole:]
        if len(pending):
            yield Chunk(pending, (done + len(pending)) / SAMPLE_RATE)


def read_samples(path: str | os.PathLike[str]) -> NDArray[np.int16]:
    """Read a whole sound file as mono int16 at 16 kHz, (n,): the samples that a `Recording` of it yields.

    Raises:
        MissingInputError, BadDataError: as `Recording`.
    """
    name = os.fspath(path)
    _check_path(name)
    return np.concatenate(list(_blocks(name)))


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from start to end without seeking.

    soundfile seeks after every read of a seekable file; in MP3 each such seek damages the sound that follows.
    """

    def seekable(self) -> bool:
        return False


def _blocks(path: str) -> Iterator[NDArray[np.int16]]:
    """Decode, mix and resample a file block by block; never holds more than a block."""
    read_frames = 0
    with _opened(path) as file:
        is_mp3 = file.format == "MP3"
        resampler = Resampler(file.samplerate)
        try:
            while True:
                with quiet.libraries(is_mp3):
                    block = file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
                read_frames += len(block)
                if not np.isfinite(block).all():
                    raise BadDataError(f"{path}: holds samples that are not numbers; save it as 16-bit WAV")
                yield resampler.push(block, last=len(block) < _BLOCK_FRAMES)
                if len(block) < _BLOCK_FRAMES:
                    break
        except soundfile.SoundFileError as error:
            at_s = read_frames / file.samplerate
            raise BadDataError(
                f"{path}: broken or cut short near {at_s:.1f} s ({_reason(error)}); copy or record it again"
            ) from error
        # An MP3 without a full header only estimates its length.
        slack = 2 * _MP3_FRAME + file.frames // 50 if is_mp3 else 0
        if read_frames < file.frames - slack:
            raise _cut_short(path, read_frames / file.samplerate, file.frames / file.samplerate)


def _check_path(path: str) -> None:
    """Refuse what can't be a sound file before a decoder sees it."""
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        raise MissingInputError(f"{path}: no such file; check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise MissingInputError(f"{path!r}: can't be read ({_reason(error)}); check the path") from None
    if stat.S_ISDIR(status.st_mode):
        raise BadDataError(f"{path}: is a folder, not a sound file; name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise BadDataError(f"{path}: is not a regular file; name a sound file")
    if status.st_size == 0:
        raise BadDataError(f"{path}: is empty; record or copy it again")
    if not os.access(path, os.R_OK):
        raise MissingInputError(f"{path}: may not be read (permission denied); check its owner and mode")


@contextmanager
def _opened(path: str) -> Iterator[soundfile.SoundFile]:
    """Open a file and check what its header claims."""
    try:
        with quiet.libraries(not _has_plain_magic(path)):
            file = _ForwardFile(path)
    # TypeError: soundfile, on a name that ends in .raw
    except (soundfile.SoundFileError, TypeError, OSError) as error:
        raise BadDataError(
            f"{path}: can't be read as sound ({_reason(error)}); WAV, FLAC, Ogg, Opus and MP3 work"
        ) from error
    with file:
        _check_whole(path, file)
        if file.samplerate not in _PLAUSIBLE_RATES_HZ:
            raise BadDataError(f"{path}: claims a rate of {file.samplerate} Hz; 1000 to 768000 Hz work")
        if file.frames * SAMPLE_RATE < file.samplerate:  # not one sample of ours
            raise BadDataError(f"{path}: holds no sound; record or copy it again")
        yield file


def _check_whole(path: str, file: soundfile.SoundFile) -> None:
    """Refuse a file whose end is missing, where libsndfile noticed it but goes on."""
    notes = file.extra_info
    found = re.search(r"^data : (\d+) \(should be (\d+)\)", notes, re.MULTILINE)
    if found is not None:
        claimed, present = int(found[1]), int(found[2])
        if present < claimed < _UNKNOWN_LENGTH_BYTES:
            there_s = file.frames / file.samplerate
            raise _cut_short(path, there_s, there_s * claimed / present if present else None)
    if "lacks an end-of-stream bit" in notes or "Junk after the last page" in notes:
        raise _cut_short(path, file.frames / file.samplerate, None)


def _cut_short(path: str, there_s: float, claimed_s: float | None) -> BadDataError:
    rest = f" of {claimed_s:.1f} s" if claimed_s is not None else ", its end is missing"
    return BadDataError(f"{path}: is cut short ({there_s:.1f} s{rest}); copy or record it again")


def _reason(error: Exception) -> str:
    """What the library said, without the path that we name ourselves."""
    if isinstance(error, soundfile.LibsndfileError):
        words = str(error.error_string).rstrip(".").lower()
        # What libsndfile says where its MP3 decoder finds nothing; that the file is there was checked before.
        return "format not recognised" if words.startswith("file does not exist") else words
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "not a known format" if isinstance(error, TypeError) else str(error)


def _has_plain_magic(path: str) -> bool:
    """Whether a decoder other than the talkative one for MP3 will take this file."""
    with Path(path).open("rb") as file:
        return file.read(4) in (b"RIFF", b"fLaC", b"OggS")
