"""`outcry run`: wires the rooms together, supervises them, talks to systemd.

The main thread turns ten times a second: requests, button, commands, time, panel, state, watchdog. The listening
thread goes from sound to alarm. Both enter the alarm through one lock. When either dies the process ends and
systemd starts it again; lost hearing alone never ends it.
"""

import fcntl
import logging
import queue
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import msgspec

from device import __version__, control, events, homeassistant, wearer
from device import config as configuration
from device import outbox as outboxes
from device.alarm import Alarm, Standing
from device.broker import Broker
from device.config import Config
from device.control import Client, ControlServer
from device.errors import MissingInputError, OutcryError, UsageError
from device.events import Command, Effect, Note, Receipt, Told
from device.hearing.road import Heard, Road, decision_parameters
from device.hearing.thread import Hearing, Pupillage, gate_of, listening_on
from device.installed import chosen, golden
from device.installed.store import Store
from device.machine import board
from device.machine import position as gpsd
from device.machine.notify import Notifier
from device.panel import Panel
from device.running import rehearsal
from device.running.desk import Desk
from device.running.reporting import Reporter, wall_now
from device.telling.evidence import evidence_of
from device.telling.faults import Faults
from device.telling.journal import Journal
from device.telling.teller import Teller
from device.voice import callbook
from device.voice.call import Debounce
from device.voice.callbook import CallBook
from device.wearer import Wearer

if TYPE_CHECKING:
    from device.telling.clip import ClipKeeper

_log = logging.getLogger(__name__)

TURN_S = 0.1
FRESH_S = 2.0  # a sound, and a step on it, must be younger for a ping of the watchdog
STUCK_S = 5.0  # the listening thread comes round four times a second, whatever PortAudio does
SLOW_LOOK_S = 10.0  # battery, supply and disk change slowly
STOP_LISTENING_S = 0.5
STOP_BROKER_S = 0.8  # with the above well under the two seconds that a stop may take
TEST_ANSWER_S = 120.0  # a test alarm that no guardian's client has answered by then is a fault


class Service:
    """Everything that `outcry run` is. Build it, then `run` it once."""

    def __init__(self, config: Config, notifier: Notifier | None = None) -> None:
        state = Path(config.device.state_directory)
        self.config = config
        self.hearing: Hearing | None = None
        self._notifier = notifier or Notifier()
        self._lock = threading.RLock()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._exit_code: int | None = None
        self._guard = _guard(state)
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
        self.reporter = Reporter(
            config=config,
            alarm=self.alarm,
            faults=self.faults,
            outbox=self.outbox,
            panel=self.panel,
            broker=self.broker,
            notifier=self._notifier,
        )
        self.desk = Desk(
            config=config,
            outbox=self.outbox,
            faults=self.faults,
            reporter=self.reporter,
            obey=self._obey_local,
            soon=self._soon,
        )
        self._debounce = Debounce()
        self._pinged_at = self._looked_at = -float("inf")
        self._looked_at_wall = time.time()
        self._trial_open = True
        self._tested: tuple[str, float] | None = None

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
            self._carry_out(self.alarm.start(time.monotonic(), self._standing_before()))
        self.faults.note("panel", "; ".join(self.panel.problems) or None)
        if self.outbox.set_aside:
            # Told, not a standing fault: the new file works, only what the old one held is lost.
            reason = f"outbox: its file was damaged and begun anew; the old one is {self.outbox.set_aside.name}"
            self.teller.tell(Told("fault", events.new_id(), by="device", reason=reason))
        failed = self._store.starting()
        if failed:
            self.faults.note("model", f"{failed} did not become ready; the one before is in force again")
        try:
            self.hearing = self._made_hearing()
        except OutcryError as error:
            self.reporter.why_deaf = str(error)
            self.faults.note("hearing", str(error))
        self.reporter.hearing = self.desk.hearing = self.hearing
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
        pupil = Pupillage(lambda: self.alarm.mode == "armed", lambda grown: self._soon(lambda: self._grown(grown)))
        return Hearing(
            listening_on(self.config.microphone),
            road,
            self._on_heard,
            self._wearer_before(),
            calls=self._calls_before(),
            on_call=self._on_call,
            pupil=pupil if self.config.wearer.learn else None,
        )

    def _calls_before(self) -> CallBook | None:
        try:
            return callbook.load(Path(self.config.device.state_directory, callbook.FILE_NAME))
        except MissingInputError:
            return None
        except OutcryError as error:
            self.faults.note("call", str(error))
            return None

    def _wearer_before(self) -> Wearer | None:
        try:
            return wearer.load(Path(self.config.device.state_directory, wearer.FILE_NAME))
        except MissingInputError:
            return None
        except OutcryError as error:
            _log.warning("%s", error)
            return wearer.UNREADABLE

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
        self._ping(now)

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
            self._keep_standing()
            self._listen_or_not()
            self.control.wake()

    def _on_heard(self, heard: Heard) -> None:
        """A step of the road; in the listening thread."""
        if self.hearing is None:
            return
        road = self.hearing.road
        evidence = evidence_of(heard, road.network.package.manifest, road.decider.parameters.threshold)
        self._act(lambda now: self.alarm.on_decision(now, heard.decision, evidence))

    def _on_call(self, now: float, name: str) -> None:
        """The wearer's own call was heard; in the listening thread."""
        with self._lock:
            if not self._debounce.heeds(now, alerting=self.alarm.mode == "alert"):
                return
        _log.warning("the wearer's call %r was heard", name)
        latest = self.hearing.latest if self.hearing else None
        if self.hearing is None or latest is None:
            self._act(self.alarm.call)
            return
        road = self.hearing.road
        evidence = evidence_of(latest, road.network.package.manifest, road.decider.parameters.threshold)
        self._act(lambda at: self.alarm.call(at, evidence))

    def _grown(self, grown: Wearer) -> None:
        """Keep what was learned on; unless it was forgotten, or learned anew, meanwhile."""
        path = Path(self.config.device.state_directory, wearer.FILE_NAME)
        try:
            before = wearer.load(path)
            if (before.start or before.means) == grown.start:
                wearer.save(grown, path)
        except OutcryError as error:
            _log.warning("what was learned of the wearer's voice is not kept: %s", error)

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
        """End the process where its listening or its connection died; tell deafness and its end."""
        if self.broker and not self.broker.alive:
            _log.critical("the connection's thread ended: nobody would be told")
            self._exit_code = OutcryError.code
        hearing = self.hearing
        if hearing is None:
            return
        if hearing.failure is not None or not hearing.alive:
            failure = hearing.failure
            self.faults.note("hearing", f"the listening thread ended: {failure}")
            _log.critical("the listening thread ended: %s", failure, exc_info=failure)
            self._exit_code = failure.code if isinstance(failure, OutcryError) else OutcryError.code
        elif self._stuck(now):
            self.faults.note("hearing", "the listening thread is stuck")
        elif self.alarm.mode == "disarmed":
            self.faults.note("hearing", None)
        else:
            report = hearing.report
            if report.fault or "hearing" not in self.faults or report.state == "healthy":
                words = report.words.removeprefix("hearing: ")
                self.faults.note("hearing", words if report.fault else None)
            if self._trial_open and report.state == "healthy":
                self._trial_open = False
                self._store.ready()

    def _stuck(self, now: float) -> bool:
        return self.hearing is not None and now - self.hearing.turned_at > STUCK_S

    def _look_around(self, now: float) -> None:
        """What changes slowly: outbox, battery, supply; and the weekly test."""
        self.outbox.retry()
        self.faults.note("outbox", self.outbox.problem)
        if self.hearing and self.hearing.calls_known != "none":
            lost = self.hearing.calls_known == "does_not_fit"
            self.faults.note("call", "enrolled with another model package: run `outcry enrol` again" if lost else None)
        battery = board.battery()
        low = battery is not None and not battery.charging and battery.charge < self.config.battery.warn_below
        self.faults.note("battery", f"{battery.charge:.0%} left: charge it" if battery and low else None)
        sagging = board.under_voltage()
        self.faults.note("supply", "under-voltage: use a better supply or cable" if sagging else None)
        before, self._looked_at_wall = self._looked_at_wall, time.time()
        if board.clock_is_set() and rehearsal.is_due(self.config.test_alarm.weekly, before, self._looked_at_wall):
            self._test("the weekly time")
        if self._tested and now - self._tested[1] > TEST_ANSWER_S:
            self.faults.note("test alarm", "no guardian's client has answered it")
            self._tested = (self._tested[0], float("inf"))  # an answer that comes late still proves it

    # --- the watchdog -----------------------------------------------------------------------------------

    def _ping(self, now: float) -> None:
        """Feed the watchdog, if what we say of ourselves is true."""
        wanted_s = self._notifier.watchdog_s
        if wanted_s and now - self._pinged_at >= wanted_s / 4 and self.truthful(now):
            self._pinged_at = now
            self._notifier.tell("WATCHDOG=1")

    def truthful(self, now: float) -> bool:
        """Whether the declared mode is true: listening needs fresh sound and a step on it; the rest, a fault shown."""
        if not self.panel.alive or self._stuck(now):
            return False
        if self.hearing is None:
            return "hearing" in self.faults
        if self.alarm.mode == "disarmed":
            return True
        report = self.hearing.report
        if report.deaf:
            return "hearing" in self.faults
        if "starting" in report.reasons:
            return True
        stepped_at = self.hearing.stepped_at
        return report.age_s < FRESH_S and stepped_at is not None and now - stepped_at < FRESH_S

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
        if self._tested and receipt.id == self._tested[0]:
            self._tested = None
            self.outbox.keep("last_proven", wall_now() or "")
            self.faults.note("test alarm", None)
            _log.info("the test alarm was received by %s", receipt.by or "a guardian")
        else:
            self._act(lambda now: self.alarm.receipt(now, receipt))

    def _refused(self, words: str) -> None:
        self.teller.tell(Told("fault", events.new_id(), by="broker", reason=words))

    def _test(self, by: str) -> None:
        """A test alarm end to end; `last_proven` is set by a guardian's receipt."""
        if self.hearing is None:
            self.faults.note("test alarm", f"nothing listens: {self.reporter.why_deaf}")
            return
        try:
            told = rehearsal.rehearse(self.hearing.road.network.package, by)
        except OutcryError as error:
            self.faults.note("test alarm", str(error))
            return
        self._tested = (told.id, time.monotonic())
        self.teller.tell(told)

    # --- what outlives a restart ------------------------------------------------------------------------

    def _keep_standing(self) -> None:
        """Note the alert that stands: only a person ends it, so it stands again after a restart."""
        standing = self.alarm.told_alert
        self.outbox.keep("standing", msgspec.json.encode(standing).decode() if standing else "")

    def _standing_before(self) -> Standing | None:
        kept = self.outbox.kept("standing")
        if kept:
            try:
                return msgspec.json.decode(kept, type=Standing)
            except msgspec.MsgspecError as error:
                _log.error("what was noted of the standing alert can't be read: %s", error)
        # Killed between the alert's row and this note: the row tells.
        latest = self.outbox.latest_alert()
        return Standing(latest) if latest else None


def _made_clips(config: Config) -> "ClipKeeper | None":
    if not config.privacy.clip_public_key:
        return None
    # Imported here: PyNaCl costs a Pi a tenth of a second, and most keep no clips.
    from device.telling import clip

    return clip.from_config(config)


def _guard(state: Path) -> object:
    """Hold the state directory for this process alone. Raises UsageError where another one runs."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (state / "lock").open("w")
    except OSError as error:
        _log.error("the state directory %s can't be written (%s): nothing outlives a restart", state, error)
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UsageError(
            f"another outcry runs with the state directory {state}; stop it, or set device.state_directory"
        ) from None
    return file


def run(config: Config) -> int:
    """Run the service; its exit code."""
    return Service(config).run()
