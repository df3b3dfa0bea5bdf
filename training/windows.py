"""Which windows a stream is heard in: measured, not guessed.

The same network is packed with several schemes, and each listens to the validation streams of `decide.py`. For each
scheme the threshold is set so that 60 % and 80 % of the danger is caught; the false alarms an hour that this costs
in ordinary life and among acted sentences tell which scheme is best, and CPU what it costs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd
from tqdm import tqdm

from convert.build import LICENCE, Label, build
from convert.run_folder import RunFolder
from convert.run_folder import Stream as Scheme
from device.decision import DecisionParameters
from device.features import FRAMES_PER_SECOND
from device.network import Network, Posterior
from device.package import load
from training.decide import Stream, Track, listen, score, streams
from training.index import build_index
from training.places import corpora_root
from training.splits import VALIDATION, speaker_independent

_FRAMES = 20
SMOOTH_S = 1.2


@dataclass(frozen=True)
class Named:
    """A scheme; `continuous`: the state is never restarted and only the last steps' posteriors are averaged."""

    name: str
    windows: int
    window_s: float
    continuous: bool = False

    def stream(self) -> Scheme:
        """The package's stream.json."""
        hop = max(1, round(self.window_s * FRAMES_PER_SECOND / _FRAMES / self.windows))
        return Scheme(_FRAMES, self.windows, hop * self.windows, hop)


SCHEMES = (
    *(Named(f"staggered, 2 windows of {s:.1f} s", 2, s) for s in (1.6, 2.4, 3.2, 4.8)),
    Named("staggered, 3 windows of 2.4 s", 3, 2.4),
    Named("one window of 2.4 s, restarted", 1, 2.4),
    Named("continuous, posteriors averaged", 1, 2000.0, continuous=True),
)


class _Continuous(Network):
    """Never restarts; what a step says is what its own logits say."""

    def _take(self, frames: np.ndarray) -> Posterior:
        self._pools.restart(0)
        return super()._take(frames)


def row_of(scheme: Named, network: Network, heard: Sequence[Stream]) -> dict[str, object]:
    """False alarms an hour at 60 and 80 % of the danger caught, and the CPU of the network."""
    started = time.process_time()
    tracks = [listen(network, stream) for stream in tqdm(heard, scheme.name, mininterval=5)]
    seconds = sum(track.duration_s for track in tracks)
    row: dict[str, object] = {"scheme": scheme.name}
    for recall in (0.6, 0.8):
        threshold = _threshold_for(tracks, recall)
        for kind in ("life", "acted"):
            some = [track for track in tracks if track.kind == kind]
            told = score(some, _parameters(threshold))
            row[f"{kind}, false alarms/h at {recall:.0%} caught"] = round(told.false_alarms_per_hour, 1)
        dangers = [track for track in tracks if track.kind.startswith("danger")]
        row[f"median s from start at {recall:.0%}"] = round(score(dangers, _parameters(threshold)).latency_s, 2)
    row["features and network, CPU ms/s"] = round((time.process_time() - started) / seconds * 1000, 2)
    return row


def _parameters(threshold: float) -> DecisionParameters:
    return DecisionParameters(threshold=threshold, release=threshold * 0.6, smooth_s=SMOOTH_S, n=1, m=1)


def _threshold_for(tracks: Sequence[Track], recall: float) -> float:
    dangers = [track for track in tracks if track.kind.startswith("danger")]
    low, high = 0.001, 0.999
    for _ in range(12):  # recall falls as the threshold rises
        middle = (low + high) / 2
        low, high = (middle, high) if score(dangers, _parameters(middle)).recall >= recall else (low, middle)
    return low


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option("--corpora", type=click.Path(path_type=Path), help="Folder of the corpora (default: OUTCRY_CORPORA).")
def main(run: Path, corpora: Path | None) -> None:
    """Compare window schemes for the network of RUN on streams of validation speakers; prints a Markdown table."""
    root = corpora_root(corpora)
    clips = build_index(root)
    rows = np.flatnonzero((speaker_independent(clips) == VALIDATION).to_numpy())
    heard = streams(clips, rows, root)
    told = []
    with tempfile.TemporaryDirectory() as folder:
        for number, scheme in enumerate(SCHEMES):
            made = build(RunFolder(run), Path(folder), Label("scheme", str(number), LICENCE), scheme.stream())
            kind = _Continuous if scheme.continuous else Network
            told.append(row_of(scheme, kind(load(made.directory)), heard))
    table = pd.DataFrame(told)
    click.echo("| " + " | ".join(table.columns) + " |\n|" + " --- |" * len(table.columns))
    for row in table.itertuples(index=False):
        click.echo("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
