"""Whether the service does what it says of itself: lost threads, deafness, heat and supply, systemd's watchdog."""

import logging

from device.errors import OutcryError
from device.hearing.thread import Hearing
from device.installed_models.store import Store
from device.machine import board
from device.running.parts import Parts

_log = logging.getLogger(__name__)

FRESH_S = 2.0  # a sound, and a step on it, must be younger for a ping of the watchdog
STUCK_S = 5.0  # the listening thread comes round four times a second, whatever PortAudio does


class Watch:
    """Looks after the parts of the service in the main thread, and tells their faults."""

    def __init__(self, parts: Parts, store: Store) -> None:
        self._parts = parts
        self._store = store
        self._trial_open = True
        self._pinged_at = -float("inf")

    def supervise(self, now: float) -> int | None:
        """Tell deafness and its end; the exit code where listening or connection died and the process has to end."""
        code = None
        if self._parts.broker and not self._parts.broker.alive:
            _log.critical("the connection's thread ended: nobody would be told")
            code = OutcryError.code
        hearing = self._parts.hearing
        if hearing is None:
            return code
        if hearing.failure is not None or not hearing.alive:
            failure = hearing.failure
            self._parts.faults.note("hearing", f"the listening thread ended: {failure}")
            _log.critical("the listening thread ended: %s", failure, exc_info=failure)
            return failure.code if isinstance(failure, OutcryError) else OutcryError.code
        if self._stuck(now):
            self._parts.faults.note("hearing", "the listening thread is stuck")
        elif self._parts.alarm.mode == "disarmed":
            self._parts.faults.note("hearing", None)
        else:
            self._judge(hearing)
        return code

    def _judge(self, hearing: Hearing) -> None:
        """Tell what the thread itself says of its hearing; a package on trial has passed once it is healthy."""
        report = hearing.report
        if report.fault or "hearing" not in self._parts.faults or report.state == "healthy":
            words = report.words.removeprefix("hearing: ")
            self._parts.faults.note("hearing", words if report.fault else None)
        if self._trial_open and report.state == "healthy":
            self._trial_open = False
            self._store.ready()

    def look_around(self) -> None:
        """What changes slowly: outbox, calls, battery, supply."""
        self._parts.outbox.retry()
        self._parts.faults.note("outbox", self._parts.outbox.problem)
        if self._parts.hearing and self._parts.hearing.calls_known != "none":
            lost = self._parts.hearing.calls_known == "does_not_fit"
            words = "enrolled with another model package: run `outcry enrol` again"
            self._parts.faults.note("call", words if lost else None)
        battery = board.battery()
        low = battery is not None and not battery.charging and battery.charge < self._parts.config.battery.warn_below
        self._parts.faults.note("battery", f"{battery.charge:.0%} left: charge it" if battery and low else None)
        sagging = board.under_voltage()
        self._parts.faults.note("supply", "under-voltage: use a better supply or cable" if sagging else None)

    def ping(self, now: float) -> None:
        """Feed the watchdog, if what we say of ourselves is true."""
        wanted_s = self._parts.notifier.watchdog_s
        if wanted_s and now - self._pinged_at >= wanted_s / 4 and self.truthful(now):
            self._pinged_at = now
            self._parts.notifier.tell("WATCHDOG=1")

    def truthful(self, now: float) -> bool:
        """Whether the declared mode is true: listening needs fresh sound and a step on it; the rest, a fault shown."""
        if not self._parts.panel.alive or self._stuck(now):
            return False
        if self._parts.hearing is None:
            return "hearing" in self._parts.faults
        if self._parts.alarm.mode == "disarmed":
            return True
        report = self._parts.hearing.report
        if report.deaf:
            return "hearing" in self._parts.faults
        if "starting" in report.reasons:
            return True
        stepped_at = self._parts.hearing.stepped_at
        return report.age_s < FRESH_S and stepped_at is not None and now - stepped_at < FRESH_S

    def _stuck(self, now: float) -> bool:
        return self._parts.hearing is not None and now - self._parts.hearing.turned_at > STUCK_S
