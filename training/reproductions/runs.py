"""The run folder of a reproduction: each finished run one JSON file, so that a killed one goes on."""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import BadDataError, MissingInputError, UsageError
from training.reproductions.protocol import Planned
from training.runs import made_by, write_json

SCHEMA = 1


class RunFolder:
    """Finished runs of one reproduction on one index, read back where they exist.

    Raises BadDataError where `folder` belongs to another reproduction or index: its figures must not be mixed
    in.
    """

    def __init__(self, folder: Path, reproduction: str, index: str) -> None:
        self.folder = Path(folder)
        self.runs = self.folder / "runs"
        self.runs.mkdir(parents=True, exist_ok=True)
        told = self.folder / "reproduction.json"
        ours = {"schema": SCHEMA, "reproduction": reproduction, "index": index}
        if told.is_file():
            theirs = {key: value for key, value in _read(told).items() if key in ours}
            if theirs != ours:
                raise BadDataError(
                    f"{folder} holds runs of {theirs.get('reproduction')} on clips {theirs.get('index')}, "
                    f"not of {reproduction} on {index}: name another folder with --output, or delete this one"
                )
        else:
            write_json(told, ours | {"made_by": made_by()})

    @classmethod
    def there(cls, folder: Path) -> "RunFolder":
        """The runs of a folder as they are; MissingInputError where it is none."""
        if not (folder / "reproduction.json").is_file():
            raise MissingInputError(f"{folder} holds no runs of a reproduction: name its folder with --output")
        about = _read(folder / "reproduction.json")
        return cls(folder, about["reproduction"], about["index"])

    def note(self, summary: dict[str, Any]) -> None:
        """Keep what the report says about the data."""
        write_json(self.folder / "summary.json", summary)

    def summary(self) -> dict[str, Any]:
        """What `note` kept."""
        return _read(self.folder / "summary.json")

    def make(self, planned: Sequence[Planned]) -> Iterator[dict[str, Any]]:
        """Each run's record in order: read where it is finished with the same settings, else made."""
        for number, run in enumerate(planned, 1):
            done = self.finished(run)
            print(
                f"[{number}/{len(planned)}] {run.name}: "
                f"{'already there' if done else 'joining' if run.joins else 'training'}",
                file=sys.stderr,
                flush=True,
            )
            yield done or self._make(run)

    def finished(self, run: Planned) -> dict[str, Any] | None:
        """The record of a finished run with these settings, or None; never of one that joins others."""
        path = self.runs / f"{run.name}.json"
        if run.joins or not path.is_file():
            return None
        record = _read(path)
        return record if record.get("settings") == json.loads(json.dumps(run.settings)) else None

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """What a finished run kept beside its figures (probabilities of the test clips)."""
        path = self.runs / f"{name}.npz"
        if not path.is_file():
            raise MissingInputError(f"{path} is not there: run {name} first, which this run is made from")
        with np.load(path, allow_pickle=False) as kept:
            return dict(kept)

    def records(self) -> list[dict[str, Any]]:
        """All finished runs of the folder, by name."""
        return [_read(path) for path in sorted(self.runs.glob("*.json"))]

    def _make(self, run: Planned) -> dict[str, Any]:
        started = time.monotonic()
        figures, arrays = run.work()
        if arrays:
            fresh = self.runs / f".{run.name}.{os.getpid()}.npz"
            np.savez_compressed(fresh, **arrays)
            fresh.replace(self.runs / f"{run.name}.npz")
        record = {
            "name": run.name,
            "settings": run.settings,
            "figures": figures,
            "seconds": round(time.monotonic() - started, 2),
            "made_by": made_by(),
        }
        # The figures come last: a run counts as finished only with everything it keeps.
        write_json(self.runs / f"{run.name}.json", record)
        return _read(self.runs / f"{run.name}.json")


def picked(planned: Sequence[Planned], only: Sequence[str]) -> list[Planned]:
    """The runs whose names fit a pattern of `only`, all where it is empty; UsageError for a pattern that fits none."""
    for pattern in only:
        if not any(fnmatchcase(run.name, pattern) for run in planned):
            names = ", ".join(run.name for run in planned[:3])
            raise UsageError(f"--only {pattern} fits none of the {len(planned)} runs: they are called {names} ...")
    return [run for run in planned if not only or any(fnmatchcase(run.name, pattern) for pattern in only)]


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadDataError(f"{path} can't be read ({error}): delete it, and the run is made again") from error
    if not isinstance(record, dict):
        raise BadDataError(f"{path} is no record of a run: delete it, and the run is made again")
    return record
