"""How a command line ends: every error becomes one line on standard error, and the exit code of its kind."""

import os
import sys
import traceback
from typing import Any, Final, NoReturn

import click

from device.errors import OutcryError, UsageError

DEBUG: Final = "device.debug"
"""Under this name a context's `meta` says whether a traceback is wanted."""
# A group without a command: its text is the help, which click 8.1 shows by itself.
_HELP: Final = getattr(click.exceptions, "NoArgsIsHelpError", ())


def run(group: click.Group, name: str, command: str, *, workbench: bool = False) -> NoReturn:
    """Run the command line that was typed as `command`; `name` stands before each line.

    A fault of ours is one line too, but on a workbench: there it keeps its traceback, for an hour's work hangs on it.
    """
    meta: dict[str, Any] = {}
    try:
        with group.make_context(command, sys.argv[1:]) as context:
            meta = context.meta
            group.invoke(context)
        sys.stdout.flush()
        code = 0
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as error:
        where = getattr(error, "ctx", None)
        path = where.command_path if where is not None else command
        if isinstance(error, _HELP):
            error.show()
        else:
            complain(f"{error.format_message().rstrip('.')}; see {path} --help", name)
        code = UsageError.code
    except OutcryError as error:
        complain(error, name)
        _show_traceback(meta)
        code = error.code
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except BrokenPipeError:
        # Whoever read our output has enough; Python must not complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:  # whatever else it was: a person gets a line of it, and never a bare traceback
        if workbench:
            raise
        complain(
            f"a fault of ours: {type(error).__name__}: {error}; run it with --debug and report what it shows", name
        )
        _show_traceback(meta)
        code = OutcryError.code
    sys.exit(code)


def complain(error: BaseException | str, name: str = "outcry") -> None:
    """Print an error as one line on standard error."""
    line = " ".join(str(error).split())
    click.echo(f"{name}: {line}", err=True)


def _show_traceback(meta: dict[str, Any]) -> None:
    """Show where an error came from, where --debug asked for it."""
    if meta.get(DEBUG):
        traceback.print_exc()
