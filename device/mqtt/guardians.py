"""What guardians may say to the device, and how it is checked: retained, stale, seen before, not signed.

Where guardians' public keys are configured only signed messages count, so a stolen broker password silences
nobody. docs/mqtt.md describes the signature for whoever writes a guardian's client.
"""

import base64
import binascii
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from device import events
from device.config import public_key_bytes
from device.errors import BadDataError
from device.events import Command, Receipt
from device.outbox import Outbox

# A command is for now: older or newer than this, by the clocks of both sides, it is not obeyed.
FRESH_S: Final = 60.0
# Commands a minute: each is noted on the card, and whoever has the password could wear it out.
MOST_A_MINUTE: Final = 30
MINUTE_S: Final = 60.0
# Stands for the newest alert where a client can't know ids (a button of Home Assistant).
LATEST: Final = "latest"


class RefusedError(Exception):
    """A message that is not heeded; its text says why, for log and `/event`."""


class _Addressed(msgspec.Struct, frozen=True):
    """The device for which a signed message is meant: else one for another device could be replayed here."""

    device: str = ""


class Gate:
    """Lets commands and receipts through, or says why not. What it has let through it remembers on disk."""

    def __init__(
        self,
        device: str,
        keys: Sequence[str],
        outbox: Outbox,
        wall: Callable[[], float | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._keys = [public_key_bytes(key) for key in keys]
        self._outbox = outbox
        self._wall = wall
        self._clock = clock
        self._came_at: deque[float] = deque(maxlen=MOST_A_MINUTE)

    @property
    def wants_signatures(self) -> bool:
        """Whether only signed messages count."""
        return bool(self._keys)

    def command(self, payload: bytes, retained: bool) -> Command:
        """Return a command that is to be obeyed. Raises RefusedError."""
        if retained:
            raise RefusedError("a retained command is never obeyed")
        try:
            command = events.decode_command(payload)
        except BadDataError as error:
            raise RefusedError(str(error)) from error
        key = self._signer(payload, command.sig)
        if key is not None:
            self._check_address(payload)
        at = self._fresh(command.at, needed=key is not None)
        now = self._clock()
        if len(self._came_at) == MOST_A_MINUTE and now - self._came_at[0] < MINUTE_S:
            raise RefusedError(f"more than {MOST_A_MINUTE} commands in a minute")
        self._came_at.append(now)
        if not self._outbox.first_use("command", command.id):
            raise RefusedError(f"command {command.id} was here before")
        # With an unset clock `at` proves nothing; that it rises keeps a recorded command from working twice.
        if key is not None and at is not None and not self._outbox.rises(f"at {key}", at):
            raise RefusedError("a command of this key with a later `at` was here before")
        return command

    def receipt(self, payload: bytes, retained: bool) -> Receipt:
        """Return a receipt that counts, `latest` turned into the alert's id. Raises RefusedError."""
        if retained:
            raise RefusedError("a retained receipt does not count")
        try:
            receipt = events.decode_receipt(payload)
        except BadDataError as error:
            raise RefusedError(str(error)) from error
        self._signer(payload, receipt.sig)
        if receipt.id != LATEST:
            return receipt
        self._fresh(receipt.at, needed=False)
        latest = self._outbox.latest_alert()
        if latest is None:
            raise RefusedError("no alert waits for a receipt")
        return msgspec.structs.replace(receipt, id=latest)

    def _signer(self, payload: bytes, signature: str | None) -> str | None:
        """Return the key that signed, in hexadecimal; None where no keys are configured."""
        if not self._keys:
            return None
        if not signature:
            raise RefusedError("it is not signed, and guardians' keys are configured")
        # Imported here: it costs a Pi a tenth of a second, and most have no keys.
        from nacl.exceptions import BadSignatureError
        from nacl.signing import VerifyKey

        try:
            raw = base64.b64decode(signature, validate=True)
        except binascii.Error:
            raw = b""
        signed = events.signed_part(payload)
        for key in self._keys:
            try:
                VerifyKey(key).verify(signed, raw)
            except (BadSignatureError, ValueError):
                continue
            return key.hex()
        raise RefusedError("its signature fits none of the guardians' keys")

    def _check_address(self, payload: bytes) -> None:
        try:
            meant_for = msgspec.json.decode(payload, type=_Addressed).device
        except msgspec.DecodeError:
            meant_for = ""
        if meant_for != self._device:
            raise RefusedError(f"it is signed for device {meant_for[:40]!r}")

    def _fresh(self, at: str | None, *, needed: bool) -> float | None:
        if at is None:
            if needed:
                raise RefusedError("a signed command needs `at`")
            return None
        try:
            moment = events.parse_at(at)
        except BadDataError as error:
            raise RefusedError(str(error)) from error
        now = self._wall()
        if now is not None and abs(now - moment) > FRESH_S:
            raise RefusedError(f"its `at` is {abs(now - moment):.0f} s off")
        return moment
