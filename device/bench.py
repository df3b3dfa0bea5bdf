"""What listening costs on this machine: CPU by stage, peak memory, start-up time, size of the package.

The sound is made here unless a file is given, and the silence gate stays out: the network's full price is shown.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import msgspec
import numpy as np
import soundfile
from numpy.typing import NDArray

from device.audio import SAMPLE_RATE, Chunk, read_samples
from device.config import Config
from device.errors import OutcryError
from device.hearing.road import Road, decision_parameters
from device.installed_models import chosen
from device.network import Network

CHUNK_SAMPLES = 1600  # 100 ms, as the budgets have it
_WARM_UP_S = 3
_START_SOUND_S = 1.0

# The design's budgets. Off a Pi the CPU is measured on one x86-64 thread, on a Pi against one of its cores.
BUDGET_NETWORK_MS = 0.5
BUDGET_ALL_MS = 1.0
BUDGET_PI_MS = 50.0
BUDGET_PEAK_MB = 100.0
BUDGET_START_S = 5.0
BUDGET_PACKAGE_KB = 400.0


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    machine: str
    model: str
    seconds: float
    cpu_ms_per_second: dict[str, float]
    """CPU milliseconds per second of sound, by stage; `all` is the whole road, driven once more without a stopwatch."""
    start_s: float
    """Wall seconds of `outcry replay` on one second of sound, from nothing."""
    peak_mb: float
    """Greatest resident memory of that replay."""
    package_kb: float


class Stages:
    """Sums CPU seconds by stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def add(self, stage: str, seconds: float) -> None:
        """Add to a stage's sum."""
        self.seconds[stage] += seconds


def made_sound(seconds: float) -> NDArray[np.int16]:
    """Something like a voice: a gliding pulse train in syllables over a little noise; always the same."""
    count = int(seconds * SAMPLE_RATE)
    t_s = np.arange(count) / SAMPLE_RATE
    random = np.random.default_rng(17)
    phase = np.cumsum(180 + 60 * np.sin(2 * np.pi * 0.7 * t_s)) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * harmonic * phase) / harmonic for harmonic in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3 * t_s), 0, 1)
    sound = 0.25 * voice * syllables + 0.003 * random.standard_normal(count)
    return np.asarray(np.clip(sound, -1, 1) * 32767).astype(np.int16)


def measure(config: Config, model_directory: Path | None, seconds: float, file: Path | None) -> Figures:
    """Run the road over the sound and a fresh process over one second of it."""
    package = chosen.in_force(config, model_directory)
    samples = read_samples(file)[: int(seconds * SAMPLE_RATE)] if file else made_sound(seconds)
    stages = Stages()
    network = Network(package)
    parameters = decision_parameters(package.manifest, config)
    road = Road(network, parameters, stopwatch=stages)
    _drive(road, samples[: _WARM_UP_S * SAMPLE_RATE])
    road.reset()
    stages.seconds.clear()
    _drive(road, samples)
    # Reading the thread's clock is a call into the kernel: some 3 % of the road, which no service pays.
    whole_s = _drive(Road(network, parameters), samples)
    heard_s = len(samples) / SAMPLE_RATE
    cpu = {name: 1000 * spent / heard_s for name, spent in stages.seconds.items()}
    start_s, peak_mb = _fresh_process(samples, package.directory)
    size = sum(entry.stat().st_size for entry in package.directory.iterdir())
    return Figures(
        machine=machine(),
        model=package.manifest.identity,
        seconds=round(heard_s, 3),
        cpu_ms_per_second={name: round(value, 4) for name, value in {**cpu, "all": 1000 * whole_s / heard_s}.items()},
        start_s=round(start_s, 3),
        peak_mb=round(peak_mb, 1),
        package_kb=round(size / 1000, 1),
    )


def _drive(road: Road, samples: NDArray[np.int16]) -> float:
    """CPU seconds that the road took for the samples in chunks of 100 ms."""
    started = time.thread_time()
    for start in range(0, len(samples), CHUNK_SAMPLES):
        piece = samples[start : start + CHUNK_SAMPLES]
        road.push(Chunk(piece, (start + len(piece)) / SAMPLE_RATE))
    return time.thread_time() - started


# What the system tells of a child (`ru_maxrss`) counts the parent's memory from before the exec; so it tells itself.
_REPLAY = """
import re, sys
from device.cli import main
try:
    main()
finally:
    print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


def _fresh_process(samples: NDArray[np.int16], model: Path) -> tuple[float, float]:
    """Wall seconds and peak resident MB of `outcry replay` from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder, "one-second.wav")
        soundfile.write(sound, samples[: int(_START_SOUND_S * SAMPLE_RATE)], SAMPLE_RATE)
        command = [sys.executable, "-c", _REPLAY, "replay", "--model", str(model), str(sound)]
        environ = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
        took_s = time.monotonic() - started
    if done.returncode:
        raise OutcryError(f"outcry replay ended with {done.returncode} while it was measured: {done.stderr[-300:]}")
    return took_s, int(done.stderr.split()[-1]) * 1.024e-3


def machine() -> str:
    """The processor and the system, in a few words."""
    model = Path("/proc/device-tree/model")
    if model.exists():
        name = model.read_text(errors="replace").rstrip("\0\n")
    else:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines() if Path("/proc/cpuinfo").exists() else []
        name = next(
            (line.split(":")[1].strip() for line in lines if line.startswith("model name")),
            "unknown processor",
        )
    return f"{name}, {platform.machine()}, Python {platform.python_version()}"


def table(figures: Figures) -> str:
    """The figures for a person, each beside its budget."""
    lines = [f"{figures.machine}", f"model {figures.model}, {figures.seconds:g} s of sound", ""]
    budgets = _budgets(figures)
    for stage, value in figures.cpu_ms_per_second.items():
        lines.append(f"  {stage:<12} {value:8.3f} ms CPU per second{_beside(budgets, f'{stage} CPU')}")
    lines.append(f"  {'start-up':<12} {figures.start_s:8.2f} s{_beside(budgets, 'start-up')}")
    lines.append(f"  {'peak memory':<12} {figures.peak_mb:8.1f} MB{_beside(budgets, 'peak memory')}")
    lines.append(f"  {'package':<12} {figures.package_kb:8.1f} KB{_beside(budgets, 'package')}")
    return "\n".join(lines)


def check(figures: Figures) -> None:
    """Raise OutcryError where a budget is exceeded."""
    over = [f"{name} {value:g} over {most:g}" for name, (value, most) in _budgets(figures).items() if value > most]
    if over:
        raise OutcryError(f"over budget: {', '.join(over)}; is the machine busy with something else?")


def _beside(budgets: dict[str, tuple[float, float]], name: str) -> str:
    return f"   (budget {budgets[name][1]:g})" if name in budgets else ""


def _budgets(figures: Figures) -> dict[str, tuple[float, float]]:
    cpu = figures.cpu_ms_per_second
    budgets = {
        "start-up": (figures.start_s, BUDGET_START_S),
        "peak memory": (figures.peak_mb, BUDGET_PEAK_MB),
        "package": (figures.package_kb, BUDGET_PACKAGE_KB),
    }
    if platform.machine() == "x86_64":
        budgets["network CPU"] = (cpu["network"], BUDGET_NETWORK_MS)
        budgets["all CPU"] = (cpu["all"], BUDGET_ALL_MS)
    else:
        budgets["all CPU"] = (cpu["all"], BUDGET_PI_MS)
    return budgets
