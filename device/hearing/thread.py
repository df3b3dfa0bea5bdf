"""The listening thread: what `Listening` hears goes down the road, step by step to whoever acts on it.

Deafness never ends the process; only a PortAudio call that hangs past its deadline does, for nothing but a new
process frees it. An error in the thread ends the thread and lies in `failure`: the service must end too, for a
device whose listening died must not look alive.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from device.audio import Chunk
from device.events import WearerKnown
from device.hearing.gate import SilenceGate
from device.hearing.listening import READ_TIMEOUT_S, Listening
from device.hearing.road import Heard, Road
from device.liveness import HearingReport
from device.settings.sections import MicrophoneSection
from device.voice.call import Caller
from device.voice.callbook import CallBook
from device.voice.learning import Apprentice
from device.wearer import Wearer


def gate_of(section: MicrophoneSection) -> SilenceGate | None:
    """The silence gate, where the configuration wants one."""
    return SilenceGate() if section.silence_gate else None


@dataclass(frozen=True)
class Pupillage:
    """How the device goes on learning its wearer's voice: what calm is, and who keeps what was learned."""

    calm: Callable[[], bool]
    """No alert or pre-alert is about, and nothing is enrolled or disarmed."""
    on_grown: Callable[[Wearer], None]


class Hearing:
    """One thread that reads and judges; everything else here is for any thread."""

    def __init__(
        self,
        listening: Listening,
        road: Road,
        on_heard: Callable[[Heard], None],
        wearer: Wearer | None = None,
        *,
        calls: CallBook | None = None,
        on_call: Callable[[float, str], None] = lambda t_s, name: None,
        pupil: Pupillage | None = None,
    ) -> None:
        self.failure: BaseException | None = None
        self.turned_at = time.monotonic()
        """When the thread last came round: it is stuck when this grows old."""
        self.latest: Heard | None = None
        self.road = road
        self.wearer_known: WearerKnown = _known(wearer, road)
        self.calls_known: WearerKnown = "none"
        self._enrolling_until = -float("inf")
        self._wearer = wearer
        self._calls = calls
        self._caller: Caller | None = None
        self._on_call = on_call
        self._pupillage = pupil
        self._apprentice: Apprentice | None = None
        self._taught: Wearer | None = None
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

    def heeds(self, calls: CallBook | None) -> None:
        """From the next chunk on these are the wearer's own calls."""
        self._calls, self._dress_anew = calls, True

    @property
    def enrolling(self) -> bool:
        """Whether examples of a call are being made: they raise no alert, and teach nothing of the voice."""
        return time.monotonic() < self._enrolling_until

    def enrol(self, for_s: float) -> None:
        """Heed no call for so long at most; 0 ends it."""
        self._enrolling_until = time.monotonic() + for_s

    @property
    def microphone_name(self) -> str:
        """The microphone in use, or the last one that was."""
        info = self._listening.microphone.info
        return info.name if info else ""

    def _dress(self) -> None:
        """Let the network know the wearer, if what was learned fits the package and this microphone."""
        self._dress_anew = False
        network, wearer = self.road.network, self._wearer
        self.wearer_known = _known(wearer, self.road, self.microphone_name)
        fits = self.wearer_known == "learned"
        network.wear(wearer if fits else None)
        self._teach(wearer if fits else None)
        self._listen_for_calls()
        self.road.ears = tuple(ear for ear in (self._caller, self._apprentice) if ear is not None)
        self.road.reset()

    def _teach(self, wearer: Wearer | None) -> None:
        """Go on learning from where this wearer is; after a gap, from where learning was."""
        if self._pupillage is None or wearer is None:
            self._apprentice = None
        elif self._apprentice is None or wearer is not self._taught:
            low_bar = self.road.decider.parameters.release
            self._apprentice = Apprentice(wearer, self.road.network.package.manifest.view, low_bar)
        self._taught = wearer

    def _listen_for_calls(self) -> None:
        manifest = self.road.network.package.manifest
        calls = self._calls.fitting(manifest) if self._calls else ()
        self.calls_known = "none" if not (self._calls and self._calls.calls) else "learned" if calls else "does_not_fit"
        self._caller = Caller(calls, manifest.view, self.road.network.memory) if calls else None

    def _hear(self, chunk: Chunk) -> None:
        if self._dress_anew or chunk.gap:
            self._dress()
        for eavesdropper in self._eavesdroppers:
            eavesdropper(chunk)
        for heard in self.road.push(chunk):
            self.latest = heard
            self._on_heard(heard)
            if self._apprentice is not None:
                self._learn_on(self._apprentice, heard)
        for name in self._caller.taken() if self._caller else ():
            if not self.enrolling:
                self._on_call(chunk.heard_at, name)

    def _learn_on(self, apprentice: Apprentice, heard: Heard) -> None:
        assert self._pupillage is not None
        calm = self._pupillage.calm() and not heard.decision.danger and not self.enrolling
        apprentice.judged(heard.t_s, heard.decision.score, calm=calm)
        grown = apprentice.grown(heard.t_s)
        if grown is not None:
            # The same apprentice goes on: it must not forget when the last danger was.
            self._wearer = self._taught = grown
            self._dress_anew = True
            self._pupillage.on_grown(grown)


def _known(wearer: Wearer | None, road: Road, microphone: str | None = None) -> WearerKnown:
    """What the state says of a wearer: whether it fits the package, and the microphone once that is known."""
    if wearer is None:
        return "none"
    return "learned" if wearer.fits(road.network.package.manifest.view, microphone) else "does_not_fit"
