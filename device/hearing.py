"""The listening thread: what `Listening` hears goes down the road, step by step to whoever acts on it.

Deafness never ends the process; only a PortAudio call that hangs past its deadline does, for nothing but a new
process frees it. An error in the thread ends the thread and lies in `failure`: the service must end too, for a
device whose listening died must not look alive.
"""

import threading
import time
from collections.abc import Callable, Iterator

from device.audio import Chunk
from device.config import MicrophoneSection
from device.events import WearerKnown
from device.gate import SilenceGate
from device.listening import Listening
from device.liveness import HearingReport, LivenessParameters
from device.microphone import Microphone
from device.road import Heard, Road
from device.wearer import Wearer

READ_TIMEOUT_S = 0.25


def listening_on(section: MicrophoneSection) -> Listening:
    """The microphone of the configuration, with the configured times of liveness."""
    microphone = Microphone(section.name, section.chunk_ms, section.rate_hz, section.call_deadline_s)
    parameters = LivenessParameters(
        suspect_after_s=section.suspect_after_s,
        deaf_after_s=section.recover_after_s,
        zeros_after_s=section.zeros_after_s,
    )
    return Listening(microphone, parameters)


def gate_of(section: MicrophoneSection) -> SilenceGate | None:
    """The silence gate, where the configuration wants one."""
    return SilenceGate() if section.silence_gate else None


class Hearing:
    """One thread that reads and judges; everything else here is for any thread."""

    def __init__(
        self,
        listening: Listening,
        road: Road,
        on_heard: Callable[[Heard], None],
        wearer: Wearer | None = None,
    ) -> None:
        self.failure: BaseException | None = None
        self.turned_at = time.monotonic()
        """When the thread last came round: it is stuck when this grows old."""
        self.latest: Heard | None = None
        self.road = road
        self.wearer_known: WearerKnown = "none"
        self._wearer = wearer
        self._dress_anew = True
        self._listening = listening
        self._on_heard = on_heard
        self._stopping = threading.Event()
        self._eavesdroppers: tuple[Callable[[Chunk], None], ...] = ()
        self._thread = threading.Thread(target=self._run, name="listening", daemon=True)

    def start(self) -> None:
        """Begin to listen; returns at once, whether a microphone is there or not."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def report(self) -> HearingReport:
        """How hearing stood when the thread last came round."""
        return self._listening.report

    @property
    def stepped_at(self) -> float | None:
        """Monotonic time of the sound that the network, or the gate, last answered for."""
        return self.road.stepped_at

    @property
    def released(self) -> bool:
        """Whether the microphone is closed."""
        return not self._listening.microphone.opened

    def pause(self) -> None:
        """Release the microphone: the device is disarmed and hears nothing."""
        self._listening.pause()

    def resume(self) -> None:
        """Listen again."""
        self._listening.resume()

    def also_give(self, eavesdropper: Callable[[Chunk], None]) -> Callable[[], None]:
        """Hand every chunk to somebody else as well; returns the function that ends it."""
        self._eavesdroppers = (*self._eavesdroppers, eavesdropper)

        def end() -> None:
            self._eavesdroppers = tuple(one for one in self._eavesdroppers if one is not eavesdropper)

        return end

    def stop(self, timeout_s: float) -> bool:
        """Ask the thread to end and wait; False when it did not: a call into PortAudio hangs."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.turned_at = time.monotonic()
                chunk = self._listening.read(READ_TIMEOUT_S)
                if chunk is not None:
                    self._hear(chunk)
            self._listening.close()
        except BaseException as failure:  # noqa: BLE001  the supervisor in the main thread decides
            self.failure = failure

    def knows(self, wearer: Wearer | None) -> None:
        """From the next chunk on this is known of the wearer."""
        self._wearer, self._dress_anew = wearer, True

    @property
    def microphone_name(self) -> str:
        """The microphone in use, or the last one that was."""
        info = self._listening.microphone.info
        return info.name if info else ""

    def _dress(self) -> None:
        """Let the network know the wearer, if what was learned fits the package and this microphone."""
        self._dress_anew = False
        network, wearer = self.road.network, self._wearer
        fits = wearer is not None and wearer.fits(network.package.manifest.view, self.microphone_name)
        self.wearer_known = "none" if wearer is None else "learned" if fits else "does_not_fit"
        network.wear(wearer if fits else None)
        self.road.reset()

    def _hear(self, chunk: Chunk) -> None:
        if self._dress_anew or chunk.gap:
            self._dress()
        for eavesdropper in self._eavesdroppers:
            eavesdropper(chunk)
        for heard in self.road.push(chunk):
            self.latest = heard
            self._on_heard(heard)


def heard_now(section: MicrophoneSection, road: Road) -> Iterator[tuple[Heard, HearingReport]]:
    """Listen in the caller's own thread, for a meter, without end. Raises what opening the microphone raises."""
    listening = listening_on(section)
    listening.microphone.open()
    try:
        while True:
            chunk = listening.read(READ_TIMEOUT_S)
            for heard in road.push(chunk) if chunk is not None else ():
                yield heard, listening.report
    finally:
        listening.close()
