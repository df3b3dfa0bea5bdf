"""`outcry explain`: one picture of what the device made of a sound file. Needs the extra `explain` (matplotlib)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from device.audio import SAMPLE_RATE, Recording, read_samples
from device.config import Config
from device.errors import BadDataError, MissingInputError
from device.hearing.road import Heard, Road, decision_parameters
from device.network import Network
from device.telling.evidence import emotions_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST_S = 600.0
_NFFT, _OVERLAP = 512, 352


def draw(recording: Recording, network: Network, config: Config, picture: Path) -> None:
    """Draw spectrogram, emotions, danger and decisions over time into a file (its suffix names the format).

    Raises MissingInputError without matplotlib or where the folder is missing, BadDataError for what can't be drawn.
    """
    plots = _matplotlib()
    if recording.seconds > LONGEST_S:
        raise BadDataError(
            f"{recording.path}: {recording.seconds:.0f} s are too many for one picture; {LONGEST_S:g} s at most"
        )
    if not picture.parent.is_dir():
        raise MissingInputError(f"{picture.parent}: no such folder; make it or name another with --output")
    manifest = network.package.manifest
    parameters = decision_parameters(manifest, config)
    network.reset()
    road = Road(network, parameters)
    heard = [one for chunk in recording for one in road.push(chunk)]
    if not heard:
        raise BadDataError(f"{recording.path}: too short for the network to judge; give it a second or more")
    figure, (top, middle, bottom) = plots.subplots(
        3, 1, sharex=True, figsize=(12, 8), layout="constrained", height_ratios=(2, 2, 1.5)
    )
    _spectrogram(top, recording)
    _emotions(middle, heard, manifest)
    _danger(bottom, heard, parameters.threshold, parameters.release)
    figure.suptitle(f"{Path(recording.path).name} — {manifest.identity}, {config.model.sensitivity}")
    try:
        figure.savefig(picture, dpi=110)
    except (OSError, ValueError) as error:
        raise BadDataError(f"{picture}: the picture can't be written ({error})") from error
    finally:
        plots.close(figure)


def _matplotlib() -> Any:
    try:
        import matplotlib as mpl
        import matplotlib.pyplot as plots
    except ImportError:
        raise MissingInputError(
            "explain draws with matplotlib, which is not installed: pip install 'outcry[explain]'"
        ) from None
    mpl.use("Agg")
    return plots


def _spectrogram(axes: "Axes", recording: Recording) -> None:
    samples = read_samples(recording.path).astype(np.float32) / 32768
    # A touch of noise: digital silence has no logarithm.
    samples = np.pad(samples, (0, max(0, _NFFT - len(samples)))) + 1e-7
    axes.specgram(samples, NFFT=_NFFT, Fs=SAMPLE_RATE, noverlap=_OVERLAP, vmin=-130, vmax=-30, cmap="magma")
    axes.set_ylabel("Hz")


def _emotions(axes: "Axes", heard: list[Heard], manifest: Any) -> None:
    times = [one.t_s for one in heard]
    shares = np.array([list(emotions_of(one, manifest).values()) for one in heard])
    axes.stackplot(times, shares.T, labels=manifest.class_names, alpha=0.85)
    axes.set_ylim(0, 1)
    axes.set_ylabel("emotions")
    axes.legend(loc="upper left", ncols=4, fontsize="small")


def _danger(axes: "Axes", heard: list[Heard], threshold: float, release: float) -> None:
    times = np.array([one.t_s for one in heard])
    raw = [one.posterior.danger for one in heard if one.posterior is not None]
    axes.plot(times, raw, color="grey", linewidth=0.7, label="danger, each step")
    axes.plot(times, [one.decision.score for one in heard], color="darkred", label="smoothed")
    axes.axhline(threshold, color="darkred", linestyle="--", linewidth=0.8, label="threshold")
    axes.axhline(release, color="darkred", linestyle=":", linewidth=0.8, label="release")
    axes.fill_between(
        times,
        0,
        1,
        where=[one.decision.danger for one in heard],
        alpha=0.2,
        color="red",
        label="decided: danger",
    )
    axes.set_ylim(0, 1)
    axes.set_xlabel("seconds")
    axes.set_ylabel("danger")
    axes.legend(loc="upper left", ncols=5, fontsize="small")
