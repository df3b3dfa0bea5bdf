"""Features of every clip, computed once by all cores and read back through a memory map.

One folder a corpus, named by a hash of its clips (path, sound, span), of the feature parameters and of what
the feature function makes of a test tone: another parameter, code or file is another cache.
"""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from training.atomic import replace
from training.places import cache_root
from training.sound import SAMPLE_RATE, read_samples

Compute = Callable[[NDArray[np.int16]], NDArray[np.float32]]
Dtype = Literal["float32", "float16"]
_AT_A_TIME = 16


@dataclass(frozen=True, slots=True)
class Features:
    """The frames of many clips, in the order that was asked for; nothing is read until it is used."""

    width: int
    _shards: tuple[NDArray[np.floating], ...]
    _where: NDArray[np.int64]
    """(clips, 3): shard, first frame, number of frames."""

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, clip: int) -> NDArray[np.floating]:
        shard, start, frames = self._where[clip]
        return self._shards[shard][start : start + frames]

    def __iter__(self) -> Iterator[NDArray[np.floating]]:
        return (self[clip] for clip in range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Frames of each clip."""
        return self._where[:, 2]


def cached(
    clips: pd.DataFrame,
    root: Path,
    compute: Compute,
    parameters: object,
    *,
    dtype: Dtype = "float32",
    trim: bool = True,
    progress: bool = True,
) -> Features:
    """The features of `clips` (rows of the index), from the cache or computed now.

    Args:
        clips: rows of the index.
        root: the folder of the corpora.
        compute: int16 samples (n,) at 16 kHz to frames (m, width); importable by name, so that
            processes can be sent it (functools.partial of such a function serves).
        parameters: what `compute` depends on; anything that becomes JSON.
        dtype: how frames are kept; float16 halves the disk, and errs by up to 0.05 % of a value.
        trim: leave out the exact zeros around a clip (ASED's tell the emotion).
        progress: a bar, where somebody looks.

    Raises DiskFullError, and BadDataError where a file has become unreadable since it was indexed.
    """
    how = _How(compute, dtype, trim)
    about = f"1 {json.dumps(msgspec.to_builtins(parameters), sort_keys=True)} {how.fingerprint()}"
    shards: list[NDArray[np.floating]] = []
    where = np.zeros((len(clips), 3), np.int64)
    position = pd.Series(np.arange(len(clips)), index=clips.index)
    for corpus, rows in clips.groupby("corpus", sort=True):
        folder = cache_root() / "features" / _key(rows, about)
        if not _whole(folder):
            _build(folder, rows, root, how, f"features of {corpus}" if progress else "")
        offsets = np.load(folder / "offsets.npy")
        frames = np.load(folder / "frames.npy", mmap_mode="r")
        at = position[rows.index].to_numpy()
        where[at] = np.stack([np.full(len(rows), len(shards)), offsets[:-1], np.diff(offsets)], axis=1)
        shards.append(frames)
    return Features(shards[0].shape[1] if shards else 0, tuple(shards), where)


@dataclass(frozen=True, slots=True)
class _How:
    compute: Compute
    dtype: Dtype
    trim: bool

    def frames(self, path: Path, start: int, end: int) -> NDArray[np.floating]:
        samples = read_samples(path)
        return np.ascontiguousarray(self.compute(samples[start:end] if self.trim else samples), self.dtype)

    def fingerprint(self) -> str:
        """What the function makes of a second of tone and noise: changed code shows without a version."""
        time_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
        noise = np.random.default_rng(0).normal(size=SAMPLE_RATE)
        tone = 8000 * np.sin(2 * np.pi * (120 + 300 * time_s) * time_s) + 500 * noise
        frames = np.round(np.asarray(self.compute(tone.astype(np.int16)), np.float64), 2)
        made = hashlib.blake2b(frames.tobytes(), digest_size=8).hexdigest()
        return f"{made} {frames.shape[1]} {self.dtype} {self.trim}"


def _key(rows: pd.DataFrame, about: str) -> str:
    key = hashlib.blake2b(about.encode(), digest_size=12)
    for clip in rows[["path", "sound", "start_s", "end_s"]].itertuples(index=False):
        key.update(f"{clip.path}\t{clip.sound}\t{clip.start_s}\t{clip.end_s}\n".encode())
    return key.hexdigest()


def _whole(folder: Path) -> bool:
    try:
        offsets = np.load(folder / "offsets.npy")
        return len(np.load(folder / "frames.npy", mmap_mode="r")) == offsets[-1]
    except (OSError, ValueError):
        return False


def _build(folder: Path, rows: pd.DataFrame, root: Path, how: _How, title: str) -> None:
    jobs = [
        (how, root / clip.path, round(clip.start_s * SAMPLE_RATE), round(clip.end_s * SAMPLE_RATE))
        for clip in rows[["path", "start_s", "end_s"]].itertuples(index=False)
    ]
    lengths = [0]
    width = 0
    quiet = None if title else True  # None: a bar only where somebody looks
    with (
        replace(folder) as fresh,
        (fresh / "frames.npy").open("wb") as file,
        _pool(len(jobs)) as pool,
        tqdm(total=float(rows["duration_s"].sum()), desc=title, unit="s", disable=quiet) as bar,
    ):
        # The header says how many frames follow, so it is written last, into its reserved place.
        file.write(b"\0" * _HEADER_BYTES)
        made = pool.map(_frames, jobs, chunksize=_AT_A_TIME)
        for frames, duration_s in zip(made, rows["duration_s"], strict=True):
            file.write(frames.tobytes())
            lengths.append(len(frames))
            width = frames.shape[1]
            bar.update(duration_s)
        file.seek(0)
        file.write(_header(sum(lengths), width, how.dtype))
        np.save(fresh / "offsets.npy", np.cumsum(lengths, dtype=np.int64))


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Not fork: the caller may have TensorFlow's threads. A worker imports numpy and the features, no more.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(min(os.cpu_count() or 1, 1 + jobs // _AT_A_TIME), context, _one_thread)


def _one_thread() -> None:
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _frames(job: tuple[_How, Path, int, int]) -> NDArray[np.floating]:
    how, *span = job
    return how.frames(*span)


_HEADER_BYTES = 128


def _header(frames: int, width: int, dtype: Dtype) -> bytes:
    """A .npy header (format 1.0) of exactly _HEADER_BYTES."""
    told = repr({"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (frames, width)})
    length = _HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + told.ljust(length - 1).encode() + b"\n"
