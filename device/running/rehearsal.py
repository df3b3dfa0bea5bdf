"""The test alarm: a known clip takes the road of a scream, and the alert goes out as `test`, which disturbs nobody.

It passes features, network, decision, alarm, outbox and broker; a guardian's receipt closes the circle and sets
`last_proven`. The microphone itself is watched all the time by liveness.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec

from device.alarm import Alarm
from device.audio import SAMPLE_RATE, Chunk
from device.decision import DecisionParameters
from device.errors import BadDataError, OutcryError
from device.events import Receipt, Told
from device.hearing.road import Road
from device.installed_models import golden
from device.machine import board
from device.outbox import Outbox
from device.package import Package
from device.running.reporting import wall_now
from device.settings.sections import AlarmSection
from device.telling.evidence import evidence_of
from device.telling.faults import Faults

_log = logging.getLogger(__name__)

ANSWER_S = 120.0  # a test alarm that no guardian's client has answered by then is a fault
_CHUNK_SAMPLES = 1600
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Rehearsals:
    """The service's test alarms: when one is due, and whether a guardian's client has answered it."""

    def __init__(self, weekly: str, outbox: Outbox, faults: Faults, tell: Callable[[Told], object]) -> None:
        self._weekly = weekly
        self._outbox = outbox
        self._faults = faults
        self._tell = tell
        self._looked_at_unix_s = time.time()
        self._open: tuple[str, float] | None = None

    def is_due(self) -> bool:
        """Whether the weekly time has come since this was asked last; never while the clock is not set."""
        before, self._looked_at_unix_s = self._looked_at_unix_s, time.time()
        return board.clock_is_set() and is_due(self._weekly, before, self._looked_at_unix_s)

    def hold(self, package: Package, by: str) -> None:
        """Send one out; where it gets stuck, that is a fault."""
        try:
            told = rehearse(package, by)
        except OutcryError as error:
            self._faults.note("test alarm", str(error))
            return
        self._open = (told.id, time.monotonic())
        self._tell(told)

    def answered(self, receipt: Receipt) -> bool:
        """Whether this receipt is for the test alarm, which it proves."""
        if self._open is None or receipt.id != self._open[0]:
            return False
        self._open = None
        self._outbox.keep("last_proven", wall_now() or "")
        self._faults.note("test alarm", None)
        _log.info("the test alarm was received by %s", receipt.by or "a guardian")
        return True

    def look(self, now: float) -> None:
        """Tell where nobody has answered in time; an answer that comes late still proves it."""
        if self._open and now - self._open[1] > ANSWER_S:
            self._faults.note("test alarm", "no guardian's client has answered it")
            self._open = (self._open[0], float("inf"))


def rehearse(package: Package, by: str) -> Told:
    """Send the package's golden clip down the road; what is to be told. Raises BadDataError where it gets stuck."""
    golden.check(package)
    network = golden.open_network(package)
    peak = max(float(told[:, -1].max()) for told in package.golden.posteriors.values())
    # The clip is no scream: the bar is laid low enough for it, all else is as on the day it counts.
    road = Road(network, DecisionParameters(threshold=peak / 2, release=peak / 4, smooth_s=0.0, n=1, m=1))
    alarm = Alarm(msgspec.structs.replace(AlarmSection(), pre_alert_s=0.0))
    samples = package.golden.samples
    for start in range(0, len(samples), _CHUNK_SAMPLES):
        piece = samples[start : start + _CHUNK_SAMPLES]
        for heard in road.push(Chunk(piece, (start + len(piece)) / SAMPLE_RATE)):
            evidence = evidence_of(heard, package.manifest, road.decider.parameters.threshold)
            for effect in alarm.on_decision(heard.t_s, heard.decision, evidence):
                if isinstance(effect, Told) and effect.kind == "alert":
                    return replace(effect.rehearsed(), by=by, reason="test alarm")
    raise BadDataError("the test alarm's clip raised no alarm; run `outcry model verify`")


def is_due(weekly: str, before_unix_s: float, now_unix_s: float) -> bool:
    """Whether a weekly time such as "sun 12:00" (local) lies between two moments."""
    if not weekly or now_unix_s <= before_unix_s:
        return False
    day, clock = weekly.split()
    hour, minute = (int(part) for part in clock.split(":"))
    now = time.localtime(now_unix_s)
    since_s = ((now.tm_wday - _DAYS.index(day)) % 7 * 1440 + (now.tm_hour - hour) * 60 + now.tm_min - minute) * 60
    moment = now_unix_s - (since_s % (7 * 86_400)) - now.tm_sec
    return before_unix_s < moment <= now_unix_s
