"""The position: from a real gpsd where one is installed, else by its protocol."""

import json
import os
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.machine import position
from device.machine.position import Gpsd, fix_of
from device.settings.sections import PositionSection

TPV = {"class": "TPV", "mode": 3, "lat": 52.5, "lon": 13.4, "eph": 4.2}


def wait_for(fact: Callable[[], object], seconds: float = 5.0) -> object:
    ends_s = time.monotonic() + seconds
    while not (value := fact()) and time.monotonic() < ends_s:
        time.sleep(0.02)
    assert value
    return value


def test_it_is_off_unless_configured() -> None:
    assert position.from_config(PositionSection()) is None
    assert position.from_config(PositionSection(gpsd="localhost:2947")) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"class": "SKY"},
        {"mode": 1},
        {"mode": 0},
        {"mode": True},
        {"lat": 91},
        {"lon": -181},
        {"lat": "52"},
        {"lat": None},
        {"lon": float("nan")},
    ],
)
def test_what_is_no_fix_gives_none(wrong: dict[str, object]) -> None:
    assert fix_of(json.dumps(TPV).encode()) is not None
    assert fix_of(json.dumps(TPV | wrong).encode()) is None


@given(st.binary() | st.text().map(str.encode) | st.just(b"[" * 100_000))
def test_no_line_of_anybody_breaks_it(line: bytes) -> None:
    assert fix_of(line) is None


def test_an_absent_or_senseless_accuracy_is_left_out() -> None:
    for eph in (None, "x", -1, float("nan")):
        fix = fix_of(json.dumps(TPV | {"eph": eph}).encode())
        assert fix is not None
        assert fix.accuracy_m is None


class Spoken(socketserver.StreamRequestHandler):
    """Speaks one fix to whoever asks as gpsd wants to be asked, and goes away."""

    def handle(self) -> None:
        assert self.rfile.readline() == position.WATCH
        self.server.asked += 1  # type: ignore[attr-defined]
        fix = TPV | {"lat": 50.0 + self.server.asked}  # type: ignore[attr-defined]
        self.wfile.write(b'{"class":"VERSION"}\nnonsense\n' + json.dumps(fix).encode() + b"\n")


@pytest.fixture
def speaking() -> Iterator[socketserver.TCPServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Spoken) as server:
        server.asked = 0  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_fix_ages_and_a_link_that_ends_is_opened_again(speaking: socketserver.TCPServer) -> None:
    follower = Gpsd("127.0.0.1", speaking.server_address[1], retry_s=0.05)
    follower.start()
    try:
        wait_for(lambda: (fix := follower.last()) and fix.lat >= 53.0)
        follower.stop()
        fix = follower.last(time.monotonic() + 60)
        assert fix is not None
        assert (fix.lon, fix.accuracy_m) == (13.4, 4.2)
        assert 60 <= fix.age_s < 66
    finally:
        follower.stop()


def test_without_gpsd_there_is_no_position_and_one_line_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        follower = Gpsd("127.0.0.1", taken.getsockname()[1], retry_s=0.02)
        follower.start()
        time.sleep(0.3)
        follower.stop()
    assert follower.last() is None
    assert len([record for record in caplog.records if "gpsd at 127.0.0.1" in record.getMessage()]) == 1


def test_a_host_that_is_none_is_one_line_and_no_dead_thread(caplog: pytest.LogCaptureFixture) -> None:
    follower = Gpsd("a..b", 2947, retry_s=0.02)
    follower.start()
    time.sleep(0.2)
    assert follower._thread.is_alive()
    follower.stop()
    assert "gpsd at a..b:2947" in caplog.text


@pytest.mark.skipif(shutil.which("gpsd") is None, reason="no gpsd here (apt-get install gpsd)")
def test_a_real_gpsd_tells_where_its_receiver_is(tmp_path: Path) -> None:
    ours, receiver = os.openpty()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        ["gpsd", "-N", "-n", "-S", str(port), os.ttyname(receiver)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as gpsd:
        follower = Gpsd("127.0.0.1", port, retry_s=0.2)
        follower.start()

        def fixed() -> object:
            for sentence in ("GPGGA,{},5230.0000,N,01324.0000,E,1,08,0.9,35.0,M,46.9,M,,",
                             "GPGSA,A,3,01,02,03,04,05,06,07,08,,,,,1.5,0.9,1.2",
                             "GPRMC,{},A,5230.0000,N,01324.0000,E,000.0,000.0,211126,,"):  # fmt: skip
                body = sentence.format(time.strftime("%H%M%S.00", time.gmtime()))
                check = reduce(lambda sum_, byte: sum_ ^ byte, body.encode())
                os.write(ours, f"${body}*{check:02X}\r\n".encode())
            time.sleep(0.5)
            return follower.last()

        try:
            fix = wait_for(fixed, 20)
            assert (fix.lat, fix.lon) == pytest.approx((52.5, 13.4))  # type: ignore[attr-defined]
        finally:
            follower.stop()
            gpsd.terminate()
            os.close(ours)
            os.close(receiver)
