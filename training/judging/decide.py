"""Chooses how a network's posteriors become decisions: on streams of validation speakers, with the package itself.

Three kinds of streams are made of recordings that were not trained on: ordinary life (speech, children, infants,
household and street noise), one acted calm, happy, sad or disgusted sentence after the other, and danger: strongly
expressed fear and anger, and screams, over background sound at 10 dB. The package's own int8 network listens to
each; then threshold, smoothing and n of m are chosen so that as much danger as possible is caught at a given
number of false alarms an hour.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from device.audio import read_samples
from device.decision import Decider, DecisionParameters
from device.errors import MissingInputError
from device.features import FRAMES_PER_SECOND, SAMPLE_RATE, FeatureStream
from device.hearing.road import parameters_of
from device.manifest import Calibration, DecisionDefaults, Sensitivity, SensitivityName
from device.network import Network
from device.package import Package, load
from training.corpora.clip import CLASSES
from training.evaluate import is_danger
from training.index import build_index
from training.judging import card
from training.judging.clips import judge as judge_clips
from training.judging.clips import scorecard
from training.judging.streams import Span, StreamScore, judge, spells, together
from training.places import corpora_root
from training.runs import write_json
from training.splits import split

Wave = NDArray[np.float32]
# The most false alarms an hour that each setting may cost: in ordinary life, and among acted sentences.
LIMITS: dict[SensitivityName, tuple[float, float]] = {
    "fewer-alarms": (0.5, 12.0),
    "balanced": (2.0, 40.0),
    "catch-more": (8.0, 90.0),
}
_SNR_DB = 10.0
_LOUD_DBFS = -26.0


@dataclass(frozen=True)
class Stream:
    """Sound, the spans of danger in it, and which kind of stream it is."""

    kind: str
    samples: Wave
    events: tuple[Span, ...]


@dataclass(frozen=True)
class Track:
    """What the network said of a stream: danger after each step, and when."""

    kind: str
    times_s: NDArray[np.float64]
    danger: NDArray[np.float64]
    events: tuple[Span, ...]
    duration_s: float


def streams(clips: pd.DataFrame, rows: NDArray[np.int64], root: Path, seed: int = 0) -> list[Stream]:
    """The three kinds of streams from the clips `rows`, some five minutes each."""
    rng = np.random.default_rng(seed)
    here = clips.iloc[rows]
    acted = here["corpus"].isin(("CREMA-D", "RAVDESS", "EMO-DB", "nEMO", "ASED", "SAVEE"))
    calm = here[acted & here["emotion"].isin(("happy", "sad", "disgust", "neutral"))]
    life = here[here["corpus"].isin(("Speech", "Background", "Nonverbal", "Screams")) & (here["emotion"] != "scream")]
    strong = here["intensity"].isin(("high", "strong")) | here["corpus"].isin(("EMO-DB", "nEMO", "ASED", "SAVEE"))
    danger = here[(acted & strong & here["emotion"].isin(("fear", "angry"))) | (here["emotion"] == "scream")]
    noises = [root / path for path in here["path"][here["corpus"] == "Background"]]
    made = [Stream("life", wave, ()) for wave in _lined_up(life, root, rng)]
    made += [Stream("acted", wave, ()) for wave in _lined_up(calm, root, rng)]
    return made + list(_dangers(danger, noises, root, rng))


def _wave(path: Path) -> Wave:
    return read_samples(path).astype(np.float32) / 32768


def _levelled(wave: Wave, dbfs: float) -> Wave:
    power = float(np.sqrt(np.mean(wave**2))) or 1.0
    return np.clip(wave * (10 ** (dbfs / 20) / power), -1, 1).astype(np.float32)


def _lined_up(some: pd.DataFrame, root: Path, rng: np.random.Generator, most_s: float = 300.0) -> list[Wave]:
    """The clips one after the other with 0.2 to 1.5 s of faint hiss between, in streams of `most_s`."""
    made: list[Wave] = []
    parts: list[Wave] = []
    for path, start_s, end_s in some.sample(frac=1, random_state=int(rng.integers(2**31)))[
        ["path", "start_s", "end_s"]
    ].itertuples(index=False):
        wave = _wave(root / path)[int(start_s * SAMPLE_RATE) : int(end_s * SAMPLE_RATE)]
        parts += [_levelled(wave, _LOUD_DBFS + float(rng.uniform(-8, 4))), _hiss(float(rng.uniform(0.2, 1.5)), rng)]
        if sum(map(len, parts)) >= most_s * SAMPLE_RATE:
            made.append(np.concatenate(parts))
            parts = []
    return [*made, np.concatenate(parts)] if parts else made


def _hiss(seconds: float, rng: np.random.Generator) -> Wave:
    return np.asarray(rng.normal(size=int(seconds * SAMPLE_RATE)) * 10 ** (-65 / 20), np.float32)


def _dangers(some: pd.DataFrame, noises: Sequence[Path], root: Path, rng: np.random.Generator) -> list[Stream]:
    """Each danger clip by itself, 4 s after the start of a background that lies 10 dB under it and goes on 4 s."""
    made = []
    for path, emotion, start_s, end_s in some[["path", "emotion", "start_s", "end_s"]].itertuples(index=False):
        wave = _wave(root / path)[int(start_s * SAMPLE_RATE) : int(end_s * SAMPLE_RATE)]
        wave = _levelled(wave, _LOUD_DBFS)
        around = 4 * SAMPLE_RATE
        noise = _wave(noises[int(rng.integers(len(noises)))]) if noises else _hiss(3.0, rng)
        noise = np.resize(np.roll(noise, int(rng.integers(len(noise)))), len(wave) + 2 * around)
        noise = _levelled(noise, _LOUD_DBFS - _SNR_DB)
        noise[around : around + len(wave)] += wave
        event = (around / SAMPLE_RATE, (around + len(wave)) / SAMPLE_RATE)
        made.append(Stream(f"danger:{emotion}", noise, (event,)))
    return made


def listen(network: Network, stream: Stream) -> Track:
    """What the network says of a stream, step by step, as on the device."""
    network.reset()
    frames = FeatureStream()
    told = []
    for at in range(0, len(stream.samples), SAMPLE_RATE // 5):
        told += network.push(frames.push(stream.samples[at : at + SAMPLE_RATE // 5]))
    times = np.array([(p.frame + 2.5) / FRAMES_PER_SECOND for p in told])
    return Track(
        stream.kind, times, np.array([p.danger for p in told]), stream.events, len(stream.samples) / SAMPLE_RATE
    )


def score(tracks: Sequence[Track], parameters: DecisionParameters) -> StreamScore:
    """Events heard and false alarms of all the tracks together, through the device's own Decider."""
    return together([_judged(track, parameters) for track in tracks])


def _judged(track: Track, parameters: DecisionParameters) -> StreamScore:
    decider = Decider(parameters)
    decided = [decider.update(float(t), float(d)).danger for t, d in zip(track.times_s, track.danger, strict=True)]
    return judge(track.events, spells(list(track.times_s), decided, track.duration_s), track.duration_s)


def calibrate(logits: NDArray[np.float32], danger: NDArray[np.bool_]) -> Calibration:
    """Scale and bias that make the danger logits of whole clips probabilities (Platt scaling)."""
    fitted = LogisticRegression(C=1e6).fit(logits[:, None], danger)
    return Calibration(scale=round(float(fitted.coef_[0, 0]), 4), bias=round(float(fitted.intercept_[0]), 4))


@dataclass(frozen=True)
class _Candidate:
    life: float  # false alarms an hour
    acted: float
    setting: Sensitivity

    @property
    def recall(self) -> float:
        return self.setting.recall or 0.0


def choose(tracks: Sequence[Track], calibration: Calibration) -> DecisionDefaults:
    """The three sensitivities: the most danger caught within each one's limits, or the nearest to them."""
    candidates = list(_candidates(tracks))
    chosen = {name: _best(candidates, *limits) for name, limits in LIMITS.items()}
    return DecisionDefaults(chosen, calibration=calibration)


@dataclass(frozen=True)
class Measured:
    """What settings did on streams that did not choose them: in ordinary life, among acted sentences, in danger."""

    life: StreamScore
    acted: StreamScore
    danger: StreamScore

    def told(self) -> dict[str, float | int]:
        """Counts and hours, for `metrics.json` and the card."""
        return {
            "life_hours": round(self.life.hours, 3),
            "life_false_alarms": self.life.false_alarms,
            "acted_hours": round(self.acted.hours, 3),
            "acted_false_alarms": self.acted.false_alarms,
            "dangers": self.danger.events,
            "heard": self.danger.heard,
            "median_after_end_s": round(float(np.median(self.danger.after_end_s or (np.nan,))), 2),
        }


def measure(tracks: Sequence[Track]) -> dict[str, Measured]:
    """Each setting by halves: chosen on one half of the streams, counted on the other, and the other way round."""
    halves = [
        [track for kind in sorted({t.kind for t in tracks}) for track in [t for t in tracks if t.kind == kind][half::2]]
        for half in (0, 1)
    ]
    counted: dict[str, list[list[StreamScore]]] = {name: [[], [], []] for name in LIMITS}
    for chooses, counts in (halves, halves[::-1]):
        settings = choose(chooses, Calibration()).sensitivities
        for name, setting in settings.items():
            parameters = parameters_of(setting)
            for scores, kind in zip(counted[name], ("life", "acted", "danger"), strict=True):
                scores.append(score([track for track in counts if track.kind.startswith(kind)], parameters))
    return {name: Measured(*(together(scores) for scores in kinds)) for name, kinds in counted.items()}


def _candidates(tracks: Sequence[Track]) -> Iterator[_Candidate]:
    life = [track for track in tracks if track.kind == "life"]
    acted = [track for track in tracks if track.kind == "acted"]
    dangers = [track for track in tracks if track.kind.startswith("danger")]
    for smooth_s, (n, m), threshold in itertools.product(
        (0.4, 0.8, 1.2, 1.8, 2.4, 3.2), ((1, 1), (2, 3)), np.round(np.arange(0.2, 0.96, 0.03), 2)
    ):
        parameters = DecisionParameters(
            threshold=float(threshold), release=round(float(threshold) * 0.6, 3), smooth_s=smooth_s, n=n, m=m
        )
        false_life = score(life, parameters).false_alarms_per_hour
        false_acted = score(acted, parameters).false_alarms_per_hour
        setting = Sensitivity(
            **msgspec.to_builtins(parameters),
            false_alarms_per_hour=round(false_life, 2),
            recall=round(score(dangers, parameters).recall, 3),
        )
        yield _Candidate(false_life, false_acted, setting)


def _best(candidates: Sequence[_Candidate], most_life: float, most_acted: float) -> Sensitivity:
    allowed = [c for c in candidates if c.life <= most_life and c.acted <= most_acted]
    if allowed:
        return max(allowed, key=lambda c: (c.recall, -c.life, -c.acted)).setting
    return min(candidates, key=lambda c: c.life / most_life + c.acted / most_acted).setting


def decide(
    run: Path, package: Package, clips: pd.DataFrame, rows: NDArray[np.int64], root: Path
) -> tuple[DecisionDefaults, dict[str, Measured]]:
    """Calibrate on the validation clips `rows`, choose on their streams; writes `decision.json` into the run.

    The settings are chosen on all streams; what is told of them was counted by halves (`measure`).
    `package` is the run's own, of any calibration: its logits are what counts.
    """
    network = Network(package)
    old = package.manifest.decision.calibration
    here = clips.iloc[rows].reset_index(drop=True)
    answers = judge_clips(package, here[here["emotion"].isin(CLASSES)].reset_index(drop=True), root)
    logits = _logits(answers.danger, old)
    calibration = calibrate(logits.astype(np.float32), is_danger(answers.clips["emotion"]))
    tracks = []
    for stream in tqdm(streams(clips, rows, root), "streams", mininterval=5):
        track = listen(network, stream)
        danger = 1 / (1 + np.exp(-(calibration.scale * _logits(track.danger, old) + calibration.bias)))
        tracks.append(dataclasses.replace(track, danger=danger))
    measured = measure(tracks)
    chosen = choose(tracks, calibration)
    chosen = msgspec.structs.replace(
        chosen,
        sensitivities={
            name: msgspec.structs.replace(
                setting,
                false_alarms_per_hour=round(measured[name].life.false_alarms_per_hour, 2),
                recall=round(measured[name].danger.recall, 3),
            )
            for name, setting in chosen.sensitivities.items()
        },
    )
    (run / "decision.json").write_bytes(msgspec.json.format(msgspec.json.encode(chosen)) + b"\n")
    return chosen, measured


def _recipe_of(run: Path) -> dict[str, Any]:
    """The recipe that the run was trained by: it tells who was never heard (`split`) and what alone was (`paths`)."""
    recipe = run / "recipe.toml"
    if not recipe.is_file():
        raise MissingInputError(f"{recipe}: not there, so nobody knows whom this run heard; give a run folder")
    return tomllib.loads(recipe.read_text(encoding="utf-8"))


def _logits(danger: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    clipped = np.clip(danger, 1e-12, 1 - 1e-12)
    return np.asarray((np.log(clipped / (1 - clipped)) - calibration.bias) / calibration.scale)


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.argument("package", type=click.Path(path_type=Path, file_okay=False))
@click.option("--corpora", type=click.Path(path_type=Path), help="Folder of the corpora (default: OUTCRY_CORPORA).")
@click.option("--scores/--no-scores", default=True, help="Also score the package on held-out speakers.")
def main(run: Path, package: Path, corpora: Path | None, scores: bool) -> None:
    """Choose how PACKAGE, made of RUN, decides, on streams of validation speakers; score it on all held-out ones.

    Writes decision.json, metrics.json and the card's README.md into RUN; convert RUN again to have them in the package.
    """
    root = corpora_root(corpora)
    clips = build_index(root)
    recipe = _recipe_of(run)
    part = split(clips, str(recipe.get("split", "speakers")))
    loaded = load(package)
    chosen, measured = decide(run, loaded, clips, np.flatnonzero((part == "validation").to_numpy()), root)
    for name, setting in chosen.sensitivities.items():
        click.echo(f"{name}: {msgspec.json.encode(setting).decode()} {measured[name].told()}")
    if not scores:
        return
    told = json.loads((run / "metrics.json").read_text()) if (run / "metrics.json").is_file() else {}
    cards: dict[str, dict[str, list[dict[str, Any]]]] = {}
    streams_told = {name: some.told() for name, some in measured.items()}
    for side in [side for side in ("validation", "test") if (part == side).any()]:
        tables = scorecard(loaded, clips[part == side].reset_index(drop=True), root)
        cards[side] = {
            name: json.loads(table.reset_index().to_json(orient="records")) for name, table in tables.items()
        }
        for name, table in tables.items():
            click.echo(f"\n{side}: {name}\n{table.round(3).to_string()}")
    write_json(run / "metrics.json", told | {"int8": cards, "corpora": cards[side]["plain"], "streams": streams_told})
    text = card.body(chosen, cards, streams_told, tuple(recipe.get("paths", ())))
    (run / "README.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
