"""`python -m convert`: build a package from a training run; make keys, sign, verify."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from device.command_line import ending
from device.errors import BadDataError

# TensorFlow's greetings are no news for whoever builds a package.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


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
@click.argument("key", type=_FILE)
def keygen(key: Path) -> None:
    """Make a signing KEY (a file for its owner only) and print the public key for the device's configuration."""
    from convert.signing import keygen

    click.echo(keygen(key))


@convert.command()
@click.argument("package", type=_FOLDER)
@click.option("--key", type=_FILE, required=True, help="What keygen made.")
def sign(package: Path, key: Path) -> None:
    """Sign a PACKAGE's manifest."""
    from convert.signing import sign

    click.echo(f"signed: public key {sign(package, key)}")


@convert.command()
@click.argument("package", type=_FOLDER)
@click.option("--run", "run_folder", type=_FOLDER, required=True, help="The training run that it was built from.")
@click.option(
    "--report", type=_FOLDER, default=Path("docs/verification"), show_default=True, help="Where the page goes."
)
@click.option("--tflite-runtime", metavar="PYTHON", help="A Python 3.11 with tflite-runtime 2.14, numpy < 2, msgspec.")
@click.option("--arm64", type=_FOLDER, help="Root of an arm64 system with litert in /opt/site, for qemu-user.")
@click.option(
    "--recording", "recordings", type=_FILE, multiple=True, help="To be replayed by every runtime; repeatable."
)
def verify(  # noqa: PLR0917 (click hands its options over by name)
    package: Path,
    run_folder: Path,
    report: Path,
    tflite_runtime: str | None,
    arm64: Path | None,
    recordings: tuple[Path, ...],
) -> None:
    """Compare a PACKAGE with the Keras network it was made of, on every runtime; write the report."""
    from convert.engines import Engine
    from convert.run_folder import RunFolder
    from convert.verification_report import write_report
    from convert.verify import verify
    from device.package import load

    engines = [Engine("LiteRT, XNNPACK", "xnnpack"), Engine("LiteRT, built-in kernels", "builtin")]
    if tflite_runtime:
        engines.append(Engine("tflite-runtime", "xnnpack", tflite_runtime))
    if arm64:
        engines.append(Engine("LiteRT, arm64 (qemu)", "xnnpack", "/usr/bin/python3", arm64, most=60))
    found = verify(load(package), RunFolder(run_folder), engines, list(recordings))
    command = f"python -m convert verify {package} --run RUN" + " --tflite-runtime PYTHON" * bool(tflite_runtime)
    command += " --arm64 ROOT" * bool(arm64) + " --recording FILE ..." * bool(recordings)
    click.echo(write_report(found, report, command))
    for line in found.failed():
        click.echo(f"convert: missed: {line}", err=True)
    if found.failed():
        sys.exit(BadDataError.code)


@convert.command()
@click.argument("run", type=_FOLDER)
def study(run: Path) -> None:
    """What each choice of the quantisation is worth, on the unseen utterances of a training RUN."""
    from convert.run_folder import RunFolder
    from convert.study import study

    for row in study(RunFolder(run)):
        click.echo(row)


def main() -> NoReturn:
    """Run a command; what is wrong is one line on standard error, and the exit code of its kind."""
    ending.run(convert, "convert", "python -m convert", workbench=True)


if __name__ == "__main__":
    main()
