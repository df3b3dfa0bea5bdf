"""A package, as the device runs it, on speakers that its training never heard: `python -m training evaluate`.

Every clip goes through `device.network.classify`: what is judged is the int8 graph with the device's own features.
Long ordinary sound, and danger strewn into it, go through the decision as in `outcry replay`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from device.decision import Decider, DecisionParameters
from device.errors import UsageError
from device.features import FRAMES_PER_SECOND, FeatureStream
from device.hearing.road import parameters_of
from device.network import Network, classify
from device.package import Package
from training import evaluate
from training.corpora.clip import CLASSES, DANGER, EMOTIONS
from training.judging import streams
from training.judging.streams import Span, StreamScore
from training.sound import SAMPLE_RATE, read_samples

ORDINARY = ("Speech", "Background", "TORGO")
"""Corpora of sound that holds no danger: false alarms are counted on them."""
STREAM_COLUMNS = (
    "stream",
    "sensitivity",
    "hours",
    "events",
    "heard",
    "recall",
    "median latency, s",
    "false alarms",
    "false alarms per hour",
)
BETWEEN_S = 20.0
"""Of ordinary sound between two events: the longest window has forgotten the last one."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Sound to be listened to as one, and the spans of danger in it (s)."""

    name: str
    samples: NDArray[np.int16]
    events: tuple[Span, ...] = ()

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / SAMPLE_RATE


def predict(network: Network, clips: pd.DataFrame, root: Path, *, progress: bool = True) -> pd.DataFrame:
    """One row a clip: the classes' probabilities, named as in the manifest, and `danger_score`; index as `clips`."""
    names = [told.name for told in network.package.manifest.classes]
    rows = []
    for path in tqdm(clips["path"], "clips", unit="clip", disable=None if progress else True):
        whole, _ = classify(network, read_samples(root / path))
        rows.append([*whole.emotions.astype(float), whole.danger])
    return pd.DataFrame(rows, columns=[*names, "danger_score"], index=clips.index)


def said(clips: pd.DataFrame, told: pd.DataFrame, known: pd.DataFrame) -> pd.Series:
    """The emotion that was said of each clip, among those of the six that its corpus has in `known` (the index)."""
    answer = pd.Series("", index=clips.index, dtype="object")
    for corpus, rows in clips.groupby("corpus"):
        has = [name for name in EMOTIONS if ((known["corpus"] == corpus) & (known["emotion"] == name)).any()]
        if has:
            answer[rows.index] = evaluate.best_of(told.loc[rows.index, has].to_numpy(), has, has)
    return answer


def tasks(clips: pd.DataFrame) -> pd.Series:
    """The corpus of each clip, RAVDESS' songs apart from its speech: they are another task."""
    return clips["corpus"].where(clips["part"] != "song", clips["corpus"] + " song")


def listen(network: Network, samples: NDArray[np.int16]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """The stream's danger step by step: times in s, and danger."""
    frames = FeatureStream()
    network.reset()
    times, danger = [], []
    for at in range(0, len(samples), SAMPLE_RATE):
        for step in network.push(frames.push(samples[at : at + SAMPLE_RATE])):
            times.append(step.frame / FRAMES_PER_SECOND)
            danger.append(step.danger)
    network.reset()
    return np.array(times), np.array(danger)


def decide(
    times: NDArray[np.floating], danger: NDArray[np.floating], parameters: DecisionParameters, end_s: float
) -> list[Span]:
    """The spans in which the device's decision says danger."""
    decider = Decider(parameters)
    decisions = [
        decider.update(float(time_s), float(value)).danger for time_s, value in zip(times, danger, strict=True)
    ]
    return streams.spells(list(times), decisions, end_s)


def ordinary_streams(clips: pd.DataFrame, root: Path) -> Iterator[Stream]:
    """For each corpus of ordinary sound and each kind in it, all clips end to end."""
    some = clips[clips["corpus"].isin(ORDINARY) & ~clips["emotion"].isin(DANGER)]
    kind = [f"{corpus}/{part.split('/')[0]}" for corpus, part in zip(some["corpus"], some["part"], strict=True)]
    for name, rows in some.groupby(pd.Series(kind, index=some.index, dtype="object")):
        yield Stream(str(name), np.concatenate([read_samples(root / path) for path in rows["path"]]))


def event_streams(clips: pd.DataFrame, root: Path, *, most: int = 40, seed: int = 0) -> Iterator[Stream]:
    """For each corpus up to `most` dangerous clips of unseen speakers, strewn into ordinary sound of this side.

    The sound between has the level of what follows less 20 dB, so that no jump of level gives the event away.
    """
    rng = np.random.default_rng(seed)
    ordinary = clips[clips["corpus"].isin(ORDINARY) & ~clips["emotion"].isin(DANGER)]
    if ordinary.empty:
        return
    order = ordinary["path"].to_numpy()[rng.permutation(len(ordinary))]
    between = np.concatenate([read_samples(root / path) for path in order[:400]]).astype(np.float64)
    dangers = clips[clips["emotion"].isin(DANGER) & ~clips["corpus"].isin(ORDINARY)]
    for corpus, rows in dangers.groupby(tasks(dangers)):
        chosen = rows.iloc[np.sort(rng.permutation(len(rows))[:most])]
        parts, events, at = [], [], 0
        for path in chosen["path"]:
            sound = read_samples(root / path)
            start = int(rng.integers(0, max(1, len(between) - int(BETWEEN_S * SAMPLE_RATE))))
            before = between[start : start + int(BETWEEN_S * SAMPLE_RATE)]
            gain = 0.1 * np.sqrt(np.mean(np.square(sound, dtype=np.float64)) / max(np.mean(before**2), 1.0))
            parts += [(before * gain).clip(-32768, 32767).astype(np.int16), sound]
            begin = at + len(before)
            at = begin + len(sound)
            events.append((begin / SAMPLE_RATE, at / SAMPLE_RATE))
        yield Stream(str(corpus), np.concatenate(parts), tuple(events))


def judge_streams(network: Network, heard: Iterable[Stream], *, progress: bool = True) -> pd.DataFrame:
    """One row a stream and sensitivity of the package: hours, events, recall, latency, false alarms per hour."""
    settings = network.package.manifest.decision.sensitivities
    rows = []
    calm: dict[str, list[StreamScore]] = {name: [] for name in settings}
    for stream in tqdm(heard, "streams", unit="stream", disable=None if progress else True):
        times, danger = listen(network, stream.samples)
        for name, setting in settings.items():
            parameters = parameters_of(setting)
            spans = decide(times, danger, parameters, stream.seconds)
            score = streams.judge(stream.events, spans, stream.seconds)
            rows.append(_row(stream.name, name, score))
            if not stream.events:
                calm[name].append(score)
    rows += [_row("all ordinary sound", name, streams.together(scores)) for name, scores in calm.items() if scores]
    return pd.DataFrame(rows, columns=STREAM_COLUMNS)


def _row(stream: str, sensitivity: str, score: StreamScore) -> dict[str, object]:
    figures = (score.hours, score.events, score.heard, score.recall, score.latency_s)
    alarms = (score.false_alarms, score.false_alarms_per_hour)
    return dict(zip(STREAM_COLUMNS, (stream, sensitivity, *figures, *alarms), strict=True))


def of_side(clips: pd.DataFrame, part: pd.Series, sides: Sequence[str]) -> pd.DataFrame:
    """The clips of these sides; UsageError where there is none."""
    some = clips[part.isin(list(sides))]
    if some.empty:
        raise UsageError(
            f"no clip on the side {' or '.join(sides)} of this split; is a corpus with such speakers there?"
        )
    return some


@dataclass(frozen=True, slots=True)
class Judged:
    """Everything the report shows. `clips` has the index's columns, `said`, `task`, and what was predicted."""

    model: str
    clips: pd.DataFrame
    by_corpus: pd.DataFrame
    danger: pd.DataFrame
    streams: pd.DataFrame
    emotion_error: float
    danger_error: float


def judge(package: Package, clips: pd.DataFrame, known: pd.DataFrame, root: Path, *, progress: bool = True) -> Judged:
    """Everything that is measured of a package on `clips` (unseen rows of the index `known`)."""
    network = Network(package)
    classed = clips[clips["emotion"].isin(CLASSES)]
    told = predict(network, classed, root, progress=progress)
    frame = classed.join(told)
    frame["task"], frame["said"] = tasks(frame), said(frame, told, known)
    # Ordinary speech is for false alarms only: nobody acted it, so nobody can be right about its emotion.
    six = frame[frame["emotion"].isin(EMOTIONS) & ~frame["corpus"].isin(ORDINARY)]
    acted = frame[~frame["corpus"].isin(ORDINARY) | (frame["corpus"] == "Background")]
    probabilities = six[list(EMOTIONS)].to_numpy()
    heard = [*ordinary_streams(clips, root), *event_streams(clips, root)]
    return Judged(
        model=f"{package.manifest.name} {package.manifest.version}",
        clips=frame,
        by_corpus=evaluate.by_group(six["task"], six["emotion"], six["said"]),
        danger=evaluate.danger_table(acted, acted["danger_score"].to_numpy(), by="task"),
        streams=judge_streams(network, heard, progress=progress),
        emotion_error=evaluate.calibration_error(
            probabilities.max(axis=1) / probabilities.sum(axis=1),
            (six[list(EMOTIONS)].idxmax(axis=1) == six["emotion"]).to_numpy(),
        ),
        danger_error=evaluate.calibration_error(
            np.maximum(acted["danger_score"], 1 - acted["danger_score"]).to_numpy(),
            ((acted["danger_score"] >= 0.5) == evaluate.is_danger(acted["emotion"])).to_numpy(),
        ),
    )


def figures(judged: Judged) -> bytes:
    """The tables as JSON, for a machine."""
    return msgspec.json.format(
        msgspec.json.encode(
            {
                "model": judged.model,
                "emotions": judged.by_corpus.to_dict("index"),
                "danger": judged.danger.to_dict("index"),
                "streams": judged.streams.to_dict("records"),
                "calibration_error": {"emotions": judged.emotion_error, "danger": judged.danger_error},
            }
        )
    )
