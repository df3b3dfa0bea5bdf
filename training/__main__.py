"""`python -m training`: the workbench's commands. Each imports what it needs only when it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from device.command_line import ending
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
    table = count.to_frame().join([hours, speakers, emotions]).fillna({"speakers": 0}).astype({"speakers": int})
    click.echo(_table(table))
    sides = clips.assign(side=speaker_independent(clips)).groupby(["corpus", "side"]).size().unstack(fill_value=0)
    click.echo("\nclips by side of the default split (whole speakers)\n" + _table(sides))
    total = clips["duration_s"].sum() / 3600
    click.echo(f"\n{len(clips)} clips, {total:.1f} h, index {index_hash(clips)}; {len(problems)} files left out")
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


def _handed_on(name: str, where: str, attribute: str, help_line: str) -> None:
    """Register a command that lives where its work is, without importing it before it is called."""

    @cli.command(name, help=help_line, context_settings=_PASS_ON, add_help_option=False)
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def _command(arguments: tuple[str, ...]) -> None:
        from importlib import import_module

        command = getattr(import_module(where), attribute)
        command.main(list(arguments), prog_name=f"python -m training {name}", standalone_mode=False)


_handed_on("train", "training.train", "main", "Train what a recipe says.")
_handed_on("average", "training.average", "main", "Average the weights of runs that began from one another.")
_handed_on("ablation", "training.ablation", "main", "Train a recipe without each of its three techniques.")
_handed_on("decide", "training.judging.decide", "main", "Choose and measure how a package decides, on streams.")
_handed_on("augmentations", "training.augment_picture", "main", "Draw what every augmentation does to a recording.")
_handed_on("search", "training.search", "main", "Search hyperparameters, alone or with a chief and workers.")
_handed_on("reproduce", "training.reproductions.command", "reproduce", "Rebuild what a paper reports.")


@cli.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
@_corpora
@click.option("--side", type=click.Choice(["validation", "test", "both"]), default="validation",
              help="Of the split; the shipped package learned from the test speakers.")
@click.option("--split", "protocol", default="speakers", help="speakers, random, without:CORPUS or fold:K/N.")
@click.option("--only", multiple=True, help="Of these corpora alone (repeatable).")
@click.option("--output", type=click.Path(path_type=Path), help="Folder of the report (default: among the runs).")
def evaluate(  # noqa: PLR0917
    model: Path | None, corpora: Path | None, side: str, protocol: str, only: tuple[str, ...], output: Path | None
) -> None:
    """Judge a model package (default: the shipped one) on speakers that training never heard."""
    from device.installed_models import chosen
    from device.package import load
    from training.index import build_index, index_hash
    from training.judging import page, speakers
    from training.places import runs_root
    from training.runs import revision
    from training.splits import split

    if model is None:
        shipped = chosen.shipped()
        if not shipped:
            raise click.UsageError("no package is shipped here; name one: evaluate MODEL")
        model = shipped[0]
    package = load(model)
    root = corpora_root(corpora)
    known = build_index(root)
    sides = ["test", "validation"] if side == "both" else [side]
    clips = speakers.of_side(known, split(known, protocol), sides)
    if only:
        clips = speakers.of_side(clips, clips["corpus"], only)
    judged = speakers.judge(package, clips, known, root)
    folder = output or runs_root() / f"evaluate-{package.manifest.name}-{package.manifest.version}"
    folder.mkdir(parents=True, exist_ok=True)
    about = [
        f"Split: {protocol}, side: {' and '.join(sides)}; {clips['speaker'].nunique() - ('' in set(clips['speaker']))} "
        f"speakers, {len(clips)} clips, {clips['duration_s'].sum() / 3600:.2f} h.",
        "Surprise and boredom are not judged; calm counts as neutral.",
        f"Index {index_hash(known)}, sources {revision()[:12]}; made by `python -m training evaluate`.",
    ]
    judged.clips.to_parquet(folder / "predictions.parquet")
    (folder / "figures.json").write_bytes(speakers.figures(judged))
    written = page.report_of(judged, about).write(folder / "report.html")
    click.echo(_table(judged.by_corpus.round(3)))
    click.echo("\n" + _table(judged.danger.round(3)))
    click.echo("\n" + _table(judged.streams.round(3)))
    click.echo(f"\n{written}")


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For a machine.")
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Set runs beside each other: figures, last epoch, and the recipe keys in which they differ."""
    from training.runs import compare as compare_runs

    table = compare_runs(runs)
    click.echo(table.to_json(orient="index", indent=1) if as_json else _table(table.T))


def _table(frame: "pd.DataFrame") -> str:
    return str(frame.to_string())


def main() -> NoReturn:
    """Run a command; what is wrong is one line on standard error, and the exit code of its kind."""
    ending.run(cli, "training", "python -m training", workbench=True)


if __name__ == "__main__":
    main()
