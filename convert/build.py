"""Build a model package from a run folder: fold, step graph, quantise, golden clip, card, manifest."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.card import card
from convert.fold import fold
from convert.golden import golden_arrays, no_posteriors, packed, tolerance
from convert.listen import listen
from convert.pack import write
from convert.quantise import QuantisedNetwork, quantise
from convert.run_folder import UNMEASURED, Clips, RunFolder, Stream
from convert.runner import KERNELS
from convert.step import StepGraph
from device.errors import BadDataError, UsageError
from device.features import PARAMETERS
from device.manifest import (
    CARD,
    GOLDEN,
    NETWORK,
    DecisionDefaults,
    EmotionClass,
    FloatTensor,
    Geometry,
    Manifest,
    StateTensor,
)
from device.package import Package, load
from device.view import View, ViewParameters, sounding

# Whole clips are judged in one window too: states must be calibrated beyond a listening window's end.
_LONGEST_WINDOW_FRAMES = 480
LICENCE = (
    "Weights: trained on recordings whose licences allow research and non-commercial use (README.md names them). "
    "Code: Apache-2.0."
)


@dataclass(frozen=True)
class Label:
    """What a package is called."""

    name: str
    version: str
    licence: str = LICENCE


def build(run: RunFolder, output: Path, label: Label, stream: Stream | None = None) -> Package:
    """Write `output/NAME-VERSION/` and return it loaded; nothing is left there when something fails."""
    target = output / f"{label.name}-{label.version}"
    if target.exists():
        raise UsageError(f"{target} exists; give another --version, or remove it")
    stream = stream or run.stream()
    view = run.view()
    graph = StepGraph(fold(run.model()), stream.batch, stream.frames_per_step)
    decision, classes = _decision(run), _classes(run, graph)
    quantised = quantise(graph, listen(graph.network, windows(run.calibration(), view)))
    made = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    manifest = Manifest(
        name=label.name,
        version=label.version,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", made),
        classes=classes,
        features=PARAMETERS,
        view=view,
        geometry=geometry(stream, graph, quantised),
        decision=decision,
        licence=label.licence,
        files={},
    )
    output.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".building-", dir=output))
    try:
        _fill(folder, run, manifest, quantised)
        folder.chmod(0o755)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return load(target)


def windows(clips: Clips, view: ViewParameters) -> list[NDArray[np.float32]]:
    """Views of the clips' sound, with a wearer's means in every second."""
    parts = [clip[sounding(clip)][:_LONGEST_WINDOW_FRAMES] for clip in clips]
    return [View(view, part.mean(axis=0) if i % 2 else None).push(part) for i, part in enumerate(parts)]


def _decision(run: RunFolder) -> DecisionDefaults:
    decision = run.decision()
    if decision is None:
        print(f"convert: {run.path} has no decision.json; thresholds are not measured", file=sys.stderr)
    return decision or UNMEASURED


def _classes(run: RunFolder, graph: StepGraph) -> tuple[EmotionClass, ...]:
    classes, outputs = run.classes(), graph.network.classes
    if len(classes) != outputs:
        raise BadDataError(f"{run.path}: {len(classes)} classes, but the network's head has {outputs}")
    return classes


def geometry(stream: Stream, graph: StepGraph, quantised: QuantisedNetwork) -> Geometry:
    """What a call takes and gives, and how windows are staggered."""
    states = []
    for name, state in quantised.states.items():
        # A tail's past is alike at all its steps: one number a channel, or one for all.
        same = bool((state.initial == state.initial[0]).all())
        initial = int(state.initial[0]) if same else tuple(int(q) for q in state.initial)
        states.append(StateTensor(name, state.shape, state.kind.scale, state.kind.zero_point, initial))
    return Geometry(
        frames_per_step=stream.frames_per_step,
        batch=stream.batch,
        window_steps=stream.window_steps,
        hop_steps=stream.hop_steps,
        inputs=(FloatTensor("input", graph.input_shape),),
        states=tuple(states),
        outputs=(FloatTensor("logits", graph.output_shape),),
    )


def _fill(folder: Path, run: RunFolder, manifest: Manifest, quantised: QuantisedNetwork) -> None:
    """Write every file; the golden posteriors are asked of the package as the device opens it."""
    arrays = golden_arrays(quantised.content, manifest, quantised.input)
    files = {
        NETWORK: quantised.content,
        GOLDEN: packed(arrays | no_posteriors(manifest)),
        CARD: card(manifest, run).encode(),
    }
    write(folder, manifest, files)
    arrays |= _posteriors(load(folder))
    write(folder, manifest, files | {GOLDEN: packed(arrays)})


def _posteriors(package: Package) -> dict[str, NDArray[np.generic]]:
    from device.installed_models.golden import hear

    found: dict[str, NDArray[np.generic]] = {}
    for kernels in KERNELS:
        found[f"posteriors_{kernels}"] = hear(package, kernels, wearer=False)
        found[f"wearer_posteriors_{kernels}"] = hear(package, kernels, wearer=True)
    pairs = ("posteriors", "wearer_posteriors")
    found["tolerance"] = max(tolerance({k: found[f"{p}_{k}"] for k in KERNELS}) for p in pairs)
    return found
