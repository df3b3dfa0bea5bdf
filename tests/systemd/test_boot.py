"""The installed service under a booted systemd: ready, told, hung, killed, stopped, upgraded, removed.

A Debian boots in a container with its own mosquitto (which asks for a password) and no microphone.
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import releases
from debian import Debian, wait_for

pytestmark = pytest.mark.rig
INSTALL = "/root/wheelhouse/systemd/install.sh"
LATER = "/root/later/systemd/install.sh"
PASSWORD = "not-a-default"
# An alert that waits in the outbox, as the service itself would put it there.
ADD_ALERT = """
from pathlib import Path
from device.events import Event, new_id
from device.outbox import FILE_NAME, Outbox
outbox = Outbox(Path("/var/lib/outcry") / FILE_NAME)
outbox.add(Event(id=new_id(), kind="sos", device="outcry", at="2026-11-21T12:00:00Z"), "alert")
assert outbox.place == "disk" and outbox.depth == 1
"""
AS_OUTCRY = ["setpriv", "--reuid=outcry", "--regid=outcry", "--init-groups"]
START_LIMIT_S = 90  # some seconds on an idle machine
LOGIN = ["-V", "mqttv5", "-u", "outcry", "-P", PASSWORD]


def systemd(debian: Debian, name: str, unit: str = "outcry.service") -> str:
    return debian.run("systemctl", "show", "--property", name, "--value", unit).stdout.strip()


def is_active(debian: Debian, unit: str = "outcry.service") -> bool:
    return systemd(debian, "ActiveState", unit) == "active"


def retained(debian: Debian, topic: str) -> str:
    done = debian.run("mosquitto_sub", *LOGIN, "-t", f"outcry/outcry/{topic}", "-C", "1", "-W", "10", check=False)
    return done.stdout.strip()


def journal(debian: Debian) -> str:
    return debian.run("journalctl", "--unit=outcry", "--output=cat", "--no-pager").stdout


def configure(debian: Debian, old: str, new: str) -> None:
    file = debian.path / "etc/outcry/config.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.fixture
def device(installed: Debian) -> Debian:
    """An installed Debian with a broker and the password as a credential, not booted."""
    mosquitto = installed.path / "etc/mosquitto"
    (mosquitto / "conf.d/outcry.conf").write_text(
        "listener 1883 127.0.0.1\nallow_anonymous false\npassword_file /etc/mosquitto/passwords\n"
    )
    installed.run("mosquitto_passwd", "-c", "-b", "/etc/mosquitto/passwords", "outcry", PASSWORD)
    installed.run("chown", "mosquitto", "/etc/mosquitto/passwords")
    credential = installed.path / "etc/outcry/credentials/mqtt-password"
    credential.write_text(PASSWORD + "\n")
    credential.chmod(0o600)
    configure(installed, 'host = ""', 'host = "localhost"')
    configure(installed, "tls = true", "tls = false")
    configure(installed, 'username = ""', 'username = "outcry"')
    return installed


@pytest.fixture
def running(device: Debian) -> Iterator[Debian]:
    """The same, booted, with the service ready and connected."""
    device.boot()
    try:
        wait_for(lambda: is_active(device), START_LIMIT_S, "the service to become ready")
        wait_for(lambda: retained(device, "availability") == "online", START_LIMIT_S, "`online` at the broker")
        yield device
    finally:
        if is_active(device):
            journal(device)
        device.halt()


def drop_in(debian: Debian, text: str) -> None:
    folder = debian.path / "etc/systemd/system/outcry.service.d"
    folder.mkdir(exist_ok=True)
    (folder / "test.conf").write_text(text)


def test_ready_and_told(running: Debian) -> None:
    state = json.loads(retained(running, "state"))
    assert state["version"] == running.run("outcry", "version").stdout.strip()
    # No microphone here: the process lives, and says that it is deaf.
    wait_for(
        lambda: json.loads(retained(running, "state"))["hearing"] in {"recovering", "failed"},
        START_LIMIT_S,
        "the state to say that it is deaf",
    )
    assert systemd(running, "NRestarts") == "0"
    assert systemd(running, "StatusText") != ""
    # The password reached the service as a credential, and nowhere else.
    pid = systemd(running, "MainPID")
    environment = running.run("sh", "-c", f"tr '\\0' '\\n' < /proc/{pid}/environ").stdout
    assert "CREDENTIALS_DIRECTORY=" in environment
    assert PASSWORD not in environment
    assert PASSWORD not in journal(running)


def test_the_sandbox_holds(running: Debian) -> None:
    pid = systemd(running, "MainPID")
    status = running.run("cat", f"/proc/{pid}/status").stdout
    assert re.search(r"^Uid:\s+(?!0\b)", status, re.M)
    assert re.search(r"^CapEff:\s+0+$", status, re.M)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    assert re.search(r"^Seccomp:\s+2$", status, re.M)
    mounts = running.run("cat", f"/proc/{pid}/mounts").stdout
    assert re.search(r"^\S+ / \S+ ro\b", mounts, re.M), "ProtectSystem=strict"
    assert running.run("stat", "-c", "%a %U %G", "/run/outcry").stdout == "750 outcry outcry\n"


def test_a_hang_ends_by_the_watchdog(device: Debian) -> None:
    drop_in(device, "[Service]\nWatchdogSec=5\n")
    device.boot()
    wait_for(lambda: is_active(device), START_LIMIT_S, "the service to become ready")
    pid = systemd(device, "MainPID")
    device.run("kill", "-STOP", pid)
    wait_for(
        lambda: systemd(device, "MainPID") not in {pid, "0"} and is_active(device),
        START_LIMIT_S,
        "the service to come back",
    )
    assert "Watchdog timeout" in journal(device)
    assert systemd(device, "NRestarts") == "1"


def test_a_kill_is_survived(running: Debian) -> None:
    pid = systemd(running, "MainPID")
    running.run("kill", "-KILL", pid)
    wait_for(
        lambda: systemd(running, "MainPID") not in {pid, "0"} and is_active(running),
        START_LIMIT_S,
        "the service to come back",
    )
    wait_for(lambda: retained(running, "availability") == "online", START_LIMIT_S, "`online` again")
    assert systemd(running, "StartLimitIntervalUSec") == "0"


def test_a_clean_stop(running: Debian) -> None:
    running.run("systemctl", "stop", "outcry")
    assert systemd(running, "Result") == "success"
    assert systemd(running, "ExecMainStatus") == "0"
    assert not is_active(running, "outcry-fault.service")
    assert retained(running, "availability") == "offline"
    assert "Traceback" not in journal(running)


def test_a_configuration_error_stays_down_and_shows_the_fault(running: Debian) -> None:
    configure(running, "pre_alert_s = 10.0", "pre_alert_s = -1")
    running.run("systemctl", "restart", "outcry", check=False)
    wait_for(lambda: systemd(running, "ActiveState") == "failed", START_LIMIT_S, "the service to give up")
    assert systemd(running, "ExecMainStatus") == "78"
    assert "pre_alert_s" in journal(running)
    wait_for(lambda: is_active(running, "outcry-fault.service"), START_LIMIT_S, "the fault on the LED")
    time.sleep(5)
    assert systemd(running, "ActiveState") == "failed", "systemd must not restart it"
    assert is_active(running, "outcry-fault.service"), "the fault stays"
    configure(running, "pre_alert_s = -1", "pre_alert_s = 10.0")
    running.run("systemctl", "start", "outcry")
    assert is_active(running)
    assert not is_active(running, "outcry-fault.service"), "the pins must be free for the service"


def test_an_upgrade_keeps_config_and_undelivered_alerts(running: Debian, wheelhouse: Path) -> None:
    running.run("systemctl", "stop", "mosquitto", "outcry")
    configure(running, 'place = ""', 'place = "kitchen"')
    running.run(*AS_OUTCRY, "/opt/outcry/current/bin/python", "-c", ADD_ALERT)
    running.run("systemctl", "start", "outcry")
    later = releases.variant(wheelhouse, wheelhouse.parent / "upgrade", "9.0.0")
    releases.bring(running.path, later, "later")
    running.run(LATER)
    assert is_active(running)
    running.run("systemctl", "start", "mosquitto")
    alerts = running.run("mosquitto_sub", *LOGIN, "-t", "outcry/outcry/alert", "-C", "1", "-W", "70").stdout
    assert json.loads(alerts)["kind"] == "sos"
    state = json.loads(retained(running, "state"))
    assert state["version"] == "9.0.0"
    running.run("/opt/outcry/current/systemd/install.sh", "--rollback")
    assert is_active(running)
    assert running.run("outcry", "version").stdout.strip() == releases.version_of(wheelhouse)


def test_a_release_that_never_gets_ready_goes_back(running: Debian, wheelhouse: Path) -> None:
    before = (running.path / "opt/outcry/current").readlink()
    broken = releases.variant(
        wheelhouse,
        wheelhouse.parent / "never-ready",
        "9.9.9",
        {"device/service.py": "def run(config):\n    raise RuntimeError('broken')\n"},
    )
    releases.bring(running.path, broken, "later")
    done = running.run(LATER, check=False)
    assert done.returncode == 70
    assert f"went back to {before.name}" in done.stderr.splitlines()[-1]
    assert (running.path / "opt/outcry/current").readlink() == before
    assert is_active(running)
    assert [path.name for path in (running.path / "opt/outcry/releases").iterdir()] == [before.name]


def test_power_lost_in_the_middle_of_an_upgrade(running: Debian, wheelhouse: Path) -> None:
    before = (running.path / "opt/outcry/current").readlink()
    later = releases.variant(wheelhouse, wheelhouse.parent / "power", "9.0.0")
    releases.bring(running.path, later, "later")
    running.run("systemd-run", "--quiet", LATER)
    wait_for((running.path / "opt/outcry/releases/9.0.0-1/unfinished").exists, START_LIMIT_S, "the new release")
    time.sleep(1)
    running.halt(power_cut=True)
    running.boot()
    wait_for(lambda: is_active(running), START_LIMIT_S, "the old release after the power came back")
    assert (running.path / "opt/outcry/current").readlink() == before
    running.run(LATER)
    assert sorted(path.name for path in (running.path / "opt/outcry/releases").iterdir()) == [
        before.name,
        "9.0.0-1",
    ]
    assert not list((running.path / "opt/outcry").glob("stage.*"))


@pytest.fixture(scope="module")
def hangs(wheelhouse: Path) -> Path:
    """A release that neither becomes ready nor ends."""
    sleeps = "import time\n\ndef run(config):\n    time.sleep(1000)\n"
    return releases.variant(wheelhouse, wheelhouse.parent / "hangs", "9.9.9", {"device/service.py": sleeps})


def begin_an_upgrade_that_hangs(running: Debian, hangs: Path) -> None:
    """Bring current to it, under an installer that still waits for it to become ready."""
    releases.bring(running.path, hangs, "hangs")
    running.run("systemd-run", "--quiet", "--unit=upgrade", "/root/hangs/systemd/install.sh")
    current = running.path / "opt/outcry/current"
    wait_for(lambda: current.readlink().name == "9.9.9-1", START_LIMIT_S, "the switch")
    wait_for(lambda: systemd(running, "ActiveState") == "activating", START_LIMIT_S, "the start of the new release")
    assert (running.path / "opt/outcry/trial").is_symlink()


def test_power_lost_between_switch_and_readiness(running: Debian, wheelhouse: Path, hangs: Path) -> None:
    before = (running.path / "opt/outcry/current").readlink()
    unit = running.path / "etc/systemd/system/outcry.service"
    begin_an_upgrade_that_hangs(running, hangs)
    unit.write_text(unit.read_text().replace("Nice=-5", "Nice=-4"))  # as if the new release had another unit
    running.halt(power_cut=True)
    running.boot()
    wait_for(lambda: is_active(running), START_LIMIT_S, "the old release after the power came back")
    assert (running.path / "opt/outcry/current").readlink() == before
    assert systemd(running, "Nice") == "-5", "its own unit came back with it, before it was started"
    assert running.run("outcry", "version").stdout.strip() == releases.version_of(wheelhouse)
    told = running.run("journalctl", "--unit=outcry-trial", "--output=cat").stdout
    assert f"was interrupted: {before.name} is current again" in told
    assert not (running.path / "opt/outcry/trial").is_symlink()
    # Proven now: the next start leaves it alone, the next upgrade clears what hung.
    later = releases.variant(wheelhouse, wheelhouse.parent / "after-power", "9.0.0")
    releases.bring(running.path, later, "later")
    running.run(LATER)
    assert not (running.path / "opt/outcry/trial").is_symlink()
    running.run("systemctl", "restart", "outcry")
    assert running.run("outcry", "version").stdout.strip() == "9.0.0"
    names = sorted(path.name for path in (running.path / "opt/outcry/releases").iterdir())
    assert names == [before.name, "9.0.0-1"]


def test_an_installer_killed_between_switch_and_readiness(running: Debian, hangs: Path) -> None:
    before = (running.path / "opt/outcry/current").readlink()
    begin_an_upgrade_that_hangs(running, hangs)
    running.run("systemctl", "kill", "--signal=KILL", "upgrade")
    running.run("systemctl", "restart", "--no-block", "outcry")
    wait_for(lambda: is_active(running), START_LIMIT_S, "the old release")
    assert (running.path / "opt/outcry/current").readlink() == before


def test_uninstall_and_purge(running: Debian) -> None:
    running.run("sh", "-c", "cp /opt/outcry/current/systemd/*.sh /root")
    running.run("/opt/outcry/current/systemd/install.sh", "--uninstall")
    assert systemd(running, "LoadState") == "not-found"
    assert retained(running, "availability") == "offline"
    assert running.run("pgrep", "-u", "outcry", check=False).stdout == ""
    assert (running.path / "var/lib/outcry").exists()
    running.run("/root/install.sh", "--uninstall", "--purge")
    assert not (running.path / "var/lib/outcry").exists()
    assert not (running.path / "etc/outcry").exists()
    assert running.run("id", "outcry", check=False).returncode != 0
