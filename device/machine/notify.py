"""What systemd is told: ready, status, watchdog (sd_notify(3), in a dozen lines of socket code)."""

import logging
import os
import socket
from collections.abc import Mapping

_log = logging.getLogger(__name__)


class Notifier:
    """Sends to systemd's socket; without systemd it does nothing."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of an abstract address.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        for_us = environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
        microseconds = environ.get("WATCHDOG_USEC", "") if for_us else ""
        self.watchdog_s = int(microseconds) / 1e6 if microseconds.isdigit() else 0.0
        """Seconds within which systemd wants a ping; 0 where no watchdog is set."""
        self._status = ""

    def tell(self, *lines: str) -> None:
        """Send assignments such as READY=1."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as end:
                end.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            _log.warning("systemd could not be told %s: %s", lines[0], error)

    def status(self, words: str) -> None:
        """Send the line that `systemctl status` shows, when it changed."""
        if words != self._status:
            self._status = words
            self.tell(f"STATUS={words}")
