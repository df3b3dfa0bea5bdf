"""Prove that a package says what the trained network says, wherever it runs; measure what it costs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.edges import Operator, operators
from convert.engines import Engine
from convert.fold import FoldedNetwork, fold
from convert.run_folder import RunFolder, Utterances
from convert.runner import Runner
from device.errors import BadDataError, MissingInputError
from device.manifest import Manifest
from device.package import Package
from device.view import View, sounding

LEAST_UTTERANCES = 500
# Beyond it the device judges in several windows, while training sees the first alone.
_LONGEST_FRAMES = 960
_DRIFT_SECONDS = 60
# Of these fields an event is made anew each time.
_FLEETING = ("id", "at", "age_s", "seq", "epoch", "version")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """What the Keras network says of each clip: probabilities (n, C), danger (n,), and the true classes or -1."""

    emotions: Array
    danger: Array
    truth: NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """One engine beside the Keras network."""

    engine: str
    clips: int
    agreement: float
    mean_error: float
    greatest_error: float
    danger_error: float
    accuracy: float
    accuracy_loss: float
    ms_per_second: float
    graph_ms_per_second: float
    golden_difference: float
    kernels: str
    runtime: str
    machine: str
    warnings: tuple[str, ...]
    errors: Array = field(repr=False)
    stream: Array = field(repr=False)  # emotions and danger of the first minute, as a stream


@dataclass(frozen=True)
class Drift:
    """Probability error, step by step, over a minute without restart, and the time of each step in seconds."""

    seconds: Array
    error: Array


@dataclass
class Verification:
    """All that was measured; `failed` names the bars that were missed."""

    package: Package
    comparisons: list[Comparison]
    drift: Drift
    operators: list[Operator]
    size: int
    network_size: int
    left_out: list[str]
    replays: dict[str, str]

    def failed(self) -> list[str]:
        """Every bar that was missed, in words."""
        missed = []
        for c in (c for c in self.comparisons if c.clips >= LEAST_UTTERANCES):
            bars = (
                (c.agreement < 0.99, f"agreement {c.agreement:.4f} is below 0.99"),
                (c.mean_error > 0.01, f"mean probability error {c.mean_error:.4f} is above 0.01"),
                (c.accuracy_loss > 0.005, f"accuracy loss {100 * c.accuracy_loss:.2f} points is above 0.5"),
            )
            missed += [f"{c.engine}: {words}" for bad, words in bars if bad]
        first = self.comparisons[0]
        for_one = first.graph_ms_per_second / self.package.manifest.geometry.batch
        if for_one > 0.3:
            missed.append(f"{first.engine}: {for_one:.2f} ms per second of audio and window is above 0.3")
        if self.size > 400_000:
            missed.append(f"package: {self.size / 1000:.0f} KB is above 400")
        missed += [f"replay of {name}: {said}" for name, said in self.replays.items() if said != "same"]
        return missed


def verify(package: Package, run: RunFolder, engines: list[Engine], recordings: list[Path]) -> Verification:
    """Compare the package on every engine with the Keras network of its run."""
    model, network = run.model(), fold(run.model())
    unseen = _short(run.unseen())
    if len(unseen.clips) < LEAST_UTTERANCES:
        raise BadDataError(
            f"{run.path}: {len(unseen.clips)} utterances of unseen speakers, {LEAST_UTTERANCES} are needed"
        )
    reference = keras_says(model, run, package.manifest, unseen)
    comparisons, left_out = [], []
    for engine in engines:
        try:
            comparisons.append(compare(engine, package, unseen, reference))
        except (BadDataError, MissingInputError) as error:
            left_out.append(str(error))
    if not comparisons:
        raise BadDataError(f"no engine could run the package: {left_out[0]}")
    files = {f.name: f.stat().st_size for f in package.directory.iterdir()}
    return Verification(
        package,
        comparisons,
        drift(package, network, unseen),
        operators(package.network_bytes),
        sum(files.values()),
        len(package.network_bytes),
        left_out,
        replays(engines, package, recordings),
    )


def _short(unseen: Utterances) -> Utterances:
    keep = [i for i, clip in enumerate(unseen.clips) if len(clip) <= _LONGEST_FRAMES]
    return Utterances([unseen.clips[i] for i in keep], unseen.emotions[keep])


def keras_says(model: Any, run: RunFolder, manifest: Manifest, unseen: Utterances) -> Reference:
    """The Keras network on each clip, with the manifest's calibration, as `training` judges it."""
    from training.judging.floats import predict

    emotion, danger = predict(model, run.view(), unseen.clips)
    calibration = manifest.decision.calibration
    emotions = _softmax(emotion.astype(np.float64) / calibration.temperature)
    if manifest.decision.danger == "classes":
        share = np.clip(emotions[:, [c.danger for c in manifest.classes]].sum(axis=1), 1e-6, 1 - 1e-6)
        danger = np.log(share / (1 - share))
    told = 1 / (1 + np.exp(-np.clip(calibration.scale * danger + calibration.bias, -50, 50)))
    return Reference(emotions, told.astype(np.float64), unseen.emotions)


def compare(engine: Engine, package: Package, unseen: Utterances, reference: Reference) -> Comparison:
    """Ask one engine and set its answers beside the reference."""
    count = len(unseen.clips)
    chosen = np.unique(np.linspace(0, count - 1, min(count, engine.most or count)).astype(int))
    told = engine.ask(package.directory, [unseen.clips[i] for i in chosen])
    meant, truth = reference.emotions[chosen], reference.truth[chosen]
    errors = np.abs(told["emotions"] - meant)
    best, expected = told["emotions"].argmax(axis=1), meant.argmax(axis=1)
    labelled = truth >= 0
    right = float((best == truth)[labelled].mean()) if labelled.any() else float("nan")
    before = float((expected == truth)[labelled].mean()) if labelled.any() else float("nan")
    return Comparison(
        engine=engine.name,
        clips=len(best),
        agreement=float((best == expected).mean()),
        mean_error=float(errors.mean()),
        greatest_error=float(errors.max()),
        danger_error=float(np.abs(told["danger"] - reference.danger[chosen]).mean()),
        accuracy=right,
        accuracy_loss=before - right,
        ms_per_second=float(told["ms_per_second"]),
        graph_ms_per_second=float(told["graph_ms_per_second"]),
        golden_difference=float(told["golden_difference"]),
        kernels=str(told["kernels"]),
        runtime=str(told["runtime"]),
        machine=str(told["machine"]),
        warnings=tuple(str(w) for w in told["warnings"]),
        errors=errors.max(axis=1),
        stream=np.column_stack([told["stream_emotions"], told["stream_danger"]]),
    )


def drift(package: Package, network: FoldedNetwork, unseen: Utterances) -> Drift:
    """One window over a minute of unseen voices, never restarted, beside the float network."""
    frames = np.concatenate([clip[sounding(clip)] for clip in unseen.clips])[: 100 * _DRIFT_SECONDS]
    view = View(package.manifest.view).push(frames)
    geometry = package.manifest.geometry
    runner = Runner(package.network_bytes, geometry)
    told = runner.run_each([view])[0].astype(np.float64)
    expected = network.logits(view)[: len(told)]
    classes = len(package.manifest.classes)
    error = np.abs(_softmax(told[:, :classes]) - _softmax(expected[:, :classes])).max(axis=1)
    return Drift((np.arange(len(error)) + 1) * network.stride / 100, error)


def replays(engines: list[Engine], package: Package, recordings: list[Path]) -> dict[str, str]:
    """Whether every other engine of this machine replays each recording with the first one's events."""
    here = [e for e in engines if e.root is None and e.kernels == "xnnpack"]
    said: dict[str, str] = {}
    for recording in recordings if len(here) > 1 else []:
        first, *others = ([_lasting(line) for line in e.replay(package.directory, recording)] for e in here)
        differ = [e.name for e, lines in zip(here[1:], others, strict=True) if not _alike(first, lines)]
        said[recording.name] = f"other events on {', '.join(differ)}" if differ else "same"
    return said


def _lasting(line: str) -> dict[str, Any]:
    return {k: v for k, v in json.loads(line).items() if k not in _FLEETING}


def _alike(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> bool:
    """The same kinds of events and decisions in the same order, at most a step and a half apart."""

    def outline(lines: list[dict[str, Any]]) -> list[Any]:
        return [line.get("kind") or line.get("decision") for line in lines]

    apart = [abs(a.get("t_s", 0) - b.get("t_s", 0)) for a, b in zip(first, second, strict=False)]
    return outline(first) == outline(second) and max(apart, default=0) <= 0.3


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))
