"""Listening in a command's own thread, where no service runs; the microphone opens at once or not at all."""

from collections.abc import Callable, Iterator

from device.audio import Chunk
from device.errors import MissingInputError
from device.hearing.listening import READ_TIMEOUT_S, listening_on
from device.hearing.road import Heard, Road
from device.liveness import HearingReport
from device.settings.sections import MicrophoneSection

PATIENCE_S = 5.0


def heard_now(section: MicrophoneSection, road: Road) -> Iterator[tuple[Heard, HearingReport]]:
    """Listen for a meter, without end. Raises what opening the microphone raises."""
    listening = listening_on(section)
    listening.microphone.open()
    try:
        while True:
            chunk = listening.read(READ_TIMEOUT_S)
            for heard in road.push(chunk) if chunk is not None else ():
                yield heard, listening.report
    finally:
        listening.close()


def learn(section: MicrophoneSection, push: Callable[[Chunk], None], done: Callable[[], bool]) -> str:
    """Hand over what is heard until it is enough; the microphone's name. Raises MissingInputError for no sound."""
    listening = listening_on(section)
    listening.microphone.open()
    silent_s = 0.0
    try:
        while not done():
            chunk = listening.read(READ_TIMEOUT_S)
            silent_s = 0.0 if chunk is not None else silent_s + READ_TIMEOUT_S
            if silent_s > PATIENCE_S:
                raise MissingInputError(f"no sound for {silent_s:g} s: {listening.report.words}")
            if chunk is not None:
                push(chunk)
        info = listening.microphone.info
        return info.name if info else ""
    finally:
        listening.close()
