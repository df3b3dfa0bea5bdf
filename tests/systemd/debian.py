"""A Debian of its own for a test: a cached root under an overlay, run as a container, booted with systemd.

The cache ($OUTCRY_CACHE, else ~/.cache/outcry) holds what mmdebstrap built; nothing a test does reaches it.
Containers have no network but their own loopback, unless a test asks for this machine's.
"""

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("OUTCRY_CACHE") or Path.home() / ".cache/outcry")
PACKAGES = (
    "systemd,systemd-sysv,dbus,udev,python3,ca-certificates,procps,openssl,libportaudio2,libasound2-plugins,"
    "mosquitto,mosquitto-clients,sqlite3,pulseaudio,python3-venv,python3-pyaudio"
)
CONTAINER = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit"]
SUITES = {12: "bookworm", 13: "trixie"}
BOOT_LIMIT_S = 180  # a second on an idle machine


def unusable() -> str | None:
    """Say why containers can't run here, None where they can."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("mmdebstrap", "systemd-nspawn", "nsenter"):
        if shutil.which(program) is None:
            return f"needs {program} (apt-get install mmdebstrap systemd-container)"
    return None


def base_root(kind: str = "", packages: str = PACKAGES, release: int = 12) -> Path:
    """Return the cached Debian of this machine's architecture, built on first use (half a minute).

    `kind` names one with other packages.
    """
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], check=True, capture_output=True, text=True
    ).stdout.strip()
    root = CACHE / f"debian{release}-{architecture}{kind and '-'}{kind}"
    if not root.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = CACHE / f"debian{release}.{os.getpid()}"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", SUITES[release], str(fresh)],
            check=True,
        )
        (fresh / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        (fresh / "var/log/journal").mkdir(exist_ok=True)
        fresh.rename(root)
    return root


class Debian:
    """One throw-away Debian; `path` is its root seen from here."""

    def __init__(self, path: Path, *, network: bool = False) -> None:
        self.path = path
        alone = [] if network else ["--private-network"]
        self._container = [*CONTAINER, *alone, f"--machine=outcry-{uuid.uuid4().hex[:12]}", f"--directory={path}"]
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init: int | None = None

    def run(
        self, *command: str, check: bool = True, environ: dict[str, str] | None = None, timeout_s: float = 400
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, in the booted system where it is booted. stdout and stderr are captured."""
        if self._init is not None:
            outer = ["nsenter", "--target", str(self._init), "--all", "--root", "env", "-i", "-C", "/"]
        else:
            outer = [*self._container, "--pipe", "env", "-i"]
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        # Bytecode takes most of an installation's time, and few of these installations ever run.
        given = {"PATH": path, "PIP_NO_COMPILE": "1", **(environ or {})}
        done = subprocess.run(
            [*outer, *(f"{name}={value}" for name, value in given.items()), *command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        # nspawn's own complaint where the machine's /run is no tmpfs
        done.stderr = "".join(
            line for line in done.stderr.splitlines(keepends=True) if not line.startswith("Attempted to remove disk")
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def boot(self) -> None:
        """Boot systemd and wait until it has started everything."""
        self._nspawn = subprocess.Popen(
            [*self._container, "--boot", "--console=pipe"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(self._find_init, BOOT_LIMIT_S, "the container's PID 1")
            wait_for(
                lambda: (
                    self.run("systemctl", "is-system-running", check=False).stdout.strip() in {"running", "degraded"}
                ),
                BOOT_LIMIT_S,
                "systemd to finish booting",
            )
        except AssertionError:
            self.halt()
            raise

    def halt(self, *, power_cut: bool = False) -> None:
        """Shut the system down; with `power_cut` kill all of it at once."""
        if self._nspawn is None:
            return
        if power_cut and self._init is not None:
            os.kill(self._init, signal.SIGKILL)
        else:
            self._nspawn.terminate()
        try:
            self._nspawn.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._nspawn = self._init = None

    def _find_init(self) -> bool:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, "systemd-nspawn ended before its system had booted"
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        for child in children:
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                self._init = int(child)
                return self.run("test", "-S", "/run/dbus/system_bus_socket", check=False).returncode == 0
        return False


@contextmanager
def overlay(lower: list[Path], scratch: Path, *, network: bool = False) -> Iterator[Debian]:
    """Mount a writable view of the layers in `lower` (topmost first); changes lie under `scratch`."""
    for part in ("upper", "work", "root"):
        (scratch / part).mkdir(parents=True)
    root = scratch / "root"
    options = f"lowerdir={':'.join(map(str, lower))},upperdir={scratch / 'upper'},workdir={scratch / 'work'}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)], check=True)
    debian = Debian(root, network=network)
    try:
        yield debian
    finally:
        debian.halt()
        subprocess.run(["umount", str(root)], check=True)


def wait_for(condition: Callable[[], bool], limit_s: float, what: str) -> float:
    """Wait until `condition` holds and return how long that took; fail with `what` after `limit_s`."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < limit_s, f"waited {limit_s} s in vain for {what}"
        time.sleep(0.1)
    return time.monotonic() - start
