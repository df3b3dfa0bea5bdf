"""What the installer leaves where systemd does not run: releases, configuration, what is the person's, nothing else."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
import releases
from debian import Debian
from releases import current, refused, release_names

pytestmark = pytest.mark.rig
INSTALL = "/root/wheelhouse/systemd/install.sh"


def test_installed(installed: Debian, wheelhouse: Path) -> None:
    version = releases.version_of(wheelhouse)
    assert current(installed) == f"{version}-1"
    assert installed.run("outcry", "version").stdout.strip() == version
    assert installed.run("systemctl", "is-enabled", "outcry").stdout.strip() == "enabled"
    assert installed.run("stat", "-c", "%a %U %G", "/etc/outcry/config.toml").stdout == "640 root outcry\n"
    assert installed.run("stat", "-c", "%a %U", "/etc/outcry/credentials").stdout == "700 root\n"
    assert installed.run("stat", "-c", "%a %U", "/var/lib/outcry").stdout == "700 outcry\n"
    assert {"audio", "gpio"} <= set(installed.run("id", "-nG", "outcry").stdout.split())
    for unwanted in ("tensorflow", "keras", "scipy"):
        assert installed.run("/opt/outcry/current/bin/python", "-c", f"import {unwanted}", check=False).returncode
    # Nothing of the build is left.
    assert sorted(path.name for path in (installed.path / "opt/outcry").iterdir()) == ["current", "releases"]


PACKAGE = """Package: python3-lgpio
Version: 0.2.2-1
Architecture: all
Maintainer: nobody
Description: stands in for Raspberry Pi OS's own
"""


def test_lgpio_comes_from_apt_where_it_has_no_wheel(ready: Debian, wheelhouse: Path) -> None:
    # As on Raspberry Pi OS Trixie: no wheel for its Python, but a package in a source of apt.
    wheel = next((ready.path / "root/wheelhouse/wheels").glob("lgpio-*.whl"))
    deb = ready.path / "root/deb"
    shutil.unpack_archive(wheel, deb / "usr/lib/python3/dist-packages", "zip")
    wheel.unlink()
    releases.write_hashes(ready.path / "root/wheelhouse")
    (deb / "DEBIAN").mkdir()
    (deb / "DEBIAN/control").write_text(PACKAGE)
    archive = ready.path / "srv/archive"
    archive.mkdir()
    subprocess.run(["dpkg-deb", "--build", deb, archive / "lgpio.deb"], check=True, capture_output=True)
    data = (archive / "lgpio.deb").read_bytes()
    details = f"Filename: ./lgpio.deb\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    (archive / "Packages").write_text(PACKAGE + details)
    (ready.path / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/srv/archive ./\n")
    ready.run("apt-get", "update")
    done = ready.run(INSTALL)
    assert "packages: python3-lgpio" in done.stderr
    assert "LED and button stay off" not in done.stderr
    ready.run("sh", "-c", "cd /tmp && /opt/outcry/current/bin/python -c 'import lgpio'")


def test_again_keeps_everything(installed: Debian, wheelhouse: Path) -> None:
    config = installed.path / "etc/outcry/config.toml"
    config.write_text(config.read_text().replace('place = ""', 'place = "kitchen"'))
    (installed.path / "var/lib/outcry/journal.jsonl").write_text("{}\n")
    version = releases.version_of(wheelhouse)
    dropin = installed.path / "etc/systemd/system/outcry.service.d/local-network.conf"
    releases.bring(installed.path, wheelhouse)
    installed.run(INSTALL, "--local-network")
    assert current(installed) == f"{version}-2"
    assert "IPAddressDeny=any" in dropin.read_text()
    later = releases.variant(wheelhouse, wheelhouse.parent / "later", "9.0.0")
    releases.bring(installed.path, later, "later")
    installed.run("/root/later/systemd/install.sh")
    assert current(installed) == "9.0.0-1"
    assert dropin.exists(), "a later run that does not name the network keeps the choice"
    # The one before stays for --rollback, older ones go.
    assert release_names(installed) == [f"{version}-2", "9.0.0-1"]
    assert 'place = "kitchen"' in config.read_text()
    assert (installed.path / "var/lib/outcry/journal.jsonl").read_text() == "{}\n"
    installed.run("/opt/outcry/current/systemd/install.sh", "--rollback", "--any-network")
    assert current(installed) == f"{version}-2"
    assert not dropin.exists()


def test_a_config_that_does_not_validate(installed: Debian, wheelhouse: Path) -> None:
    before = current(installed)
    config = installed.path / "etc/outcry/config.toml"
    config.write_text(config.read_text().replace("pre_alert_s = 10.0", "pre_alert_s = -1"))
    releases.bring(installed.path, wheelhouse)
    done = installed.run(INSTALL, check=False)
    refused(done, 78, "/etc/outcry/config.toml", "pre_alert_s", "untouched")
    assert current(installed) == before
    assert release_names(installed) == [before]


def test_a_release_that_does_not_work(installed: Debian, wheelhouse: Path) -> None:
    before = current(installed)
    broken = releases.variant(
        wheelhouse,
        wheelhouse.parent / "broken",
        "9.9.9",
        {"device/package.py": "raise RuntimeError('broken')\n"},
    )
    releases.bring(installed.path, broken)
    refused(installed.run(INSTALL, check=False), 70, "model verify")
    assert release_names(installed) == [before]
    assert current(installed) == before


@pytest.fixture
def interrupted(installed: Debian) -> tuple[Debian, str]:
    """A Debian whose switch to 9.9.9-1 nobody ended, and the name of the release before."""
    before = current(installed)
    opt = installed.path / "opt/outcry"
    shutil.copytree(opt / "releases" / before / "systemd", opt / "releases/9.9.9-1/systemd")
    (opt / "current").unlink()
    (opt / "current").symlink_to("releases/9.9.9-1")
    (opt / "trial").symlink_to(f"releases/{before}")
    return installed, before


def test_a_switch_that_nobody_ended(interrupted: tuple[Debian, str], wheelhouse: Path) -> None:
    debian, before = interrupted
    settle = "/opt/outcry/current/systemd/install.sh --settle"
    # While an installation is at work, which holds the lock, it is none of settle's business.
    debian.run("sh", "-c", f"exec 9> /run/outcry-install.lock; flock 9; {settle} 9>&-")
    assert current(debian) == "9.9.9-1"
    done = debian.run("sh", "-c", settle)
    assert f"{before} is current again, was 9.9.9-1" in done.stderr
    assert current(debian) == before
    assert not (debian.path / "opt/outcry/trial").is_symlink()
    assert debian.run("sh", "-c", settle).stderr == ""


@pytest.mark.parametrize("action", ["", "--rollback"])
def test_the_next_run_takes_back_what_nobody_ended(
    interrupted: tuple[Debian, str], wheelhouse: Path, action: str
) -> None:
    debian, before = interrupted
    releases.bring(debian.path, wheelhouse)
    done = debian.run("sh", "-c", f"{INSTALL} {action}")
    assert f"{before} is current again" in done.stderr
    version = releases.version_of(wheelhouse)
    assert current(debian) == (before if action else f"{version}-2")
    assert release_names(debian)[:2] == ([f"{version}-1", "9.9.9-1"] if action else [f"{version}-1", f"{version}-2"])


def test_no_earlier_release(installed: Debian) -> None:
    done = installed.run("/opt/outcry/current/systemd/install.sh", "--rollback", check=False)
    refused(done, 66, "no earlier release")


def test_uninstall_keeps_what_is_the_persons(installed: Debian) -> None:
    (installed.path / "var/lib/outcry/outbox.db").write_text("alerts")
    installed.run("/opt/outcry/current/systemd/install.sh", "--uninstall")
    assert not (installed.path / "opt/outcry").exists()
    assert not (installed.path / "usr/local/bin/outcry").is_symlink()
    assert not (installed.path / "etc/systemd/system/outcry.service").exists()
    assert not list((installed.path / "etc/systemd/system").rglob("outcry*"))
    assert (installed.path / "etc/outcry/config.toml").exists()
    assert (installed.path / "var/lib/outcry/outbox.db").read_text() == "alerts"


def test_purge_leaves_nothing(installed: Debian) -> None:
    installed.run("/opt/outcry/current/systemd/install.sh", "--uninstall", "--purge")
    left = [
        path
        for folder in ("etc", "opt", "var/lib", "usr/local")
        for path in (installed.path / folder).rglob("*outcry*")
        if path.name != "outcry-install.log"
    ]
    assert left == []
    assert "outcry" not in (installed.path / "etc/passwd").read_text()
