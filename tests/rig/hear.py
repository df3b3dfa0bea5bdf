"""Listen in a process of its own and say how it goes: JSON lines of the hearing report, for the rig's tests.

    python -m tests.rig.hear [--rate HZ] [--bits 16|32] [--channels 1|2] [--name NAME] [--deadline S]

A line for each change of state or reasons, and one every half second. Ends with 69 when PortAudio hangs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

import numpy as np

from device.errors import OutcryError
from device.hearing.listening import Listening
from device.sound.intake import StreamFormat
from device.sound.microphone import Microphone


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--bits", type=int, default=16)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--name", default="")
    parser.add_argument("--deadline", type=float, default=15.0)
    wanted = parser.parse_args()
    formats = (StreamFormat(wanted.rate, wanted.bits, wanted.channels),) if wanted.rate else ()
    microphone = Microphone(wanted.name, formats=formats, call_deadline_s=wanted.deadline)
    listening = Listening(microphone)
    shown, said_at, sound_s, gaps, power = None, 0.0, 0.0, 0, 0.0
    while True:
        try:
            called_at = time.monotonic()
            chunk = listening.read(0.1)
            read_s = time.monotonic() - called_at
        except OutcryError as error:
            print(json.dumps({"at": time.monotonic(), "error": str(error), "code": error.code}), flush=True)
            os._exit(error.code)
        if chunk is not None:
            sound_s += chunk.seconds
            gaps += chunk.gap
            power = float(np.mean((chunk.samples / 32_768.0) ** 2))
        report = listening.report
        now = time.monotonic()
        if (report.state, report.reasons) != shown or now - said_at >= 0.5:
            shown, said_at = (report.state, report.reasons), now
            line = {
                "at": now,
                "state": report.state,
                "reasons": report.reasons,
                "fault": report.fault,
                "age_s": round(report.age_s, 3),
                "sound_s": round(sound_s, 3),
                "gaps": gaps,
                "dropped_s": round(report.dropped_s, 3),
                "rms": round(power**0.5, 5),
                "read_s": round(read_s, 3),
                "format": str(microphone.format),
                "detail": report.detail,
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())
