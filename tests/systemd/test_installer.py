"""The installer where systemd does not run: every bad input, what it leaves, and what it never touches."""

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import releases
from debian import Debian

pytestmark = pytest.mark.rig
INSTALL = "/root/wheelhouse/systemd/install.sh"
SMALL_DISK = "mkdir /opt/outcry && mount -t tmpfs -o size=80M tmpfs /opt/outcry"


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Assert one line on standard error after the progress lines, with these words, and the exit code."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert lines, "no line on standard error"
    assert lines[-1].startswith("outcry install: "), done.stderr
    assert [line for line in lines if line.startswith("outcry install: ")] == lines[-1:]
    for word in words:
        assert word in lines[-1], lines[-1]


def nothing_left(debian: Debian) -> None:
    assert not (debian.path / "opt/outcry").exists()
    assert not (debian.path / "etc/outcry").exists()
    assert not (debian.path / "etc/systemd/system/outcry.service").exists()


def current(debian: Debian) -> str:
    return (debian.path / "opt/outcry/current").readlink().name


def release_names(debian: Debian) -> list[str]:
    return sorted(path.name for path in (debian.path / "opt/outcry/releases").iterdir())


@pytest.fixture
def ready(debian: Debian, wheelhouse: Path) -> Debian:
    """A Debian without outcry to which the wheelhouse was brought."""
    releases.bring(debian.path, wheelhouse)
    return debian


# --- machines that can't have it ---


def test_without_root(ready: Debian) -> None:
    ready.run("chmod", "-R", "go+rX", "/root")
    done = ready.run("setpriv", "--reuid=65534", "--clear-groups", INSTALL, check=False)
    refused(done, 2, "sudo")
    nothing_left(ready)


def test_on_the_wrong_architecture(ready: Debian) -> None:
    refused(ready.run("setarch", "i686", INSTALL, check=False), 70, "i686", "64-bit")
    nothing_left(ready)


def test_with_an_old_python(ready: Debian) -> None:
    # Debian 11's python3, as far as the installer asks it.
    old = "#!/bin/sh\ncase $2 in *print*) echo 3.9;; *) exit 1;; esac\n"
    (ready.path / "usr/bin/python3").unlink()
    (ready.path / "usr/bin/python3").write_text(old)
    (ready.path / "usr/bin/python3").chmod(0o755)
    refused(ready.run(INSTALL, check=False), 70, "Python 3.9 is too old", "3.11")
    nothing_left(ready)


# --- wheelhouses that can't be used ---


def test_without_a_wheelhouse(ready: Debian) -> None:
    refused(ready.run(INSTALL, "--wheelhouse", "/root", check=False), 66, "/root", "wheelhouse.conf")


def test_a_changed_file(ready: Debian) -> None:
    wheel = next((ready.path / "root/wheelhouse/wheels").glob("outcry-*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"x")
    refused(ready.run(INSTALL, check=False), 65, "damaged", wheel.name)
    nothing_left(ready)


def test_a_file_that_nobody_named(ready: Debian) -> None:
    (ready.path / "root/wheelhouse/wheels/evil-1.0-py3-none-any.whl").write_bytes(b"")
    refused(ready.run(INSTALL, check=False), 65, "evil-1.0")
    nothing_left(ready)


@pytest.mark.parametrize(("line", "word"), [("arch=aarch64", "for aarch64"), ("python=3.13", "for Python 3.13")])
def test_for_another_system(ready: Debian, line: str, word: str) -> None:
    house = ready.path / "root/wheelhouse"
    name = line.partition("=")[0]
    lines = [
        line if old.startswith(f"{name}=") else old for old in (house / "wheelhouse.conf").read_text().splitlines()
    ]
    (house / "wheelhouse.conf").write_text("\n".join(lines) + "\n")
    releases.write_hashes(house)
    refused(ready.run(INSTALL, check=False), 65, word)
    nothing_left(ready)


@pytest.fixture
def with_key(ready: Debian, tmp_path: Path, signing_key: tuple[Path, Path]) -> tuple[Debian, Path, Path]:
    """A Debian that trusts the key of the wheelhouse; the key's private half, and somebody else's."""
    private, public = signing_key
    other, _ = releases.make_key(tmp_path, "theirs")
    (ready.path / "etc/outcry").mkdir()
    shutil.copy(public, ready.path / "etc/outcry/release-key.pem")
    return ready, private, other


def test_signatures(with_key: tuple[Debian, Path, Path]) -> None:
    debian, private, other = with_key
    house = debian.path / "root/wheelhouse"
    assert "would run" in debian.run(INSTALL, "--dry-run").stderr
    (house / "SHA256SUMS.sig").unlink()
    refused(debian.run(INSTALL, check=False), 65, "not signed", "release-key.pem")
    releases.sign(house, other)
    refused(debian.run(INSTALL, check=False), 65, "signature", "does not fit")
    releases.sign(house, private)
    # Good: a dry run goes on past the signature.
    assert "would run" in debian.run(INSTALL, "--dry-run").stderr
    with (house / "SHA256SUMS").open("a") as sums:
        sums.write("\n")
    refused(debian.run(INSTALL, check=False), 65, "does not fit")
    assert not (debian.path / "opt/outcry").exists()


def test_wheelhouse_script_signs(signing_key: tuple[Path, Path], wheelhouse: Path) -> None:
    sums = wheelhouse / "SHA256SUMS"
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", signing_key[1], "-rawin", "-in", sums]
    subprocess.run([*verify, "-sigfile", f"{sums}.sig"], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        ([], 2, "--output"),
        (["--output", "/tmp"], 2, "exists already"),
        (["--output", "{new}", "--arch", "armv7l"], 2, "64-bit"),
        (["--output", "{new}", "--python", "3.9"], 2, "3.11 or newer"),
        (["--output", "{new}", "--key", "/nowhere.pem"], 66, "/nowhere.pem"),
        (["--frob"], 2, "unknown option"),
    ],
)
def test_wheelhouse_script_refuses(tmp_path: Path, options: list[str], code: int, word: str) -> None:
    script = releases.TREE / "systemd/wheelhouse.sh"
    given = [option.format(new=tmp_path / "new") for option in options]
    done = subprocess.run([script, *given], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1
    assert word in done.stderr
    assert not (tmp_path / "new").exists()


# --- trouble on the way ---


@contextmanager
def apt_lock(debian: Debian) -> Iterator[None]:
    with (debian.path / "var/lib/dpkg/lock-frontend").open("a") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def test_apt_is_locked(ready: Debian) -> None:
    ready.run("dpkg", "--remove", "--force-depends", "libportaudio2")
    with apt_lock(ready):
        done = ready.run(INSTALL, check=False, environ={"OUTCRY_APT_WAIT_S": "1"})
    refused(done, 70, "apt is busy")
    nothing_left(ready)


def test_apt_without_network(ready: Debian) -> None:
    ready.run("dpkg", "--remove", "--force-depends", "libportaudio2")
    refused(ready.run(INSTALL, check=False), 70, "libportaudio2")
    nothing_left(ready)


def test_too_little_room(ready: Debian) -> None:
    script = f"{SMALL_DISK} && {INSTALL}"
    refused(ready.run("sh", "-c", script, check=False), 70, "MB are free", "400 MB")


def test_the_disk_fills_up(ready: Debian) -> None:
    script = f"{SMALL_DISK} && {INSTALL}; code=$?; ls /opt/outcry; exit $code"
    done = ready.run("sh", "-c", script, check=False, environ={"OUTCRY_NEED_MB": "1"})
    refused(done, 70, "No space left")
    assert done.stdout == ""


# An index that sends numpy's first half and dies.
DYING_INDEX = """
import http.server, os, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        parts = self.path.strip("/").split("/")
        if parts[0] == "simple":
            prefix = parts[1].replace("-", "_").lower() + "-"
            names = [n for n in os.listdir("wheels") if n.lower().startswith(prefix)]
            page = "".join(f'<a href="/wheels/{n}">{n}</a>' for n in names).encode()
            self.send_response(200); self.send_header("Content-Type", "text/html"); self.end_headers()
            self.wfile.write(page)
        elif parts[1].startswith("numpy"):
            data = open(self.path.strip("/"), "rb").read()
            self.send_response(200); self.send_header("Content-Length", str(len(data))); self.end_headers()
            self.wfile.write(data[: len(data) // 2]); self.wfile.flush()
            os._exit(0)
        else:
            super().do_GET()
http.server.ThreadingHTTPServer(("127.0.0.1", 8765), Handler).serve_forever()
"""


def test_the_network_goes_in_the_middle(ready: Debian) -> None:
    house = ready.path / "root/wheelhouse"
    (house / "index.py").write_text(DYING_INDEX)
    tree = ready.path / "root/tree"
    tree.mkdir()
    for name in ("device", "systemd", "pyproject.toml", "README.md", "config.example.toml"):
        subprocess.run(["cp", "-r", releases.TREE / name, tree / name], check=True)
    script = "cd /root/wheelhouse && python3 index.py & sleep 1; exec /root/tree/systemd/install.sh"
    environ = {"PIP_INDEX_URL": "http://127.0.0.1:8765/simple", "PIP_RETRIES": "1", "PIP_TIMEOUT": "3"}
    done = ready.run("sh", "-c", script, check=False, environ=environ)
    refused(done, 70, "network")
    log = (ready.path / "var/log/outcry-install.log").read_text()
    assert "numpy" in log, log[-2000:]
    nothing_left(ready)


def test_two_at_the_same_time(ready: Debian) -> None:
    done = ready.run("flock", "/run/outcry-install.lock", INSTALL, check=False)
    refused(done, 70, "another installation")
    nothing_left(ready)


def test_dry_run_changes_nothing(ready: Debian) -> None:
    upper = ready.path.parent / "upper"

    def listing() -> list[str]:
        return sorted(str(path.relative_to(upper)) for path in upper.rglob("*"))

    ready.run("true")  # what nspawn itself writes
    before = listing()
    done = ready.run(INSTALL, "--dry-run")
    assert "would run: systemctl enable outcry.service" in done.stderr
    assert listing() == before


@pytest.mark.parametrize("options", [["--frob"], ["--wheelhouse"], ["--purge"]])
def test_usage(ready: Debian, options: list[str]) -> None:
    refused(ready.run(INSTALL, *options, check=False), 2, "--help")


# --- what it does ---


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
