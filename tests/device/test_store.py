"""Installing switches whole or not at all, keeps the package before, and goes back to it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device.config import Config
from device.errors import BadDataError, MissingInputError, OutcryError, UsageError
from device.installed_models import chosen, golden
from device.installed_models.store import TRIAL_STARTS, Store, first_whole
from device.manifest import NETWORK, SIGNATURE
from device.package import Package, load
from device.settings.sections import DeviceSection
from tests.device.made_package import copy_to, with_file, with_manifest
from tests.device.test_package import keys, sign

ROOT = Path(__file__).parents[2]


def trust(_: Package) -> None:
    """For tests that are not about the golden clip."""


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return copy_to(tmp_path / "offered" / "one", name="made", version="1")


@pytest.fixture
def two(tmp_path: Path) -> Path:
    return copy_to(tmp_path / "offered" / "two", name="made", version="2")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def current(store: Store) -> str:
    return store.candidates()[0].name


def test_install_proves_with_the_golden_clip_and_puts_in_force(store: Store, one: Path) -> None:
    assert store.candidates() == []
    installed = store.install(one, golden.check)
    assert installed.directory == store.directory / "made-1"
    assert store.candidates() == [installed.directory]
    assert load(installed.directory).manifest.identity == "made-1"


def test_the_package_before_is_kept_and_comes_back(store: Store, one: Path, two: Path) -> None:
    store.install(one, trust)
    store.install(two, trust)
    assert [path.name for path in store.candidates()] == ["made-2", "made-1"]
    assert [(row.identity, row.current, row.previous) for row in store.listed()] == [
        ("made-1", False, True),
        ("made-2", True, False),
    ]
    assert store.rollback() == "made-1"
    assert [path.name for path in store.candidates()] == ["made-1", "made-2"]


def test_no_more_than_two_are_kept(store: Store, one: Path, two: Path, tmp_path: Path) -> None:
    for source in (one, two, copy_to(tmp_path / "three", name="made", version="3")):
        store.install(source, trust)
    assert [row.identity for row in store.listed()] == ["made-2", "made-3"]


def test_a_refused_package_changes_nothing(store: Store, one: Path, two: Path, tmp_path: Path) -> None:
    store.install(one, trust)
    before = sorted(str(path) for path in store.directory.rglob("*"))

    def disprove(package: Package) -> None:
        raise BadDataError(f"model package {package.directory}: the golden clip is off")

    with pytest.raises(BadDataError, match="golden clip is off"):
        store.install(two, disprove)
    with_file(two, NETWORK, load(two).network_bytes[:5000])
    with pytest.raises(BadDataError, match="can't be run"):
        store.install(two, golden.check)
    with_manifest(two, {"features.coefficients": 13})
    with pytest.raises(BadDataError, match="other features"):
        store.install(two, trust)
    with pytest.raises(MissingInputError):
        store.install(tmp_path / "nowhere", trust)
    assert sorted(str(path) for path in store.directory.rglob("*")) == before
    assert current(store) == "made-1"


def test_with_a_key_only_signed_packages_are_installed(store: Store, one: Path) -> None:
    key, public = keys()
    with pytest.raises(BadDataError, match="not signed"):
        store.install(one, trust, public)
    store.install(one, trust)
    sign(one, key)
    # The same package, signed later: the signature joins the copy.
    assert store.install(one, trust, public).signed
    assert (store.directory / "made-1" / SIGNATURE).is_file()


def test_another_package_of_the_same_version_is_refused(store: Store, one: Path, tmp_path: Path) -> None:
    store.install(one, trust)
    other = copy_to(tmp_path / "other", name="made", version="1", licence="another")
    with pytest.raises(UsageError, match="another version"):
        store.install(other, trust)
    assert load(store.candidates()[0]).manifest.licence != "another"


def test_a_broken_installed_package_is_replaced_by_a_whole_one(store: Store, one: Path) -> None:
    folder = store.install(one, trust).directory
    (folder / NETWORK).write_bytes(b"")
    assert store.listed()[0].fault
    store.install(one, trust)
    assert not store.listed()[0].fault
    # Nothing of the broken one lies about.
    assert not list(store.directory.glob(".incoming-*"))


def test_rollback_without_a_package_before_says_so(store: Store, one: Path) -> None:
    for _ in range(2):
        with pytest.raises(UsageError, match="no model package was in force before"):
            store.rollback()
        store.install(one, trust)


def test_rollback_to_a_broken_package_is_refused(store: Store, one: Path, two: Path) -> None:
    store.install(one, trust)
    store.install(two, trust)
    (store.directory / "made-1" / NETWORK).unlink()
    with pytest.raises(BadDataError, match="missing"):
        store.rollback()
    assert current(store) == "made-2"


def test_a_service_that_does_not_become_ready_gets_the_package_before_back(store: Store, one: Path, two: Path) -> None:
    store.install(one, trust)
    store.install(two, trust)
    for _ in range(TRIAL_STARTS):
        assert store.starting() is None
        assert current(store) == "made-2"
    assert store.starting() == "made-2"
    assert current(store) == "made-1"
    assert store.starting() is None


def test_a_service_that_became_ready_ends_the_trial(store: Store, one: Path, two: Path) -> None:
    store.install(one, trust)
    assert not any(row.on_trial for row in store.listed())
    store.install(two, trust)
    assert store.listed()[1].on_trial
    store.starting()
    store.ready()
    for _ in range(TRIAL_STARTS + 2):
        assert store.starting() is None
    assert current(store) == "made-2"


def test_a_trial_with_no_whole_package_behind_it_stays(store: Store, one: Path, two: Path) -> None:
    store.install(one, trust)
    store.install(two, trust)
    (store.directory / "made-1" / NETWORK).unlink()
    for _ in range(TRIAL_STARTS + 2):
        assert store.starting() is None
    assert current(store) == "made-2"


def test_the_first_whole_package_is_found_and_the_others_named(store: Store, one: Path, two: Path) -> None:
    store.install(one, trust)
    store.install(two, trust)
    (store.directory / "made-2" / NETWORK).write_bytes(b"spoilt")
    found, refused = first_whole(store.candidates(), trust)
    assert found is not None
    assert found.manifest.identity == "made-1"
    assert len(refused) == 1
    assert "made-2" in refused[0]
    (store.directory / "made-1" / NETWORK).unlink()
    found, refused = first_whole(store.candidates(), trust)
    assert found is None
    assert len(refused) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"current":"../../etc"}', b'{"current":1}', b"\xff", b'{"current":""}']
)
def test_a_spoilt_selection_means_none(store: Store, one: Path, content: bytes) -> None:
    store.install(one, trust)
    (store.directory / "selection.json").write_bytes(content)
    assert store.candidates() == []
    store.install(one, trust)
    assert current(store) == "made-1"


def test_a_state_directory_that_can_t_be_written_is_one_line(tmp_path: Path, one: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    with pytest.raises(OutcryError, match="can't be written"):
        Store(tmp_path / "state").install(one, trust)


SWITCHER = """
import sys
from pathlib import Path
from device.installed_models.store import Store
store = Store(Path(sys.argv[1]))
print("go", flush=True)
while True:
    for source in sys.argv[2:]:
        store.install(Path(source), lambda package: None)
"""


def test_sigkill_at_50_random_instants_leaves_one_whole_package_in_force(
    store: Store, one: Path, two: Path, tmp_path: Path
) -> None:
    """A process does nothing but install the two in turn; whenever it dies, what is in force is whole."""
    three = copy_to(tmp_path / "offered" / "three", name="made", version="3")
    store.install(one, trust)
    draw, seen = random.Random(14), set()
    command = [sys.executable, "-c", SWITCHER, str(tmp_path / "state"), str(one), str(two), str(three)]
    for _ in range(50):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"go\n"
        time.sleep(draw.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        in_force = load(store.candidates()[0])
        assert in_force.manifest.identity in ("made-1", "made-2", "made-3")
        seen.add(in_force.manifest.identity)
        # What a kill left behind hinders nobody.
        found, refused = first_whole(store.candidates(), trust)
        assert found is not None
        assert not refused
    assert len(seen) > 1, "the kills never fell behind a switch"
    store.install(one, trust)
    assert not list(store.directory.glob(".incoming-*"))


def test_of_shipped_packages_the_newest_default_is_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("outcry-2", "outcry-10", "outcry-open-3", "outcry-9.1"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(chosen, "SHIPPED", tmp_path)
    assert [folder.name for folder in chosen.shipped()] == ["outcry-10", "outcry-9.1", "outcry-2", "outcry-open-3"]


def test_no_other_shipped_package_stands_in_for_a_broken_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(device=DeviceSection(state_directory=str(tmp_path / "state")))
    monkeypatch.setattr(chosen, "SHIPPED", tmp_path / "models")
    copy_to(tmp_path / "models/outcry-open-1", name="outcry-open", version="1")
    with pytest.raises(MissingInputError, match="no model package is installed or shipped"):
        chosen.in_force(config)
    default = copy_to(tmp_path / "models/outcry-7", name="outcry", version="7")
    assert chosen.in_force(config).directory == default
    (default / NETWORK).write_bytes(b"spoiled")
    with pytest.raises(BadDataError):
        chosen.in_force(config)
