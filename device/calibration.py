"""`outcry calibrate`: learn the wearer's ordinary voice, from files or from the microphone.

Where the service runs it owns the microphone and the state directory: it listens and keeps what it learned.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from device import control, wearer
from device.audio import Chunk, read_samples
from device.config import Config
from device.errors import OutcryError
from device.features import FeatureStream, features
from device.hearing import alone
from device.installed_models import chosen
from device.machine import files
from device.view import ViewParameters
from device.wearer import Learner, Wearer


def view_in_force(config: Config, model_directory: Path | None) -> ViewParameters:
    """The view that means are learned for."""
    return chosen.in_force(config, model_directory).manifest.view


def from_files(files: Sequence[str], view: ViewParameters) -> Wearer:
    """Learn from sound files. Raises BadDataError and MissingInputError for what can't be used."""
    learner = Learner()
    for name in files:
        learner.push(features(read_samples(name)))
    return learner.wearer(view)


class Pupil:
    """Learns from chunks until it has heard for long enough."""

    def __init__(self, seconds: float) -> None:
        self._learner = Learner()
        self._features = FeatureStream()
        self._left_s = seconds

    @property
    def done(self) -> bool:
        """Whether it has heard for long enough."""
        return self._left_s <= 0

    @property
    def voiced_s(self) -> float:
        """Voice so far."""
        return self._learner.seconds

    def push(self, chunk: Chunk) -> None:
        """Take a chunk."""
        if chunk.gap:
            self._features.reset()
        if not self.done:
            self._left_s -= chunk.seconds
            self._learner.push(self._features.push(chunk.samples))

    def wearer(self, view: ViewParameters, microphone: str) -> Wearer:
        """What was learned. Raises BadDataError where it is too little."""
        return self._learner.wearer(view, microphone)


def from_microphone(config: Config, view: ViewParameters, seconds: float, output: Path | None) -> tuple[Wearer, Path]:
    """Learn from the microphone, by the running service where there is one."""
    socket = Path(config.device.runtime_directory, control.SOCKET_NAME)
    answers = control.ask(socket, {"do": "calibrate", "seconds": seconds}, seconds + 30)
    if answers is None:
        pupil = Pupil(seconds)
        microphone = alone.learn(config.microphone, pupil.push, lambda: pupil.done)
        learned = pupil.wearer(view, microphone)
        return learned, keep(learned, config, output)
    answer = next(answers, None)
    if answer is None:
        raise OutcryError("the service ended while it learned; see its log")
    learned = msgspec.convert(answer["wearer"], Wearer)
    if output is not None:
        wearer.save(learned, output)
    return learned, output or Path(str(answer["path"]))


def keep(learned: Wearer, config: Config, output: Path | None) -> Path:
    """Write what was learned, to `output` or into the state directory; where it lies."""
    path = files.place(output, Path(config.device.state_directory), wearer.FILE_NAME)
    wearer.save(learned, path)
    return path


def words(learned: Wearer, path: Path) -> str:
    """What a person is told of it."""
    more = "" if learned.enough else f"; more would be better ({wearer.ENOUGH_S:g} s of voice are enough)"
    return f"learned from {learned.seconds:.1f} s of voice, kept in {path}{more}"
