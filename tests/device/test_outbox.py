"""The outbox on real SQLite files: order, repeats, restarts, damage, a disk that is full."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import events
from device.events import Event
from device.outbox import REFUSED_RETRY_S, Outbox
from device.pending.rules import REPEAT_AT_S, RepeatRules

DENIED = 135
NOBODY_SUBSCRIBED = 16


def event(kind: str, identity: str | None = None, **more: object) -> Event:
    return Event(id=identity or events.new_id(), kind=kind, device="nora", at="2026-11-21T11:20:00Z", **more)


def told(outbox: Outbox, now: float) -> list[Event]:
    """Everything that goes out at `now`, each sending taken by the broker."""
    gone: list[Event] = []
    while rows := outbox.due(now):
        for row in rows:
            gone.append(events.decode_event(row.payload))
            outbox.done(row, 0, now)
    return gone


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


@pytest.fixture
def opened(path: Path):
    boxes: list[Outbox] = []

    def open_(*args: object, boot_id: str = "boot-1", **more: object) -> Outbox:
        for box in boxes:
            box.close()
        boxes.append(Outbox(path, *args, boot_id=boot_id, **more))
        return boxes[-1]

    yield open_
    for box in boxes:
        box.close()


def test_events_leave_in_the_order_in_which_they_came(opened):
    outbox = opened()
    kinds = ["armed", "alert", "fault", "acknowledged", "recovered", "cleared"]
    for index, kind in enumerate(kinds):
        outbox.add(event(kind), events.topic_of(kind), now=index)
    assert [gone.kind for gone in told(outbox, 10.0)] == kinds


def test_alerts_are_counted_without_gaps_and_other_events_are_not(opened):
    outbox = opened()
    counted = [outbox.add(event(kind), events.topic_of(kind)) for kind in ("alert", "armed", "cancelled", "sos")]
    assert counted == [1, 0, 2, 3]
    gone = {row.kind: events.decode_event(row.payload) for row in outbox.due()}
    assert gone["armed"].seq is None
    assert gone["armed"].epoch is None
    assert len({gone[kind].epoch for kind in ("alert", "cancelled", "sos")}) == 1


def test_the_count_goes_on_after_a_restart_in_the_same_epoch(opened):
    first = opened()
    first.add(event("alert"), "alert", now=0.0)
    before = told(first, 0.0)[0]
    second = opened()
    second.receipt(before.id)
    assert second.add(event("alert"), "alert", now=1.0) == 2
    assert told(second, 1.0)[0].epoch == before.epoch


def test_age_is_counted_from_the_event_to_the_sending(opened):
    outbox = opened()
    outbox.add(event("fault"), "event", now=100.0)
    assert events.decode_event(outbox.due(now=142.5)[0].payload).age_s == 42.5


def test_a_wall_clock_that_is_stepped_changes_neither_age_nor_repeats(opened, monkeypatch):
    outbox = opened()
    began = time.monotonic()
    outbox.add(event("alert"), "alert")
    for step_s in (3600.0, -7200.0):
        monkeypatch.setattr(time, "time", lambda step_s=step_s: 1.8e9 + step_s)
        assert events.decode_event(outbox.due()[0].payload).age_s <= time.monotonic() - began + 0.1
    sending = outbox.due()[0]
    outbox.done(sending)
    assert outbox.due() == []
    assert outbox.next_due() == pytest.approx(time.monotonic() + 15.0, abs=1.0)


def test_age_is_unknown_after_another_boot(opened):
    opened().add(event("alert"), "alert", now=100.0)
    after = opened(boot_id="boot-2", clock=lambda: 4.0)
    assert events.decode_event(after.due(now=5.0)[0].payload).age_s is None


def test_a_row_ends_with_the_puback_and_a_refusal_is_tried_again(opened):
    outbox = opened()
    outbox.add(event("fault"), "event", now=0.0)
    assert outbox.done(outbox.due(0.0)[0], DENIED, now=0.0) is False
    assert outbox.due(REFUSED_RETRY_S - 0.1) == []
    assert outbox.done(outbox.due(REFUSED_RETRY_S)[0], NOBODY_SUBSCRIBED, now=REFUSED_RETRY_S) is True
    assert outbox.next_due() is None


def test_what_is_refused_keeps_its_order_whatever_comes_meanwhile(opened):
    outbox = opened()
    for index in range(3):
        outbox.add(event("cleared", f"{index}"), "alert", now=0.0)
    for row in outbox.due(0.0):
        outbox.done(row, DENIED, now=0.0)
    outbox.add(event("cleared", "3"), "alert", now=1.0)
    outbox.add(event("fault", "another topic"), "event", now=1.0)
    assert [row.id for row in outbox.due(now=1.0)] == ["another topic"]
    outbox.done(outbox.due(now=1.0)[0])
    assert outbox.next_due() == REFUSED_RETRY_S
    assert [gone.id for gone in told(outbox, REFUSED_RETRY_S)] == ["0", "1", "2", "3"]


def test_a_message_that_the_broker_never_takes_holds_up_no_other(opened):
    outbox = opened()
    outbox.add(event("cleared", "too large"), "alert", now=0.0)
    outbox.done(outbox.due(0.0)[0], 149, now=0.0)
    outbox.add(event("alert", "next"), "alert", now=1.0)
    assert [row.id for row in outbox.due(now=1.0)] == ["next"]


def sendings(outbox: Outbox, until: float) -> list[tuple[float, int]]:
    """(time, repeat) of every sending, the clock moved from one due time to the next."""
    gone = []
    while (due := outbox.next_due()) is not None and due <= until:
        gone += [(due, repeated.repeat) for repeated in told(outbox, due)]
    return gone


def test_an_alert_is_repeated_on_the_schedule_where_a_guardian_has_ever_answered(opened):
    outbox = opened()
    outbox.receipt("an alert of earlier")
    outbox.add(event("alert"), "alert", now=0.0)
    expected = [0.0, 15.0, 60.0, 300.0, 900.0, *(3600.0 * hour for hour in range(1, 25))]
    assert sendings(outbox, 200_000.0) == [(at, repeat) for repeat, at in enumerate(expected)]
    assert tuple(expected[1:]) == REPEAT_AT_S


def test_without_any_guardian_it_is_repeated_three_times(opened):
    outbox = opened()
    outbox.add(event("sos"), "alert", now=0.0)
    assert [at for at, _ in sendings(outbox, 200_000.0)] == [0.0, 15.0, 60.0, 300.0]


def test_how_often_without_a_guardian_is_configured(opened):
    outbox = opened(RepeatRules(without_receipts=0))
    outbox.add(event("alert"), "alert", now=0.0)
    assert sendings(outbox, 200_000.0) == [(0.0, 0)]


def test_that_a_guardian_has_answered_is_remembered_across_restarts(opened):
    opened().receipt("an alert of earlier")
    outbox = opened()
    outbox.add(event("alert"), "alert", now=0.0)
    assert len(sendings(outbox, 200_000.0)) == 1 + len(REPEAT_AT_S)


def test_a_receipt_ends_the_repeats(opened):
    outbox = opened()
    alert = event("alert")
    outbox.add(alert, "alert", now=0.0)
    told(outbox, 0.0)
    assert outbox.status(alert.id) == "sent"
    assert outbox.receipt("another") is False
    assert outbox.receipt(alert.id) is True
    assert outbox.status(alert.id) == "over"
    assert sendings(outbox, 200_000.0) == []


@pytest.mark.parametrize("ending", ["cancelled", "acknowledged", "cleared"])
def test_its_end_ends_the_repeats(opened, ending):
    outbox = opened()
    alert = event("alert")
    outbox.add(alert, "alert", now=0.0)
    told(outbox, 0.0)
    outbox.add(event(ending, alert.id), "alert", now=1.0)
    assert [gone.kind for gone in told(outbox, 1.0)] == [ending]
    assert outbox.next_due() is None


def test_an_alert_that_was_over_before_it_went_out_is_told_once_and_first(opened):
    outbox = opened()
    alert = event("alert")
    outbox.add(alert, "alert", now=0.0)
    outbox.add(event("cancelled", alert.id), "alert", now=5.0)
    assert [(gone.kind, gone.repeat) for gone in told(outbox, 900.0)] == [("alert", 0), ("cancelled", 0)]
    assert outbox.next_due() is None


def test_a_new_alert_takes_the_place_of_the_old_one(opened):
    outbox = opened()
    outbox.add(event("alert", "old"), "alert", now=0.0)
    told(outbox, 0.0)
    outbox.add(event("sos", "new"), "alert", now=3.0)
    assert {gone.id for gone in told(outbox, 1000.0)} == {"new"}
    assert outbox.latest_alert() == "new"


def test_the_latest_alert_is_known_until_it_is_over_also_after_its_receipt_and_a_restart(opened):
    outbox = opened()
    assert outbox.latest_alert() is None
    outbox.add(event("alert", "a"), "alert", now=0.0)
    outbox.receipt("a")
    outbox.add(event("acknowledged", "a"), "alert", now=1.0)
    again = opened()
    assert again.latest_alert() == "a"
    again.add(event("cleared", "another"), "alert", now=2.0)
    assert again.latest_alert() == "a"
    again.add(event("cleared", "a"), "alert", now=3.0)
    assert opened().latest_alert() is None


def test_danger_again_makes_the_same_alert_due_at_once(opened):
    outbox = opened()
    alert = event("alert")
    seq = outbox.add(alert, "alert", now=0.0)
    told(outbox, 0.0)
    assert outbox.due(now=2.0) == []
    assert outbox.add(alert, "alert", now=2.0) == seq
    again = told(outbox, 2.0)
    assert [(gone.id, gone.repeat, gone.seq) for gone in again] == [(alert.id, 1, seq)]


def test_repeats_wait_behind_what_was_never_told(opened):
    outbox = opened()
    outbox.add(event("alert", "first"), "alert", now=0.0)
    told(outbox, 0.0)
    outbox.add(event("fault"), "event", now=16.0)
    assert [row.kind for row in outbox.due(now=20.0)] == ["fault", "alert"]


def test_a_repeat_due_in_another_boot_comes_at_once_and_then_keeps_its_time(opened):
    first = opened()
    first.add(event("alert"), "alert", now=5000.0)
    told(first, 5000.0)
    second = opened(boot_id="boot-2", clock=lambda: 3.0)
    assert [gone.repeat for gone in told(second, 3.0)] == [1]
    third = opened(boot_id="boot-2", clock=lambda: 4.0)
    assert third.due(now=4.0) == []
    assert third.next_due() == pytest.approx(3.0 + 45.0)


def test_telemetry_expires_after_an_hour_and_lasting_events_do_not(opened):
    outbox = opened()
    for kind in ("armed", "fault", "disarmed", "recovered", "pre_alert", "test", "alert"):
        outbox.add(event(kind), events.topic_of(kind), now=0.0)
    assert [row.expires_s for row in outbox.due(now=600.0)] == [3000, None, None, None, 3000, 3000, None]
    assert [gone.kind for gone in told(outbox, 3600.0)] == ["fault", "disarmed", "recovered", "alert"]
    assert outbox.depth == 0


def test_the_bound_drops_telemetry_first_and_an_unsent_alert_never(opened):
    outbox = opened(maximum_bytes=4000)
    alerts = [outbox.add(event("cleared"), "alert") for _ in range(30)]
    for kind in ["fault", "armed"] * 30:
        outbox.add(event(kind), "event")
    kinds = [row.kind for row in outbox.due(limit=1000)]
    assert alerts == list(range(1, 31))
    assert kinds.count("cleared") == 30
    assert len(kinds) < 40
    assert outbox.dropped == 90 - len(kinds)


def test_short_lived_telemetry_is_dropped_before_what_lasts(opened):
    outbox = opened(maximum_bytes=2000)
    outbox.add(event("fault", "the fault"), "event")
    for _ in range(50):
        outbox.add(event("armed"), "event")
    assert outbox.due(limit=1)[0].id == "the fault"


def test_everything_survives_a_restart(opened):
    opened().add(event("alert", "a", danger=0.9, place="kitchen"), "alert", now=1.0)
    again = opened()
    gone = events.decode_event(again.due(now=3.0)[0].payload)
    assert (gone.id, gone.danger, gone.place, gone.age_s) == ("a", 0.9, "kitchen", 2.0)


def test_the_file_is_as_durable_as_sqlite_can(opened, path):
    outbox = opened()
    outbox.add(event("alert"), "alert")
    database = outbox._shelf._ledger._db
    assert database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert database.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert path.exists()


@pytest.mark.parametrize("damage", ["garbage", "page", "schema", "tables", "empty facts"])
def test_a_damaged_file_is_set_aside_and_reported(opened, path, damage, caplog):
    outbox = opened()
    for _ in range(40):
        outbox.add(event("cleared", reason="x" * 400), "alert")
    outbox.close()
    if damage == "garbage":
        path.write_bytes(os.urandom(8192))
    elif damage == "page":
        content = bytearray(path.read_bytes())
        content[4096 * 3 : 4096 * 6] = os.urandom(4096 * 3)
        path.write_bytes(content)
    else:
        with sqlite3.connect(path) as database:
            database.execute(
                {
                    "schema": "PRAGMA user_version=99",
                    "tables": "DROP TABLE waiting",
                    "empty facts": "DELETE FROM facts",
                }[damage]
            )
        database.close()
    again = opened()
    assert again.set_aside is not None
    assert again.set_aside.exists()
    assert "set aside" in caplog.text
    assert again.problem is None
    assert again.add(event("alert"), "alert") == 1
    assert opened().depth == 1


def test_of_damaged_files_the_newest_stay_until_all_is_to_be_forgotten(opened, path):
    kept: list[Path] = []
    for _ in range(5):
        path.write_bytes(os.urandom(9000))
        outbox = opened()
        kept.append(outbox.set_aside)
        outbox.close()
    assert [file.exists() for file in kept] == [False, False, True, True, True]
    opened().forget()
    assert sorted(file.name for file in path.parent.iterdir() if "damaged" in file.name) == []


def test_a_file_that_breaks_in_use_costs_nothing_that_waits(opened, path):
    outbox = opened()
    outbox.add(event("alert", "before"), "alert", now=0.0)
    outbox._shelf._ledger._db.execute("DROP TABLE waiting")
    outbox.add(event("fault", "while"), "event", now=1.0)
    outbox.add(event("armed", "after"), "event", now=2.0)
    assert outbox.set_aside is not None
    assert outbox.problem is None
    again = opened()
    assert [gone.id for gone in told(again, 3.0)] == ["before", "while", "after"]


TOLD_AFTER_ADD = """
import os, sys
from pathlib import Path
from device.events import Event
from device.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
os.write(1, b"OPEN")
outbox.add(Event(id="an alert", kind="alert", device="nora"), "alert")
os.write(1, b"COMMITTED")
"""


@pytest.mark.rig
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_the_kernel_has_been_told_to_sync_before_add_returns(path):
    """What power loss needs: each write to the WAL has its fdatasync before anybody hears of the event."""
    trace = path.with_name("trace")
    calls = "trace=write,pwrite64,fsync,fdatasync"
    subprocess.run(
        ["strace", "-f", "-y", "-e", calls, "-o", trace, sys.executable, "-c", TOLD_AFTER_ADD, path],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
    )
    lines = trace.read_text().splitlines()
    begin, end = (next(i for i, line in enumerate(lines) if word in line) for word in ('"OPEN"', '"COMMITTED"'))
    added = [line for line in lines[begin:end] if "outbox.sqlite-wal" in line]
    writes = [i for i, line in enumerate(added) if "write" in line]
    syncs = [i for i, line in enumerate(added) if "sync" in line]
    assert writes
    assert syncs
    assert max(syncs) > max(writes)
    assert len(syncs) == 1, "one commit for one alert"


def fill(outbox: Outbox) -> None:
    """No page more: SQLite's own 'database or disk is full'."""
    database = outbox._shelf._ledger._db
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count={pages}")


def test_a_full_disk_is_reported_and_alerts_go_out_from_memory(opened, caplog):
    outbox = opened()
    outbox.add(event("alert", "on disk"), "alert", now=0.0)
    fill(outbox)
    for index in range(100):
        outbox.add(event("cleared", f"held {index}"), "alert", now=1.0)
    assert outbox.place == "memory"
    assert "full" in outbox.problem
    assert "memory" in caplog.text
    gone = told(outbox, 2.0)
    assert [each.id for each in gone] == ["on disk", *(f"held {index}" for index in range(100))]
    by_epoch: dict[str, list[int]] = {}
    for each in gone:
        by_epoch.setdefault(each.epoch, []).append(each.seq)
    assert len(by_epoch) == 2
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in by_epoch.values())


def test_what_was_held_in_memory_is_written_when_the_disk_takes_it_again(opened):
    outbox = opened()
    fill(outbox)
    for index in range(100):
        outbox.add(event("cleared", str(index)), "alert", now=1.0)
    held = outbox.depth
    assert outbox.place == "memory"
    outbox._shelf._ledger._db.execute("PRAGMA max_page_count=100000")
    outbox.add(event("cleared", "last"), "alert", now=2.0)
    assert outbox.place == "disk"
    assert outbox.problem is None
    again = opened()
    assert again.depth == held + 1
    assert [gone.id for gone in told(again, 3.0)] == [*map(str, range(100)), "last"]


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of its own with 256 KiB, as root can make one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def use_up(ballast: Path) -> None:
    """Write until the file system has no block left."""
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(descriptor, bytes(4096)):
            pass
    os.close(descriptor)


@pytest.mark.rig
def test_on_a_file_system_without_room(tiny_disk):
    outbox = Outbox(tiny_disk / "outbox.sqlite", boot_id="boot")
    outbox.add(event("alert", "before"), "alert", now=0.0)
    ballast = tiny_disk / "ballast"
    use_up(ballast)
    for index in range(20):
        outbox.add(event("cleared", str(index)), "alert", now=1.0)
    assert outbox.place == "memory"
    outbox.close()
    at_boot = Outbox(tiny_disk / "outbox.sqlite", boot_id="boot")
    assert next(row.id for row in at_boot.due(now=2.0)) == "before"
    at_boot.add(event("sos", "sos"), "alert", now=2.0)
    assert "sos" in [row.id for row in at_boot.due(now=2.0)]
    at_boot.retry()
    assert at_boot.place == "memory"
    ballast.unlink()
    at_boot.retry()
    assert at_boot.place == "disk"
    at_boot.close()


def test_a_path_that_cannot_be_made_leaves_a_working_outbox_and_is_tried_again(tmp_path):
    blocker = tmp_path / "state"
    blocker.write_text("a file where a folder should be")
    now = 0.0
    outbox = Outbox(blocker / "outbox.sqlite", clock=lambda: now)
    assert outbox.place == "memory"
    assert outbox.add(event("alert", "a"), "alert") == 1
    blocker.unlink()
    now = 100.0
    outbox.add(event("fault", "b"), "event")
    assert outbox.place == "disk"
    outbox.close()
    again = Outbox(blocker / "outbox.sqlite")
    assert again.depth == 2
    again.close()


def test_one_write_to_disk_for_an_alert_and_all_that_it_ends(opened, monkeypatch):
    outbox = opened()
    outbox.add(event("alert", "old"), "alert", now=0.0)
    told(outbox, 0.0)
    commits = []
    outbox._shelf._ledger._db.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
    outbox.add(event("sos", "new"), "alert", now=1.0)
    assert len(commits) == 1


def test_one_write_to_disk_for_pubacks_that_come_together(opened):
    outbox = opened()
    for kind in ("alert", "fault", "cleared", "recovered"):
        outbox.add(event(kind), events.topic_of(kind), now=0.0)
    rows = outbox.due(now=0.0)
    commits = []
    outbox._shelf._ledger._db.set_trace_callback(lambda text: commits.append(text) if text == "COMMIT" else None)
    accepted = outbox.settle([(rows[0], 0), (rows[1], 16), (rows[2], DENIED), (rows[3], 0)], now=1.0)
    assert accepted == [rows[0], rows[1], rows[3]]
    assert len(commits) == 1
    assert outbox.depth == 1
    assert outbox.waiting == 1
    assert [row.kind for row in outbox.due(now=1.0 + REFUSED_RETRY_S)] == ["cleared"]


def test_a_puback_from_before_the_file_was_opened_again_ends_no_other_row(tmp_path):
    blocker = tmp_path / "state"
    blocker.write_text("a file where a folder should be")
    now = 0.0
    outbox = Outbox(blocker / "outbox.sqlite", clock=lambda: now)
    outbox.add(event("alert", "x"), "alert")
    sending = outbox.due()[0]
    blocker.unlink()
    earlier = Outbox(blocker / "outbox.sqlite", clock=lambda: 50.0)
    earlier.add(event("cancelled", "x"), "alert")
    earlier.close()
    now = 100.0
    outbox.add(event("fault", "y"), "event")
    outbox.done(sending)
    assert [(row.id, row.kind) for row in outbox.due()] == [("x", "cancelled"), ("x", "alert"), ("y", "fault")]
    outbox.close()


def test_two_processes_do_not_share_a_file(opened, path):
    opened().add(event("alert"), "alert")
    second = Outbox(path)
    assert "locked" in second.problem
    second.close()


def test_forget_erases_all_but_undelivered_alerts_also_from_the_file(opened, path):
    outbox = opened()
    outbox.add(event("alert", "told", reason="secret-told"), "alert", now=0.0)
    told(outbox, 0.0)
    outbox.add(event("fault", reason="secret-fault"), "event", now=1.0)
    outbox.add(event("cancelled", "untold"), "alert", now=1.0)
    assert outbox.forget() == 1
    assert [row.id for row in outbox.due(1.0)] == ["untold"]
    stored = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"secret" not in stored


def test_tokens_and_rising_values_are_remembered_across_restarts(opened):
    first = opened()
    assert first.first_use("command", "one")
    assert not first.first_use("command", "one")
    assert first.rises("key", 10.0)
    assert not first.rises("key", 10.0)
    second = opened()
    assert not second.first_use("command", "one")
    assert second.first_use("receipt", "one")
    assert not second.rises("key", 9.0)
    assert second.rises("key", 11.0)
    second.keep("proven", "2026-11-21")
    assert opened().kept("proven") == "2026-11-21"
    assert opened().kept("nothing") is None


KINDS = st.sampled_from(["alert", "sos", "cancelled", "armed", "fault", "restart", "deliver", "full", "room"])


@settings(max_examples=25, deadline=None)
@given(st.lists(KINDS, max_size=25))
def test_whatever_happens_no_alert_is_lost_or_out_of_order(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("outbox") / "outbox.sqlite"
    outbox = Outbox(path, boot_id="b")
    expected: list[str] = []
    seen: list[str] = []
    full = False
    for now, step in enumerate(steps):
        if step == "deliver":
            seen += [gone.id for gone in told(outbox, now) if gone.repeat == 0 and gone.kind != "armed"]
        elif step == "restart" and not full:
            outbox.close()
            outbox = Outbox(path, boot_id="b")
        elif step == "full":
            fill(outbox)
            full = True
        elif step == "room":
            outbox._shelf._ledger._db.execute("PRAGMA max_page_count=100000")
            full = outbox.place == "memory"
        elif step not in ("restart", "deliver"):
            outbox.add(event(step, str(now)), events.topic_of(step), now=now)
            expected += [str(now)] if step != "armed" else []
            full = full and outbox.place == "memory"
    seen += [gone.id for gone in told(outbox, len(steps)) if gone.repeat == 0 and gone.kind != "armed"]
    outbox.close()
    assert seen == expected
