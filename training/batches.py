"""What the danger network learns from: crops of clips as their wearer's device would see them.

A crop is a random span of a clip, often with other sound before it, heard through a random channel, in a
random one of the clip's copies; its view knows the wearer, or nobody, or (seldom) a stranger.
"""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from device.features import FRAME_SIZE
from device.view import LEVEL, LEVEL_PER_DB, VIEW_SIZE, VOICING, View, ViewParameters, sounding
from training.copies import Copy
from training.frame_augment import channel, paced, spec_augment, throats, with_noise, with_throats
from training.targets import steps_of, targets_of
from training.teachers import Teachers, Told

VOICED = 0.45
# How often a clip is drawn, against a clip of CREMA-D: small corpora more, TESS' two voices less.
_DRAWS = {
    "RAVDESS": 1.5, "TESS": 0.3, "SAVEE": 1.2, "EMO-DB": 3.0, "nEMO": 0.8, "ASED": 1.3, "EmoSpeech-Command": 1.0,
    "Nonverbal": 3.0, "Screams": 6.0, "Background": 2.0, "Speech": 1.0,
}  # fmt: skip


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
    scale[scale == 0], own[own == 0] = 1.0, 1.0  # what never changes (no voice at all, so no F0) tells nothing
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
        teachers: who softens the labels, and `taught` by what share.
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
        teachers: Teachers | None = None,
        taught: float = 0.0,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=16)
        self.frames, self.stride, self.batch, self.steps, self.seed, self.epoch = frames, stride, batch, steps, seed, 0
        self.knows, self.strangers, self.mixup = knows, strangers, mixup
        self.throats, self.paces, self.noises = throats, paces, noises
        self.teachers, self.taught = teachers, taught
        self.rows, self.copies, self.parameters = rows, copies, parameters
        self.targets = targets_of(clips)
        corpus = clips["corpus"].to_numpy()[rows]
        teaches = self.targets.emotion_weight[rows] + self.targets.danger_weight[rows] > 0
        # A clip too short for a frame in any copy teaches nothing.
        heard = np.min([np.diff(copy.starts)[rows] for copy in copies], axis=0) > 0
        draws = np.array([_DRAWS.get(name, 1.0) for name in corpus]) * teaches * heard
        self.draws = draws / draws.sum()
        self.background = rows[(clips["emotion"].to_numpy()[rows] == "background")]
        if not len(self.background):
            self.noises = 0.0
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
        told = None
        if self.teachers is not None:
            own = [self._own(int(row), int(copy), rng) for row, copy in zip(drawn, copies, strict=True)]
            told = self.teachers(frames, valid, with_throats(np.array(own), *throat), drawn)
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
        return self._mix(view, valid, *self._labels(drawn, valid, begins, told), rng)

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
        """Means of the speaker's other clips; of a stranger's now and then."""
        name = self.speaker[row]
        if name not in self.of_speaker:
            # Who speaks is not known here; nobody's own means would be right, so these are a stranger's.
            if rng.random() > self.strangers or not self.names:
                return np.full(FRAME_SIZE, np.nan, np.float32)
            name = self.names[int(rng.integers(len(self.names)))]
        elif rng.random() < self.strangers:
            name = self.names[int(rng.integers(len(self.names)))]
        return self._means_of(name, row, copy, rng)

    def _own(self, row: int, copy: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Means of the speaker's other clips, for the teachers; NaN where nobody knows who speaks."""
        name = self.speaker[row]
        return (
            self._means_of(name, row, copy, rng) if name in self.of_speaker else np.full(FRAME_SIZE, np.nan, np.float32)
        )

    def _means_of(self, name: str, row: int, copy: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Means of the voiced frames of one to eight clips of `name` but `row`, calm ones mostly; NaN: too few."""
        nobody = np.full(FRAME_SIZE, np.nan, np.float32)
        pool = self.calm_of[name] if rng.random() < 0.6 else self.of_speaker[name]
        pool = pool[pool != row]
        if not len(pool):
            return nobody
        chosen = rng.choice(pool, min(len(pool), int(rng.integers(1, 9))), replace=False)
        sums, counts = self.voiced[copy]
        count = counts[chosen].sum()
        return nobody if count < 50 else (sums[chosen].sum(axis=0) / count).astype(np.float32)

    def _labels(
        self, drawn: NDArray[np.int64], valid: NDArray[np.float32], begins: NDArray[np.int64], told: Told | None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
        """Targets and weights by output; what the teachers said makes its share of the targets."""
        t = self.targets
        last_frames = np.arange(self.stride - 1, self.frames, self.stride)
        steps, step_weight = steps_of(t, drawn, valid, begins, last_frames)
        parts = {"emotion": t.emotion[drawn], "danger": t.danger[drawn], "steps": steps}
        weights = {"emotion": t.emotion_weight[drawn].copy(), "danger": t.danger_weight[drawn].copy()}
        if told is not None:
            # Before the clip begins there is no danger, whatever they take it for.
            within = (self.taught * (last_frames >= begins[:, None])).astype(np.float32)[:, :, None]
            for name, share in (("emotion", self.taught), ("danger", self.taught), ("steps", within)):
                parts[name] = (1 - share) * parts[name] + share * getattr(told, name)
        return parts, weights | {"steps": step_weight}

    def _mix(
        self,
        view: NDArray[np.float32],
        valid: NDArray[np.float32],
        parts: dict[str, NDArray[np.float32]],
        weights: dict[str, NDArray[np.float32]],
        rng: np.random.Generator,
    ) -> tuple[dict[str, NDArray[np.float32]], ...]:
        """Some clips of the batch half hidden behind the next one (mixup), targets alike."""
        mixed = np.flatnonzero(rng.random(self.batch) < self.mixup)
        others = (mixed + 1) % self.batch
        share = (1 - rng.beta(0.4, 0.4, len(mixed)) / 2).astype(np.float32)
        fresh = {name: part.copy() for name, part in parts.items()}
        for name, values in parts.items():
            by = share.reshape(-1, *(1,) * (values.ndim - 1))
            fresh[name][mixed] = by * values[mixed] + (1 - by) * values[others]
        for weight in weights.values():
            weight[mixed] = np.minimum(weight[mixed], weight[others])
        own = view[others] * valid[others][:, :, None]
        view[mixed] = share[:, None, None] * view[mixed] + (1 - share)[:, None, None] * own
        return {"view": view, "valid": valid}, fresh, weights
