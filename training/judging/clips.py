"""What a package itself, int8 and all, scores on held-out speakers: through the device's own code.

Plain; knowing its wearer (five neutral clips of the speaker, not judged); with a stranger's voice learned by
mistake; quieter, louder, and in noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from device.audio import read_samples
from device.features import SAMPLE_RATE, features
from device.network import Network
from device.package import Package
from device.wearer import LEAST_S, Learner, Wearer
from training.augment import mix
from training.corpora.clip import CLASSES, EMOTIONS
from training.evaluate import Interval, bootstrap, is_danger, roc_area, score

Change = Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]
TAUGHT_BY = 5  # clips
NOT_ACTED = ("Background", "Speech", "Nonverbal", "Screams")


@dataclass(frozen=True)
class Answers:
    """What was said of the clips `clips`: emotions (n, C), danger (n,)."""

    clips: pd.DataFrame
    emotions: NDArray[np.float32]
    danger: NDArray[np.float64]

    def table(self) -> pd.DataFrame:
        """Accuracy and UAR over the emotions that a corpus has, danger's area under the curve, with their 95 %
        intervals; one row a corpus.
        """
        name = self.clips["corpus"] + np.where(self.clips["part"] == "song", " song", "")
        return self._rows(name.to_numpy(object))

    def groups(self, by: str) -> pd.DataFrame:
        """The same by another column (sex, language, intensity), acted clips of all corpora together."""
        acted = ~self.clips["corpus"].isin(NOT_ACTED)
        return self._rows(self.clips[by].where(acted, "").to_numpy(object))

    def _rows(self, name: NDArray[np.object_]) -> pd.DataFrame:
        rows = [self._row(group, name == group) for group in sorted(set(name)) if group]
        return pd.DataFrame(rows).set_index("corpus")

    def _row(self, corpus: str, here: NDArray[np.bool_]) -> dict[str, object]:
        label = self.clips["emotion"].to_numpy(object)
        row: dict[str, object] = {"corpus": corpus, "clips": int(here.sum())}
        six = here & np.isin(label.astype(str), EMOTIONS)
        has = [emotion for emotion in EMOTIONS if emotion in set(label[six])]
        if len(has) > 1:
            columns = [CLASSES.index(emotion) for emotion in has]
            told = np.array(has, object)[self.emotions[six][:, columns].argmax(axis=1)]
            scores = score(label[six], told)
            right = self._interval(lambda at: float(np.mean(label[six][at] == told[at])), six)
            row |= {"accuracy": right.value, "accuracy_low": right.low, "accuracy_high": right.high, "uar": scores.uar}
        judged = here & np.isin(label.astype(str), CLASSES)
        danger, told_danger = is_danger(label[judged]), self.danger[judged]
        row["danger_auc"] = roc_area(danger, told_danger)
        if np.isfinite(row["danger_auc"]):
            area = self._interval(lambda at: roc_area(danger[at], told_danger[at]), judged)
            row |= {"danger_auc_low": area.low, "danger_auc_high": area.high}
        row["danger_mean"] = float(self.danger[judged].mean()) if judged.any() else float("nan")
        return row

    def _interval(self, figure: Callable[[NDArray[np.int64]], float], some: NDArray[np.bool_]) -> Interval:
        """Over speakers drawn again, or over clips where fewer than four speak (then it is too narrow)."""
        speakers = self.clips["speaker"].to_numpy(object)[some]
        owners = speakers if len(set(speakers)) >= 4 else np.full(len(speakers), "", object)
        return bootstrap(figure, owners, rounds=300)


def sounds(clips: pd.DataFrame, root: Path) -> Iterator[NDArray[np.float32]]:
    """Samples of each clip, without exact zeros around it."""
    for path, start_s, end_s in clips[["path", "start_s", "end_s"]].itertuples(index=False):
        samples = read_samples(root / path)[int(start_s * SAMPLE_RATE) : int(end_s * SAMPLE_RATE)]
        yield samples.astype(np.float32) / 32768


def judge(
    package: Package,
    clips: pd.DataFrame,
    root: Path,
    *,
    change: Change | None = None,
    wearers: dict[str, Wearer] | None = None,
    kernels: str = "auto",
    seed: int = 0,
) -> Answers:
    """Let the package judge every clip; `wearers` by the clips' speaker, `change` alters the sound first."""
    network = Network(package, kernels)
    emotions = np.zeros((len(clips), len(package.manifest.classes)), np.float32)
    danger = np.zeros(len(clips))
    worn: Wearer | None = None
    told = tqdm(zip(clips["speaker"], sounds(clips, root), strict=True), "judge", len(clips), mininterval=5)
    for at, (speaker, samples) in enumerate(told):
        heard = change(samples, np.random.default_rng((seed, at))) if change else samples
        wearer = (wearers or {}).get(speaker)
        if wearer is not worn:
            network.wear(wearer)
            worn = wearer
        said = network.clip(features(heard))
        emotions[at], danger[at] = said.emotions, said.danger
    return Answers(clips, emotions, danger)


def teachers(clips: pd.DataFrame, seed: int = 0) -> pd.Series:
    """Which clips teach what is known of their speaker: five neutral ones each, spread over the speaker's."""
    teaches = pd.Series(False, index=clips.index)
    acted = clips[(clips["speaker"] != "") & (clips["emotion"] == "neutral") & (clips["corpus"] != "Speech")]
    for _, own in acted.groupby("speaker"):
        if len(own) >= 2 * TAUGHT_BY:
            teaches[own.sample(TAUGHT_BY, random_state=seed).index] = True
    return teaches


def wearers(package: Package, clips: pd.DataFrame, root: Path) -> dict[str, Wearer]:
    """What is learned of each speaker from `clips`; speakers with less than a second of voice are left out."""
    known = {}
    for speaker, own in clips.groupby("speaker"):
        learner = Learner()
        for samples in sounds(own, root):
            learner.push(features(samples))
        if learner.seconds >= LEAST_S:
            known[str(speaker)] = learner.wearer(package.manifest.view)
    return known


def strangers(known: dict[str, Wearer]) -> dict[str, Wearer]:
    """Each speaker with the next one's voice, within the corpus where it has two."""
    swapped = {}
    names = sorted(known)
    for name in names:
        corpus = name.partition("/")[0]
        own = [other for other in names if other.startswith(f"{corpus}/")]
        pool = own if len(own) > 1 else names
        swapped[name] = known[pool[(pool.index(name) + 1) % len(pool)]]
    return swapped


def louder(decibels: float) -> Change:
    """The same sound at another level; louder only as far as it does not clip, which is another matter."""
    gain = 10 ** (decibels / 20)

    def change(samples: NDArray[np.float32], _: np.random.Generator) -> NDArray[np.float32]:
        headroom = 1 / max(float(np.abs(samples).max(initial=0.0)), 1e-9)
        return (samples * min(gain, max(headroom, 1.0))).astype(np.float32)

    return change


def noisy(noises: list[Path], snr_db: float = 10.0) -> Change:
    """The same sound with a background behind it."""
    kept = [read_samples(path).astype(np.float32) / 32768 for path in noises]

    def change(samples: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        noise = kept[int(rng.integers(len(kept)))]
        return mix(samples, np.resize(np.roll(noise, int(rng.integers(len(noise)))), len(samples)), snr_db)

    return change


def scorecard(package: Package, clips: pd.DataFrame, root: Path) -> dict[str, pd.DataFrame]:
    """All tables of held-out `clips`: plain, own, stranger, -20 dB, +10 dB, 10 dB SNR."""
    taught = teachers(clips)
    judged = clips[~taught].reset_index(drop=True)
    known = wearers(package, clips[taught], root)
    background = [root / path for path in judged["path"][judged["corpus"] == "Background"]]
    answers = judge(package, judged, root)
    tables = {"plain": answers.table()}
    tables |= {f"plain, by {by}": answers.groups(by) for by in ("sex", "language", "intensity")}
    mine = judged[judged["speaker"].isin(list(known))].reset_index(drop=True)
    if known:
        tables["same clips, nobody known"] = judge(package, mine, root).table()
        tables["knowing the wearer"] = judge(package, mine, root, wearers=known).table()
        tables["knowing a stranger"] = judge(package, mine, root, wearers=strangers(known)).table()
    acted = judged[~judged["corpus"].isin(("Background", "Speech"))].reset_index(drop=True)
    tables["20 dB quieter"] = judge(package, acted, root, change=louder(-20)).table()
    tables["10 dB louder"] = judge(package, acted, root, change=louder(10)).table()
    if background:
        tables["noise at 10 dB SNR"] = judge(package, acted, root, change=noisy(background)).table()
    return tables
