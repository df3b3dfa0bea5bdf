"""`python -m convert`: build a package from a training run; make keys, sign, verify."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from device.errors import OutcryError

# TensorFlow's greetings are no news for whoever builds a package.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
_FOLDER = click.Path(path_type=Path, file_okay=False)


class _BuildByDefault(click.Group):
    """`python -m convert RUN --output DIR` is `python -m convert build RUN --output DIR`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["build", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_BuildByDefault, no_args_is_help=True)
def convert() -> None:
    """From a trained network to a package that a device can trust: `python -m convert RUN --output DIR`."""


@convert.command()
@click.argument("run", type=_FOLDER)
@click.option("--output", type=_FOLDER, required=True, help="Where NAME-VERSION/ is written.")
@click.option("--name", default="outcry", show_default=True, help="The package's name.")
@click.option("--version", default="1", show_default=True, help="The package's version.")
@click.option("--licence", help="What the weights may be used for, one sentence.")
@click.option("--frames-per-step", type=int, help="Frames that one call takes.")
@click.option("--batch", type=int, help="Windows beside each other.")
@click.option("--window-steps", type=int, help="Steps after which a window restarts.")
def build(run: Path, output: Path, name: str, version: str, licence: str | None, **stream: int | None) -> None:
    """Fold, quantise and pack the network of a training RUN."""
    import msgspec

    from convert.build import LICENCE, Label, build
    from convert.run_folder import RunFolder

    folder = RunFolder(run)
    given = {key: value for key, value in stream.items() if value is not None}
    made = build(
        folder, output, Label(name, version, licence or LICENCE), msgspec.structs.replace(folder.stream(), **given)
    )
    size = sum(file.stat().st_size for file in made.directory.iterdir())
    click.echo(f"{made.directory}: {size / 1000:.0f} KB, golden clip within {made.golden.tolerance:.3f}")


@convert.command()
@click.argument("key", type=click.Path(path_type=Path, dir_okay=False))
def keygen(key: Path) -> None:
    """Make a signing KEY (a file for its owner only) and print the public key for the device's configuration."""
    from convert.signing import keygen

    click.echo(keygen(key))


@convert.command()
@click.argument("package", type=_FOLDER)
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False), required=True, help="What keygen made.")
def sign(package: Path, key: Path) -> None:
    """Sign a PACKAGE's manifest."""
    from convert.signing import sign

    click.echo(f"signed: public key {sign(package, key)}")


def main() -> None:
    """Run a command; what is wrong is one line on standard error, and the exit code of its kind."""
    try:
        convert.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except OutcryError as error:
        click.echo(f"convert: {error}", err=True)
        sys.exit(error.code)


if __name__ == "__main__":
    main()
