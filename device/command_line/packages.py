"""`outcry model`: install, list, verify and roll back model packages."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from device import __version__
from device.command_line.options import Given, Group, show, takes

if TYPE_CHECKING:
    from device.installed_models.store import Store


@click.group(cls=Group)
def model() -> None:
    """Install, list, verify and roll back model packages."""


@model.command()
@click.argument("directory", type=click.Path(path_type=Path))
@takes("config")
def install(given: Given, directory: Path) -> None:
    """Check and prove the package in DIRECTORY, then put it in force, on trial until the service was ready with it."""
    from device.installed_models import golden

    installed = _store(given).install(directory, golden.check, _key(given))
    click.echo(f"{installed.manifest.identity} is installed; a running service uses it after a restart", err=True)


@model.command("list")
@takes("json", "config")
def list_models(given: Given) -> None:
    """List the installed packages, and what ships with this release."""
    from device.installed_models import chosen

    for row in _store(given).listed(_key(given)):
        if given.as_json:
            show(row)
            continue
        notes = [word for word in ("current", "previous", "on_trial") if getattr(row, word)]
        notes += [row.fault] if row.fault else []
        click.echo(f"{row.identity}  {', '.join(notes).replace('_', ' ')}".rstrip())
    for folder in chosen.shipped():
        if given.as_json:
            show({"identity": folder.name, "shipped": True})
        else:
            click.echo(f"{folder.name}  shipped with outcry {__version__}")


@model.command()
@takes("config")
def rollback(given: Given) -> None:
    """Put the package before in force again."""
    name = _store(given).rollback(_key(given))
    click.echo(f"{name} is in force again; a running service uses it after a restart", err=True)


@model.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@takes("config", "json")
def verify(given: Given, directory: Path | None) -> None:
    """Check the package in DIRECTORY (else the one in force): files, signature where a key is set, golden clip."""
    from device import package
    from device.installed_models import chosen, golden

    found = package.load(directory, _key(given)) if directory else chosen.in_force(given.config)
    result = golden.check(found)
    if given.as_json:
        show({"model": found.manifest.identity, "signed": found.signed, "golden": result})
        return
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    signed = "signature good" if found.signed else "not signed"
    limit = f"{result.difference:.4f} of {result.tolerance:.4f}"
    click.echo(f"{found.manifest.identity}: whole, {signed}, golden clip off by {limit} ({result.kernels})")


def _store(given: Given) -> "Store":
    from device.installed_models.store import Store

    return Store(Path(given.config.device.state_directory))


def _key(given: Given) -> str | None:
    return given.config.model.public_key or None
