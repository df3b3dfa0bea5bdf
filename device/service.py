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

import msgspec

from device import __version__, board, chosen, config as configuration, control, events, golden, outbox as outboxes
from device.alarm import Alarm, Standing
from device.broker import Broker
from device.config import Config
from device.control import Client, ControlServer
from device.errors import OutcryError, UsageError
from device.evidence import evidence_of, level_of
from device.events import Command, Effect, Note, Receipt, State, Told
from device.faults import Faults
from device.hearing import Hearing, gate_of, listening_on
from device.journal import Journal
from device.network import Network
from device.notify import Notifier
from device.panel import Panel, pattern_of
from device.road import Heard, Road, decision_parameters
from device.telling import Teller

_log = logging.getLogger(__name__)

TURN_S = 0.1
FRESH_S = 2.0  # a sound, and a step on it, must be younger for a ping of the watchdog
STUCK_S = 15.0  # longest time that a healthy listening thread may need to come round, all deadlines included
SLOW_LOOK_S = 10.0  # battery, supply and disk change slowly
STOP_LISTENING_S = 0.5
STOP_BROKER_S = 0.9  # with the above well under the two seconds that a stop may take


class Service:
    """Everything that `outcry run` is. Build it, then `run` it once."""

    def __init__(self, config: Config, notifier: Notifier | None = None) -> None:
        self.config = config
        self._notifier = notifier or Notifier()
        self._lock = threading.RLock()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._exit_code: int | None = None
        state = Path(config.device.state_directory)
        self._guard = _guard(state)
        self.outbox = outboxes.from_config(config)
        self.journal = Journal(state, config.privacy.journal_most_mb * 500_000)
        self.control = ControlServer(Path(config.device.runtime_directory, control.SOCKET_NAME), self._answer)
        self.broker = self._made_broker()
        self.teller = Teller(
            config.device, self.outbox, self.journal, wake=self.broker.wake if self.broker else lambda: None
        )
        self.faults = Faults(self.teller.tell)
        self.panel = Panel(
            config.panel,
            on_press=lambda count: self._soon(lambda: self._act(lambda now: self.alarm.press(now, count))),
            on_hold=lambda: self._soon(lambda: self._act(self.alarm.hold)),
            on_touch=lambda: self._soon(lambda: self._act(self.alarm.touch)),
        )
        self.alarm = Alarm(
            config.alarm, has_button=self.panel.has_button, guardians_known=bool(config.mqtt.guardian_keys)
        )
        self.network: Network | None = None
        self.hearing: Hearing | None = None
        self._no_hearing: str | None = None
        self._watchers: list[Client] = []
        self._published: State | None = None
        self._published_at = -float("inf")
        self._since = self._wall()
        self._pinged_at = -float("inf")
        self._looked_at = -float("inf")
        self._levelled_at = -float("inf")
        self._tested: str | None = None

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
        except Exception:
            _log.critical("the main loop failed", exc_info=True)
            self._exit_code = OutcryError.code
        self._stop()
        return self._exit_code or 0

    def _start(self) -> None:
        with self._lock:
            self._carry_out(self.alarm.start(time.monotonic(), self._standing_before()))
        try:
            self.hearing = self._made_hearing()
        except OutcryError as error:
            self._no_hearing = str(error)
            self.faults.note("model", self._no_hearing)
        if self.broker:
            self.broker.start()
        if self.hearing:
            self.hearing.start()
        self._turn(time.monotonic())
        self._notifier.tell("READY=1")

    def _made_hearing(self) -> Hearing:
        package = chosen.in_force(self.config)
        for warning in golden.check(package).warnings:
            _log.warning("%s", warning)
        self.network = golden.open_network(package)
        self.parameters = decision_parameters(package.manifest, self.config)
        road = Road(self.network, self.parameters, gate_of(self.config.microphone))
        return Hearing(listening_on(self.config.microphone), road, self._on_heard)

    def _made_broker(self) -> Broker | None:
        if not self.config.mqtt.host:
            return None
        return Broker(
            self.config.mqtt,
            self.config.device.name,
            self.outbox,
            on_command=lambda command: self._soon(lambda: self._command(command)),
            on_receipt=lambda receipt: self._soon(lambda: self._receipt(receipt)),
            password=configuration.mqtt_password(self.config),
            on_delivered=lambda row: self.control.wake(),
            on_refused=lambda words: self._soon(lambda: self._refused(words)),
        )

    def _stop(self) -> None:
        """Let go of everything within two seconds; what hangs is left to the end of the process."""
        self._notifier.tell("STOPPING=1")
        if self.hearing and not self.hearing.stop(STOP_LISTENING_S):
            _log.warning("a call into PortAudio hangs; it ends with the process")
        if self.broker:
            self.broker.stop(STOP_BROKER_S)
        self.panel.close()
        self.control.close()
        self.outbox.close()

    def _signalled(self, number: int, _: FrameType | None) -> None:
        self._exit_code = 0
        self.control.wake()

    def _soon(self, call: Callable[[], None]) -> None:
        """Have the main thread call this with its next turn, which begins now; from any thread."""
        self._calls.put(call)
        self.control.wake()

    # --- one turn ---------------------------------------------------------------------------------------

    def _turn(self, now: float) -> None:
        while not self._calls.empty():
            self._calls.get()()
        self._act(self.alarm.tick)
        self._supervise(now)
        if now - self._looked_at >= SLOW_LOOK_S:
            self._looked_at = now
            self._look_around()
        self._show()
        self._publish(now)
        self._ping(now)

    def _act(self, enter: Callable[[float], list[Effect]]) -> None:
        """Enter the alarm, and carry out what comes of it."""
        with self._lock:
            self._carry_out(enter(time.monotonic()))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Note):
                _log.info("%s", effect.text)
            else:
                self.teller.tell(effect)
        if effects:
            self._keep_standing()
            self._listen_or_not()
            self.control.wake()

    def _on_heard(self, heard: Heard) -> None:
        """A step of the road; in the listening thread."""
        if self.network is None:
            return
        evidence = evidence_of(heard, self.network.package.manifest, self.parameters.threshold)
        self._act(lambda now: self.alarm.on_decision(now, heard.decision, evidence))

    def _listen_or_not(self) -> None:
        """Disarmed, the microphone is released."""
        if self.hearing:
            if self.alarm.mode == "disarmed":
                self.hearing.pause()
            else:
                self.hearing.resume()

    def _supervise(self, now: float) -> None:
        """End the process where its listening died; tell deafness and its end."""
        hearing = self.hearing
        if hearing is None:
            return
        if hearing.failure is not None or not hearing.alive:
            failure = hearing.failure
            code = failure.code if isinstance(failure, OutcryError) else OutcryError.code
            self.faults.note("hearing", f"the listening thread ended: {failure}")
            _log.critical("the listening thread ended: %s", failure, exc_info=failure)
            self._exit_code = code
        elif self.alarm.mode == "disarmed":
            self.faults.note("hearing", None)
        elif self._stuck(now):
            self.faults.note("hearing", "the listening thread is stuck")
        else:
            report = hearing.report
            self.faults.note("hearing", report.words.removeprefix("hearing: ") if report.fault else None)

    def _stuck(self, now: float) -> bool:
        return self.hearing is not None and now - self.hearing.turned_at > STUCK_S

    def _look_around(self) -> None:
        """What changes slowly: outbox, battery, supply."""
        self.faults.note("outbox", self.outbox.problem)
        battery = board.battery()
        low = battery is not None and not battery.charging and battery.charge < self.config.battery.warn_below
        self.faults.note("battery", f"{battery.charge:.0%} left: charge it" if battery and low else None)
        sagging = board.under_voltage()
        self.faults.note("supply", "under-voltage: use a better supply or cable" if sagging else None)

    # --- what others see --------------------------------------------------------------------------------

    def _show(self) -> None:
        standing = self.alarm.standing
        self.panel.show(
            pattern_of(
                self.alarm.looks,
                delivered=standing is not None and self.outbox.status(standing.id) != "queued",
                received=standing is not None and standing.received,
                fault=bool(self.faults),
                asked=self.alarm.asked is not None,
            )
        )

    def state(self) -> State:
        """What the device is just now."""
        report = self.hearing.report if self.hearing else None
        battery = board.battery()
        return State(
            device=self.config.device.name,
            mode=self.alarm.public_mode,
            armed=self.alarm.mode != "disarmed",
            hearing=report.state if report else "failed",
            hearing_reason=(report.words if report.reasons else None) if report else self._no_hearing,
            audio_age_s=round(report.age_s, 1) if report else None,
            level_dbfs=None if report is None or report.level_dbfs is None else round(report.level_dbfs, 1),
            version=__version__,
            since=self._since,
            outbox_depth=self.outbox.depth,
            outbox=self.outbox.place,
            last_proven=self.outbox.kept("last_proven"),
            battery=battery.charge if battery else None,
            model=self.network.package.manifest.identity if self.network else None,
            wearer="none",
            throttled=board.throttled(),
        )

    def _publish(self, now: float) -> None:
        """Publish the state when what matters in it has changed, and every so often."""
        if now - self._published_at < TURN_S:
            return
        state, before = self.state(), self._published
        changed = before is None or _core(state) != _core(before)
        if changed:
            self._since = self._wall()
            state = msgspec.structs.replace(state, since=self._since)
            words = f"{state.mode}, hearing {state.hearing}"
            self._notifier.status("; ".join([words, *self.faults.words()]))
        if changed or now - self._published_at >= self.config.mqtt.state_every_s:
            self._published, self._published_at = state, now
            if self.broker:
                self.broker.publish_state(state)
        self._show_level(now, state)

    def _show_level(self, now: float, state: State) -> None:
        """Hand the latest reading to meters that watch, and once a second to `/level`."""
        heard = self.hearing.latest if self.hearing else None
        if heard is None or self.network is None:
            return
        manifest = self.network.package.manifest
        level = level_of(heard, manifest, self.parameters.threshold, state.mode, state.hearing)
        self._watchers = [client for client in self._watchers if not client.ending]
        for client in self._watchers:
            client.send(msgspec.to_builtins(level))
        if self.broker and now - self._levelled_at >= 1.0:
            self._levelled_at = now
            self.broker.publish_level(level.danger, level.emotions)

    def _ping(self, now: float) -> None:
        """Feed the watchdog, if what we say of ourselves is true."""
        wanted_s = self._notifier.watchdog_s
        if wanted_s and now - self._pinged_at >= wanted_s / 4 and self.truthful(now):
            self._pinged_at = now
            self._notifier.tell("WATCHDOG=1")

    def truthful(self, now: float) -> bool:
        """Whether the declared mode is true: listening needs fresh sound and a step on it, the rest a fault shown."""
        if not self.panel.alive or self._stuck(now):
            return False
        if self.hearing is None:
            return "model" in self.faults
        if self.alarm.mode == "disarmed":
            return True
        report = self.hearing.report
        if report.deaf:
            return "hearing" in self.faults
        if "starting" in report.reasons:
            return True
        stepped_at = self.hearing.stepped_at
        return report.age_s < FRESH_S and stepped_at is not None and now - stepped_at < FRESH_S

    # --- commands ---------------------------------------------------------------------------------------

    def _command(self, command: Command, *, local: bool = False) -> None:
        if command.command == "test":
            self._test(command)
        else:
            self._act(lambda now: self.alarm.command(now, command, local=local))

    def _receipt(self, receipt: Receipt) -> None:
        if receipt.id == self._tested:
            self._tested = None
            if at := self._wall():
                self.outbox.keep("last_proven", at)
            _log.info("the test alarm was received by %s", receipt.by or "a guardian")
            return
        self._act(lambda now: self.alarm.receipt(now, receipt))

    def _refused(self, words: str) -> None:
        self.teller.tell(Told("fault", events.new_id(), by="broker", reason=words))

    def _test(self, command: Command) -> None:
        """A test alarm: the golden clip through the network, then alarm, broker and a guardian's receipt."""
        raise NotImplementedError

    def _answer(self, request: control.Message, client: Client) -> None:
        """What a command on this machine asks; in the main thread."""
        match request.get("do"):
            case "state":
                client.end({"state": msgspec.to_builtins(self.state()), "faults": self.faults.words()})
            case "listen":
                if self.hearing is None:
                    raise UsageError(f"the service does not listen: {self._no_hearing}")
                self._watchers.append(client)
            case other:
                raise UsageError(f"the service knows no request {other!r}; is it of another version?")

    # --- what outlives a restart ------------------------------------------------------------------------

    def _keep_standing(self) -> None:
        """Note the alert that stands: only a person ends it, so it stands again after a restart."""
        standing = self.alarm.told_alert
        self.outbox.keep("standing", msgspec.json.encode(standing).decode() if standing else "")

    def _standing_before(self) -> Standing | None:
        kept = self.outbox.kept("standing")
        if kept:
            return msgspec.json.decode(kept, type=Standing)
        # Killed between the alert's row and this note: the row tells.
        latest = self.outbox.latest_alert()
        return Standing(latest) if latest else None

    def _wall(self) -> str | None:
        return events.format_at(time.time()) if board.clock_is_set() else None


def _core(state: State) -> State:
    """The state without what changes all the time."""
    return msgspec.structs.replace(state, audio_age_s=None, level_dbfs=None, since=None)


def _guard(state: Path) -> object:
    """Hold the state directory for this process alone. Raises UsageError where another one runs."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        file = (state / "lock").open("w")
    except OSError as error:
        _log.error("the state directory %s can't be written (%s): nothing outlives a restart", state, error)
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(
            f"another outcry runs with the state directory {state}; stop it, or set device.state_directory"
        ) from None
    return file


def run(config: Config) -> int:
    """Run the service; its exit code."""
    return Service(config).run()
