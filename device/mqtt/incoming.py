"""What comes in from guardians goes to whoever heeds it; what is refused is said, but not as often as it comes."""

import logging
import time
from collections.abc import Callable
from typing import Final

from device.events import Command, Receipt
from device.mqtt.guardians import Gate, RefusedError
from device.mqtt.link import Message
from device.outbox import Outbox

log = logging.getLogger(__name__)

REFUSALS_TOLD_EVERY_S: Final = 60.0


class Incoming:
    """Hands commands and receipts on. `on_refused`: why one did not count."""

    def __init__(
        self,
        gate: Gate,
        outbox: Outbox,
        on_command: Callable[[Command], None],
        on_receipt: Callable[[Receipt], None],
        on_refused: Callable[[str], None],
    ) -> None:
        self._gate = gate
        self._outbox = outbox
        self._on_command = on_command
        self._on_receipt = on_receipt
        self._on_refused = on_refused
        self._refusal_told_at = float("-inf")

    def heed(self, message: Message) -> None:
        """A command or a receipt."""
        what = message.topic.rsplit("/", 1)[-1]
        try:
            if what == "command":
                self._on_command(self._gate.command(message.payload, message.retained))
            else:
                receipt = self._gate.receipt(message.payload, message.retained)
                self._outbox.receipt(receipt.id, by_client=receipt.kind == "received")
                self._on_receipt(receipt)
        except RefusedError as error:
            now = time.monotonic()
            if now - self._refusal_told_at >= REFUSALS_TOLD_EVERY_S:
                # Whoever has the broker's password could otherwise fill log and outbox.
                self._refusal_told_at = now
                log.warning("A %s was refused: %s", what, error)
                self._on_refused(f"{what} refused: {error}")
