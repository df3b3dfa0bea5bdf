"""The test alarm: a known clip takes the road of a scream, and the alert goes out as `test`, which disturbs nobody.

It passes features, network, decision, alarm, outbox and broker; a guardian's receipt closes the circle and sets
`last_proven`. The microphone itself is watched all the time by liveness.
"""

import time
from dataclasses import replace

import msgspec

from device.alarm import Alarm
from device.audio import SAMPLE_RATE, Chunk
from device.decision import DecisionParameters
from device.errors import BadDataError
from device.events import Told
from device.hearing.road import Road
from device.installed import golden
from device.package import Package
from device.settings.sections import AlarmSection
from device.telling.evidence import evidence_of

_CHUNK_SAMPLES = 1600
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


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
