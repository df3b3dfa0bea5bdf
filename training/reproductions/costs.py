"""What each published network costs at its paper's size, measured side by side with our package.

Neither time nor size depends on what was learnt, so networks are measured untrained. Time is CPU time of this
process (all its threads together), which another load on the machine hardly changes; features are measured
apart.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from device.bench import machine, made_sound
from training.paper_features import PaperParameters, compute
from training.reproductions.fitting import Inputs
from training.reproductions.footprint import int8_size
from training.runs import load_recipe, write_json
from training.sound import SAMPLE_RATE

FEW_CLIPS = 4
MANY_CLIPS = 256
BATCH = 32
QUICK_CLIP_S = 0.1
"""A network that takes less a clip is asked for many: else what is measured is the call, not the network."""
FEATURE_SECONDS = 20.0


class Costs:
    """The file costs.json of a run folder: one entry a system, measured once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "costs.json"
        self.known: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            self.known = json.loads(self.path.read_text(encoding="utf-8"))

    def measure(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Add what `work` finds, unless it is known."""
        if name not in self.known:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.known[name] = work() | {"machine": machine()}
            write_json(self.path, self.known)


def of_network(build: Callable[[], keras.Model], clip_s: float, parameters: PaperParameters) -> dict[str, Any]:
    """Parameters, int8 bytes, CPU seconds per 1,000 clips of `clip_s`, CPU ms per second of sound."""
    keras.utils.clear_session()
    network = build()
    few, many = (_made_inputs(network, clips) for clips in (FEW_CLIPS, MANY_CLIPS))
    spent_s = _cpu_seconds(lambda: network.predict(few, batch_size=BATCH, verbose=0), rounds=1) / FEW_CLIPS
    if spent_s < QUICK_CLIP_S:
        spent_s = _cpu_seconds(lambda: network.predict(many, batch_size=BATCH, verbose=0)) / MANY_CLIPS
    samples = made_sound(FEATURE_SECONDS)
    features_s = _cpu_seconds(lambda: compute(samples, parameters)) / FEATURE_SECONDS
    return {
        "parameters": int(network.count_params()),
        "cpu_s_per_1000": 1000 * spent_s,
        "network_ms_per_s": 1000 * spent_s / clip_s,
        "features_ms_per_s": 1000 * features_s,
        **int8_size(network, few),
    }


def of_ours(clip_s: float) -> dict[str, Any]:
    """The shipped package on clips of `clip_s`: bytes of its network, CPU from samples to posteriors."""
    from device.features import FeatureStream
    from device.network import Network, classify
    from device.package import load
    from training.reproductions.ours import PARTS, RECIPES, newest_package
    from training.train import DangerRecipe, compile_network

    directory = newest_package()
    package = load(directory)
    network = Network(package)
    recipe = load_recipe(RECIPES / f"{list(PARTS)[-1]}.toml", DangerRecipe)
    samples = made_sound(clip_s)
    spent_s = _cpu_seconds(lambda: classify(network, samples))
    features_s = _cpu_seconds(lambda: FeatureStream().push(samples))
    return {
        "package": directory.name,
        "parameters": int(compile_network(recipe).count_params()),
        "int8_bytes": len(package.network_bytes),
        "step_s": network.seconds_per_step,
        "answer_ms": 1000 * spent_s * network.seconds_per_step / clip_s,
        "cpu_s_per_1000": 1000 * spent_s,
        "network_ms_per_s": 1000 * (spent_s - features_s) * SAMPLE_RATE / len(samples),
        "features_ms_per_s": 1000 * features_s * SAMPLE_RATE / len(samples),
    }


def _made_inputs(network: keras.Model, clips: int) -> Inputs:
    generator = np.random.default_rng(0)
    parts = [generator.normal(size=(clips, *one.shape[1:])).astype(np.float32) for one in network.inputs]
    return parts if len(parts) > 1 else parts[0]


def _cpu_seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """The least CPU seconds of some rounds, after one that warms up."""
    work()
    spent = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return min(spent)
