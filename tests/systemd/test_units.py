"""The units by systemd's own judges, and the scripts by shellcheck."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "systemd"
UNITS = ["outcry.service", "outcry-fault.service"]

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_exposure_is_at_most_1_5(unit: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", FOLDER / unit],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-200:]


@needs_systemd
def test_exposure_check_can_fail(tmp_path: Path) -> None:
    text = (FOLDER / "outcry.service").read_text()
    (tmp_path / "outcry.service").write_text(text.replace("SystemCallFilter=~@privileged @resources\n", ""))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", tmp_path / "outcry.service"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1


@needs_systemd
@pytest.mark.parametrize("extra", [(), ("outcry-local-network.conf",)])
def test_verify_says_nothing(tmp_path: Path, extra: tuple[str, ...]) -> None:
    # verify wants the programs to exist. It exits 0 on an unknown key: its silence is the test.
    for unit in (*UNITS, "outcry-trial.service"):
        text = (FOLDER / unit).read_text()
        (tmp_path / unit).write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text))
    for name in extra:
        folder = tmp_path / "outcry.service.d"
        folder.mkdir()
        shutil.copy(FOLDER / name, folder / name)
    done = subprocess.run(
        ["systemd-analyze", "verify", *sorted(tmp_path.glob("*.service"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_sandbox_keeps_what_hearing_needs() -> None:
    # Without these lines systemd's judges are content, and XNNPACK, gpiozero or sound are gone.
    text = (FOLDER / "outcry.service").read_text()
    assert "ProcSubset=all" in text
    assert "PrivateDevices=no" in text
    assert "DeviceAllow=char-alsa rw" in text
    assert "DeviceAllow=char-gpiochip rw" in text
    assert "Restart=always" in text
    assert "RestartPreventExitStatus=78" in text
    assert "StartLimitIntervalSec=0" in text


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_scripts_pass_shellcheck() -> None:
    scripts = sorted(FOLDER.glob("*.sh"))
    assert len(scripts) == 4
    done = subprocess.run(["shellcheck", "-x", *scripts], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
