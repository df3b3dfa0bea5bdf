"""What the service finds again after a restart: the alert that stands, the wearer's voice, the calls."""

import fcntl
import logging
from pathlib import Path

import msgspec

from device import wearer
from device.alarm import Standing
from device.errors import MissingInputError, OutcryError, UsageError
from device.outbox import Outbox
from device.voice import callbook
from device.voice.callbook import CallBook
from device.wearer import Wearer

_log = logging.getLogger(__name__)


class Memory:
    """The state directory, held for this process alone. Raises UsageError where another one runs."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._guard = _guard(state)

    def calls(self) -> CallBook | None:
        """The wearer's own calls. Raises BadDataError."""
        try:
            return callbook.load(self._state / callbook.FILE_NAME)
        except MissingInputError:
            return None

    def wearer(self) -> Wearer | None:
        """What was learned of the wearer's ordinary voice; `UNREADABLE` where the file is broken."""
        try:
            return wearer.load(self._state / wearer.FILE_NAME)
        except MissingInputError:
            return None
        except OutcryError as error:
            _log.warning("%s", error)
            return wearer.UNREADABLE

    def grown(self, grown: Wearer) -> None:
        """Keep what was learned on; unless it was forgotten, or learned anew, meanwhile."""
        path = self._state / wearer.FILE_NAME
        try:
            before = wearer.load(path)
            if (before.start or before.means) == grown.start:
                wearer.save(grown, path)
        except OutcryError as error:
            _log.warning("what was learned of the wearer's voice is not kept: %s", error)


def keep_standing(standing: Standing | None, outbox: Outbox) -> None:
    """Note the alert that stands: only a person ends it, so it stands again after a restart."""
    outbox.keep("standing", msgspec.json.encode(standing).decode() if standing else "")


def standing_before(outbox: Outbox) -> Standing | None:
    """The alert that stood when the process ended."""
    kept = outbox.kept("standing")
    if kept:
        try:
            return msgspec.json.decode(kept, type=Standing)
        except msgspec.MsgspecError as error:
            _log.error("what was noted of the standing alert can't be read: %s", error)
    # Killed between the alert's row and this note: the row tells.
    latest = outbox.latest_alert()
    return Standing(latest) if latest else None


def _guard(state: Path) -> object:
    """Hold the state directory for this process alone. Raises UsageError where another one runs."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (state / "lock").open("w")
    except OSError as error:
        _log.error("the state directory %s can't be written (%s): nothing outlives a restart", state, error)
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UsageError(
            f"another outcry runs with the state directory {state}; stop it, or set device.state_directory"
        ) from None
    return file
