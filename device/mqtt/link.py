"""One connection to the broker over paho-mqtt: MQTT 5, TLS, will; its end always has a reason in words.

A Link lives from one CONNECT to its end and belongs to one thread. What is to survive it is the outbox's matter,
so paho's own queue and its reconnecting are not used.
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from device.mqtt.reasons import LinkError, Settings, in_words, reason_in_words, refusal, tls_context

# TCP and TLS each get this long; a broker that is there answers in well under a second.
CONNECT_TIMEOUT_S: Final = 5.0
# A broker that accepts and then says nothing is as good as none.
CONNACK_TIMEOUT_S: Final = 10.0
# Longer than the will's delay, so that a device that comes right back was never `offline`.
SESSION_EXPIRY_S: Final = 30
WILL_DELAY_S: Final = 10
# Commands and receipts are small; the broker keeps anything larger to itself.
LARGEST_PACKET_BYTES: Final = 16 << 10


class Message(msgspec.Struct, frozen=True):
    """What came in; `retained` also for a live message that was published with the retain flag."""

    topic: str
    payload: bytes
    retained: bool


class Link:
    """Call `open`, then `turn` again and again; both raise LinkError when it is over."""

    def __init__(
        self,
        settings: Settings,
        on_message: Callable[[Message], None],
        on_published: Callable[[int, int], None],
    ) -> None:
        self.up = False
        self._settings = settings
        self._on_message = on_message
        self._on_published = on_published
        self._messages: list[Message] = []
        self._published: list[tuple[int, int]] = []
        self._refusal: int | None = None
        self._ended: int | None = None
        self._denied_filters: list[str] = []
        self._filters: dict[int, list[str]] = {}
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._socket: Any = None
        self._client = self._made()

    def open(self) -> None:
        """Connect and wait for the broker's answer. Raises LinkError."""
        settings = self._settings
        try:
            if settings.tls:
                self._client.tls_set_context(tls_context(settings))
            properties = _properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
            properties.MaximumPacketSize = LARGEST_PACKET_BYTES
            self._client.connect(
                settings.host, settings.port, settings.keepalive_s, clean_start=True, properties=properties
            )
        except (OSError, ValueError) as error:
            raise LinkError(in_words(error, settings)) from error
        self._socket = self._client.socket()
        if self._socket is None:  # cut off within `connect` already
            raise self._why_ended()
        self._selector.register(self._socket, selectors.EVENT_READ)
        deadline = time.monotonic() + CONNACK_TIMEOUT_S
        while not self.up:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise LinkError(f"the broker at {settings.place} takes the connection but does not answer")
            self.turn(left_s)

    def turn(self, timeout_s: float) -> None:
        """Wait for traffic or `wake`, at most `timeout_s`, and deal with it. Raises LinkError at the end."""
        if self._client.socket() is None:  # it broke while something was sent
            raise self._why_ended()
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
        self._selector.modify(self._socket, wanted)
        for key, ready in self._selector.select(max(0.0, timeout_s)):
            if key.fileobj is self._wake_read:
                with contextlib.suppress(BlockingIOError):
                    self._wake_read.recv(4096)
            elif ready & selectors.EVENT_READ:
                self._read()
        if self._client.want_write():
            self._client.loop_write()
        self._client.loop_misc()
        self._hand_over()
        if self._ended is not None or self._client.socket() is None:
            raise self._why_ended()

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool, **properties: Any) -> int:
        """Send; return the number by which `on_published` tells the reason code. Properties by MQTT 5's names."""
        details = _properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(details, name, value)
        return self._client.publish(topic, payload, qos, retain, details).mid

    def subscribe(self, topic_filters: list[str]) -> None:
        """Subscribe, QoS 1, the retain flag left as published."""
        options = SubscribeOptions(qos=1, retainAsPublished=True)
        _, mid = self._client.subscribe([(topic_filter, options) for topic_filter in topic_filters])
        if mid is not None:
            self._filters[mid] = topic_filters

    def denied_filters(self) -> list[str]:
        """Return the topic filters that the broker has refused since the last call."""
        denied, self._denied_filters = self._denied_filters, []
        return denied

    def wake(self) -> None:
        """Make a waiting `turn` return; from any thread."""
        with contextlib.suppress(OSError):
            self._wake_write.send(b"x")

    def close(self, deadline_s: float = 0.0) -> None:
        """Say goodbye where the link is up, then let go of everything."""
        if self.up:
            with contextlib.suppress(OSError, ValueError):
                self._client.disconnect()
                until = time.monotonic() + deadline_s
                while self._client.want_write() and time.monotonic() < until:
                    self._client.loop_write()
        connected = self._client.socket()
        if connected is not None:
            with contextlib.suppress(OSError):
                connected.close()
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()
        self.up = False

    def _made(self) -> Client:
        settings = self._settings
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        if settings.username or settings.password:
            client.username_pw_set(settings.username or None, settings.password)
        if settings.will_topic:
            delay = _properties(PacketTypes.WILLMESSAGE)
            delay.WillDelayInterval = WILL_DELAY_S
            client.will_set(settings.will_topic, b"offline", qos=1, retain=True, properties=delay)
        client.on_connect = self._note_connect
        client.on_disconnect = self._note_disconnect
        client.on_message = self._note_message
        client.on_publish = self._note_publish
        client.on_subscribe = self._note_subscribe
        return client

    # paho calls these from within `turn`; they only take notes, so that nothing of ours runs inside paho.

    def _note_connect(self, _: Client, __: Any, ___: ConnectFlags, reason: ReasonCode, ____: Properties | None) -> None:
        if reason.is_failure:
            self._refusal = reason.value
        else:
            self.up = True

    def _note_disconnect(
        self, _: Client, __: Any, flags: DisconnectFlags, reason: ReasonCode, ____: Properties | None
    ) -> None:
        self._ended = reason.value if flags.is_disconnect_packet_from_server or reason.value == 141 else 0

    def _note_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self._messages.append(Message(message.topic, bytes(message.payload), message.retain))

    def _note_publish(self, _: Client, __: Any, mid: int, reason: ReasonCode, ___: Properties | None) -> None:
        self._published.append((mid, reason.value))

    def _note_subscribe(self, _: Client, __: Any, mid: int, reasons: list[ReasonCode], ___: Properties | None) -> None:
        wanted = self._filters.pop(mid, [])
        self._denied_filters += [name for name, reason in zip(wanted, reasons, strict=False) if reason.is_failure]

    def _read(self) -> None:
        """Read what is there; TLS may hold whole packets back that no selector sees."""
        while True:
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return
            pending = getattr(self._client.socket(), "pending", None)
            if pending is None or not pending():
                return

    def _hand_over(self) -> None:
        messages, self._messages = self._messages, []
        for message in messages:
            self._on_message(message)
        published, self._published = self._published, []
        for mid, code in published:
            self._on_published(mid, code)

    def _why_ended(self) -> LinkError:
        settings = self._settings
        place = settings.place
        was_up, self.up = self.up, False
        if self._refusal is not None:
            return refusal(self._refusal, settings)
        if self._ended:
            return LinkError(f"the broker at {place} ended the connection: {reason_in_words(self._ended)}")
        if was_up:
            return LinkError(f"the connection to the broker at {place} broke", abrupt=True)
        hints = (
            "the broker may want a client certificate (mqtt.cert_file)"
            if settings.tls
            else "it may want TLS (mqtt.tls)"
        )
        return LinkError(f"the broker at {place} closed the connection without an answer; {hints}")


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]
