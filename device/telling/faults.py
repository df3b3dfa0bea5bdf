"""Faults that stand: each is told once when it begins and once when it is over. Pure."""

import logging
from collections.abc import Callable

from device import events
from device.alarm import DEVICE
from device.events import Told

_log = logging.getLogger(__name__)


class Faults:
    """What does not work just now, by the part that it befell."""

    def __init__(self, tell: Callable[[Told], object]) -> None:
        self._tell = tell
        self._standing: dict[str, tuple[str, str]] = {}

    def __bool__(self) -> bool:
        """Whether any fault stands."""
        return bool(self._standing)

    def __contains__(self, part: str) -> bool:
        """Whether a part's fault stands, and so was told."""
        return part in self._standing

    def words(self) -> list[str]:
        """What stands, a line each."""
        return [f"{part}: {words}" for part, (_, words) in self._standing.items()]

    def note(self, part: str, words: str | None) -> None:
        """Note how a part is: `words` for what is wrong, None for nothing. Tells where that is news."""
        standing = self._standing.get(part)
        if words and standing is None:
            identity = events.new_id()
            self._standing[part] = (identity, words)
            _log.warning("fault: %s: %s", part, words)
            self._tell(Told("fault", identity, by=DEVICE, reason=f"{part}: {words}"))
        elif words and standing is not None and words != standing[1]:
            # The same fault in other words: the state shows it, nobody is woken once more.
            self._standing[part] = (standing[0], words)
            _log.warning("fault: %s, now: %s", part, words)
        elif not words and standing is not None:
            del self._standing[part]
            _log.warning("recovered: %s", part)
            self._tell(Told("recovered", standing[0], by=DEVICE, reason=part))
