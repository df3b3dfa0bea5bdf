"""docs/mosquitto-tls.md by the letter: its blocks are run in order, and the device then speaks to the broker."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from debian import Debian, wait_for

pytestmark = pytest.mark.rig
PAGE = Path(__file__).resolve().parents[2] / "docs/mosquitto-tls.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


def apply(config: Path, changes: dict[str, dict[str, str]]) -> None:
    """Set keys as a person would, line by line."""
    text = config.read_text()
    for section, keys in changes.items():
        head, body = text.split(f"[{section}]\n")
        for name, value in keys.items():
            body, count = re.subn(rf"(?m)^{name} = .*$", f'{name} = "{value}"', body, count=1)
            assert count == 1, f"{section}.{name} is not in the configuration"
        text = f"{head}[{section}]\n{body}"
    config.write_text(text)


@pytest.fixture
def booted(installed: Debian) -> Iterator[Debian]:
    hosts = installed.path / "etc/hosts"
    hosts.write_text(hosts.read_text() + "127.0.0.1 broker.lan\n")
    # root needs no sudo
    sudo = installed.path / "usr/local/bin/sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    installed.boot()
    try:
        yield installed
    finally:
        installed.halt()


def test_the_page_as_it_stands(booted: Debian) -> None:
    shell, toml = blocks("sh"), blocks("toml")
    assert len(shell) == 6
    assert len(toml) == 1
    apply(booted.path / "etc/outcry/config.toml", tomllib.loads(toml[0]))
    script = booted.path / "root/page.sh"
    # One shell for all of it, as in one terminal: variables and directory carry over.
    script.write_text(f"set -e\nexport HOME=/root\n{''.join(shell)}")
    done = booted.run("bash", "/root/page.sh", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "online"
    # The broker is encrypted and asks who is there.
    plain = booted.run("mosquitto_sub", "-p", "8883", "-t", "#", "-C", "1", "-W", "3", check=False)
    assert plain.returncode != 0
    nobody = ["mosquitto_sub", "-V", "mqttv5", "--cafile", "/etc/outcry/ca.crt", "-h", "broker.lan", "-p", "8883"]
    assert booted.run(*nobody, "-t", "#", "-C", "1", "-W", "3", check=False).returncode != 0


def test_a_broker_with_another_authority_is_refused(booted: Debian) -> None:
    apply(booted.path / "etc/outcry/config.toml", tomllib.loads(blocks("toml")[0]))
    shell = blocks("sh")
    booted.run("bash", "-ec", f"export HOME=/root\n{''.join(shell[:5])}")
    booted.run("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=other",
               "-out", "/etc/outcry/ca.crt")  # fmt: skip
    booted.run("systemctl", "restart", "outcry")
    wait_for(
        lambda: "not trusted" in booted.run("journalctl", "-u", "outcry", "-o", "cat").stdout,
        20,
        "a line on the certificate",
    )
