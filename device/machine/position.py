"""Where the wearer is, by gpsd's JSON over TCP: the last fix and its age. Opt-in; nothing else asks for it."""

import json
import logging
import socket
import threading
import time
from typing import Final

from device.events import Position
from device.settings.sections import PositionSection

log = logging.getLogger(__name__)

WATCH: Final = b'?WATCH={"enable":true,"json":true};\n'
CONNECT_S: Final = 5.0
QUIET_S: Final = 30.0  # gpsd speaks every second while a receiver works; longer silence means a dead link
RETRY_S: Final = 10.0
LINE_LIMIT_BYTES: Final = 1 << 16
TWO_DIMENSIONS: Final = 2  # gpsd's `mode` from which on there is a fix


class Gpsd:
    """Follows gpsd in a thread of its own, and asks again when it goes away."""

    def __init__(self, host: str, port: int, retry_s: float = RETRY_S) -> None:
        self._address = (host, port)
        self._retry_s = retry_s
        self._fix: tuple[float, Position] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="gpsd", daemon=True)

    def start(self) -> None:
        """Begin; returns at once, whether gpsd is there or not."""
        self._thread.start()

    def stop(self) -> None:
        """End without waiting; the thread is a daemon."""
        self._stopping.set()

    def last(self, now_s: float | None = None) -> Position | None:
        """Return the last fix with its age on the monotonic clock, None before the first."""
        fix = self._fix
        if fix is None:
            return None
        now_s = time.monotonic() if now_s is None else now_s
        at_s, position = fix
        return Position(
            lat=position.lat,
            lon=position.lon,
            age_s=round(max(0.0, now_s - at_s), 1),
            accuracy_m=position.accuracy_m,
        )

    def _follow(self) -> None:
        told = ""
        while not self._stopping.is_set():
            try:
                self._listen()
            except (OSError, UnicodeError) as error:  # the latter from a host name that is none
                if str(error) != told:
                    told = str(error)
                    log.warning("gpsd at %s:%d: %s; trying on", *self._address, error)
            self._stopping.wait(self._retry_s)

    def _listen(self) -> None:
        with socket.create_connection(self._address, CONNECT_S) as link:
            link.settimeout(QUIET_S)
            link.sendall(WATCH)
            with link.makefile("rb") as lines:
                while not self._stopping.is_set():
                    line = lines.readline(LINE_LIMIT_BYTES)
                    if not line:
                        raise ConnectionError("it closed the connection")
                    position = fix_of(line)
                    if position:
                        self._fix = (time.monotonic(), position)


def fix_of(line: bytes) -> Position | None:
    """Return the fix in one line of gpsd, None where it holds none (no TPV, no fix, or no JSON at all)."""
    try:
        report = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(report, dict) or report.get("class") != "TPV":
        return None
    lat, lon = _number(report, "lat", -90, 90), _number(report, "lon", -180, 180)
    if _number(report, "mode", TWO_DIMENSIONS, 3) is None or lat is None or lon is None:
        return None
    return Position(lat=lat, lon=lon, age_s=0.0, accuracy_m=_number(report, "eph", 0, 1e7))


def from_config(section: PositionSection) -> Gpsd | None:
    """Return the follower where gpsd is configured, None everywhere else."""
    if not section.gpsd:
        return None
    host, _, port = section.gpsd.rpartition(":")
    return Gpsd(host, int(port))


def _number(report: dict[str, object], key: str, least: float, most: float) -> float | None:
    value = report.get(key)
    # json knows NaN, which is within no range; True is an int to Python.
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
        return float(value)
    return None
