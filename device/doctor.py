"""`outcry doctor`: every part that outcry needs, each checked for itself; one line each, and the next step.

Safe while the service runs: what the service owns (the microphone, the state directory) it is asked about.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from device import config as configuration
from device.checks.finding import Check, Examination, Finding, Verdict, fail, ok, warn
from device.checks.kept import check_state, check_wearer
from device.checks.machine import (
    check_clock,
    check_gpio,
    check_runtime,
    check_service,
    check_supply,
    check_versions,
)
from device.errors import OutcryError

_MARKS: dict[Verdict, str] = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def check_model(examination: Examination) -> Iterator[Finding]:
    """The package in force: whole, signed where a key is configured, and its golden clip."""
    from device.installed_models import chosen, golden

    config = examination.config
    package = chosen.in_force(config)
    result = golden.check(package)
    signed = "signed by the configured key" if package.signed else "not signed"
    name = package.manifest.identity
    yield ok("model", f"{name} is whole, {signed}; golden clip within {result.difference:.3f} ({result.kernels})")
    if not config.model.public_key:
        yield warn("model", "no key is configured, so any package is trusted", "set model.public_key")
    for warning in result.warnings:
        yield warn("runtime", warning, "see docs/package.md")


def check_microphone(examination: Examination) -> Iterator[Finding]:
    """Found, opens, delivers, is not zeros, has a plausible level; the service is asked where it runs."""
    from device.checks import microphone

    state = examination.state
    if state.get("mode") == "disarmed":
        yield ok("microphone", "released: the device is disarmed")
    elif state:
        words = f"the service hears: {state.get('hearing')}, {state.get('level_dbfs')} dBFS"
        if state.get("hearing") == "healthy":
            yield ok("microphone", words)
        elif state.get("hearing") == "suspect":
            yield warn("microphone", f"{words}; {state.get('hearing_reason')}", "run doctor again in a while")
        else:
            yield fail("microphone", f"{words}; {state.get('hearing_reason')}", "see `outcry mics`", 66)
    else:
        yield from microphone.listen(examination.config.microphone)


def check_broker(examination: Examination) -> Iterator[Finding]:
    """Reachable, lets us in, takes what we publish, lets us subscribe."""
    from device.checks import broker

    config = examination.config
    if not config.mqtt.host:
        yield warn("broker", "none is configured: nobody but the wearer learns of an alarm", "set mqtt.host")
        return
    yield from broker.probe(config)


CHECKS: tuple[Check, ...] = (
    check_versions,
    check_microphone,
    check_model,
    check_runtime,
    check_gpio,
    check_broker,
    check_clock,
    check_state,
    check_wearer,
    check_supply,
    check_service,
)


def findings(config_path: Path | None) -> Iterator[Finding]:
    """Every finding, as it is found; an error within a check is that check's finding."""
    try:
        config = configuration.load(config_path)
        configuration.mqtt_password(config)
        where = configuration.config_path(config_path, os.environ)
        yield ok("configuration", str(where) if where else "defaults, no file")
    except OutcryError as error:
        yield fail("configuration", str(error), "outcry check-config", error.code)
        return
    examination = Examination(config)
    for check in CHECKS:
        name = check.__name__.removeprefix("check_")
        try:
            yield from check(examination)
        except OutcryError as error:
            yield Finding(name, "fail", str(error), code=error.code)


def examine(config_path: Path | None, as_json: bool) -> int:
    """Print every finding; the exit code: 0, or that of the first failure."""
    code = 0
    for finding in findings(config_path):
        code = code or finding.code
        if as_json:
            click.echo(msgspec.json.encode(finding).decode())
        else:
            step = f"  -> {finding.next_step}" if finding.next_step else ""
            click.echo(f"{_MARKS[finding.verdict]}  {finding.check:<13} {finding.words}{step}")
    return code
