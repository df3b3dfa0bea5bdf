"""What is told of a step of the road: the evidence in an Event, the reading of a meter and of `/level`. Pure."""

import msgspec

from device import events
from device.events import Evidence
from device.hearing.road import Heard
from device.manifest import Manifest

DIGITS = 4


class Level(msgspec.Struct, frozen=True):
    """One reading."""

    level_dbfs: float
    danger: float
    """Smoothed, as the decision has it."""
    threshold: float
    decision: str
    emotions: dict[str, float]
    mode: str = "armed"
    hearing: str = "healthy"


def emotions_of(heard: Heard, manifest: Manifest) -> dict[str, float]:
    """Probability by class; what the gate held back is background."""
    names = manifest.class_names
    if heard.posterior is None:
        quiet = "background" if "background" in names else names[0]
        return {name: float(name == quiet) for name in names}
    shares = zip(names, heard.posterior.emotions, strict=True)
    return {name: round(float(share), DIGITS) for name, share in shares}


def evidence_of(heard: Heard, manifest: Manifest, threshold: float) -> Evidence:
    """What an Event says of the sound behind it: the decision's danger, the strongest step's emotions and loudness."""
    strongest = heard.strongest or heard
    return Evidence(
        danger=round(heard.decision.score, DIGITS),
        threshold=threshold,
        emotions=events.top_emotions(emotions_of(strongest, manifest)),
        loudness_dbfs=round(strongest.loudness_dbfs, 1),
        seconds_over=round(heard.decision.seconds_over, 2),
        model=manifest.identity,
    )


def level_of(heard: Heard, manifest: Manifest, threshold: float, mode: str, hearing: str) -> Level:
    """What a meter shows of it."""
    return Level(
        level_dbfs=round(heard.loudness_dbfs, 1),
        danger=round(heard.decision.score, DIGITS),
        threshold=threshold,
        decision="danger" if heard.decision.danger else "calm",
        emotions=emotions_of(heard, manifest),
        mode=mode,
        hearing=hearing,
    )
