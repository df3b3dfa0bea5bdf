"""Does a device that learns on by itself stay able to hear its wearer? Hours of other people, and of a shouting one.

    python -m tests.acceptance.learning_bar CORPORA [--model DIR] [--hours H] [--speakers N]

For held-out speakers (CREMA-D and RAVDESS, those kept back for validation and test): the wearer is calibrated on
half of the neutral clips. Then a stream is played through the device's own road, learning on:

* people: other speakers of the same corpus (the same room and microphone, so the nearest strangers there are),
  brought to the wearer's own level;
* television: `Speech/` (read English, prompts, parent and child) at the wearer's level, one file after the other;
* shouting: the wearer's own angry and fearful clips, over and over, brought to the ordinary level;
* own: the wearer's own neutral clips, which is what should be learned.

Each is played twice: with the danger that the device hears in it, and *blind*, as if it heard none, so that likeness
and the bounds stand alone.

Told are the share of stretches taken for the wearer, how far the means went (in units of the view's spread: the
farthest, and the root mean square), and the danger AUC on the speaker's other clips before and after. `worst` moves
every mean to the bound, towards the mean of another speaker: no stream can do more. A stream shorter than its
hours is repeated in the ledger only: the frames of a clip are computed once.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from device import package
from device.audio import read_samples
from device.config import Config
from device.decision import Decider
from device.features import features
from device.hearing.road import decision_parameters
from device.installed_models import chosen, golden
from device.network import Network
from device.view import LEVEL, VOICING
from device.voice.learning import Apprentice, LearningRules, drift
from device.wearer import Learner, Wearer
from training.index import build_index
from training.splits import HELD_OUT

DANGER = ("angry", "fear")
CALM = ("neutral", "happy", "sad", "disgust")
Frames = NDArray[np.float32]


class Corpus:
    """Clips of the held-out speakers, as frames, each computed once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clips = build_index(root, progress=False)
        self._kept: dict[str, Frames] = {}

    def frames(self, path: str) -> Frames:
        if path not in self._kept:
            self._kept[path] = features(read_samples(self.root / path))
        return self._kept[path]

    def of(self, speaker: str, emotions: tuple[str, ...], most: int) -> list[str]:
        here = self.clips[(self.clips.speaker == speaker) & self.clips.emotion.isin(emotions)]
        return list(here.sample(min(most, len(here)), random_state=0).path)


def level_of(frames: Frames) -> float:
    voiced = frames[frames[:, VOICING] >= 0.45]
    return float(voiced[:, LEVEL].mean()) if len(voiced) else float("nan")


def played(clips: list[Frames], level: float) -> Iterator[Frames]:
    """Each clip at this level, over and over."""
    while True:
        for frames in clips:
            moved = frames.copy()
            own = level_of(frames)
            moved[:, LEVEL] += level - own if np.isfinite(own) else 0.0
            yield moved


def danger_in(clips: list[Frames], wearer: Wearer, network: Network) -> list[float]:
    """The danger that keeps from learning, of each clip in one round: as hearing/thread.py has it."""
    network.wear(wearer)
    decider = Decider(decision_parameters(network.package.manifest, Config()))
    most, now = [], 0.0
    for clip in next_round(clips, wearer.means[LEVEL]):
        heard = [0.0]
        for posterior in network.push(clip):
            now += network.seconds_per_step
            heard.append(decider.update(now, posterior.danger).score)
        most.append(max(heard))
    return most


def learn_from(
    clips: list[Frames], wearer: Wearer, network: Network, hours: float, danger: list[float]
) -> tuple[Wearer, float]:
    """What is known after so many hours of these clips; and the share of stretches taken for the wearer."""
    view = network.package.manifest.view
    release = decision_parameters(network.package.manifest, Config()).release
    apprentice = Apprentice(wearer, view, release)
    level = wearer.means[LEVEL]
    now, taken, judged, known = 0.0, 0, 0, wearer
    stream = played(clips, level)
    turn = 0
    while now < hours * 3600:
        frames = next(stream)
        at = turn % len(clips)
        turn += 1
        apprentice.hear(frames)
        for mean, _ in apprentice._ended:
            judged += 1
            taken += apprentice.is_the_wearer(mean)
        now += len(frames) / 100
        apprentice.judged(now, danger[at], calm=True)
        known = apprentice.grown(now) or known
    return known, taken / max(1, judged)


def next_round(clips: list[Frames], level: float) -> list[Frames]:
    stream = played(clips, level)
    return [next(stream) for _ in clips]


def auc(network: Network, wearer: Wearer | None, clips: list[tuple[Frames, bool]]) -> float:
    network.wear(wearer)
    return float(roc_auc_score([bad for _, bad in clips], [network.clip(frames).danger for frames, _ in clips]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--speakers", type=int, default=100)
    wanted = parser.parse_args()
    found = package.load(wanted.model) if wanted.model else chosen.in_force(Config())
    network = golden.open_network(found)
    view = found.manifest.view
    corpus = Corpus(wanted.corpora)
    television = [
        corpus.frames(str(file.relative_to(wanted.corpora)))
        for kind in ("read-en", "prompts", "parent-child")
        for file in sorted((wanted.corpora / "Speech" / kind).rglob("*.opus"))[::24]
    ]
    print(f"{found.manifest.identity}, {wanted.hours:g} h a stream")
    print(f"{'speaker':<14} {'stream':<17} {'taken':>6} {'farthest':>8} {'rms':>6} {'AUC before':>10} {'after':>6}")
    changes: dict[str, list[float]] = {}
    held_out = [f"{name}/{one}" for name in ("CREMA-D", "RAVDESS") for part in HELD_OUT[name].values() for one in part]
    for speaker in held_out[: wanted.speakers]:
        neutral = corpus.of(speaker, ("neutral",), 40)
        taught, rest = neutral[::2], neutral[1::2]
        learner = Learner()
        for path in taught:
            learner.push(corpus.frames(path))
        wearer = learner.wearer(view)
        judged = [(corpus.frames(p), False) for p in rest + corpus.of(speaker, CALM[1:], 24)]
        judged += [(corpus.frames(p), True) for p in corpus.of(speaker, DANGER, 24)]
        strangers = [one for one in corpus.clips.speaker.unique() if one.split("/")[0] == speaker.split("/")[0]]
        others = [p for one in strangers if one != speaker for p in corpus.of(one, CALM, 2)][:60]
        streams = {
            "people": [corpus.frames(p) for p in others],
            "television": television,
            "shouting": [frames for frames, bad in judged if bad],
            "own": [corpus.frames(p) for p in rest],
        }
        before = auc(network, wearer, judged)
        ends = {}
        for name, clips in streams.items():
            danger = danger_in(clips, wearer, network)
            ends[name] = learn_from(clips, wearer, network, wanted.hours, danger)
            ends[f"{name}, blind"] = learn_from(clips, wearer, network, wanted.hours, [0.0] * len(clips))
        toward = Learner()
        for frames in streams["people"]:
            toward.push(frames)
        way = np.sign(np.array(toward.wearer(view).means) - np.array(wearer.means))
        moved = np.array(wearer.means) + way * LearningRules().most_in_all * np.array(view.own_scale)
        ends["worst"] = (msgspec.structs.replace(wearer, means=tuple(moved.tolist()), start=wearer.means), 1.0)
        for name, (known, share) in ends.items():
            off = (np.array(known.means) - np.array(wearer.means)) / np.array(view.own_scale)
            assert drift(known, view) <= LearningRules().most_in_all + 1e-6
            after = auc(network, known, judged) if known.start else before
            changes.setdefault(name, []).append(after - before)
            rms = float(np.sqrt(np.mean(off**2)))
            print(
                f"{speaker:<14} {name:<17} {share:6.2f} {np.abs(off).max():8.3f} {rms:6.3f} {before:10.3f} {after:6.3f}"
            )
    for name, each in changes.items():
        print(
            f"{name:<17} danger AUC changes by {100 * np.mean(each):+.2f} points (worst speaker {100 * min(each):+.2f})"
        )


if __name__ == "__main__":
    main()
