"""One table of every clip under a folder of corpora, and one of everything that is wrong with it.

Every file is decoded once (about 400 times real time on one core): only so are zeros, doubles and broken
files known. What decoding told is kept for each corpus under a hash of its listing, both tables under one of
all listings and the loaders' own source, as Parquet.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from device.errors import BadDataError, MissingInputError
from training import sound
from training.atomic import replace
from training.corpora import CORPORA, NO_CLIPS
from training.corpora.clip import SUFFIXES, Clip, Corpus, LeftOutError, UnknownLabelError
from training.places import cache_root
from training.sound import Measured, measure, read_samples

TEXT = (
    "path",
    "corpus",
    "speaker",
    "sex",
    "language",
    "emotion",
    "intensity",
    "part",
    "keyword",
    "environment",
)
MEASURED = tuple(field.name for field in fields(Measured))
COLUMNS = (*TEXT, "source", *MEASURED, "votes")
SILENT_DBFS = -66.0
"""Below it nobody speaks: RAVDESS' quietest clip is at -63.6, silent wake words at -67 to -74."""
PROBLEM_COLUMNS = ("path", "corpus", "kind", "detail")


def build_index(root: Path, *, progress: bool = True) -> pd.DataFrame:
    """Every usable clip under `root`, one row each, sorted by path; columns as in COLUMNS.

    `path` is relative to `root` and posix; `speaker` and `source` are unique among all corpora, or "";
    `emotion` is one of clip.LABELS; `votes` are six floats or None. Raises MissingInputError where no
    corpus lies there, BadDataError where a corpus' folder holds nothing of the layout that its loader knows.
    """
    return build(root, progress=progress)[0]


def build(root: Path, *, progress: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The index and its problems (path, corpus, kind, detail): what was skipped, and why."""
    root = Path(root)
    files = listing(root)
    loaders = hashlib.blake2b(digest_size=12)
    for source in [*sorted(Path(__file__).parent.glob("corpora/*.py")), Path(__file__)]:
        loaders.update(source.read_bytes())
    for path in (path for paths in files.values() for path in paths if path.suffix.lower() not in SUFFIXES):
        loaders.update(path.read_bytes())  # tables of labels: an edit may keep the size
    keys = {name: _listing_key(root, paths) for name, paths in files.items()}
    strangers = sorted({path.name for path in root.iterdir() if path.is_dir()} - {*CORPORA, *NO_CLIPS})
    loaders.update(repr((keys, strangers)).encode())
    folder = cache_root() / "index" / loaders.hexdigest()
    if folder.is_dir():
        return pd.read_parquet(folder / "clips.parquet"), pd.read_parquet(folder / "problems.parquet")
    problems: list[dict[str, str]] = [
        {"path": name, "corpus": name, "kind": "unknown folder", "detail": "no loader reads it (docs/training.md)"}
        for name in strangers
        if not name.startswith(".")
    ]
    named = {name: list(_names(root, CORPORA[name], files[name], problems)) for name in files}
    for name, clips in named.items():
        if not clips:
            raise BadDataError(
                f"{root / name}: none of its {len(files[name])} files is named and laid out as {name}'s are; "
                "compare it with the layouts in docs/training.md"
            )
    sounds = pd.concat([_sounds(root, name, files[name], keys[name], progress) for name in files])
    index = _usable(named, sounds.set_index("path").to_dict("index"), problems)
    wrong = pd.DataFrame(problems, columns=list(PROBLEM_COLUMNS)).sort_values("path", ignore_index=True)
    with replace(folder) as fresh:
        index.to_parquet(fresh / "clips.parquet")
        wrong.to_parquet(fresh / "problems.parquet")
    return index, wrong


def index_hash(clips: pd.DataFrame) -> str:
    """A hash of what the index says (paths, labels, speakers, sounds): equal data, equal hash."""
    told = clips[[*TEXT, "sound"]].sort_values("path")
    rows = pd.util.hash_pandas_object(told, index=False).to_numpy()
    return hashlib.blake2b(rows.tobytes(), digest_size=8).hexdigest()


def listing(root: Path) -> dict[str, list[Path]]:
    """The sound files of every corpus folder under `root`, sorted; MissingInputError where there is none."""
    if not root.is_dir():
        raise MissingInputError(f"no folder {root}: name the corpora's folder with --corpora")
    found = {
        name: sorted(Path(base) / file for base, _, names in os.walk(root / name) for file in names) for name in CORPORA
    }
    found = {name: paths for name, paths in found.items() if paths}
    if not found:
        raise MissingInputError(f"{root}: none of the folders {', '.join(CORPORA)} is there")
    return found


def _listing_key(root: Path, paths: list[Path]) -> str:
    key = hashlib.blake2b(Path(sound.__file__).read_bytes(), digest_size=12)
    for path in paths:
        key.update(f"{path.relative_to(root).as_posix()}\t{path.stat().st_size}\n".encode())
    return key.hexdigest()


def _sounds(root: Path, name: str, paths: list[Path], key: str, progress: bool) -> pd.DataFrame:
    """What decoding tells of every sound file of one corpus, or `broken`; kept until the corpus changes."""
    folder = cache_root() / "sounds" / key
    if not folder.is_dir():
        heard = [path for path in paths if path.suffix.lower() in SUFFIXES]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            quiet = None if progress else True  # None: a bar only where somebody looks
            rows = list(tqdm(pool.map(_sound, heard), f"listening to {name}", len(heard), disable=quiet))
        told = [{"path": path.relative_to(root).as_posix()} | row for path, row in zip(heard, rows, strict=True)]
        with replace(folder) as fresh:
            pd.DataFrame(told, columns=["path", *MEASURED, "broken"]).to_parquet(fresh / "sounds.parquet")
    return pd.read_parquet(folder / "sounds.parquet")


def _sound(path: Path) -> dict[str, object]:
    try:
        return asdict(measure(read_samples(path))) | {"broken": ""}
    except BadDataError as error:
        return {"broken": str(error).removeprefix(f"{path}: ")}


def _usable(
    named: dict[str, list[tuple[str, Clip]]],
    sounds: dict[str, dict[str, object]],
    problems: list[dict[str, str]],
) -> pd.DataFrame:
    """Those clips that can be decoded, are not silent, and are there once; the rest goes to problems."""
    rows: list[dict[str, object]] = []
    for name, clips in named.items():
        for relative, clip in clips:
            heard = sounds[relative]
            problem = {"path": relative, "corpus": name}
            if heard["broken"]:
                problems.append(problem | {"kind": "broken", "detail": str(heard["broken"])})
            elif heard["level_dbfs"] < SILENT_DBFS:
                told = f"silent: {heard['level_dbfs']:.0f} dBFS" if heard["peak"] else "all zeros"
                problems.append(problem | {"kind": "zeros", "detail": told})
            else:
                rows.append(_row(relative, name, clip) | {field: heard[field] for field in MEASURED})
    index = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("path", ignore_index=True)
    return _without_doubles(index, problems)


def _names(root: Path, corpus: Corpus, paths: list[Path], problems: list[dict[str, str]]) -> Iterator[tuple[str, Clip]]:
    """Those files of one corpus whose names (and tables) tell what they are; the others become problems."""
    folder = root / corpus.name
    before: Path | None = None
    for path in (path for path in paths if path.suffix.lower() in SUFFIXES):
        relative = path.relative_to(root).as_posix()
        problem = {"path": relative, "corpus": corpus.name}
        name = corpus.files.fullmatch(path.relative_to(folder).with_suffix("").as_posix())
        if before is not None and before.with_suffix("") == path.with_suffix(""):
            problems.append(problem | {"kind": "double", "detail": f"also there as {before.suffix}"})
            continue
        before = path
        try:
            yield relative, corpus.read(_known(name, corpus), folder)
        except (UnknownLabelError, LeftOutError) as error:
            kind = "left out" if isinstance(error, LeftOutError) else "unknown label"
            problems.append(problem | {"kind": kind, "detail": str(error)})


def _known(name: re.Match[str] | None, corpus: Corpus) -> re.Match[str]:
    if name is None:
        raise UnknownLabelError(f"not a name that {corpus.name} has")
    return name


def _row(relative: str, corpus: str, clip: Clip) -> dict[str, object]:
    row = {"path": relative, "corpus": corpus} | asdict(clip)
    for owner in ("speaker", "source"):
        row[owner] = f"{corpus}/{row[owner]}" if row[owner] else ""
    return row


def _without_doubles(index: pd.DataFrame, problems: list[dict[str, str]]) -> pd.DataFrame:
    """Of one sound under one label the first stays; of one sound under several labels none does."""
    drop: list[int] = []
    for _, same in index[index.duplicated("sound", keep=False)].groupby("sound"):
        first = same.iloc[0]
        one_label = same["emotion"].nunique() == 1
        for number, row in same.iloc[1 if one_label else 0 :].iterrows():
            other = first if row["path"] != first["path"] else same.iloc[1]
            kind = "double" if one_label else "two labels"
            detail = f"the same sound as {other['path']}" + ("" if one_label else f" ({other['emotion']})")
            problems.append({"path": row["path"], "corpus": row["corpus"], "kind": kind, "detail": detail})
            drop.append(number)
    return index.drop(index=drop).reset_index(drop=True)
