"""The wearer's own call on a real microphone: enrolled through the running service, then heard by it."""

import json
import time

import numpy as np
import pytest

from tests.rig.broker import MISSING
from tests.rig.running import TOOLS, Running, ToldRig

pytestmark = [
    pytest.mark.rig,
    pytest.mark.skipif(bool(TOOLS or MISSING), reason=f"not installed: {', '.join([*TOOLS, *MISSING])}"),
    pytest.mark.timeout(240),
]
RATE = 16_000


@pytest.fixture
def sound():
    with ToldRig() as rig:
        yield rig


def hum() -> np.ndarray:
    """A hum of 0.8 s, and 1.5 s of quiet."""
    time_s = np.arange(int(0.8 * RATE)) / RATE
    swell = np.minimum(1, np.minimum(time_s, 0.8 - time_s) / 0.05)
    made = 0.15 * swell * sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 9))
    whole = np.concatenate([np.zeros(RATE // 2), made, np.zeros(RATE)])
    return ((whole + np.random.default_rng(0).normal(size=len(whole)) * 0.0005) * 32_767).astype(np.int16)


def test_a_call_is_enrolled_by_the_running_service_heard_by_it_and_forgotten(tmp_path, sound):
    sound.say(hum())
    with Running(tmp_path / "d", "", sound.environ) as device:
        device.hears("healthy")
        enrolled = device.command("enrol", "hum", timeout_s=120.0)
        assert enrolled.returncode == 0, enrolled.stderr
        assert "heard 4 of 5" in enrolled.stderr
        calls = tmp_path / "d" / "state" / "calls.json"
        assert calls.stat().st_mode & 0o777 == 0o600
        alert = device.wait_for("alert", reason="call")
        assert alert["repeat"] == 0
        time.sleep(8.0)  # the same call, made on and on, raises no second alert
        assert [event["id"] for event in device.events if event["kind"] == "alert"] == [alert["id"]]
        assert "listens for 'hum'" in device.command("doctor").stdout
        assert device.command("forget", "--yes").returncode == 0
        assert not calls.exists()


def test_where_no_service_runs_calibrate_and_enrol_listen_themselves(tmp_path, sound):
    sound.say(hum())
    alone = Running(tmp_path / "d", "", sound.environ)
    calls, learned = tmp_path / "calls.json", tmp_path / "wearer.json"
    enrolled = alone.command("enrol", "hum", "--output", str(calls), timeout_s=120.0)
    assert enrolled.returncode == 0, enrolled.stderr
    assert "heard 5 of 5" in enrolled.stderr
    calibrated = alone.command("calibrate", "--seconds", "8", "--output", str(learned), timeout_s=60.0)
    assert calibrated.returncode == 0, calibrated.stderr
    assert json.loads(calls.read_bytes())["calls"][0]["name"] == "hum"
    assert json.loads(learned.read_bytes())["seconds"] > 1.0
