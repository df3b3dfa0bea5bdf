"""Why there is no connection to the broker, in words for people, and the settings that the words name."""

import logging
import socket
import ssl
from typing import Final

import msgspec

from device.errors import ConfigError
from device.settings.sections import MqttSection

log = logging.getLogger(__name__)

CONNECTED: Final = "connected"
# Links that broke soon after they were up, in a row: so it looks when two clients with one id fight.
RIVAL_AFTER: Final = 2
RIVAL: Final = (
    "the connection breaks again and again right after it is made: another client probably uses the client id"
    " {client_id} (or the broker can't serve it); give every device its own device.name"
)
REASONS: Final = {
    128: "an unspecified error",
    129: "a malformed packet",
    130: "a protocol error",
    131: "an error of the broker's own",
    132: "it does not speak MQTT 5",
    133: "it does not accept the client id",
    134: "wrong user name or password",
    135: "not authorised",
    136: "it is not available",
    137: "it is busy",
    138: "this client is banned",
    139: "it is shutting down",
    141: "no sign of life for too long",
    142: "another client took over with the same client id; give every device its own device.name",
    143: "a topic filter it does not accept",
    144: "a topic name it does not accept",
    147: "too many messages at once",
    149: "a packet too large for it",
    150: "too many messages for it",
    151: "its quota is exceeded",
    152: "an administrator ended the connection",
    153: "a payload format it does not accept",
    154: "it keeps no retained messages",
    155: "it has no QoS 1",
    156: "another broker is to be used",
    157: "the broker has moved",
    159: "too many connections in a short time",
    160: "a time limit of its own",
}
NOT_AUTHORISED: Final = 135
WRONG_PASSWORD: Final = frozenset({134, NOT_AUTHORISED})


class LinkError(Exception):
    """The connection could not be made, or ended. `refused`: trying again soon is pointless."""

    def __init__(self, words: str, *, refused: bool = False, abrupt: bool = False) -> None:
        super().__init__(words)
        self.refused = refused
        # It ended without a word after it had been up: what a rival with the same client id looks like.
        self.abrupt = abrupt


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the broker is and how one gets in."""

    host: str
    port: int
    client_id: str
    tls: bool = True
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password: str | None = None
    keepalive_s: int = 15
    will_topic: str = ""

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return f"{self.host}:{self.port}"


def settings_of(mqtt: MqttSection, client_id: str, password: str | None, will_topic: str = "") -> Settings:
    """The settings of the configuration, for a client of this name."""
    return Settings(
        host=mqtt.host,
        port=mqtt.port or (8883 if mqtt.tls else 1883),
        client_id=client_id,
        tls=mqtt.tls,
        ca_file=mqtt.ca_file,
        cert_file=mqtt.cert_file,
        key_file=mqtt.key_file,
        username=mqtt.username,
        password=password,
        keepalive_s=mqtt.keepalive_s,
        will_topic=will_topic,
    )


class Complaints:
    """What is wrong with the broker, logged once for as long as no link has lasted."""

    def __init__(self, settings: Settings) -> None:
        self.standing: str | None = None
        self._settings = settings
        self._said: set[str] = set()
        self._denied: set[str] = set()
        self._breaks = 0

    def connected(self) -> None:
        """A link is up."""
        self.standing = None
        if CONNECTED not in self._said:
            log.info("Connected to the broker at %s", self._settings.place)
            self._said.add(CONNECTED)

    def link_ended(self, error: LinkError, lasted: bool) -> None:
        """A link could not be made, or ended; `lasted`: it had been up for a while."""
        if lasted:
            self._said.clear()
        words = str(error)
        self._breaks = self._breaks + 1 if error.abrupt and not lasted else 0
        if self._breaks >= RIVAL_AFTER:
            words = RIVAL.format(client_id=self._settings.client_id)
        if words not in self._said:
            log.warning("MQTT: %s; it is tried on and on", words)
            # Whatever comes next is news again, the connection too.
            self._said = (self._said - {CONNECTED}) | {words}
        self.standing = words

    def denied(self, what: str, code: int) -> None:
        """The broker refuses one publication or subscription."""
        why = "its ACL denies it" if code == NOT_AUTHORISED else reason_in_words(code)
        self.standing = f"the broker does not take {what}: {why}"
        if what not in self._denied:
            self._denied.add(what)
            log.error("MQTT: %s", self.standing)

    def taken(self, what: str) -> None:
        """The broker takes it, perhaps again."""
        if what in self._denied:
            self._denied.discard(what)
            self.standing = None
            log.info("MQTT: the broker takes %s again", what)


def reason_in_words(code: int) -> str:
    """Say what an MQTT 5 reason code means."""
    return REASONS.get(code, f"reason code {code}")


def refusal(code: int, settings: Settings) -> LinkError:
    """Say why the broker refuses a connection (the reason code of its CONNACK)."""
    words = reason_in_words(code)
    if code in WRONG_PASSWORD:
        user = f"user {settings.username!r}" if settings.username else "a client without a user name"
        words = f"{words}: wrong user name or password for {user}; check mqtt.username and the password"
        if code == 134:
            words = words.removeprefix("wrong user name or password: ")
    return LinkError(f"the broker at {settings.place} refuses the connection: {words}", refused=True)


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Made anew for each connection, so that renewed certificates count. Raises LinkError."""
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise LinkError(f"mqtt.ca_file {settings.ca_file} can't be used: {_cause(error)}", refused=True) from error
    if settings.cert_file:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file or None)
        except (OSError, ssl.SSLError) as error:
            what = f"mqtt.cert_file {settings.cert_file} or its key"
            raise LinkError(f"{what} can't be used: {_cause(error)}", refused=True) from error
    return context


def check_files(mqtt: MqttSection) -> None:
    """Whether the files of TLS can be used, for `check-config`; ConfigError. The service goes on without a broker."""
    if not (mqtt.host and mqtt.tls):
        return
    settings = settings_of(mqtt, "", None)
    if not settings.key_file:  # systemd hands the key to the service alone
        settings = msgspec.structs.replace(settings, cert_file="")
    try:
        tls_context(settings)
    except LinkError as error:
        raise ConfigError(str(error)) from None


def _cause(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return str(getattr(error, "strerror", None) or error)


def in_words(error: Exception, settings: Settings) -> str:
    """Say what an error of the operating system or of TLS means, and what to look at."""
    place = settings.place
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the broker at {place} is not trusted: {error.verify_message}; check mqtt.ca_file"
    if isinstance(error, ssl.SSLError):
        return f"TLS with the broker at {place} fails: {_cause(error)}; check mqtt.port and mqtt.tls"
    if isinstance(error, socket.gaierror):
        return f"the broker's name {settings.host} is not known ({_cause(error)}); check mqtt.host and the network"
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens at {place}; is the broker running?"
    if isinstance(error, ConnectionResetError):
        return f"the broker at {place} cut the connection off; it may not speak TLS there (mqtt.tls, mqtt.port)"
    if isinstance(error, TimeoutError):
        return f"the broker at {place} does not answer"
    return f"the broker at {place} can't be reached: {_cause(error)}"
