"""The one owner of the connection to the broker: what waits in the outbox goes out, commands come in.

One thread makes a Link, keeps it while it lasts and makes the next, for ever: a broker that is not there yet,
restarts, hangs, is replaced or refuses the password is only a reason to try again, said in words once. Identity
and order are the outbox's; a message without its PUBACK is sent again over the next link.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from device import events
from device.events import Command, Receipt, State
from device.machine import board
from device.mqtt.announcing import Announcement, Announcer
from device.mqtt.flight import MOST, Flight
from device.mqtt.guardians import Gate
from device.mqtt.incoming import Incoming
from device.mqtt.link import Link, Message
from device.mqtt.reasons import NOT_AUTHORISED, Complaints, LinkError, settings_of
from device.outbox import FIRST_ERROR_REASON, Outbox
from device.pending.waiting import Row
from device.settings.sections import MqttSection

log = logging.getLogger(__name__)

BACKOFF_LEAST_S: Final = 1.0
# While an alert waits nobody wants a minute to pass: try this often, whatever happened before.
BACKOFF_WITH_ALERT_S: Final = 5.0
# A link that lived no longer was none: it neither resets the back-off nor what has been said.
SHORT_LIFE_S: Final = 5.0
LONGEST_WAIT_S: Final = 5.0
# PUBACK: the broker took it, but nobody is subscribed just now.
NOBODY_SUBSCRIBED: Final = 16


class Broker:
    """Start it, tell it to `wake` when the outbox has something, stop it. Callbacks run in its thread."""

    def __init__(
        self,
        mqtt: MqttSection,
        device: str,
        outbox: Outbox,
        on_command: Callable[[Command], None],
        on_receipt: Callable[[Receipt], None],
        *,
        password: str | None = None,
        announcement: Announcement | None = None,
        on_delivered: Callable[[Row], None] | None = None,
        on_refused: Callable[[str], None] | None = None,
        wall: Callable[[], float | None] | None = None,
    ) -> None:
        """`on_delivered`: the broker has a row. `on_refused`: why a command or receipt did not count.

        `wall`: Unix seconds, or None while the clock is not set.
        """
        self.connected = False
        self._mqtt = mqtt
        self._base = f"outcry/{device}"
        self._outbox = outbox
        self._on_delivered = on_delivered or (lambda row: None)
        gate = Gate(device, mqtt.guardian_keys, outbox, wall or _wall)
        self._incoming = Incoming(gate, outbox, on_command, on_receipt, on_refused or (lambda text: None))
        self._announcer = Announcer(announcement, outbox)
        self._flight = Flight()
        self._settings = settings_of(mqtt, f"outcry-{device}", password, f"{self._base}/availability")
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._stopping = threading.Event()
        self._nudge = threading.Event()
        self._link: Link | None = None
        self._state: bytes | None = None
        self._state_is_new = False
        self._level: bytes | None = None
        self._complaints = Complaints(self._settings)

    @property
    def last_error(self) -> str | None:
        """What is wrong now, in words; None when nothing is."""
        return self._complaints.standing

    @property
    def alive(self) -> bool:
        """Whether the thread runs; if it does not although it was started, the process is to end."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._thread.start()

    def stop(self, deadline_s: float = 1.0) -> None:
        """Send what still goes out in time, say `offline`, and let go; what is left stays in the outbox."""
        self._deadline = time.monotonic() + deadline_s
        self._stopping.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(deadline_s)

    def wake(self) -> None:
        """Look at the outbox now; from any thread."""
        self._nudge.set()
        link = self._link
        if link is not None:
            link.wake()

    def publish_state(self, state: State) -> None:
        """Publish the state, retained; while there is no link only the last one is kept."""
        self._state, self._state_is_new = events.encode(state), True
        self.wake()

    def publish_level(self, danger: float, emotions: dict[str, float]) -> None:
        """Publish the level, if the configuration wants it; it is lost while there is no link."""
        if self._mqtt.level and self.connected:
            self._level = msgspec.json.encode({"danger": danger, "emotions": emotions})
            self.wake()

    # --- the thread ------------------------------------------------------------------------------------

    _deadline = 0.0

    def _run(self) -> None:
        wait_s = BACKOFF_LEAST_S
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._serve()
            except LinkError as error:
                end = error
            except Exception:  # This supervises the connection: without this thread nobody is ever told.
                log.critical("The connection to the broker failed by a fault of ours", exc_info=True)
                end = LinkError("the connection to the broker failed by a fault of ours; please report it")
            else:
                return
            wait_s = self._after(end, time.monotonic() - began, wait_s)
            self._pause(wait_s)
            wait_s = min(2 * wait_s, self._mqtt.backoff_most_s)

    def _after(self, end: LinkError, lived_s: float, wait_s: float) -> float:
        """Say why a link ended; return the seconds until the next."""
        lasted = self.connected and lived_s > SHORT_LIFE_S
        self.connected = False
        self._complaints.link_ended(end, lasted)
        if end.refused:
            return self._mqtt.backoff_most_s
        return BACKOFF_LEAST_S if lasted else wait_s

    def _serve(self) -> None:
        """One link from beginning to end. Raises LinkError unless we are told to stop."""
        link = Link(self._settings, self._on_message, self._on_published)
        self._flight.clear()
        try:
            link.open()
            self._link = link
            self._greet(link)
            self.connected = True
            self._complaints.connected()
            while not self._stopping.is_set():
                self._push(link)
                link.turn(self._sleep_s())
                self._settle()
                for topic_filter in link.denied_filters():
                    self._complaints.denied(f"the subscription to {topic_filter}", NOT_AUTHORISED)
                if self._flight.overdue():
                    raise LinkError(f"the broker at {self._settings.host} took a message and does not confirm it")
            self._farewell(link)
            self.connected = False
        finally:
            self._link = None
            link.close()
            self._settle()  # what the last turn brought before it failed

    def _greet(self, link: Link) -> None:
        """What every new link begins with, since a broker may have lost all it knew of us."""
        filters = [f"{self._base}/command", f"{self._base}/receipt", f"{self._base}/availability"]
        link.subscribe([*filters, *self._announcer.status_topics])
        self._send(link, f"{self._base}/availability", b"online", retain=True)
        self._state_is_new = self._state is not None
        self._announcer.greet()

    def _push(self, link: Link) -> None:
        """Send what is due, as much as may be in flight."""
        self._nudge.clear()
        flying = self._flight.rows
        for row in self._outbox.due(limit=MOST):
            if row.number not in flying and len(flying) < MOST:
                flying.add(row.number)
                self._send_row(link, row)
        if self._state_is_new and self._state is not None:
            self._state_is_new = False
            self._send(link, f"{self._base}/state", self._state, retain=True)
        if self._level is not None:
            level, self._level = self._level, None
            self._send(link, f"{self._base}/level", level, qos=0)
        self._announcer.announce(lambda topic, payload: self._send(link, topic, payload, retain=True))

    def _send_row(self, link: Link, row: Row) -> None:
        details: dict[str, Any] = {}
        if row.topic == "alert" or row.kind == "test":
            details = {"ResponseTopic": f"{self._base}/receipt", "CorrelationData": row.id.encode()}
        if row.expires_s is not None:
            details["MessageExpiryInterval"] = row.expires_s
        self._send(link, f"{self._base}/{row.topic}", row.payload, row=row, **details)

    def _send(
        self,
        link: Link,
        topic: str,
        payload: bytes,
        *,
        row: Row | None = None,
        qos: int = 1,
        retain: bool = False,
        **details: Any,
    ) -> None:
        if payload and topic != self._settings.will_topic:
            details["ContentType"] = "application/json"
        number = link.publish(topic, payload, qos=qos, retain=retain, PayloadFormatIndicator=1, **details)
        if qos:
            self._flight.sent(number, topic, row)

    def _sleep_s(self) -> float:
        """How long nothing of ours has to happen."""
        if self._nudge.is_set():
            return 0.0
        now = time.monotonic()
        wait_s = LONGEST_WAIT_S
        if self._announcer.due_at is not None:
            wait_s = min(wait_s, self._announcer.due_at - now)
        if self._flight:
            # A PUBACK wakes us; only its absence needs a clock.
            return min(wait_s, 1.0)
        due = self._outbox.next_due()
        return wait_s if due is None else min(wait_s, due - now)

    def _on_published(self, number: int, code: int) -> None:
        topic = self._flight.landed(number, code)
        if code >= FIRST_ERROR_REASON:
            self._complaints.denied(f"what is published on {topic}", code)
        elif topic:
            self._complaints.taken(f"what is published on {topic}")

    def _settle(self) -> None:
        """Note the PUBACKs that came together in one write: a card takes its time for each."""
        pubacks = self._flight.take_pubacks()
        if not pubacks:
            return
        unheard = {row.number for row, code in pubacks if code == NOBODY_SUBSCRIBED}
        for row in self._outbox.settle(pubacks):
            if row.topic == "alert" and row.number in unheard:
                log.warning("The broker has the %s, but nobody is subscribed to %s/alert", row.kind, self._base)
            self._on_delivered(row)

    def _on_message(self, message: Message) -> None:
        if message.topic in self._announcer.status_topics:
            if self._announcer.heard(message.payload):
                self._state_is_new = self._state is not None
        elif message.topic == f"{self._base}/availability":
            if message.payload == b"offline" and self._link is not None:
                # The will of an earlier link of ours, late.
                self._send(self._link, message.topic, b"online", retain=True)
        elif message.payload or not message.retained:
            self._incoming.heed(message)

    def _farewell(self, link: Link) -> None:
        """Let go in order: what is due, then `offline`, then their PUBACKs, as far as the deadline allows."""
        self._push(link)
        self._send(link, f"{self._base}/availability", b"offline", retain=True)
        # `offline` of our own, echoed, must not be answered with `online`.
        self._link = None
        while self._flight and (left_s := self._deadline - time.monotonic()) > 0:
            link.turn(min(left_s, 0.1))
            self._settle()
        link.close(max(0.0, self._deadline - time.monotonic()))

    def _pause(self, wait_s: float) -> None:
        """Wait before the next attempt, with jitter; a stop ends it, an alert that waits shortens it."""
        began, jitter = time.monotonic(), random.uniform(0.5, 1.0)
        while not self._stopping.is_set():
            wanted_s = min(wait_s, BACKOFF_WITH_ALERT_S) if self._outbox.alert_waits else wait_s
            left_s = began + jitter * wanted_s - time.monotonic()
            if left_s <= 0:
                return
            self._nudge.clear()
            self._nudge.wait(left_s)


def _wall() -> float | None:
    """Unix seconds, None while the clock is not set."""
    return time.time() if board.clock_is_set() else None
