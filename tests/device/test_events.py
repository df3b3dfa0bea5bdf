"""Events, states, commands, receipts: what goes out fits the schema, what comes in never breaks us."""

import json
import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from device import events
from device.errors import BadDataError
from device.events import Command, Event, Receipt, State

SCHEMA = json.loads((Path(events.__file__).parent / "event.schema.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)

share = st.floats(0, 1)
seconds = st.floats(0, 1e9)
kinds = st.sampled_from(SCHEMA["properties"]["kind"]["enum"])


@st.composite
def made_events(draw: st.DrawFn) -> Event:
    kind = draw(kinds)
    on_alert = kind in events.ALERT_KINDS and draw(st.booleans())
    at = draw(st.none() | st.floats(0, 4e9).map(events.format_at))
    optional = {
        "danger": share,
        "threshold": share,
        "emotions": st.dictionaries(st.text(min_size=1), share, max_size=3),
        "loudness_dbfs": st.floats(-200, 0),
        "seconds_over": seconds,
        "model": st.text(),
        "place": st.text(),
        "t_s": seconds,
        "age_s": seconds,
        "position": st.builds(
            events.Position, lat=st.floats(-90, 90), lon=st.floats(-180, 180), age_s=seconds
        ),
    }
    return Event(
        id=events.new_id(),
        kind=kind,
        device=draw(st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)),
        at=at,
        clock=None if at else "unsynchronised",
        by="wearer" if kind == "cancelled" else None,
        reason="x" if kind == "fault" else None,
        repeat=draw(st.integers(0, 30)),
        seq=draw(st.integers(0, 2**53)) if on_alert else None,
        epoch=events.new_id() if on_alert else None,
        **{name: draw(st.none() | strategy) for name, strategy in optional.items()},
    )


@given(made_events())
def test_every_event_fits_the_schema_and_comes_back(event: Event) -> None:
    line = events.encode(event)
    assert b"\n" not in line
    VALIDATOR.validate(json.loads(line))
    assert events.decode_event(line) == event


def test_the_schema_names_exactly_the_fields_and_kinds_of_the_type() -> None:
    assert set(SCHEMA["properties"]) == {field.encode_name for field in msgspec.structs.fields(Event)}
    assert set(SCHEMA["properties"]["kind"]["enum"]) == set(events.Kind.__args__)
    position = SCHEMA["properties"]["position"]["properties"]
    assert set(position) == {field.encode_name for field in msgspec.structs.fields(events.Position)}


def test_fields_that_do_not_apply_are_absent_but_the_time_is_null() -> None:
    event = Event(id=events.new_id(), kind="armed", device="outcry", clock="unsynchronised")
    assert set(json.loads(events.encode(event))) == {
        "id", "kind", "device", "schema", "repeat", "at", "clock",
    }  # fmt: skip
    assert json.loads(events.encode(event))["at"] is None


@pytest.mark.parametrize(
    "broken",
    [
        {"kind": "alarm"},
        {"id": "7"},
        {"device": "Bad Name"},
        {"at": "2026-11-21 11:20"},
        {"at": None},
        {"danger": 1.5},
        {"kind": "armed", "seq": 1, "epoch": "8318a0d3-3a2e-435a-b05b-36948546de79"},
        {"seq": 1},
        {"kind": "cancelled"},
        {"kind": "fault"},
        {"mood": "good"},
    ],
)
def test_the_schema_refuses(broken: dict[str, object]) -> None:
    event = Event(id=events.new_id(), kind="alert", device="outcry", at=events.format_at(0))
    good = json.loads(events.encode(event))
    assert VALIDATOR.is_valid(good)
    assert not VALIDATOR.is_valid(good | broken)


def test_a_state_always_carries_every_field() -> None:
    state = State(device="outcry", mode="armed", armed=True, hearing="healthy", version="1")
    sent = json.loads(events.encode(state))
    assert set(sent) == {field.encode_name for field in msgspec.structs.fields(State)}
    assert sent["audio_age_s"] is None
    assert events.decode_state(events.encode(state)) == state


@given(st.binary() | st.text())
def test_a_command_of_any_bytes_is_read_or_refused(payload: bytes | str) -> None:
    for decode in (events.decode_command, events.decode_receipt, events.signed_part, events.decode_event):
        said = "read"
        try:
            decode(payload)
        except BadDataError as error:
            said = str(error)
        assert len(said.splitlines()) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"command": st.sampled_from(["arm", "disarm", "cancel", "clear", "test"]) | json_values,
         "id": st.text() | json_values},
        optional={"by": json_values, "at": json_values, "for_s": json_values, "sig": json_values},
    )
)  # fmt: skip
def test_a_command_of_the_right_shape_holds_what_its_type_says(fields: dict[str, object]) -> None:
    payload = json.dumps(fields)
    try:
        command = events.decode_command(payload)
    except BadDataError:
        return
    assert command.command in ("arm", "disarm", "cancel", "clear", "test")
    assert 1 <= len(command.id) <= 128
    assert command.for_s is None or (0 < command.for_s <= 1e9 and math.isfinite(command.for_s))
    assert len(command.by) <= 256
    assert events.decode_command(events.encode(command)) == command


@pytest.mark.parametrize(
    "payload",
    [
        b'{"command":"disarm","id":"a","for_s":NaN}',
        b'{"command":"disarm","id":"a","for_s":1e999}',
        b'{"command":"disarm","id":"a","for_s":-1}',
        b'{"command":"disarm","id":"a","for_s":true}',
        b'{"command":"format","id":"a"}',
        b'{"command":"arm","id":""}',
        b'{"command":"arm"}',
        b"[" * 100_000,
        b"\xff\xfe",
        b"",
    ],
)
def test_a_command_is_refused(payload: bytes) -> None:
    with pytest.raises(BadDataError):
        events.decode_command(payload)


def test_a_signature_covers_every_other_field_also_unknown_ones_in_any_order() -> None:
    one = events.signed_part('{"command":"arm","id":"1","sig":"x","new":[1, 2]}')
    other = events.signed_part('{ "new":[1,2], "id":"1", "command":"arm" }')
    assert one == other == b'{"command":"arm","id":"1","new":[1,2]}'


def test_receipts_come_back() -> None:
    receipt = Receipt(id="1", kind="received", by="Ann", at=events.format_at(1.25))
    assert events.decode_receipt(events.encode(receipt)) == receipt
    command = Command(command="disarm", id="1", for_s=60)
    assert events.decode_command(events.encode(command)) == command


@given(st.floats(0, 4e9))
def test_times_come_back_to_the_millisecond(unix_s: float) -> None:
    assert abs(events.parse_at(events.format_at(unix_s)) - unix_s) <= 0.0011


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-11-21", "2026-11-21T11:20:01", "2026-13-01T00:00:00Z"]
)
def test_a_time_without_zone_or_sense_is_refused(text: str) -> None:
    with pytest.raises(BadDataError, match="RFC 3339"):
        events.parse_at(text)


def test_topics_and_expiry_are_the_contract() -> None:
    on_alert = {kind for kind in events.Kind.__args__ if events.topic_of(kind) == "alert"}
    assert on_alert == {"alert", "sos", "acknowledged", "cancelled", "cleared"}
    assert {kind: events.expiry_s(kind) for kind in events.Kind.__args__ if kind not in on_alert} == {
        "pre_alert": 3600, "armed": 3600, "test": 3600, "disarmed": None, "fault": None, "recovered": None,
    }  # fmt: skip
    assert all(events.expiry_s(kind) is None for kind in on_alert)


def test_top_emotions_are_the_likeliest_three() -> None:
    assert list(events.top_emotions({"a": 0.1, "b": 0.5, "c": 0.15, "d": 0.25}).items()) == [
        ("b", 0.5), ("d", 0.25), ("c", 0.15),
    ]  # fmt: skip
