"""What commands on this machine ask of the running service, over the control socket; in the main thread."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from device import calibration, enrol, forgetting
from device.audio import Chunk
from device.calibration import Pupil
from device.control import Client, Message
from device.errors import OutcryError, UsageError
from device.events import Command
from device.hearing.thread import Hearing
from device.running.parts import Parts
from device.running.reporting import Reporter


class _Ask(msgspec.Struct, frozen=True):
    """A request; which fields count depends on `do`."""

    do: str
    seconds: float = 60.0
    name: str = ""
    command: Command | None = None


class Desk:
    """Answers requests; `turn` ends those that take time."""

    def __init__(
        self,
        parts: Parts,
        reporter: Reporter,
        *,
        obey: Callable[[Command], None],
        soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self._parts = parts
        self._reporter = reporter
        self._obey = obey
        self._soon = soon

    def answer(self, request: Message, client: Client) -> None:
        """Answer a request, now or in a while. Raises OutcryError for what can't be done."""
        try:
            ask = msgspec.convert(request, _Ask)
        except msgspec.ValidationError as error:
            raise UsageError(f"the request can't be read: {error}") from error
        match ask.do:
            case "state":
                state = msgspec.to_builtins(self._reporter.state())
                client.end({"state": state, "faults": self._parts.faults.words()})
            case "listen":
                self._heard_by()
                self._reporter.watch(client)
            case "calibrate":
                self._calibrate(ask.seconds, client)
            case "enrol" if ask.name:
                self._enrol(ask.name, client)
            case "forget":
                said = forgetting.erase(Path(self._parts.config.device.state_directory), self._parts.outbox)
                if self._parts.hearing:
                    self._parts.hearing.knows(None)
                    self._parts.hearing.heeds(None)
                self._parts.faults.note("call", None)
                client.end({"said": said})
            case "command" if ask.command is not None:
                self._obey(ask.command)
                client.end({"done": ask.command.command})
            case other:
                raise UsageError(f"the service knows no request {other!r}; is it of another version?")

    def _heard_by(self) -> Hearing:
        if self._parts.hearing is None:
            raise OutcryError(f"the service does not listen: {self._parts.why_deaf}")
        return self._parts.hearing

    def _calibrate(self, seconds: float, client: Client) -> None:
        """Learn from what the service hears meanwhile; it goes on listening for danger."""
        hearing = self._heard_by()
        pupil = Pupil(seconds)
        told = False

        def hear(chunk: Chunk) -> None:
            nonlocal told
            pupil.push(chunk)
            if pupil.done and not told:
                told = True
                self._soon(lambda: self._learned(pupil, client, end))

        end = hearing.also_give(hear)

    def _learned(self, pupil: Pupil, client: Client, end: Callable[[], None]) -> None:
        end()
        hearing = self._heard_by()
        try:
            view = hearing.road.network.package.manifest.view
            learned = pupil.wearer(view, hearing.microphone_name)
            path = calibration.keep(learned, self._parts.config, None)
        except OutcryError as error:
            client.end({"error": str(error), "code": error.code})
            return
        hearing.knows(learned)
        client.end({"wearer": msgspec.to_builtins(learned), "path": str(path)})

    def _enrol(self, name: str, client: Client) -> None:
        """Gather examples of a call from what the service hears; it goes on listening for danger."""
        hearing = self._heard_by()
        if hearing.enrolling:
            raise UsageError("a call is being enrolled already; wait until that is done")
        collector = enrol.Collector(hearing.road.network)
        told = 0

        def hear(chunk: Chunk) -> None:
            nonlocal told
            if told < 0:
                return
            collector.push(chunk)
            heard = len(collector.examples)
            if collector.done:
                told = -1
                self._soon(lambda: self._enrolled(name, collector, client, end))
            elif heard > told:
                told = heard
                self._soon(lambda: client.send({"heard": heard}))

        hearing.enrol(enrol.PATIENCE_S + 5)
        end = hearing.also_give(hear)

    def _enrolled(self, name: str, collector: enrol.Collector, client: Client, end: Callable[[], None]) -> None:
        end()
        hearing = self._heard_by()
        hearing.enrol(0)
        microphone = hearing.microphone_name
        try:
            call = collector.call(name)
            book, path = enrol.keep(call, self._parts.config, None, microphone)
        except OutcryError as error:
            client.end({"error": str(error), "code": error.code})
            return
        hearing.heeds(book)
        self._parts.faults.note("call", None)
        client.end({"call": msgspec.to_builtins(call), "microphone": microphone, "path": str(path)})
