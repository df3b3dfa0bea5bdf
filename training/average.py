"""One network from several runs: the mean of their weights (model soups: Wortsman et al., arXiv:2203.05482).

It holds for runs of which each began where another ended: they lie in one basin, and a mean of them is a network that
errs less than either. Runs of other beginnings average to noise.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from device.errors import UsageError
from training.index import index_hash
from training.judging.floats import evaluate
from training.places import corpora_root
from training.runs import Run, load_recipe
from training.teachers import network_of
from training.train import DangerRecipe, clips_of, finish, keep, make_copies, show


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--run", "folder", required=True, type=click.Path(path_type=Path), help="Run folder to make.")
@click.option("--share", "shares", multiple=True, type=click.FloatRange(0), help="Of each run (default: equal).")
@click.option("--corpora", type=click.Path(path_type=Path), help="Folder of the corpora (default: OUTCRY_CORPORA).")
def main(runs: tuple[Path, ...], folder: Path, shares: tuple[float, ...], corpora: Path | None) -> None:
    """Average the weights of RUNS into a run folder that `convert` can read; its recipe is the last one's."""
    given = np.array(shares or [1.0] * len(runs))
    if len(given) != len(runs) or not given.sum():
        raise UsageError(f"--share: {len(shares)} given for {len(runs)} runs; one each, not all zero")
    networks = [network_of(run) for run in runs]
    views = {(run / "view.json").read_bytes() for run in runs}
    shapes = {tuple(value.shape for value in network.get_weights()) for network in networks}
    if len(views) > 1 or len(shapes) > 1:
        raise UsageError("these runs differ in their views or sizes; average runs that began from one another")
    plan = load_recipe(runs[-1] / "recipe.toml", DangerRecipe)
    root = corpora_root(corpora)
    clips, part = clips_of(plan, root)
    copies = make_copies(clips, part, root, plan.copies)
    made = Run.begin(folder, plan, index=index_hash(clips), seed=plan.seed)
    (folder / "view.json").write_bytes(views.pop())
    network = networks[-1]
    weights = zip(*[one.get_weights() for one in networks], strict=True)
    network.set_weights([np.tensordot(given / given.sum(), np.stack(values), 1) for values in weights])
    keep(network, folder, clips, part, copies, plan.seed)
    taken = {run.name: round(float(share), 4) for run, share in zip(runs, given / given.sum(), strict=True)}
    show(finish(made, evaluate(network, folder, clips, part, copies), averaged=taken))
