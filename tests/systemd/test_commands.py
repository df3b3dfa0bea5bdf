"""The commands of an installed outcry, as a person gives them with sudo: they mean the service and its directories."""

import json
from collections.abc import Iterator

import pytest
from debian import Debian, wait_for

pytestmark = pytest.mark.rig
START_LIMIT_S = 90
STATE = "var/lib/outcry"
# Somebody who has neither root nor the service's group.
STRANGER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture
def booted(installed: Debian) -> Iterator[Debian]:
    installed.boot()
    try:
        wait_for(
            lambda: installed.run("systemctl", "is-active", "outcry", check=False).stdout.strip() == "active",
            START_LIMIT_S,
            "the service to become ready",
        )
        yield installed
    finally:
        installed.halt()


def owners(debian: Debian) -> set[str]:
    return set(debian.run("find", f"/{STATE}", "-printf", "%u\n").stdout.split())


def test_commands_reach_the_running_service(booted: Debian) -> None:
    findings = [json.loads(line) for line in booted.run("outcry", "doctor", "--json", check=False).stdout.splitlines()]
    microphone = next(finding for finding in findings if finding["check"] == "microphone")
    assert microphone["words"].startswith("the service hears"), microphone
    assert "the running service listens" in booted.run("outcry", "listen", check=False).stderr
    journal = booted.path / STATE / "journal.jsonl"
    assert journal.stat().st_size
    booted.run("outcry", "forget", "--yes")
    assert not journal.exists() or not journal.read_text()
    assert not (booted.path / "root/.local").exists(), "nothing lies beside the service's directory"


def test_what_sudo_writes_stays_the_services_own(booted: Debian) -> None:
    booted.run("systemctl", "stop", "outcry")
    package = next((booted.path / "opt/outcry/current").glob("lib/python3*/site-packages/device/models/outcry-*"))
    inside = f"/{package.relative_to(booted.path)}"
    booted.run("outcry", "model", "install", inside)
    assert (booted.path / STATE / "models" / package.name / "manifest.json").exists()
    assert owners(booted) == {"outcry"}
    booted.run("outcry", "forget", "--yes")
    assert owners(booted) == {"outcry"}
    booted.run("systemctl", "start", "outcry")
    assert f"{package.name}  current" in booted.run("outcry", "model", "list").stdout


def test_a_stranger_is_told_to_use_sudo(installed: Debian) -> None:
    done = installed.run(*STRANGER, "outcry", "check-config", check=False)
    assert done.returncode == 78
    assert done.stderr == "outcry: /etc/outcry/config.toml: configuration can't be read: permission denied; use sudo\n"
