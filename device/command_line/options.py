"""The options that commands share, and what they lead to: configuration, model package, wearer, output.

Everything is read when it is asked for, and rooms are imported then: `outcry version` must not wait for numpy.
"""

import logging
import os
from collections.abc import Callable
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from device.command_line.ending import DEBUG
from device.errors import BadDataError

if TYPE_CHECKING:
    from device.config import Config
    from device.network import Network


class Command(click.Command):
    """A command that also takes --debug, wherever a person happens to put it."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params.append(debug_option())


class Group(click.Group):
    """A group whose commands are `Command`s."""

    command_class = Command


def debug_option() -> click.Option:
    """Tracebacks and the whole log."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            context.find_root().meta[DEBUG] = True
            logging.getLogger().setLevel(logging.DEBUG)

    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Show the whole log, and a traceback with an error.",
    )


_PATH: Final = click.Path(path_type=Path)
_SHARED: Final = {
    "config": click.option(
        "--config",
        metavar="FILE",
        type=_PATH,
        help="The configuration (default: $OUTCRY_CONFIG, /etc/outcry/config.toml, else the defaults).",
    ),
    "model": click.option("--model", metavar="DIR", type=_PATH, help="Another model package for this call."),
    "wearer": click.option(
        "--wearer",
        metavar="WEARER.json",
        type=_PATH,
        help="What `calibrate --output` learned of the wearer; without it nothing is known.",
    ),
    "json": click.option("--json", is_flag=True, help="JSON lines instead of words."),
}


class Given:
    """What a command was given by its shared options."""

    def __init__(
        self, *, config: Path | None = None, model: Path | None = None, wearer: Path | None = None, json: bool = False
    ) -> None:
        self.config_path = config
        self.model_directory = model
        self.as_json = json
        self._wearer_path = wearer

    @cached_property
    def config(self) -> "Config":
        """The configuration named, or the one in force. Raises ConfigError."""
        from device import config

        loaded = config.load(self.config_path)
        if os.geteuid() == 0:
            # What sudo writes into the service's directory has to stay the service's own.
            from device.machine import files

            state = Path(loaded.device.state_directory)
            click.get_current_context().call_on_close(lambda: files.leave_to_owner(state))
        return loaded

    def network(self) -> "Network":
        """The network of the package named, else of the one in force, with the wearer named. Raises BadDataError."""
        from device import wearer
        from device.installed_models import chosen, golden

        package = chosen.in_force(self.config, self.model_directory)
        known = wearer.load(self._wearer_path) if self._wearer_path else None
        if known is not None and not known.fits(package.manifest.view):
            raise BadDataError(
                f"{self._wearer_path}: was learned for another model package; run `outcry calibrate --output` again"
            )
        return golden.open_network(package, wearer=known)


def takes(*shared: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these shared options; it is handed what they lead to, before what is its own.

    It stands below the command's own options, so that those come first in the help.
    """

    def taking(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def called(**options: Any) -> None:
            function(Given(**{name: options.pop(name) for name in shared}), **options)

        for name in reversed(shared):
            _SHARED[name](called)
        return called

    return taking


def show(message: Any) -> None:
    """Print one JSON line."""
    import msgspec

    from device import events

    event = isinstance(message, events.Event)
    click.echo((events.encode(message) if event else msgspec.json.encode(message)).decode())
