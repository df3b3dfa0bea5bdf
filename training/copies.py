"""Frames of every clip, as recorded and as `augment.py` might have heard it: one memory-mapped file a copy.

Copy 0 is the recording; copy 1, 2, ... are augmented with seeds made of the copy's number, the clip's path and
its speaker, so a copy is the same wherever it is made. Frames are float16: half the memory, and fine enough.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from device.features import FRAME_SIZE, PARAMETERS, SAMPLE_RATE, features
from training.atomic import replace
from training.augment import WaveAugmenter
from training.places import cache_root
from training.sound import read_samples


@dataclass(frozen=True)
class Copy:
    """All frames of one copy, end to end: clip i of the index is `frames[starts[i]:starts[i + 1]]`."""

    frames: NDArray[np.float16]
    starts: NDArray[np.int64]

    def clip(self, number: int) -> NDArray[np.float32]:
        """Frames of one clip, shape (n, F), float32."""
        return self.frames[self.starts[number] : self.starts[number + 1]].astype(np.float32)


def copy_of(
    index: pd.DataFrame, root: Path, number: int, augmenter: WaveAugmenter | None = None, *, workers: int = 2
) -> Copy:
    """Copy `number` of the index; made with all `workers` and a progress bar where it is not there yet."""
    folder = cache_root() / "copies" / f"{_key(index, number)}-{number}"
    if not (folder / "starts.npy").is_file():
        _build(folder, index, root, number, augmenter, workers=workers)
    starts = np.load(folder / "starts.npy")
    frames = np.memmap(folder / "frames.f16", np.float16, "r", shape=(int(starts[-1]), FRAME_SIZE))
    return Copy(np.asarray(frames), starts)


def _key(index: pd.DataFrame, number: int) -> str:
    key = hashlib.blake2b(PARAMETERS.digest().encode(), digest_size=8)
    for path, sound in zip(index["path"], index["sound"], strict=True):
        key.update(f"{path}\t{sound}\n".encode())
    if number:  # a changed augmenter makes new copies
        key.update(Path(__file__).with_name("augment.py").read_bytes())
    return key.hexdigest()


_job: tuple[Path, int, WaveAugmenter | None]


def _start(root: Path, number: int, augmenter: WaveAugmenter | None) -> None:
    global _job  # noqa: PLW0603  a worker process' own
    _job = root, number, augmenter


def _seed(*of: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(of).encode(), digest_size=6).digest(), "big")


def _frames(clip: tuple[str, str, float, float]) -> NDArray[np.float16]:
    root, number, augmenter = _job
    path, speaker, start_s, end_s = clip
    samples = read_samples(root / path)[int(start_s * SAMPLE_RATE) : int(end_s * SAMPLE_RATE)]
    wave = samples.astype(np.float32) / 32768
    if number and augmenter is not None:
        wave = augmenter.augment(wave, _seed(number, path), _seed(number, speaker or path))
    return features(wave).astype(np.float16)


def _build(
    folder: Path, index: pd.DataFrame, root: Path, number: int, augmenter: WaveAugmenter | None, *, workers: int
) -> None:
    clips = list(zip(index["path"], index["speaker"], index["start_s"], index["end_s"], strict=True))
    starts = np.zeros(len(clips) + 1, np.int64)
    with (
        replace(folder) as fresh,
        (fresh / "frames.f16").open("wb") as out,
        # A fork would carry the parent's threads' locks along.
        multiprocessing.get_context("spawn").Pool(workers, _start, (root, number, augmenter)) as pool,
    ):
        made = pool.imap(_frames, clips, chunksize=16)
        for at, frames in enumerate(tqdm(made, f"copy {number}", len(clips), unit="clip", mininterval=5)):
            frames.tofile(out)
            starts[at + 1] = starts[at] + len(frames)
        np.save(fresh / "starts.npy", starts)
