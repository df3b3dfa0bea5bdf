"""Listening that does not give up: a microphone, the judgement of its sound, the way back when it is lost.

    listening = Listening(Microphone(name), LivenessParameters(...))
    while running:
        chunk = listening.read(0.1)      # None: no live sound just now
        hearing = listening.report       # state, reasons, age; from any thread

`read` never takes longer than its timeout, whatever PortAudio does: opening and closing run beside it. While
hearing is lost it first reopens the stream, then enumerates anew with a fresh PortAudio, and goes on looking.
Only a call that misses its deadline ends this: `read` raises `SoundHangError`, and the process must end
(69, by `os._exit`, for the thread that hangs can't be joined).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from device.audio import Chunk
from device.errors import MissingInputError, SoundHangError
from device.liveness import HearingReport, Liveness, LivenessParameters
from device.settings.sections import MicrophoneSection
from device.sound.microphone import Microphone
from device.sound.portaudio import MicrophoneBusyError
from device.sound.server import SourceWatch

logger = logging.getLogger(__name__)

_WAITS_S = (0.5, 1.0, 2.0, 5.0)
"""Between attempts to open, the last one for ever: a microphone plugged in again is heard within seconds."""
_PATIENCE_S = 3.0
"""For an opened stream to prove itself before the next attempt."""
_ASK_SOURCE_EVERY_S = 60.0  # besides after every gap, which a moved stream always leaves
READ_TIMEOUT_S = 0.25  # for whoever reads in a loop


class Listening:
    """Owns a microphone. One thread reads; `report`, `pause`, `resume` and `close` are for any."""

    def __init__(
        self,
        microphone: Microphone,
        parameters: LivenessParameters | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.microphone = microphone
        self._clock = clock
        self._liveness = Liveness(parameters, clock())
        self._report = self._liveness.tick(clock())
        self._sources = SourceWatch()
        self._ask_source_at = 0.0
        self._step: _Step | None = None
        self._attempts = 0
        self._next_attempt_at = clock()
        self._gap = True
        self._paused = False
        self._lost_s = 0.0

    @property
    def report(self) -> HearingReport:
        """How hearing stood when `read` last returned."""
        return self._report

    def read(self, timeout_s: float) -> Chunk | None:
        """Give the next live chunk, or None after `timeout_s`; call it all the time, also while deaf.

        Raises:
            SoundHangError: PortAudio hangs; end the process.
        """
        until = self._clock() + timeout_s
        chunk = None
        if self._step is not None:
            self._step.finished.wait(timeout_s)
            self._end_step()
        elif self.microphone.opened and not self._paused:
            chunk = self._take(timeout_s)
        else:
            self._wait_for_attempt(until)
        self._judge()
        if self._step is None:
            self._begin_step()
        return chunk

    def pause(self) -> None:
        """Release the microphone because the wearer disarmed. Whoever pauses owes the resume."""
        self._paused = True

    def resume(self) -> None:
        """Listen again."""
        self._paused = False

    def close(self) -> None:
        """Release everything; to be called when nobody reads any more.

        Raises:
            SoundHangError: PortAudio hangs; `os._exit` is the only way out.
        """
        self._paused = True
        if self._step is not None:
            self._step.thread.join()
        self.microphone.close()

    def _take(self, timeout_s: float) -> Chunk | None:
        """Read a chunk and judge whether it is live."""
        chunk = self.microphone.read(timeout_s)
        now = self._clock()
        if self.microphone.lost_s > self._lost_s:
            self._lost_s = self.microphone.lost_s
            self._liveness.overflowed(now)
        if chunk is None:
            return None
        gap = chunk.gap
        if not self._liveness.heard(chunk):
            gap, chunk = True, None
        if gap:
            self._gap = True
            self._ask_source_at = now
        if chunk is not None and self._gap:
            self._gap, chunk = False, replace(chunk, gap=True)
        return chunk

    def _judge(self) -> None:
        """Renew the report, and log what became of it."""
        now = self._clock()
        if self._paused:
            # However long it lasts: listening begins anew when it is over.
            self._liveness.resumed(now)
            self._report = replace(self._report, state="suspect", reasons=("released",), detail="")
            return
        if self.microphone.opened and self._step is None:
            self._watch_source(now)
        before, self._report = self._report, self._liveness.tick(now)
        if before.state != self._report.state:
            level = logging.WARNING if self._report.state != "healthy" else logging.INFO
            logger.log(level, "%s, after %.1f s %s", self._report.words, now - before.since, before.state)
        if self._report.state == "healthy":
            self._attempts = 0
            self._next_attempt_at = now

    def _watch_source(self, now: float) -> None:
        """Ask the sound server now and then whether this is still the stream's source."""
        info = self.microphone.info
        if info is None or info.card is not None:  # a card of one's own can't be swapped
            return
        if now >= self._ask_source_at:
            self._sources.ask()
            self._ask_source_at = now + _ASK_SOURCE_EVERY_S
        moved = self._sources.moved()
        if moved is not None:
            self._liveness.moved(moved)

    def _wait_for_attempt(self, until: float) -> None:
        """Nothing is open: wait until the next attempt is due, or until the reader wants to go on."""
        wanted = until if self._paused else min(until, self._next_attempt_at)
        time.sleep(max(0.0, min(wanted, until) - self._clock()))

    def _begin_step(self) -> None:
        """Take the next step of recovery if it is due: release, reopen, or look anew."""
        now = self._clock()
        if self._paused:
            if self.microphone.opened:
                logger.info("the microphone is released")
                self._step = _Step(self.microphone.close, opens=False)
            return
        needed = self._report.deaf or not self.microphone.opened
        if not needed or now < self._next_attempt_at:
            return
        quick = self._attempts == 0 and self.microphone.opened
        if self._report.deaf:
            level = logging.INFO if self._attempts < len(_WAITS_S) else logging.DEBUG
            logger.log(level, "recovering: %s", "reopening the stream" if quick else "looking for it anew")
        self._step = _Step(self._reopen if quick else self._look_anew, opens=True)
        self._attempts += 1

    def _end_step(self) -> None:
        """Take note of what a step came to."""
        step, now = self._step, self._clock()
        if step is None or not step.finished.is_set():
            return
        self._step = None
        self._gap = True
        wait_s = _WAITS_S[min(self._attempts, len(_WAITS_S)) - 1]
        self._next_attempt_at = now + wait_s
        if isinstance(step.error, SoundHangError):
            self._report = replace(self._report, state="failed", reasons=("hung",), detail=str(step.error))
            raise step.error
        if isinstance(step.error, MissingInputError):
            busy = isinstance(step.error, MicrophoneBusyError)
            self._liveness.opening_failed("busy" if busy else "missing", str(step.error))
        elif step.error is not None:
            raise step.error
        elif step.opens:
            self._next_attempt_at = now + max(wait_s, _PATIENCE_S)
            self._liveness.stream_opened()
            self._sources.stream_opened()
            self._ask_source_at = now + 1.0
        else:  # released on purpose
            self._attempts, self._next_attempt_at = 0, now

    def _reopen(self) -> None:
        self.microphone.close_stream()
        self.microphone.open()

    def _look_anew(self) -> None:
        self.microphone.close()
        self.microphone.open()


class _Step:
    """One step of recovery, in a thread beside the reader; each PortAudio call in it has its deadline."""

    def __init__(self, call: Callable[[], None], opens: bool) -> None:
        self.opens = opens
        self.error: BaseException | None = None
        self.finished = threading.Event()
        self._call = call
        self.thread = threading.Thread(target=self._run, name="recovery step", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:  # noqa: BLE001 - raised again where it is read
            self.error = error
        finally:
            self.finished.set()


def listening_on(section: MicrophoneSection) -> Listening:
    """The microphone of the configuration, with the configured times of liveness."""
    microphone = Microphone(section.name, section.chunk_ms, section.rate_hz, section.call_deadline_s)
    parameters = LivenessParameters(
        suspect_after_s=section.suspect_after_s,
        deaf_after_s=section.recover_after_s,
        zeros_after_s=section.zeros_after_s,
    )
    return Listening(microphone, parameters)
