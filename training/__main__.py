"""`python -m training`: the workbench's commands. Each imports what it needs only when it runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device.errors import OutcryError
from training.places import corpora_root

if TYPE_CHECKING:
    import pandas as pd

_corpora = click.option(
    "--corpora", type=click.Path(path_type=Path), help="Folder of the corpora (default: OUTCRY_CORPORA)."
)
_PASS_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Corpora, features, training, evaluation and reproductions for outcry; docs/training.md tells how."""


@cli.command()
@_corpora
@click.option("--all", "show_all", is_flag=True, help="Every problem, not the first five of a kind.")
def corpora(corpora: Path | None, show_all: bool) -> None:
    """Count what is there, and list what is wrong with it."""
    from training.index import build, index_hash
    from training.splits import speaker_independent

    root = corpora_root(corpora)
    clips, problems = build(root)
    hours = clips.groupby("corpus")["duration_s"].sum().div(3600).round(2).rename("hours")
    speakers = clips[clips["speaker"] != ""].groupby("corpus")["speaker"].nunique().rename("speakers")
    count = clips.groupby("corpus").size().rename("clips")
    emotions = clips.groupby(["corpus", "emotion"]).size().unstack(fill_value=0)
    table = (
        count.to_frame().join([hours, speakers, emotions]).fillna({"speakers": 0}).astype({"speakers": int})
    )
    click.echo(_table(table))
    sides = (
        clips.assign(side=speaker_independent(clips)).groupby(["corpus", "side"]).size().unstack(fill_value=0)
    )
    click.echo("\nclips by side of the default split (whole speakers)\n" + _table(sides))
    total = clips["duration_s"].sum() / 3600
    click.echo(
        f"\n{len(clips)} clips, {total:.1f} h, index {index_hash(clips)}; {len(problems)} files left out"
    )
    for (corpus, kind), some in problems.groupby(["corpus", "kind"]):
        click.echo(f"{corpus}: {len(some)} {kind}")
        for row in some.head(len(some) if show_all else 5).itertuples():
            click.echo(f"  {row.path}: {row.detail}")
        if len(some) > 5 and not show_all:
            click.echo(f"  ... and {len(some) - 5} more (--all)")


@cli.command()
@_corpora
@click.option("--half", is_flag=True, help="Keep float16.")
def cache(corpora: Path | None, half: bool) -> None:
    """Compute the features of every clip, with all cores; what is there already stays."""
    import time

    from device.features import FeatureParameters, features
    from training.cache import cached
    from training.index import build_index

    root = corpora_root(corpora)
    clips = build_index(root)
    started = time.monotonic()
    kept = cached(clips, root, features, FeatureParameters(), dtype="float16" if half else "float32")
    seconds, heard_s = time.monotonic() - started, clips["duration_s"].sum()
    click.echo(
        f"{len(kept)} clips, {heard_s / 3600:.1f} h, {kept.lengths.sum()} frames of {kept.width} numbers: "
        f"{seconds:.1f} s, {heard_s / seconds:.0f} times real time"
    )


@cli.command(context_settings=_PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train(arguments: tuple[str, ...]) -> None:
    """Train what a recipe says (`train --help`)."""
    from training import train as trainer

    if isinstance(trainer.main, click.Command):
        trainer.main.main(list(arguments), prog_name="python -m training train", standalone_mode=False)
    else:
        trainer.main(list(arguments))


def _table(frame: "pd.DataFrame") -> str:
    return str(frame.to_string())


def main() -> None:
    """Run a command; a fault that is known becomes one line and its code."""
    try:
        cli(prog_name="python -m training", standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except OutcryError as error:
        click.echo(f"training: {error}", err=True)
        sys.exit(error.code)


if __name__ == "__main__":
    main()
