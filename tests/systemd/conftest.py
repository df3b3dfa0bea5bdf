"""Fixtures: a Debian for each test, the wheelhouse of this tree, a Debian in which it is installed."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # debian.py and releases.py belong to these tests alone

import debian as debian_room
import releases


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The first test to need them makes the Debian root, the wheelhouse and an installation.
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def base() -> Path:
    reason = debian_room.unusable()
    if reason:
        pytest.skip(reason)
    return debian_room.base_root()


@pytest.fixture(scope="session")
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The key that signs the wheelhouse: private and public PEM file."""
    return releases.make_key(tmp_path_factory.mktemp("key"), "release")


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory, signing_key: tuple[Path, Path]) -> Path:
    output = tmp_path_factory.mktemp("release") / "wheelhouse"
    given = os.environ.get("OUTCRY_WHEELHOUSE")  # one that is about to be shipped, say
    if given:
        shutil.copytree(given, output)
        releases.write_hashes(output)
        releases.sign(output, signing_key[0])
        return output
    cache = debian_room.CACHE / f"wheels-{releases.DEBIAN_PYTHON}-{os.uname().machine}"
    releases.build_from_cache(output, cache, "--key", str(signing_key[0]))
    return output


@pytest.fixture
def debian(base: Path, tmp_path: Path) -> Iterator[debian_room.Debian]:
    """A fresh Debian, not booted."""
    with debian_room.overlay([base], tmp_path / "debian") as fresh:
        yield fresh


@pytest.fixture(scope="session")
def installed_layer(base: Path, wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the installer adds to a Debian, made once."""
    scratch = tmp_path_factory.mktemp("installed")
    with debian_room.overlay([base], scratch / "debian") as fresh:
        releases.bring(fresh.path, wheelhouse)
        fresh.run("/root/wheelhouse/systemd/install.sh", environ={"PIP_NO_COMPILE": "0"})
        shutil.rmtree(fresh.path / "root/wheelhouse")
    return scratch / "debian/upper"


@pytest.fixture
def installed(base: Path, installed_layer: Path, tmp_path: Path) -> Iterator[debian_room.Debian]:
    """A Debian with outcry installed, not booted."""
    with debian_room.overlay([installed_layer, base], tmp_path / "debian") as fresh:
        yield fresh


@pytest.fixture
def ready(debian: debian_room.Debian, wheelhouse: Path) -> debian_room.Debian:
    """A Debian without outcry to which the wheelhouse was brought."""
    releases.bring(debian.path, wheelhouse)
    return debian
