"""`outcry enrol`: learn the wearer's own call from five examples, from files or from the microphone. No sound is kept.

Where the service runs it owns the microphone and the state directory: it listens, for danger too, and keeps the
call, which is in force at once.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from device import control
from device.audio import SAMPLE_RATE, Chunk, read_samples
from device.config import Config
from device.errors import BadDataError, MissingInputError, OutcryError, UsageError
from device.features import FeatureStream, features
from device.hearing import alone
from device.machine import files
from device.manifest import Manifest
from device.network import Network
from device.view import LEVEL, ViewParameters
from device.voice import callbook
from device.voice.call import EXAMPLES, MOST_EXAMPLES, Call, Example, enrolled, example, outline_of, unlike_angle
from device.voice.callbook import CallBook
from device.voice.segments import Segmenter

PATIENCE_S = 120.0
"""How long five examples may take."""
_ROOM_FRAMES = 100
_PIECE_FRAMES = 60
ORDINARY = Path(__file__).parent / "voice" / "ordinary_speech.npz"

NAME = re.compile(r"[\w -]{1,32}")

Told = Callable[[int], None]
"""Is told how many examples were heard so far."""


class Collector:
    """Gathers the single sounds of a stream until there are enough examples, or the time is over."""

    def __init__(self, network: Network) -> None:
        self.examples: list[Example] = []
        self._network = network
        self._features = FeatureStream()
        self._segmenter = Segmenter()
        self._left_s = PATIENCE_S
        self._unlike = 0.0

    @property
    def done(self) -> bool:
        """Whether there are enough, or the time is over."""
        return len(self.examples) >= EXAMPLES or self._left_s <= 0

    def push(self, chunk: Chunk) -> None:
        """Take a chunk; in the thread that owns the network."""
        self._unlike = self._unlike or unlike(self._network)
        if chunk.gap:
            self._features.reset()
            self._segmenter.reset()
        self._left_s -= chunk.seconds
        for sound in self._segmenter.push(self._features.push(chunk.samples)):
            if not self.done:
                self.examples.append(example(sound, self._network.package.manifest.view, self._network.memory))

    def call(self, name: str) -> Call:
        """The call. Raises BadDataError for what can't be one."""
        return made(name, self.examples, self._network.package.manifest, self._unlike)


def made(name: str, examples: Sequence[Example], manifest: Manifest, unlike: float) -> Call:
    """A call for this package. Raises BadDataError for what can't be one."""
    if not NAME.fullmatch(name):
        raise UsageError(f"call {name!r}: a name is 1 to 32 letters, digits, blanks, - or _")
    return enrolled(name, examples, ordinary_speech(manifest.view), unlike, callbook.digest(manifest))


def unlike(network: Network) -> float:
    """How far apart unlike sounds lie for this network: pieces of the package's golden clip."""
    frames = features(network.package.golden.samples)
    starts = range(0, len(frames) - _PIECE_FRAMES + 1, _PIECE_FRAMES // 2)
    view = network.package.manifest.view
    return unlike_angle([example(frames[at : at + _PIECE_FRAMES], view, network.memory) for at in starts])


def ordinary_speech(view: ViewParameters) -> list[Example]:
    """Outlines of everyday sounds of speech, which ship with the device (training/ordinary_speech.py made them)."""
    with np.load(ORDINARY, allow_pickle=False) as kept:
        means, frames = kept["means"].astype(np.float32) * kept["scale"], kept["frames"]
    return [Example(int(n), (), outline_of(one, view)) for n, one in zip(frames, means, strict=True)]


def from_files(name: str, files: Sequence[str], network: Network) -> Call:
    """Learn from files: five or more with a sound each, or fewer that hold several one after the other.

    Raises BadDataError and MissingInputError for what can't be used.
    """
    manifest = network.package.manifest
    found: list[NDArray[np.float32]] = []
    for file in files:
        sounds = sounds_of(read_samples(file))
        if not sounds:
            raise BadDataError(
                f"{file}: no single sound of 0.1 to 2.5 s that stands out of the quiet around it; record it again"
            )
        found += [max(sounds, key=len)] if len(files) >= EXAMPLES else sounds
    examples = [example(sound, manifest.view, network.memory) for sound in found[:MOST_EXAMPLES]]
    return made(name, examples, manifest, unlike(network))


def sounds_of(samples: NDArray[np.int16]) -> list[NDArray[np.float32]]:
    """The single sounds (n, F) in a recording, as if it lay in the room's noise: its own quietest frames."""
    if len(samples) < SAMPLE_RATE // 10:
        return []
    frames = features(samples)
    quietest = frames[np.argsort(frames[:, LEVEL])[: max(10, len(frames) // 5)]]
    room = np.resize(quietest, (_ROOM_FRAMES, frames.shape[1]))
    return Segmenter().push(np.concatenate([room, frames, room]).astype(np.float32))


def from_microphone(name: str, config: Config, network: Callable[[], Network], output: Path | None, told: Told) -> Path:
    """Learn from the microphone, by the running service where there is one; where the call lies."""
    socket = Path(config.device.runtime_directory, control.SOCKET_NAME)
    answers = control.ask(socket, {"do": "enrol", "name": name}, PATIENCE_S + 30)
    if answers is None:
        collector, microphone = _listened(config, network(), told)
        return keep(collector.call(name), config, output, microphone)[1]
    for answer in answers:
        if "call" not in answer:
            told(int(str(answer["heard"])))
            continue
        if output is not None:
            keep(msgspec.convert(answer["call"], Call), config, output, str(answer["microphone"]))
        return output or Path(str(answer["path"]))
    raise OutcryError("the service ended while it listened; see its log")


def _listened(config: Config, network: Network, told: Told) -> tuple[Collector, str]:
    """Listen for the examples in the caller's own thread; and the microphone's name."""
    collector = Collector(network)

    def push(chunk: Chunk) -> None:
        before = len(collector.examples)
        collector.push(chunk)
        if len(collector.examples) > before:
            told(len(collector.examples))

    return collector, alone.learn(config.microphone, push, lambda: collector.done)


def keep(call: Call, config: Config, output: Path | None, microphone: str = "") -> tuple[CallBook, Path]:
    """Write the call beside those enrolled before, into `output` or the state directory; the book, where it lies."""
    path = files.place(output, Path(config.device.state_directory), callbook.FILE_NAME)
    try:
        book = callbook.load(path)
    except MissingInputError:
        book = CallBook(())
    # Calls of another package are dead numbers; they make room.
    alive = CallBook(tuple(one for one in book.calls if one.parameters == call.parameters))
    written = alive.written_in(call, microphone)
    callbook.save(written, path)
    return written, path


def words(name: str, path: Path) -> str:
    """What a person is told of it."""
    return f"{name!r} is enrolled, kept in {path}; try it: make the sound, with quiet before and after it"
