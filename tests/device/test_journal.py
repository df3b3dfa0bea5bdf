"""The journal: bounded, readable after a cut line, quiet about a full disk."""

import pytest

from device.events import Event, new_id
from device.telling.journal import Journal


def event(number):
    return Event(id=new_id(), kind="test", device="outcry", at="2026-11-21T12:00:00.000Z", reason=str(number))


def test_what_is_appended_is_read_back(tmp_path):
    journal = Journal(tmp_path / "state")
    written = [event(number) for number in range(3)]
    assert all(journal.append(one) for one in written)
    assert list(Journal(tmp_path / "state").read()) == written


def test_it_stays_within_twice_its_bound_and_keeps_the_newest(tmp_path):
    journal = Journal(tmp_path, maximum_bytes=2000)
    for number in range(100):
        journal.append(event(number))
    sizes = [path.stat().st_size for path in (journal.path, journal.older)]
    assert max(sizes) <= 2000
    kept = [int(one.reason) for one in journal.read()]
    assert kept == list(range(kept[0], 100))
    assert len(kept) > 5


def test_a_line_cut_by_a_power_loss_is_left_out(tmp_path, caplog):
    journal = Journal(tmp_path)
    journal.append(event(1))
    with journal.path.open("ab") as file:
        file.write(b'{"id":"x","ki')
    assert [one.reason for one in journal.read()] == ["1"]
    assert "no whole event" in caplog.text


def test_a_disk_that_takes_nothing_is_told_once(tmp_path, caplog):
    (tmp_path / "state").write_text("a file where the folder should be")
    journal = Journal(tmp_path / "state")
    assert journal.append(event(1)) is False
    assert journal.append(event(2)) is False
    assert caplog.text.count("can't be written") == 1


@pytest.mark.parametrize("count", [0, 1, 50])
def test_erased_means_gone(tmp_path, count):
    journal = Journal(tmp_path, maximum_bytes=1000)
    for number in range(count):
        journal.append(event(number))
    journal.erase()
    assert list(tmp_path.iterdir()) == []
