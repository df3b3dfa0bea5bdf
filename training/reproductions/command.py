"""`python -m training reproduce NAME`: one published paper, run by run, and its report."""

from importlib import import_module
from pathlib import Path

import click

from device.errors import UsageError
from training.memory import keep_freed
from training.places import corpora_root, runs_root

STUDIES = {
    "enhanced-gru": "enhanced_gru:EnhancedGru",
    "lstm-song": "lstm_song:LstmSong",
    "smote-2dcnn": "smote_2dcnn:Smote2dCnn",
    "loopq": "loopq:LoopQ",
}


@click.command()
@click.argument("name", type=click.Choice(sorted(STUDIES)))
@click.option("--corpora", type=click.Path(path_type=Path), help="Folder of the corpora (OUTCRY_CORPORA).")
@click.option("--output", type=click.Path(path_type=Path), help="Run folder (default: NAME among the runs).")
@click.option("--seeds", type=click.IntRange(1), default=None, help="Seeds of every run (3; --quick: 1).")
@click.option("--epochs", type=click.IntRange(1), default=None, help="Epochs instead of the paper's.")
@click.option("--only", multiple=True, help="Runs of this name alone, * for any part (random-lstm-*); may be repeated.")
@click.option("--quick", is_flag=True, help="A few clips and epochs: proves that all runs, no figure.")
@click.option("--full", is_flag=True, help="Networks and frames at the paper's size; for a GPU.")
@click.option("--ours/--no-ours", default=True, help="Our recipe in the same protocols, after the paper's.")
@click.option("--costs-only", is_flag=True, help="Measure what the networks cost; train nothing.")
@click.option("--report-only", is_flag=True, help="Write the report of what is there; train nothing.")
def reproduce(
    *,
    name: str,
    corpora: Path | None,
    output: Path | None,
    seeds: int | None,
    epochs: int | None,
    only: tuple[str, ...],
    quick: bool,
    full: bool,
    ours: bool,
    costs_only: bool,
    report_only: bool,
) -> None:
    """Train what a paper trained, in its protocol and on speakers never heard, and set both beside its figures.

    A run that is finished is not made again: started anew, it goes on where it was.
    """
    from training.reproductions.page import write_report
    from training.reproductions.runs import RunFolder
    from training.reproductions.study import FULL, Scale, Study
    from training.reproductions.tables import costs as costs_table
    from training.reproductions.tables import markdown

    keep_freed()
    module, _, kind = STUDIES[name].partition(":")
    study = getattr(import_module(f"training.reproductions.{module}"), kind)
    scale = Scale(seeds or (1 if quick else 3), epochs, quick, full, ours, only)
    folder = output or runs_root() / (name + ("-quick" if quick else "") + (FULL if full else ""))
    made = study(scale)
    if only and not isinstance(made, Study):
        raise UsageError(f"{name} can't be run in parts: leave --only away; what is finished is not made again")
    if costs_only:
        if not isinstance(made, Study):
            raise UsageError(f"{name} tells what it costs in its report; run it without --costs-only")
        click.echo(markdown(costs_table(made.costs(folder).known, made.paper)), nl=False)
        return
    runs = RunFolder.there(folder) if report_only else made.run(corpora_root(corpora), folder)
    # The enhanced GRU has a report of its own: what its paper shows is of another form.
    page = made.write_report(runs) if hasattr(made, "write_report") else write_report(made, runs)
    click.echo(f"report {page}")
