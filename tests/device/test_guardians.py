"""What guardians may say: retained, stale, repeated, unsigned, wrongly signed, for another device."""

import base64
import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from device import events
from device.events import Event
from device.mqtt.guardians import Gate, RefusedError
from device.outbox import Outbox
from tests import signing
from tests.signing import canonical, public, signed

NOW = events.parse_at("2026-11-21T12:00:00Z")
ALICE, BOB, MALLORY = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))


@pytest.fixture
def outbox(tmp_path: Path):
    box = Outbox(tmp_path / "outbox.sqlite")
    yield box
    box.close()


def gate(outbox: Outbox, *keys: SigningKey, now: float | None = NOW) -> Gate:
    return Gate("nora", [public(key) for key in keys], outbox, lambda: now)


def command(verb: str = "disarm", at: float | None = NOW, **more: object) -> dict[str, object]:
    stamp = {} if at is None else {"at": events.format_at(at)}
    return {"command": verb, "id": events.new_id(), "by": "Ada", "device": "nora", **stamp, **more}


def refusal(call, *arguments: object) -> str:
    with pytest.raises(RefusedError) as caught:
        call(*arguments)
    return str(caught.value)


def test_an_unsigned_command_counts_where_there_are_no_keys(outbox):
    got = gate(outbox).command(json.dumps(command(for_s=60)).encode(), False)
    assert (got.command, got.by, got.for_s) == ("disarm", "Ada", 60)


def test_a_retained_command_is_never_obeyed(outbox):
    assert "retained" in refusal(gate(outbox).command, json.dumps(command()).encode(), True)


@pytest.mark.parametrize("offset_s", [-61.0, 61.0, 1e9])
def test_a_stale_command_is_not_obeyed(outbox, offset_s):
    assert "off" in refusal(gate(outbox).command, json.dumps(command(at=NOW + offset_s)).encode(), False)


@pytest.mark.parametrize("offset_s", [-59.0, 59.0])
def test_a_minute_of_difference_is_allowed(outbox, offset_s):
    assert gate(outbox).command(json.dumps(command(at=NOW + offset_s)).encode(), False)


def test_without_a_set_clock_age_is_not_judged(outbox):
    assert gate(outbox, now=None).command(json.dumps(command(at=NOW - 1e6)).encode(), False)


def test_the_same_command_is_obeyed_once_also_across_a_restart(outbox, tmp_path):
    message = json.dumps(command()).encode()
    assert gate(outbox).command(message, False)
    assert "before" in refusal(gate(outbox).command, message, False)
    outbox.close()
    again = Outbox(tmp_path / "outbox.sqlite")
    assert "before" in refusal(gate(again).command, message, False)
    again.close()


@pytest.mark.parametrize(
    "payload",
    [b"", b"disarm", b"[]", b"\xff\xfe", b'{"command": "explode", "id": "1"}', b'{"command": "arm"}', b"[" * 90000],
)
def test_nonsense_is_refused_in_words(outbox, payload):
    assert "can't be read" in refusal(gate(outbox).command, payload, False)
    assert "can't be read" in refusal(gate(outbox).receipt, payload, False)


def test_with_keys_only_signed_messages_count(outbox):
    ours = gate(outbox, ALICE, BOB)
    assert "not signed" in refusal(ours.command, json.dumps(command()).encode(), False)
    receipt = {"id": "an alert", "kind": "received", "by": "Ada"}
    assert "not signed" in refusal(ours.receipt, json.dumps(receipt).encode(), False)
    for key in (ALICE, BOB):
        assert ours.command(signed(command(), key).encode(), False)
        assert ours.receipt(signed(receipt, key).encode(), False).id == "an alert"
    assert "fits none" in refusal(ours.command, signed(command(), MALLORY).encode(), False)


def test_changing_or_adding_a_field_breaks_the_signature(outbox):
    ours = gate(outbox, ALICE)
    message = json.loads(signed(command(for_s=60), ALICE))
    for change in ({"for_s": 43200}, {"by": "Bob"}, {"unknown": 1}, {"sig": "AAAA"}, {"sig": "not base64!"}):
        assert "fits none" in refusal(ours.command, json.dumps({**message, **change}).encode(), False)
    assert ours.command(json.dumps(message, indent=3).encode(), False)


def test_a_field_that_stands_twice_can_not_slip_past_the_signature(outbox):
    ours = gate(outbox, ALICE)
    message = signed(command("arm"), ALICE)
    for added in ('"command": "disarm"', '"device": "other"', '"for_s": 9'):
        behind = f"{message[:-1]}, {added}}}"
        assert "fits none" in refusal(ours.command, behind.encode(), False)
    before = f'{{"command": "disarm", {message[1:]}'
    assert ours.command(before.encode(), False).command == "arm"


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["command", "id", "at", "sig", "device", "kind", "by", "for_s"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode()),
    st.booleans(),
    st.booleans(),
)
def test_no_message_of_anybody_does_more_than_be_refused(payload, with_keys, retained):
    outbox = Outbox(None)
    ours = gate(outbox, *([ALICE] if with_keys else []))
    for read in (ours.command, ours.receipt):
        with contextlib.suppress(RefusedError):
            assert read(payload, retained).sig is None
            assert not with_keys
            assert not retained


def test_the_signing_tool_makes_keys_and_signatures_that_count(outbox, tmp_path):
    tool = [sys.executable, str(Path(signing.__file__))]
    made = subprocess.run([*tool, "new"], capture_output=True, text=True, check=True)
    (tmp_path / "guardian.key").write_text(made.stdout)
    [public_key] = re.findall(r'guardian_keys = \["(.+)"\]', made.stderr)
    ours = Gate("nora", [public_key], outbox, lambda: NOW)
    line = json.dumps(command("test", by="Zoë"))
    told = subprocess.run(
        [*tool, "sign", tmp_path / "guardian.key"], input=line, capture_output=True, text=True, check=True
    )
    assert ours.command(told.stdout.encode(), False).by == "Zoë"
    assert subprocess.run(tool, capture_output=True, check=False).returncode == 2


def test_a_signed_command_for_another_device_is_refused(outbox):
    ours = gate(outbox, ALICE)
    assert "'other'" in refusal(ours.command, signed(command(device="other"), ALICE).encode(), False)
    nobody = {name: value for name, value in command().items() if name != "device"}
    assert "device ''" in refusal(ours.command, signed(nobody, ALICE).encode(), False)


def test_a_recorded_command_does_not_work_twice_even_without_a_clock(outbox):
    ours = gate(outbox, ALICE, BOB, now=None)
    first, second = command(at=NOW), command(at=NOW + 5)
    assert ours.command(signed(second, ALICE).encode(), False)
    # Recorded earlier, held back, played now: its id is new here.
    assert "later `at`" in refusal(ours.command, signed(first, ALICE).encode(), False)
    assert ours.command(signed(command(at=NOW), BOB).encode(), False)
    assert "needs `at`" in refusal(ours.command, signed(command(at=None), ALICE).encode(), False)


def test_a_flood_of_commands_is_stopped_and_one_without_the_key_stops_nobody_elses(outbox):
    now = 0.0
    ours = Gate("nora", [public(ALICE)], outbox, lambda: NOW, lambda: now)
    for _ in range(100):
        refusal(ours.command, signed(command(), MALLORY).encode(), False)
    for number in range(30):
        assert ours.command(signed(command("arm", at=NOW + number), ALICE).encode(), False)
    late = signed(command(at=NOW + 40), ALICE).encode()
    assert "in a minute" in refusal(ours.command, late, False)
    now = 61.0
    assert ours.command(late, False)


def test_latest_stands_for_the_alert_that_was_told_last(outbox):
    ours = gate(outbox)
    receipt = json.dumps({"id": "latest", "kind": "acknowledged", "at": events.format_at(NOW)}).encode()
    assert "no alert" in refusal(ours.receipt, receipt, False)
    outbox.add(Event(id="the alert", kind="alert", device="nora"), "alert")
    assert ours.receipt(receipt, False).id == "the alert"
    late = json.dumps({"id": "latest", "kind": "acknowledged", "at": events.format_at(NOW - 90)}).encode()
    assert "90 s off" in refusal(ours.receipt, late, False)


def test_a_retained_receipt_does_not_count(outbox):
    assert "retained" in refusal(gate(outbox).receipt, b'{"id": "a", "kind": "received"}', True)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=12).filter(lambda name: name != "sig"),
        st.text(max_size=40) | st.integers(-(2**53), 2**53) | st.booleans() | st.none(),
        max_size=8,
    )
)
def test_both_sides_sign_the_same_bytes(fields):
    """The guardian's client builds them with its own JSON library; here Python's against the device's."""
    with_signature = json.dumps({**fields, "sig": base64.b64encode(b"x").decode()})
    assert events.signed_part(with_signature) == canonical(fields)
