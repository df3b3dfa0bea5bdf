"""Where recordings lie and where what was computed from them may be kept."""

import os
from pathlib import Path

from device.errors import MissingInputError

HOME = Path(__file__).resolve().parent.parent


def corpora_root(given: str | Path | None = None) -> Path:
    """The folder that holds the corpora: the one given, else OUTCRY_CORPORA, else ../shared/corpora.

    Raises MissingInputError where it is no folder.
    """
    root = Path(given or os.environ.get("OUTCRY_CORPORA") or HOME.parent / "shared" / "corpora")
    if not root.is_dir():
        raise MissingInputError(
            f"no corpora at {root}: name their folder with --corpora or OUTCRY_CORPORA (docs/training.md)"
        )
    return root


def cache_root() -> Path:
    """The folder for the index and for features: OUTCRY_CACHE, else cache/ beside the sources."""
    return Path(os.environ.get("OUTCRY_CACHE") or HOME / "cache")


def runs_root() -> Path:
    """The folder for run folders: OUTCRY_RUNS, else runs/ beside the sources."""
    return Path(os.environ.get("OUTCRY_RUNS") or HOME / "runs")
