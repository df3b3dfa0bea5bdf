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
from device.network import Network
from device.package import load
from training.index import build_index
from training.judging.decide import Stream, Track, listen, score, streams
from training.places import corpora_root
from training.splits import VALIDATION, speaker_independent

_FRAMES = 20
SMOOTH_S = 1.2


@dataclass(frozen=True)
class Named:
    """A scheme; `pools`: what a window says is pooled since its start, not the last step's alone."""

    name: str
    windows: int
    window_s: float
    pools: bool = False

    def stream(self) -> Scheme:
        """The package's stream.json."""
        hop = max(1, round(self.window_s * FRAMES_PER_SECOND / _FRAMES / self.windows))
        return Scheme(_FRAMES, self.windows, hop * self.windows, hop)


SCHEMES = (
    *(Named(f"2 windows of {s:.1f} s, pooled since their start", 2, s, pools=True) for s in (1.6, 2.4, 4.8)),
    *(Named(f"2 windows of {s:.1f} s, the last step alone", 2, s) for s in (2.4, 4.8, 9.6, 19.2)),
    Named("never restarted, the last step alone", 1, 2000.0),
)


class _Pooling(Network):
    """Says what all steps since the oldest window's start say together, weighted by their attention."""

    def reset(self) -> None:
        super().reset()
        self._told: list[list[np.ndarray]] = [[] for _ in range(self.package.manifest.geometry.batch)]

    def _restart(self, window: int) -> None:
        super()._restart(window)
        self._told[window] = []

    def _invoke(self, view: np.ndarray) -> np.ndarray:
        logits = super()._invoke(view)
        for told, new in zip(self._told, logits, strict=True):
            told.append(new)
        oldest = (self._step // self.package.manifest.geometry.hop_steps) % len(self._told)
        # The step's own logits give way to all of the window's, which `Network` then pools.
        return np.repeat(np.concatenate(self._told[oldest])[None], len(self._told), axis=0)


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
            kind = _Pooling if scheme.pools else Network
            told.append(row_of(scheme, kind(load(made.directory)), heard))
    table = pd.DataFrame(told)
    click.echo("| " + " | ".join(table.columns) + " |\n|" + " --- |" * len(table.columns))
    for row in table.itertuples(index=False):
        click.echo("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
