"""What the danger network learns from: crops of clips as their wearer's device would see them.

A crop is a random span of a clip, often with other sound before it, heard through a random channel, in a
random one of the clip's copies; its view knows the wearer, or nobody, or (seldom) a stranger.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from device.features import FRAME_SIZE
from device.view import LEVEL, LEVEL_PER_DB, VIEW_SIZE, VOICING, View, ViewParameters, sounding
from training.copies import Copy
from training.corpora.clip import CLASSES, DANGER, EMOTIONS
from training.frame_augment import channel, paced, spec_augment, throats, with_noise, with_throats

VOICED = 0.45
_SMOOTHING = 0.05
_KNOWN_AFTER_FRAMES = 60.0  # so much of a voice tells what it is; before that the answer counts less
# How much a clip counts for danger, by how strongly it was acted: what is hardly shown teaches little.
_STRENGTH = {"low": 0.6, "high": 1.5, "strong": 1.3}
_VOTES = 0.3  # share of a target that the listeners' votes make, the rest is what the actor meant
# How often a clip is drawn, against a clip of CREMA-D: small corpora more, TESS' two voices less.
_DRAWS = {
    "RAVDESS": 1.5, "TESS": 0.3, "SAVEE": 1.2, "EMO-DB": 3.0, "nEMO": 0.8, "ASED": 1.3, "EmoSpeech-Command": 1.0,
    "Nonverbal": 3.0, "Screams": 6.0, "Background": 2.0, "Speech": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Targets:
    """What is to be learned of each clip: emotions (n, 8), danger (n, 1), and how much each counts (n,)."""

    emotion: NDArray[np.float32]
    emotion_weight: NDArray[np.float32]
    danger: NDArray[np.float32]
    danger_weight: NDArray[np.float32]


def targets_of(clips: pd.DataFrame) -> Targets:
    """Targets of an index' rows: soft where listeners voted; surprise, boredom and others teach no emotion."""
    emotion = np.zeros((len(clips), len(CLASSES)), np.float32)
    for row, (label, votes) in enumerate(zip(clips["emotion"], clips["votes"], strict=True)):
        if label not in CLASSES:
            continue
        emotion[row, CLASSES.index(label)] = 1.0
        if votes is not None and label in EMOTIONS:
            emotion[row] *= 1 - _VOTES
            emotion[row, : len(EMOTIONS)] += _VOTES * np.asarray(votes, np.float32)
    known = clips["emotion"].isin(CLASSES).to_numpy()
    emotion = emotion * (1 - _SMOOTHING) + _SMOOTHING / len(CLASSES)
    # Ordinary speech was not acted: that nobody is in danger is sure, that it is neutral is not.
    ordinary = (clips["corpus"] == "Speech").to_numpy()
    danger = clips["emotion"].isin(DANGER).to_numpy(np.float32)[:, None]
    strength = np.where(danger[:, 0] > 0, clips["intensity"].map(_STRENGTH).fillna(1.0).to_numpy(np.float32), 1.0)
    unsure = (clips["emotion"] == "surprise").to_numpy()
    return Targets(
        emotion,
        known * np.where(ordinary, 0.3, 1.0).astype(np.float32),
        danger,
        np.where(unsure, 0.2, np.where(known | (clips["emotion"] == "boredom"), strength, 0.0)).astype(np.float32),
    )


def voiced_sums(copy: Copy, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For the clips `rows`: sums of the voiced frames (n, F), level as heard, and how many they are (n,)."""
    sums, counts = np.zeros((len(rows), FRAME_SIZE)), np.zeros(len(rows))
    for at, row in enumerate(rows):
        frames = copy.clip(int(row))
        voiced = frames[frames[:, VOICING] >= VOICED]
        sums[at], counts[at] = voiced.sum(axis=0), len(voiced)
    return sums, counts


def view_parameters(copies: list[Copy], rows: NDArray[np.int64], rng: np.random.Generator) -> ViewParameters:
    """Shift and scale of the frames of (a sample of) the training clips."""
    sample = rng.choice(rows, min(4000, len(rows)), replace=False)
    parts = [copies[int(rng.integers(len(copies)))].clip(int(row)) for row in sample]
    parts = [part[sounding(part)].astype(np.float64) for part in parts if len(part)]
    frames = np.concatenate(parts)
    level = np.concatenate([part[:, LEVEL] - part[:, LEVEL].mean() for part in parts])
    scale = frames.std(axis=0)
    scale[LEVEL] = level.std()
    own = np.concatenate([part - part.mean(axis=0) for part in parts]).std(axis=0)
    own[LEVEL] *= 1.5  # loud against the wearer's own level is evidence; little of it may be clipped
    rounded = [tuple(float(f"{x:.5g}") for x in values) for values in (frames.mean(axis=0), scale, own)]
    return ViewParameters(*rounded)


class Crops(keras.utils.PyDataset):
    """Batches without end for `Model.fit`: ({view, valid}, {emotion, danger, steps}, weights).

    `steps` (batch, frames / stride, 1) is danger as it goes: none in what came before the clip, the clip's within it.

    Args:
        clips: the index, all of it; `rows` are those to learn from.
        copies: copy 0 and the augmented ones.
        parameters: of the view.
        frames: length of a crop; a multiple of the network's strides. `stride`: their product.
        batch: clips in a batch. `steps`: batches in an epoch.
        knows: share of the crops whose wearer is known. `strangers`: share of those with another's means.
        throats, paces, noises: share of crops spoken by another throat, at another pace, before a background
            (`frame_augment.py`).
    """

    def __init__(
        self,
        clips: pd.DataFrame,
        rows: NDArray[np.int64],
        copies: list[Copy],
        parameters: ViewParameters,
        *,
        frames: int,
        stride: int = 4,
        batch: int,
        steps: int,
        seed: int,
        knows: float = 0.5,
        strangers: float = 0.12,
        mixup: float = 0.3,
        throats: float = 0.0,
        paces: float = 0.0,
        noises: float = 0.0,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=16)
        self.frames, self.stride, self.batch, self.steps, self.seed, self.epoch = frames, stride, batch, steps, seed, 0
        self.knows, self.strangers, self.mixup = knows, strangers, mixup
        self.throats, self.paces, self.noises = throats, paces, noises
        self.rows, self.copies, self.parameters = rows, copies, parameters
        self.targets = targets_of(clips)
        corpus = clips["corpus"].to_numpy()[rows]
        teaches = self.targets.emotion_weight[rows] + self.targets.danger_weight[rows] > 0
        # A clip too short for a frame in any copy teaches nothing.
        heard = np.min([np.diff(copy.starts)[rows] for copy in copies], axis=0) > 0
        draws = np.array([_DRAWS.get(name, 1.0) for name in corpus]) * teaches * heard
        self.draws = draws / draws.sum()
        self.background = rows[(clips["emotion"].to_numpy()[rows] == "background")]
        calm = clips["emotion"].isin(("neutral", "sad", "happy", "disgust", "background")).to_numpy()
        self.calm = rows[calm[rows]]
        self._learn_speakers(clips)

    def _learn_speakers(self, clips: pd.DataFrame) -> None:
        speaker = clips["speaker"].to_numpy()
        people = clips["corpus"].isin(("Background", "Screams", "Nonverbal")).to_numpy()
        calm = (clips["emotion"] == "neutral").to_numpy()
        self.of_speaker: dict[str, NDArray[np.int64]] = {}
        self.calm_of: dict[str, NDArray[np.int64]] = {}
        for name in np.unique(speaker[self.rows]):
            own = self.rows[(speaker[self.rows] == name) & ~people[self.rows]]
            if name and len(own) >= 4:
                self.of_speaker[name], self.calm_of[name] = own, own[calm[own]]
        self.speaker, self.names = speaker, sorted(self.of_speaker)
        everyone = np.arange(len(clips))
        self.voiced = [voiced_sums(copy, everyone) for copy in self.copies]

    def __len__(self) -> int:
        return self.steps

    def on_epoch_end(self) -> None:
        """The next epoch draws anew."""
        self.epoch += 1

    def __getitem__(self, step: int) -> tuple[dict[str, NDArray[np.float32]], ...]:
        rng = np.random.default_rng((self.seed, self.epoch, step))
        drawn = rng.choice(self.rows, self.batch, p=self.draws)
        copies = np.where(rng.random(self.batch) < 0.35, 0, rng.integers(0, len(self.copies), self.batch))
        frames = np.zeros((self.batch, self.frames, FRAME_SIZE), np.float32)
        valid = np.zeros((self.batch, self.frames), np.float32)
        begins = np.zeros(self.batch, np.int64)
        throat = throats(self.batch, rng, self.throats)
        means = np.full((self.batch, FRAME_SIZE), np.nan, np.float32)
        for at, (row, copy) in enumerate(zip(drawn, copies, strict=True)):
            begins[at], length = self._crop(frames[at], int(row), int(copy), rng)
            valid[at, :length] = 1.0
            if rng.random() < self.knows:
                means[at] = self._wearer(int(row), int(copy), rng)
        frames, means = with_throats(frames, *throat), with_throats(means, *throat)
        for at in np.flatnonzero(rng.random(self.batch) < self.noises):
            noise = self.copies[0].clip(int(rng.choice(self.background)))
            noise = np.roll(noise, int(rng.integers(len(noise) + 1)), axis=0)
            length = int(valid[at].sum())
            if len(noise):
                frames[at, :length] = with_noise(frames[at, :length], noise, float(rng.uniform(0, 25)))
        offset = channel(self.batch, rng)
        frames[:, :, : offset.shape[1]] += offset[:, None, :]
        means[:, : offset.shape[1]] += offset
        spec_augment(frames, rng)
        view = np.zeros((self.batch, self.frames, VIEW_SIZE), np.float32)
        for at in range(self.batch):
            wearer = None if np.isnan(means[at, 0]) else means[at]
            length = int(valid[at].sum())
            view[at, :length] = View(self.parameters, wearer).push(frames[at, :length])
        return self._mix(drawn, view, valid, begins, rng)

    def _crop(self, out: NDArray[np.float32], row: int, copy: int, rng: np.random.Generator) -> tuple[int, int]:
        """Fill `out` as a window of a stream might: begun amid the clip, ended before its end, or begun with what
        came before it, quiet or another calm clip. Returns where the clip begins, and the length.
        """
        clip = self.copies[copy].clip(row)
        if rng.random() < 0.8:
            clip = clip[sounding(clip)]
        if len(clip) > 80 and rng.random() < 0.25:
            clip = clip[int(rng.integers(0, len(clip) // 3)) :]
        if len(clip) > 80 and rng.random() < 0.25:
            clip = clip[: int(rng.integers(60, len(clip)))]
        clip = paced(clip, self.frames, rng, self.paces)
        kind = rng.random()
        before = int(rng.integers(5, self.frames // 2)) if kind < 0.45 else 0
        room = self.frames - before
        start = int(rng.integers(0, len(clip) - room + 1)) if len(clip) > room else 0
        part = clip[start : start + room]
        if before:
            # Corpora without background sounds (a paper's): quiet stretches are of calm clips too, or nothing.
            pool = self.background if kind < 0.25 and len(self.background) else self.calm
            below_db = rng.uniform(10, 40) if kind < 0.25 else rng.uniform(-6, 15)
            if len(pool):
                out[:before] = self._earlier(pool, before, part, below_db, rng)
        out[before : before + len(part)] = part
        return before, before + len(part)

    def _earlier(
        self,
        pool: NDArray[np.int64],
        length: int,
        part: NDArray[np.float32],
        below_db: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """The last `length` frames of a clip of `pool`, its loudest so far under the loudest of what follows."""
        earlier = self.copies[int(rng.integers(len(self.copies)))].clip(int(rng.choice(pool)))
        end = int(rng.integers(len(earlier) // 2, len(earlier))) + 1
        earlier = np.resize(earlier[max(0, end - length) : end], (length, FRAME_SIZE)).copy()
        earlier[:, LEVEL] += part[:, LEVEL].max() - below_db * LEVEL_PER_DB - earlier[:, LEVEL].max()
        return earlier

    def _wearer(self, row: int, copy: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Means of one to eight other clips of the speaker, calm ones mostly; of a stranger's now and then."""
        name = self.speaker[row]
        nobody = np.full(FRAME_SIZE, np.nan, np.float32)
        if name not in self.of_speaker:
            # Who speaks is not known here; nobody's own means would be right, so these are a stranger's.
            if rng.random() > self.strangers or not self.names:
                return nobody
            name = self.names[int(rng.integers(len(self.names)))]
        elif rng.random() < self.strangers:
            name = self.names[int(rng.integers(len(self.names)))]
        pool = self.calm_of[name] if rng.random() < 0.6 else self.of_speaker[name]
        pool = pool[pool != row]
        if not len(pool):
            return nobody
        chosen = rng.choice(pool, min(len(pool), int(rng.integers(1, 9))), replace=False)
        sums, counts = self.voiced[copy]
        count = counts[chosen].sum()
        return nobody if count < 50 else (sums[chosen].sum(axis=0) / count).astype(np.float32)

    def _mix(
        self,
        drawn: NDArray[np.int64],
        view: NDArray[np.float32],
        valid: NDArray[np.float32],
        begins: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> tuple[dict[str, NDArray[np.float32]], ...]:
        """Some clips of the batch half hidden behind the next one (mixup), targets alike."""
        t = self.targets
        steps, step_weight = self._steps(drawn, valid, begins)
        parts = [t.emotion[drawn], t.danger[drawn], steps]
        weights = {"emotion": t.emotion_weight[drawn].copy(), "danger": t.danger_weight[drawn].copy()}
        weights["steps"] = step_weight
        mixed = np.flatnonzero(rng.random(self.batch) < self.mixup)
        others = (mixed + 1) % self.batch
        share = (1 - rng.beta(0.4, 0.4, len(mixed)) / 2).astype(np.float32)
        fresh = [part.copy() for part in parts]
        for part, values in zip(fresh, parts, strict=True):
            by = share.reshape(-1, *(1,) * (values.ndim - 1))
            part[mixed] = by * values[mixed] + (1 - by) * values[others]
        for weight in weights.values():
            weight[mixed] = np.minimum(weight[mixed], weight[others])
        own = view[others] * valid[others][:, :, None]
        view[mixed] = share[:, None, None] * view[mixed] + (1 - share)[:, None, None] * own
        told = dict(zip(("emotion", "danger", "steps"), fresh, strict=True))
        return {"view": view, "valid": valid}, told, weights

    def _steps(
        self, drawn: NDArray[np.int64], valid: NDArray[np.float32], begins: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Danger at each step (batch, steps, 1), and its weight (batch, steps): less while a danger has just begun."""
        last_frames = np.arange(self.stride - 1, self.frames, self.stride)
        since = last_frames - begins[:, None]
        danger = self.targets.danger[drawn] * (since >= 0)
        ramp = np.clip(since / _KNOWN_AFTER_FRAMES, 0.1, 1.0)
        weight = np.where(danger > 0, ramp, 1.0) * self.targets.danger_weight[drawn][:, None] * valid[:, last_frames]
        return danger[:, :, None].astype(np.float32), weight.astype(np.float32)
