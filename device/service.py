"""`outcry run`: wires the rooms together, supervises them, talks to systemd.

The main thread turns ten times a second: requests, button, commands, time, panel, state, watchdog. The listening
thread goes from sound to alarm. Both enter the alarm through one lock. When either dies the process ends and
systemd starts it again; lost hearing alone never ends it.
"""

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from device import __version__, control, events, homeassistant
from device import config as configuration
from device import outbox as outboxes
from device.alarm import Alarm
from device.broker import Broker
from device.config import Config
from device.control import Client, ControlServer
from device.errors import OutcryError
from device.events import NOTHING_HEARD, Command, Effect, Evidence, Note, Receipt, Told
from device.hearing.listening import listening_on
from device.hearing.road import Heard, Road, decision_parameters
from device.hearing.thread import Hearing, Pupillage, gate_of
from device.installed_models import chosen, golden
from device.installed_models.store import Store
from device.machine import position as gpsd
from device.machine.notify import Notifier
from device.panel import Panel
from device.running.desk import Desk
from device.running.memory import Memory, keep_standing, standing_before
from device.running.parts import Parts
from device.running.rehearsal import Rehearsals
from device.running.reporting import Reporter
from device.running.watch import Watch
from device.telling.evidence import evidence_of
from device.telling.faults import Faults
from device.telling.journal import Journal
from device.telling.teller import Teller
from device.voice.call import Debounce
from device.voice.callbook import CallBook

if TYPE_CHECKING:
    from device.telling.clip import ClipKeeper

_log = logging.getLogger(__name__)

TURN_S = 0.1
SLOW_LOOK_S = 10.0  # battery, supply and disk change slowly
STOP_LISTENING_S = 0.5
STOP_BROKER_S = 0.8  # with the above well under the two seconds that a stop may take


class Service:
    """Everything that `outcry run` is. Build it, then `run` it once."""

    def __init__(self, config: Config, notifier: Notifier | None = None) -> None:
        state = Path(config.device.state_directory)
        self.config = config
        self._notifier = notifier or Notifier()
        self._lock = threading.RLock()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._exit_code: int | None = None
        self._memory = Memory(state)
        self._store = Store(state)
        self.control = ControlServer(Path(config.device.runtime_directory, control.SOCKET_NAME), self._answer)
        self.outbox = outboxes.from_config(config)
        self.broker = self._made_broker()
        journal = Journal(state, config.privacy.journal_most_mb * 500_000)
        wake = self.broker.wake if self.broker else lambda: None
        self.gpsd = gpsd.from_config(config.position)
        position = self.gpsd.last if self.gpsd else lambda: None
        self.teller = Teller(config.device, self.outbox, journal, position=position, wake=wake)
        self.faults = Faults(self.teller.tell)
        self.clips = _made_clips(config)
        self.panel = Panel(
            config.panel,
            on_press=lambda count: self._soon(lambda: self._act(lambda now: self.alarm.press(now, count))),
            on_hold=lambda: self._soon(lambda: self._act(self.alarm.hold)),
            on_touch=lambda: self._soon(lambda: self._act(self.alarm.touch)),
        )
        self.alarm = Alarm(
            config.alarm, has_button=self.panel.has_button, guardians_known=bool(config.mqtt.guardian_keys)
        )
        self.parts = Parts(config, self.alarm, self.faults, self.outbox, self.panel, self.broker, self._notifier)
        self.reporter = Reporter(self.parts)
        self.watch = Watch(self.parts, self._store)
        self.desk = Desk(self.parts, self.reporter, obey=self._obey_local, soon=self._soon)
        self.rehearsals = Rehearsals(config.test_alarm.weekly, self.outbox, self.faults, self.teller.tell)
        self._debounce = Debounce()
        self._looked_at = -float("inf")

    @property
    def hearing(self) -> Hearing | None:
        """The listening thread; None where no package passes."""
        return self.parts.hearing

    # --- the life of it ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until SIGTERM, SIGINT or a fault that only a new process mends; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        try:
            self._start()
            while self._exit_code is None:
                self.control.serve(TURN_S)
                self._turn(time.monotonic())
        except OutcryError as error:
            _log.critical("%s", error)
            self._exit_code = error.code
        except Exception:  # noqa: BLE001  the supervisor: whatever it was, systemd starts us anew
            _log.critical("the main loop failed", exc_info=True)
            self._exit_code = OutcryError.code
        self._stop()
        return self._exit_code or 0

    def _start(self) -> None:
        with self._lock:
            self._carry_out(self.alarm.start(time.monotonic(), standing_before(self.outbox)))
        self.faults.note("panel", "; ".join(self.panel.problems) or None)
        if self.outbox.set_aside:
            # Told, not a standing fault: the new file works, only what the old one held is lost.
            reason = f"outbox: its file was damaged and begun anew; the old one is {self.outbox.set_aside.name}"
            self.teller.tell(Told("fault", events.new_id(), by="device", reason=reason))
        failed = self._store.starting()
        if failed:
            self.faults.note("model", f"{failed} did not become ready; the one before is in force again")
        try:
            self.parts.hearing = self._made_hearing()
        except OutcryError as error:
            self.parts.why_deaf = str(error)
            self.faults.note("hearing", str(error))
        if self.gpsd:
            self.gpsd.start()
        if self.broker:
            self.broker.start()
        if self.hearing:
            if self.clips:
                self.hearing.also_give(self.clips.heard)
            self.hearing.start()
        self._turn(time.monotonic())
        self._notifier.tell("READY=1")

    def _made_hearing(self) -> Hearing:
        refused: list[str] = []
        package = chosen.in_force(self.config, refused=refused.append)
        if refused:
            self.faults.note("model", f"{refused[0]}; {package.manifest.identity} is used")
        network = golden.open_network(package)
        road = Road(network, decision_parameters(package.manifest, self.config), gate_of(self.config.microphone))
        pupil = Pupillage(
            lambda: self.alarm.mode == "armed", lambda grown: self._soon(lambda: self._memory.grown(grown))
        )
        return Hearing(
            listening_on(self.config.microphone),
            road,
            self._on_heard,
            self._memory.wearer(),
            calls=self._calls_before(),
            on_call=self._on_call,
            pupil=pupil if self.config.wearer.learn else None,
        )

    def _calls_before(self) -> CallBook | None:
        try:
            return self._memory.calls()
        except OutcryError as error:
            self.faults.note("call", str(error))
            return None

    def _made_broker(self) -> Broker | None:
        mqtt = self.config.mqtt
        if not mqtt.host:
            return None
        return Broker(
            mqtt,
            self.config.device.name,
            self.outbox,
            on_command=lambda command: self._soon(lambda: self._command(command)),
            on_receipt=lambda receipt: self._soon(lambda: self._receipt(receipt)),
            password=configuration.mqtt_password(self.config),
            announcement=homeassistant.announcement(self.config, __version__),
            on_delivered=lambda row: self.control.wake(),
            on_refused=lambda words: self._soon(lambda: self._refused(words)),
        )

    def _stop(self) -> None:
        """Let go of everything within two seconds; what hangs is left to the end of the process."""
        self._notifier.tell("STOPPING=1")
        if self.hearing and not self.hearing.stop(STOP_LISTENING_S):
            _log.warning("a call into PortAudio hangs; it ends with the process")
        if self.clips:
            self.clips.silence()
        if self.broker:
            self.broker.stop(STOP_BROKER_S)
        self.panel.close()
        self.control.close()
        self.outbox.close()

    def _signalled(self, _: int, __: FrameType | None) -> None:
        self._exit_code = 0
        self.control.wake()

    def _answer(self, request: control.Message, client: Client) -> None:
        self.desk.answer(request, client)

    def _soon(self, call: Callable[[], None]) -> None:
        """Have the main thread call this with its next turn, which begins now; from any thread."""
        self._calls.put(call)
        self.control.wake()

    # --- one turn ---------------------------------------------------------------------------------------

    def _turn(self, now: float) -> None:
        while not self._calls.empty():
            self._calls.get()()
        self._act(self.alarm.tick)
        if self.clips:
            self.clips.tick(now)
        self._supervise(now)
        if now - self._looked_at >= SLOW_LOOK_S:
            self._looked_at = now
            self._look_around(now)
        self.reporter.report(now)
        self.watch.ping(now)

    def _act(self, enter: Callable[[float], list[Effect]]) -> None:
        """Enter the alarm, and carry out what comes of it."""
        with self._lock:
            self._carry_out(enter(time.monotonic()))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Note):
                _log.info("%s", effect.text)
                continue
            event = self.teller.tell(effect)
            if self.clips and event.kind in ("alert", "sos") and not event.repeat:
                self.clips.keep(event.id, time.monotonic())
        if effects:
            keep_standing(self.alarm.told_alert, self.outbox)
            self._listen_or_not()
            self.control.wake()

    def _on_heard(self, heard: Heard) -> None:
        """A step of the road; in the listening thread."""
        self._act(lambda now: self.alarm.on_decision(now, heard.decision, self._evidence(heard)))

    def _on_call(self, now: float, name: str) -> None:
        """The wearer's own call was heard; in the listening thread."""
        with self._lock:
            if not self._debounce.heeds(now, alerting=self.alarm.mode == "alert"):
                return
        _log.warning("the wearer's call %r was heard", name)
        self._act(lambda at: self.alarm.call(at, self._evidence(self.hearing.latest if self.hearing else None)))

    def _evidence(self, heard: Heard | None) -> Evidence:
        if self.hearing is None or heard is None:
            return NOTHING_HEARD
        road = self.hearing.road
        return evidence_of(heard, road.network.package.manifest, road.decider.parameters.threshold)

    def _listen_or_not(self) -> None:
        """Disarmed, the microphone is released."""
        if self.hearing:
            if self.alarm.mode == "disarmed":
                self.hearing.pause()
                if self.clips:
                    self.clips.silence()
            else:
                self.hearing.resume()

    def _supervise(self, now: float) -> None:
        code = self.watch.supervise(now)
        if code is not None:
            self._exit_code = code

    def _look_around(self, now: float) -> None:
        """What changes slowly; and the weekly test alarm."""
        self.watch.look_around()
        if self.rehearsals.is_due():
            self._test("the weekly time")
        self.rehearsals.look(now)

    # --- commands, receipts, tests ----------------------------------------------------------------------

    def _command(self, command: Command) -> None:
        if command.command == "test":
            self._test(command.by or "a guardian")
        else:
            self._act(lambda now: self.alarm.command(now, command))

    def _obey_local(self, command: Command) -> None:
        if command.command == "test":
            self._test(command.by)
        else:
            self._act(lambda now: self.alarm.command(now, command, local=True))

    def _receipt(self, receipt: Receipt) -> None:
        if not self.rehearsals.answered(receipt):
            self._act(lambda now: self.alarm.receipt(now, receipt))

    def _refused(self, words: str) -> None:
        self.teller.tell(Told("fault", events.new_id(), by="broker", reason=words))

    def _test(self, by: str) -> None:
        """A test alarm end to end; `last_proven` is set by a guardian's receipt."""
        if self.hearing is None:
            self.faults.note("test alarm", f"nothing listens: {self.parts.why_deaf}")
        else:
            self.rehearsals.hold(self.hearing.road.network.package, by)


def _made_clips(config: Config) -> "ClipKeeper | None":
    if not config.privacy.clip_public_key:
        return None
    # Imported here: PyNaCl costs a Pi a tenth of a second, and most keep no clips.
    from device.telling import clip

    return clip.from_config(config)


def run(config: Config) -> int:
    """Run the service; its exit code."""
    return Service(config).run()
