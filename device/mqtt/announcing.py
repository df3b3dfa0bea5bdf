"""What is announced to somebody who says `online` at his own start and then wants it again: Home Assistant."""

import random
import time
from collections.abc import Callable
from typing import Final

import msgspec

from device.outbox import Outbox

# Whoever starts asks everybody at once: do not all answer at once.
ANNOUNCE_AFTER_S: Final = (1.0, 5.0)
_KEPT: Final = "announced"


class Announcement(msgspec.Struct, frozen=True):
    """A retained message and the topic on which its reader says that he starts.

    An empty payload takes back what was published on the topic before.
    """

    topic: str
    payload: bytes
    status_topic: str


class Announcer:
    """Knows when the announcement is due, and what was announced before, across restarts."""

    def __init__(self, announcement: Announcement | None, outbox: Outbox) -> None:
        self.due_at: float | None = None
        """When `announce` is to be called, by the monotonic clock."""
        self._announcement = announcement
        self._outbox = outbox

    @property
    def status_topics(self) -> list[str]:
        """The topics to subscribe to, for `heard`."""
        announced = self._announcement
        return [announced.status_topic] if announced is not None and announced.payload else []

    def greet(self) -> None:
        """A new link: announce at once, for the broker may have lost all it knew."""
        self.due_at = time.monotonic()

    def heard(self, payload: bytes) -> bool:
        """What came on the status topic; whether its reader starts and will hear of us in a moment."""
        if payload != b"online":
            return False
        self.due_at = time.monotonic() + random.uniform(*ANNOUNCE_AFTER_S)
        return True

    def announce(self, publish: Callable[[str, bytes], None]) -> None:
        """Publish, retained, what is due; what was announced on another topic is taken back."""
        if self.due_at is None or time.monotonic() < self.due_at:
            return
        self.due_at = None
        announcement, last = self._announcement, self._outbox.kept(_KEPT)
        if last and (announcement is None or announcement.topic != last or not announcement.payload):
            publish(last, b"")
            self._outbox.keep(_KEPT, "")
        if announcement is not None and announcement.payload:
            publish(announcement.topic, announcement.payload)
            self._outbox.keep(_KEPT, announcement.topic)
