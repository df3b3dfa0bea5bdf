"""How well is the wearer's own call told from everything else? Persons that the network was not chosen on.

    python -m tests.acceptance.call_bar CORPORA [--model DIR] [--every N]

A call is a sound that one person made six times or more: words of EmoSpeech-Command (one sitting, one word, one
mood; the corpus names no speakers, so a sitting is what was recorded without a minute's pause), sentences that a
RAVDESS actor said calmly, sounds of `Nonverbal/`. Each example in turn is kept back; five of the others are
enrolled by the device's own code, which may refuse them. False alarms are counted on `Speech/` (every Nth file,
none of those that `device/voice/ordinary_speech.npz` comes from) and on `Background/`. The persons fall in two halves:
one says which limit gives 0.2 false alarms an hour, the other is judged with the limit that the device has.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np

from device import enrol, package
from device.audio import SAMPLE_RATE, read_samples
from device.config import Config
from device.errors import BadDataError
from device.installed_models import chosen, golden
from device.network import Network
from device.voice.call import EXAMPLES, LIMIT, Call, Example, Likeness, example

SITTING_S = 60.0
MOST = 10
WANTED_PER_HOUR = 0.2
KINDS = ("EmoSpeech-Command", "RAVDESS", "Nonverbal")


@dataclass
class Trial:
    """One enrolment: what became of the kept-back example, and how near everyday sounds came."""

    kind: str
    person: str
    refused: str = ""
    distance: float = float("inf")
    others: np.ndarray = field(default_factory=lambda: np.zeros(0))


def calls_of(corpora: Path) -> Iterator[tuple[str, str, list[Path]]]:
    """Kind, person, recordings of one call, in order."""
    sittings: dict[tuple[str, str], list[tuple[float, Path]]] = defaultdict(list)
    for file in sorted((corpora / KINDS[0]).rglob("*.opus")):
        word, place, mood, when = file.stem.split("-")[:4]
        if place == "safe" and word not in ("background", "unknown") and len(when) == 14 and when.isdigit():
            at = datetime.strptime(when, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
            sittings[word, mood].append((at, file))
    for (word, mood), rows in sittings.items():
        rows.sort()
        sitting: list[Path] = []
        for (at, file), (after, _) in zip(rows, [*rows[1:], (float("inf"), Path())], strict=True):
            sitting.append(file)
            if after - at > SITTING_S:
                yield KINDS[0], f"{word} {mood} {at:.0f}", sitting[:MOST]
                sitting = []
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for file in sorted((corpora / KINDS[1]).rglob("03-01-0[12]-*")):
        groups[file.stem[-2:], file.stem.split("-")[4]].append(file)
    for (actor, _), files in groups.items():
        yield KINDS[1], actor, files
    groups.clear()
    for file in sorted((corpora / KINDS[2]).rglob("*.opus")):
        groups[file.stem.split("_")[0], file.parent.name].append(file)
    for (person, _), files in groups.items():
        yield KINDS[2], person, files[:MOST]


def heard(file: Path, network: Network) -> list[Example]:
    view = network.package.manifest.view
    return [example(sound, view, network.memory) for sound in enrol.sounds_of(read_samples(file))]


def everyday(corpora: Path, network: Network, every: int) -> tuple[list[Example], float]:
    """Sounds in which no call is, and the hours that they come from."""
    kinds = sorted(path for part in ("Speech", "Background") for path in (corpora / part).iterdir())
    found, seconds = [], 0.0
    for kind in kinds:
        for file in sorted(kind.rglob("*.*"))[::every]:
            samples = read_samples(file)
            seconds += len(samples) / SAMPLE_RATE
            found += [
                example(sound, network.package.manifest.view, network.memory) for sound in enrol.sounds_of(samples)
            ]
    return found, seconds / 3600


def trials(
    kind: str, person: str, examples: list[Example | None], other: list[Example], network: Network, unlike: float
) -> Iterator[Trial]:
    for at, kept_back in enumerate(examples):
        rest = [one for one in [*examples[at + 1 :], *examples[:at]] if one is not None][:EXAMPLES]
        if len(rest) < EXAMPLES:
            continue
        try:
            call: Call = enrol.made("call", rest, network.package.manifest, unlike)
        except BadDataError as error:
            yield Trial(kind, person, "ordinary" if "ordinary" in str(error) else "unlike")
            continue
        likeness = Likeness(call.examples, call.unlike)
        near = likeness.distance(kept_back) if kept_back is not None else float("inf")
        yield Trial(kind, person, "", near, np.array([likeness.distance(one) for one in other]))


def row(name: str, judged: list[Trial], hours: float, limit: float) -> str:
    taken = [trial for trial in judged if not trial.refused]
    refused = [sum(trial.refused == why for trial in judged) for why in ("unlike", "ordinary")]
    if not taken:
        return f"{name:<28} {len(judged):>6} {refused[0]:>6} {refused[1]:>8}       -        -"
    recall = float(np.mean([trial.distance <= limit for trial in taken]))
    alarms = float(np.mean([np.sum(trial.others <= limit) for trial in taken])) / hours
    silent = float(np.mean([not np.any(trial.others <= limit) for trial in taken]))
    return f"{name:<28} {len(judged):>6} {refused[0]:>6} {refused[1]:>8} {recall:>7.2f} {alarms:>8.2f} {silent:>10.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--every", type=int, default=6, help="of Speech/ and Background/ (a multiple of 6)")
    wanted = parser.parse_args()
    found = package.load(wanted.model) if wanted.model else chosen.in_force(Config())
    network = golden.open_network(found)
    unlike = enrol.unlike(network)
    other, hours = everyday(wanted.corpora, network, wanted.every)
    judged: list[Trial] = []
    for kind, person, files in calls_of(wanted.corpora):
        if len(files) > EXAMPLES:
            sounds = [heard(file, network) for file in files]
            longest = [max(one, key=lambda sound: sound.frames) if one else None for one in sounds]
            judged += trials(kind, person, longest, other, network, unlike)
    halves: dict[bool, list[Trial]] = {True: [], False: []}
    for trial in judged:
        halves[sha256(f"{trial.kind} {trial.person}".encode()).digest()[0] % 2 == 0].append(trial)
    chooses = [trial for trial in halves[True] if not trial.refused]
    near = np.sort(np.concatenate([trial.others for trial in chooses]))
    at = near[int(WANTED_PER_HOUR * hours * len(chooses))]
    print(f"{found.manifest.identity}: {len(other)} everyday sounds in {hours:.2f} h; unlike sounds {unlike:.3f} apart")
    print(f"half A wants a limit of {at:.2f} for {WANTED_PER_HOUR} false alarms/h; the device has {LIMIT}")
    print(f"{'half B':<28} {'tries':>6} {'unlike':>6} {'ordinary':>8} {'recall':>7} {'false/h':>8} {'none at all':>10}")
    for kind in KINDS:
        print(row(kind, [trial for trial in halves[False] if trial.kind == kind], hours, LIMIT))
    print(row("all", halves[False], hours, LIMIT))
    print(row("half A, for comparison", halves[True], hours, LIMIT))


if __name__ == "__main__":
    main()
