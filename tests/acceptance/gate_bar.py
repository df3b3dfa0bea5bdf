"""Does the silence gate skip speech? The bar: at most 0.1 % of speech chunks at -20, 0 and +10 dB level.

    python -m tests.acceptance.gate_bar CORPORA [--clips N] [--seed S]

Clips of each corpus, shuffled, are played one after the other with pauses of 1 to 20 s between them, as one
stream, twice: with digital silence in the pauses, and in a room whose steady noise lies at -65 dBFS
(recorded rooms of `Background/`, not scaled with the level). A *speech chunk* is one of 100 ms within 30 dB
of its clip's loudest, pauses up to 0.3 s between such included; in the room it must also be at least as
loud as the room. It is *skipped* when the network never gets it. The rest of the table says what the gate
saves: share of the pauses, and of background recordings, that the network is spared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from device.audio import SAMPLE_RATE, Chunk, read_samples
from device.errors import OutcryError
from device.hearing.gate import SilenceGate

CHUNK = SAMPLE_RATE // 10
SPEECH = ["CREMA-D", "RAVDESS", "TESS", "SAVEE", "EMO-DB", "nEMO", "ASED", "EmoSpeech-Command", "Speech", "Nonverbal"]
LEVELS_DB = [-20, 0, 10]
ROOM_DBFS = -65.0
BAR = 0.001


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--clips", type=int, default=300, help="of each corpus")
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    rng = np.random.default_rng(wanted.seed)
    room = room_noise(wanted.corpora)
    print("| corpus | level | speech chunks | skipped, silent pauses | skipped, room | pauses spared | in the room |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    worst = 0.0
    totals = {level: np.zeros(4, int) for level in LEVELS_DB}
    for corpus in SPEECH:
        clips = [(clip, speech_chunks(clip)) for clip in some_clips(wanted.corpora / corpus, wanted.clips, rng)]
        for level in LEVELS_DB:
            silent = play(clips, level, None, rng)
            noisy = play(clips, level, room, rng)
            counts = np.array([*silent[:2], *noisy[:2]])
            totals[level] += counts
            worst = max(worst, counts[1] / counts[0], counts[3] / max(counts[2], 1))
            print(row(corpus, level, counts, silent[2], noisy[2]), flush=True)
    for level, counts in totals.items():
        print(row("all", level, counts, None, None))
    print("\n| background recordings | spared |\n| --- | --- |")
    for folder in sorted((wanted.corpora / "Background").iterdir()):
        spared = [spared_share(clip) for clip in some_clips(folder, 30, rng)]
        print(f"| {folder.name} | {np.mean(spared):.1%} |")
    print(f"\nworst corpus and level: {worst:.3%} of speech chunks skipped (bar {BAR:.1%})")
    return int(worst > BAR)


def row(corpus: str, level: int, counts: np.ndarray, silent: float | None, noisy: float | None) -> str:
    shares = [f"{counts[i + 1] / max(counts[i], 1):.3%} of {counts[i]}" for i in (0, 2)]
    spared = ["" if share is None else f"{share:.0%}" for share in (silent, noisy)]
    return f"| {corpus} | {level:+d} dB | {counts[0]} | {shares[0]} | {shares[1]} | {spared[0]} | {spared[1]} |"


def some_clips(folder: Path, number: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".opus", ".flac", ".wav"})
    for index in rng.permutation(len(paths))[:number]:
        try:
            samples = read_samples(paths[index])
        except OutcryError as error:
            print(error, file=sys.stderr)
            continue
        if np.any(samples):
            yield samples


def levels_dbfs(samples: np.ndarray) -> np.ndarray:
    """Level of each whole chunk, (n,)."""
    whole = samples[: len(samples) // CHUNK * CHUNK].reshape(-1, CHUNK) / 32_768
    return 10 * np.log10(np.mean((whole - whole.mean(axis=1, keepdims=True)) ** 2, axis=1) + 1e-12)


def speech_chunks(clip: np.ndarray) -> np.ndarray:
    """Which chunks of a clip are speech, bool (n,)."""
    level = levels_dbfs(clip)
    active = level > level.max(initial=-120) - 30
    for start in np.flatnonzero(active):
        following = np.flatnonzero(active[start + 1 : start + 5])
        if len(following):
            active[start : start + 1 + following[0] + 1] = True
    return active


def room_noise(corpora: Path) -> np.ndarray:
    """A minute of steady rooms, levelled, int16 range as float (n,)."""
    parts = []
    for name in ("ambient-cyber/ac_room", "ambient-cyber/library_quiet", "ambient-blanket/pink-noise"):
        sound = read_samples(corpora / "Background" / f"{name}.opus")[: 20 * SAMPLE_RATE].astype(float)
        parts.append(sound / np.sqrt(np.mean(sound**2)) * 32_768 * 10 ** (ROOM_DBFS / 20))
    return np.concatenate(parts)


def play(
    clips: Sequence[tuple[np.ndarray, np.ndarray]], level: int, room: np.ndarray | None, rng: np.random.Generator
) -> tuple[int, int, float]:
    """Speech chunks, those skipped, and the share of the pauses that was spared."""
    gate, number = SilenceGate(), 0
    is_speech: list[bool] = []
    heard: set[float] = set()
    for clip, active in clips:
        pause = np.zeros(CHUNK * int(rng.integers(10, 200)), int)
        scaled = np.rint(clip * 10 ** (level / 20))
        audible = active
        if room is not None:
            loud_enough = levels_dbfs(scaled) >= ROOM_DBFS
            audible = active & loud_enough
        whole = len(active) * CHUNK
        for sound, speech in [(pause, np.zeros(len(pause) // CHUNK, bool)), (scaled[:whole], audible)]:
            for index in range(len(speech)):
                samples = sound[index * CHUNK : (index + 1) * CHUNK]
                if room is not None:
                    start = number * CHUNK % (len(room) - CHUNK)
                    samples = np.rint(samples + room[start : start + CHUNK])
                chunk = Chunk(np.clip(samples, -32_768, 32_767).astype(np.int16), float(number))
                heard.update(each.heard_at for each in gate.push(chunk))
                is_speech.append(bool(speech[index]))
                number += 1
    speech_numbers = np.flatnonzero(is_speech)
    skipped = sum(float(each) not in heard for each in speech_numbers)
    others = number - len(speech_numbers)
    return len(speech_numbers), skipped, (number - len(heard) - skipped) / max(others, 1)


def spared_share(clip: np.ndarray) -> float:
    gate, heard = SilenceGate(), 0
    chunks = len(clip) // CHUNK
    for index in range(chunks):
        heard += len(gate.push(Chunk(clip[index * CHUNK : (index + 1) * CHUNK], float(index))))
    return 1 - heard / max(chunks, 1)


if __name__ == "__main__":
    sys.exit(main())
