"""The installer where systemd does not run: every bad input, what it leaves, and what it never touches."""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import releases
from debian import Debian
from releases import refused

pytestmark = pytest.mark.rig
INSTALL = "/root/wheelhouse/systemd/install.sh"
SMALL_DISK = "mkdir /opt/outcry && mount -t tmpfs -o size=80M tmpfs /opt/outcry"


def nothing_left(debian: Debian) -> None:
    assert not (debian.path / "opt/outcry").exists()
    assert not (debian.path / "etc/outcry").exists()
    assert not (debian.path / "etc/systemd/system/outcry.service").exists()


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
