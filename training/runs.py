"""Recipes, and the folder that one training leaves: what was done, with what, how it went.

A recipe is one TOML file, read strictly into a msgspec Struct. A run folder holds `recipe.toml`, `run.json` (revision,
seed, index, engine), `history.csv`, TensorBoard's logs, the checkpoints to go on from after a kill, and what the
trainer adds. A folder of another recipe or index is refused, not overwritten.
"""

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pandas as pd

from device.errors import BadDataError, ConfigError, MissingInputError
from training.places import HOME

RecipeType = TypeVar("RecipeType", bound=msgspec.Struct)
_ENGINES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "numpy", "scikit-learn")


def load_recipe(path: Path, kind: type[RecipeType]) -> RecipeType:
    """A recipe file as `kind`; every fault is one line: MissingInputError, ConfigError (unknown key, wrong type)."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise MissingInputError(
            f"{path}: no recipe to read ({error.strerror}); recipes lie in training/recipes"
        ) from None
    try:
        return msgspec.toml.decode(text, type=kind, strict=True)
    except msgspec.DecodeError as error:
        keys = ", ".join(field.name for field in msgspec.structs.fields(kind))
        told = f"{error}; its keys are {keys}" if "unknown field" in str(error) else str(error)
        raise ConfigError(f"{path}: {told}") from None


class Run:
    """One run folder; `Run.begin` makes it or goes on with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.about: dict[str, Any] = _read(self.folder / "run.json")

    @classmethod
    def begin(cls, folder: Path, recipe: msgspec.Struct, *, index: str, seed: int) -> "Run":
        """A new run, or an unfinished one of the same recipe, index and seed.

        Raises BadDataError where the folder holds another run: delete it, or name another folder.
        """
        folder = Path(folder)
        ours = {"recipe": msgspec.to_builtins(recipe), "index": index, "seed": seed}
        if (folder / "run.json").is_file():
            about = _read(folder / "run.json")
            for what in ("index", "recipe", "seed"):
                if about.get(what) != json.loads(json.dumps(ours[what])):
                    raise BadDataError(f"{folder}: {_differs(what, about.get(what), ours[what])}")
            return cls(folder)
        if folder.is_dir() and any(folder.iterdir()):
            raise BadDataError(f"{folder}: holds files, but no run.json of a run; name an empty or a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.toml").write_bytes(msgspec.toml.encode(recipe))
        write_json(folder / "run.json", {"schema": 1} | ours | made_by() | {"finished": False})
        return cls(folder)

    @property
    def finished(self) -> bool:
        """The trainer said so."""
        return bool(self.about["finished"])

    def finish(self, **figures: Any) -> None:
        """Write the figures that `compare` shows, and that nothing is left to do."""
        self.about |= {"figures": figures, "finished": True}
        write_json(self.folder / "run.json", self.about)

    def history(self) -> pd.DataFrame:
        """One row an epoch, each epoch once (a resumed run repeats the one that was cut)."""
        path = self.folder / "history.csv"
        if not path.is_file():
            return pd.DataFrame()
        return pd.read_csv(path).drop_duplicates("epoch", keep="last").sort_values("epoch", ignore_index=True)

    def callbacks(self) -> list[Any]:
        """Keras callbacks that keep the history, feed TensorBoard, and let `fit` go on after a kill."""
        import keras

        return [
            keras.callbacks.CSVLogger(str(self.folder / "history.csv"), append=True),
            keras.callbacks.TensorBoard(str(self.folder / "tensorboard"), write_graph=False),
            keras.callbacks.BackupAndRestore(str(self.folder / "backup"), delete_checkpoint=True),
        ]


def compare(folders: Sequence[Path]) -> pd.DataFrame:
    """One row a run: its figures, the last epoch, and only those recipe keys in which the runs differ."""
    runs = [Run(folder) for folder in folders]
    recipes = pd.DataFrame([_flat(run.about["recipe"]) for run in runs])
    told = recipes.map(json.dumps)
    differ = recipes[[name for name in recipes if told[name].nunique(dropna=False) > 1]]
    rows = []
    for run in runs:
        history = run.history()
        last = {} if history.empty else {f"last {name}": value for name, value in history.iloc[-1].items()}
        rows.append(
            {"run": run.folder.name, "finished": run.finished, "index": run.about["index"]}
            | {"revision": run.about["revision"][:12], "seed": run.about["seed"]}
            | _flat(run.about.get("figures", {}))
            | last
        )
    table = pd.concat([pd.DataFrame(rows), differ.add_prefix("recipe ")], axis=1)
    return table.set_index("run")


def revision() -> str:
    """The sources' git revision, with "+changes" where files differ from it; "" outside a checkout."""
    told = _git("rev-parse", "HEAD")
    return told + "+changes" if told and _git("status", "--porcelain", "--untracked-files=no") else told


def made_by() -> dict[str, Any]:
    """Where and with what a run is made."""
    return {
        "revision": revision(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "backend": os.environ.get("KERAS_BACKEND", ""),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "packages": dict(_versions(_ENGINES)),
    }


def write_json(path: Path, told: Any) -> None:
    """Whole or not at all: a kill in the middle leaves the file that was there."""
    fresh = path.with_suffix(".fresh")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(json.dumps(told, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingInputError(f"{path.parent}: no run.json, so no run; name a folder that `train` made") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise BadDataError(f"{path}: can't be read ({error}); start the run anew in another folder") from None
    if not isinstance(about, dict) or about.get("schema") != 1:
        raise BadDataError(f"{path}: not a run of this version (schema 1); start it anew in another folder")
    return about


def _differs(what: str, theirs: Any, ours: Any) -> str:
    if what == "recipe" and isinstance(theirs, dict):
        there, here = _flat(theirs), _flat(ours)
        keys = [name for name in sorted({*there, *here}) if there.get(name) != here.get(name)]
        told = ", ".join(f"{name} {there.get(name)} (now {here.get(name)})" for name in keys[:3])
        return f"a run of another recipe: {told}; name another folder, or delete this one"
    return f"a run of another {what}: {theirs} (now {ours}); name another folder, or delete this one"


def _flat(told: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in told.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(HOME), *words], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _versions(names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
