"""A day compressed: hours of sound through road, alarm, journal and outbox, and nothing may grow.

Half an hour by default; OUTCRY_SOAK_HOURS=24 takes a quarter of an hour of CPU.
"""

import io
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from device.alarm import Alarm
from device.audio import SAMPLE_RATE, Chunk
from device.bench import made_sound
from device.config import Config
from device.decision import DecisionParameters
from device.events import Receipt, Told
from device.hearing.gate import SilenceGate
from device.hearing.road import Road
from device.installed_models import chosen, golden
from device.outbox import Outbox
from device.settings.sections import AlarmSection, DeviceSection
from device.telling.evidence import evidence_of
from device.telling.journal import Journal
from device.telling.teller import Teller

HOURS = float(os.environ.get("OUTCRY_SOAK_HOURS", "0.5"))
CHUNK = 1600


def memory_mb() -> float:
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def sounds():
    """Ten minutes over and over: voice, a quiet room, silence."""
    noise = np.random.default_rng(5).normal(0, 30, 60 * SAMPLE_RATE).astype(np.int16)
    return np.concatenate([made_sound(60), noise, np.tile(made_sound(10), 6), noise, np.zeros_like(noise)])


@pytest.mark.timeout(7200)
def test_nothing_grows_in_a_long_run(tmp_path):
    config = Config()
    package = chosen.in_force(config)
    outbox = Outbox(tmp_path / "outbox.sqlite")
    journal = Journal(tmp_path, maximum_bytes=50_000)
    teller = Teller(DeviceSection(), outbox, journal, output=io.BytesIO())
    teller._output = open(os.devnull, "wb")  # noqa: SIM115
    # So easy that the made voice raises an alarm whenever it speaks.
    parameters = DecisionParameters(threshold=0.01, release=0.005, smooth_s=0.5, n=1, m=1)
    road = Road(golden.open_network(package), parameters, SilenceGate())
    alarm = Alarm(AlarmSection(pre_alert_s=1.0))
    sound, alerts, now = sounds(), 0, 0.0
    marks = []
    chunks = int(HOURS * 3600 * SAMPLE_RATE / CHUNK)
    for number in range(chunks):
        start = number * CHUNK % len(sound)
        now += CHUNK / SAMPLE_RATE
        gap = number % 9000 == 8999  # a hiccup every quarter of an hour
        effects = alarm.tick(now)
        for heard in road.push(Chunk(sound[start : start + CHUNK], now, gap)):
            evidence = evidence_of(heard, package.manifest, parameters.threshold)
            effects += alarm.on_decision(now, heard.decision, evidence)
        for effect in effects:
            if not isinstance(effect, Told):
                continue
            teller.tell(effect)
            if effect.kind == "alert":
                alerts += 1
                for row in outbox.due():
                    outbox.done(row)
                outbox.receipt(effect.id)
                alarm.receipt(now, Receipt(id=effect.id, kind="acknowledged"))
                for ended in alarm.press(now, 1):
                    teller.tell(ended)
        for row in outbox.due() if number % 50 == 0 else ():
            outbox.done(row)
        if number in (chunks // 5, chunks - 1):
            marks.append((memory_mb(), threading.active_count(), open_files(), outbox.depth + outbox.waiting))
    early, late = marks
    print(f"{HOURS} h: {alerts} alerts; memory, threads, files, queue: {early} -> {late}")
    outbox.close()
    assert alerts > HOURS * 4
    assert late[0] - early[0] < 3.0
    assert late[1:3] == early[1:3]
    assert late[3] <= 2
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2_000_000
