"""What the alarm tells becomes an Event and goes out: outbox first, for nothing may be lost; then all the rest."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import BinaryIO

from device import events
from device.events import Event, Position, Told
from device.machine import board
from device.outbox import Outbox
from device.settings.sections import DeviceSection
from device.telling.journal import Journal

_log = logging.getLogger(__name__)


class Teller:
    """Hands every Event to outbox, journal and standard output; callable from any thread."""

    def __init__(
        self,
        device: DeviceSection,
        outbox: Outbox,
        journal: Journal,
        *,
        position: Callable[[], Position | None] = lambda: None,
        wake: Callable[[], None] = lambda: None,
        output: BinaryIO | None = None,
    ) -> None:
        self._device = device
        self._outbox = outbox
        self._journal = journal
        self._position = position
        self._wake = wake
        self._output = output or sys.stdout.buffer
        self._output_lock = threading.Lock()

    def tell(self, told: Told) -> Event:
        """Tell one thing. When this returns, an event for others is in the outbox: on disk where it takes any."""
        event = told.event(
            self._device.name,
            at=events.format_at(time.time()) if board.clock_is_set() else None,
            place=self._device.place,
            position=self._position(),
        )
        if told.audience != "journal":
            self._outbox.add(event, told.audience)
            self._wake()
        self._journal.append(event)
        self._print(event)
        return event

    def _print(self, event: Event) -> None:
        with self._output_lock:
            try:
                self._output.write(events.encode(event) + b"\n")
                self._output.flush()
            except (OSError, ValueError) as error:
                # Nobody reads any more: the alarm goes on without.
                _log.warning("standard output takes no more events: %s", error)
                self._output = open("/dev/null", "wb")  # noqa: SIM115  kept for the life of the process
