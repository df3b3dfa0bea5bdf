"""Whether the microphone opens, delivers, and delivers sound: two seconds of listening. For `doctor`."""

import time
from collections.abc import Iterator

import numpy as np

from device.checks.finding import Finding, fail, ok, warn
from device.errors import MissingInputError
from device.hearing.road import loudness_dbfs
from device.settings.sections import MicrophoneSection
from device.sound.microphone import Microphone

LISTEN_S = 2.0
_VERY_QUIET_DBFS = -85.0
_VERY_LOUD_DBFS = -6.0
_FULL_SCALE = 32_700
_DEAF = MissingInputError.code


def listen(section: MicrophoneSection) -> Iterator[Finding]:
    """What it delivers. Raises what opening the microphone raises."""
    microphone = Microphone(section.name, section.chunk_ms, section.rate_hz, section.call_deadline_s)
    microphone.open()
    try:
        until = time.monotonic() + LISTEN_S
        chunks = []
        while time.monotonic() < until:
            chunk = microphone.read(0.25)
            if chunk is not None:
                chunks.append(chunk)
        name = f"{microphone.info}, {microphone.format}"
    finally:
        microphone.close()
    if not chunks:
        yield fail("microphone", f"{name} opens but delivers nothing", "unplug it and plug it in again", _DEAF)
        return
    samples = np.concatenate([chunk.samples for chunk in chunks])
    level = float(np.median([loudness_dbfs(chunk.samples) for chunk in chunks]))
    if not samples.any():
        yield fail(
            "microphone", f"{name} delivers nothing but zeros", "is it muted? `alsamixer`, F4, raise Capture", _DEAF
        )
    elif np.ptp(samples.astype(np.int32)) == 0:
        yield fail("microphone", f"{name} delivers a constant and no sound", "another cable, port or microphone", _DEAF)
    elif level < _VERY_QUIET_DBFS:
        yield warn("microphone", f"{name} is very quiet: {level:.0f} dBFS", "raise Capture in `alsamixer`, F4")
    elif level > _VERY_LOUD_DBFS or (np.abs(samples.astype(np.int32)) > _FULL_SCALE).mean() > 0.01:
        yield warn("microphone", f"{name} is overdriven: {level:.0f} dBFS", "lower Capture in `alsamixer`, F4")
    else:
        yield ok("microphone", f"{name}: {level:.0f} dBFS")
