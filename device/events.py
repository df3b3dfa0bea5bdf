"""What the device tells and is told: Event, State, Command and Receipt, and their JSON. Pure.

One JSON object a line, UTF-8. In an Event a field that does not apply is absent; in a State every field is
always there (null where unknown), for a shared topic with a key that comes and goes makes its readers forget.
"""

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from device.errors import BadDataError

T = TypeVar("T")
SCHEMA: Final = 1

Kind = Literal[
    "pre_alert",
    "alert",
    "sos",
    "cancelled",
    "acknowledged",
    "cleared",
    "armed",
    "disarmed",
    "fault",
    "recovered",
    "test",
]
Mode = Literal["armed", "pre_alert", "alert", "acknowledged", "disarmed"]
Hearing = Literal["healthy", "suspect", "recovering", "failed"]
WearerKnown = Literal["none", "learned", "does_not_fit"]
Verb = Literal["arm", "disarm", "cancel", "clear", "test"]
# Where an Event goes besides journal and standard output: nowhere, /event, or /alert.
Audience = Literal["journal", "event", "alert"]

ALERT_KINDS: Final[frozenset[Kind]] = frozenset({"alert", "sos", "acknowledged", "cancelled", "cleared"})
# A late alarm is still news after an hour, and so is a device that is deaf or disarmed; the rest is not.
LASTING_EVENT_KINDS: Final[frozenset[Kind]] = frozenset({"fault", "recovered", "disarmed"})
EVENT_EXPIRY_S: Final = 3600

Probability = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Identity = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Text = Annotated[str, msgspec.Meta(max_length=256)]


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fix of gpsd (WGS 84, degrees), with its age in seconds."""

    lat: float
    lon: float
    age_s: float
    accuracy_m: float | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened. None means absent, but for `at`: there it means that the clock was not set."""

    id: str
    kind: Kind
    device: str
    schema: int = SCHEMA
    repeat: int = 0
    seq: int | None = None
    epoch: str | None = None
    place: str | None = None
    position: Position | None = None
    at: str | None = None
    clock: Literal["unsynchronised"] | None = None
    age_s: float | None = None
    danger: float | None = None
    threshold: float | None = None
    emotions: dict[str, float] | None = None
    loudness_dbfs: float | None = None
    seconds_over: float | None = None
    model: str | None = None
    by: str | None = None
    reason: str | None = None
    t_s: float | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the device is just now; retained on `/state`, every field in every message."""

    device: str
    mode: Mode
    armed: bool
    hearing: Hearing
    version: str
    since: str | None = None
    schema: int = SCHEMA
    hearing_reason: str | None = None
    audio_age_s: float | None = None
    level_dbfs: float | None = None
    outbox_depth: int = 0
    # "memory": the disk takes no more; what waits goes out but would not survive a crash.
    outbox: Literal["disk", "memory"] = "disk"
    last_proven: str | None = None
    battery: float | None = None
    model: str | None = None
    wearer: WearerKnown = "none"
    throttled: bool | None = None


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asks of the device on `/command`; `sig` is the guardian's Ed25519 signature, base64."""

    command: Verb
    id: Identity
    by: Text = ""
    at: Text | None = None
    for_s: Annotated[float, msgspec.Meta(gt=0.0, le=1e9)] | None = None
    sig: Text | None = None


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a guardian's client answers on `/receipt`; `id` is the alert's."""

    id: Identity
    kind: Literal["received", "acknowledged"]
    by: Text = ""
    at: Text | None = None
    sig: Text | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the sound showed when danger was decided: shares in 0..1, loudness in dBFS."""

    danger: float | None = None
    threshold: float | None = None
    emotions: dict[str, float] | None = None
    loudness_dbfs: float | None = None
    seconds_over: float | None = None
    model: str | None = None


NOTHING_HEARD: Final = Evidence()


@dataclass(frozen=True, slots=True)
class Told:
    """Something to tell. `repeat` counts the repeats that the alarm asked for; the outbox adds its own."""

    kind: Kind
    id: str
    by: str | None = None
    reason: str | None = None
    evidence: Evidence = NOTHING_HEARD
    repeat: int = 0
    private: bool = False  # for the journal and standard output only
    replaces: str | None = None  # the alert whose place this one takes

    @property
    def audience(self) -> Audience:
        """Where it goes besides journal and standard output."""
        return "journal" if self.private else topic_of(self.kind)

    def rehearsed(self) -> "Told":
        """Return the same as part of a test alarm, which disturbs nobody."""
        return replace(self, kind="test", private=False, replaces=None)

    def event(
        self,
        device: str,
        *,
        at: str | None,
        place: str = "",
        position: Position | None = None,
        t_s: float | None = None,
    ) -> Event:
        """Return the Event; `at` is the RFC 3339 time or None while the clock is not set."""
        heard = self.evidence
        return Event(
            id=self.id,
            kind=self.kind,
            device=device,
            repeat=self.repeat,
            place=place or None,
            position=position,
            at=at,
            clock=None if at else "unsynchronised",
            danger=heard.danger,
            threshold=heard.threshold,
            emotions=heard.emotions,
            loudness_dbfs=heard.loudness_dbfs,
            seconds_over=heard.seconds_over,
            model=heard.model,
            by=self.by,
            reason=self.reason,
            t_s=t_s,
        )


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the log only: a command that was refused, or waits."""

    text: str


Effect = Told | Note


_decode_event = msgspec.json.Decoder(Event)
_decode_state = msgspec.json.Decoder(State)
_decode_command = msgspec.json.Decoder(Command)
_decode_receipt = msgspec.json.Decoder(Receipt)


def new_id() -> str:
    """Return a fresh UUID: the identity of an alert through all its repeats."""
    return str(uuid.uuid4())


def encode(message: Event | State | Command | Receipt) -> bytes:
    """One line of JSON without a line end. Of an Event the absent fields are left out, `at` never."""
    fields = msgspec.structs.asdict(message)
    if not isinstance(message, State):
        fields = {
            name: value
            for name, value in fields.items()
            if value is not None or (name == "at" and isinstance(message, Event))
        }
    return msgspec.json.encode(fields)


def decode_event(line: bytes | str) -> Event:
    """Read an Event back. Raises BadDataError."""
    return _decoded("event", _decode_event, line)


def decode_state(line: bytes | str) -> State:
    """Read a State back. Raises BadDataError."""
    return _decoded("state", _decode_state, line)


def decode_command(payload: bytes | str) -> Command:
    """Read a command from anybody on the network. Raises BadDataError, whatever the bytes are."""
    return _decoded("command", _decode_command, payload)


def decode_receipt(payload: bytes | str) -> Receipt:
    """Read a receipt from anybody on the network. Raises BadDataError, whatever the bytes are."""
    return _decoded("receipt", _decode_receipt, payload)


def signed_part(payload: bytes | str) -> bytes:
    """Return the bytes that a guardian signs: the object without `sig`, keys sorted, no spaces, UTF-8.

    Taken from the payload as it came, so that fields which this version does not know are signed as well.
    Raises BadDataError when it is not one JSON object.
    """
    fields: dict[str, object] = _decoded("signed message", msgspec.json.Decoder(dict[str, object]), payload)
    fields.pop("sig", None)
    return msgspec.json.encode(fields, order="sorted")


def topic_of(kind: Kind) -> Literal["alert", "event"]:
    """Return the topic's last part for an Event that is published."""
    return "alert" if kind in ALERT_KINDS else "event"


def expiry_s(kind: Kind) -> int | None:
    """Return the MQTT message expiry in seconds, None for what must never expire."""
    return None if kind in ALERT_KINDS | LASTING_EVENT_KINDS else EVENT_EXPIRY_S


def format_at(unix_s: float) -> str:
    """RFC 3339, UTC, milliseconds: 2026-11-21T11:20:01.123Z."""
    stamp = datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
    return stamp.replace("+00:00", "Z")


def parse_at(text: str) -> float:
    """Return the Unix seconds of an RFC 3339 time. Raises BadDataError, also where its zone is missing."""
    try:
        moment: datetime = msgspec.convert(text, type=Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError as error:
        raise BadDataError(f"time {text!r} is not RFC 3339, like 2026-11-21T11:20:01Z") from error
    return moment.timestamp()


def top_emotions(probabilities: dict[str, float], count: int = 3) -> dict[str, float]:
    """Return the `count` likeliest classes, the likeliest first, rounded to what a person reads."""
    likeliest = sorted(probabilities.items(), key=lambda item: -item[1])[:count]
    return {name: round(float(probability), 3) for name, probability in likeliest}


def _decoded(what: str, decoder: "msgspec.json.Decoder[T]", payload: bytes | str) -> T:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadDataError(f"{what} can't be read: {error}") from error
