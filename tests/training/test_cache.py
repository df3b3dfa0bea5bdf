"""The feature cache: the same numbers as the features themselves, whole or not there."""

import errno
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from device.features import FeatureParameters, features
from tests.training.made_corpora import make
from training import atomic, cache
from training.index import build_index
from training.places import HOME
from training.sound import read_samples

pytestmark = pytest.mark.training


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, pd.DataFrame]:
    monkeypatch.setenv("OUTCRY_CACHE", str(tmp_path / "cache"))
    root = make(tmp_path / "corpora", ("EMO-DB", "SAVEE", "ASED"))
    return root, build_index(root, progress=False)


def energies(samples: np.ndarray, hop: int) -> np.ndarray:
    """One number a hop: a second feature function, as the papers' reproductions have theirs."""
    whole = samples[: len(samples) // hop * hop].astype(np.float32).reshape(-1, hop)
    return np.square(whole).mean(axis=1, keepdims=True)


def _folders(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "cache/features").iterdir()}


def test_the_same_frames_as_the_features(tree: tuple[Path, pd.DataFrame]) -> None:
    root, clips = tree
    kept = cache.cached(clips, root, features, FeatureParameters(), progress=False)
    assert len(kept) == len(clips)
    for row, frames in zip(clips.itertuples(), kept, strict=True):
        span = slice(round(row.start_s * 16000), round(row.end_s * 16000))
        assert np.array_equal(frames, features(read_samples(root / row.path)[span]))
    assert kept.width == FeatureParameters().size
    assert list(kept.lengths) == [len(frames) for frames in kept]


def test_rows_in_any_order(tree: tuple[Path, pd.DataFrame]) -> None:
    root, clips = tree
    straight = cache.cached(clips, root, features, FeatureParameters(), progress=False)
    backwards = cache.cached(clips[::-1], root, features, FeatureParameters(), progress=False)
    assert all(np.array_equal(a, b) for a, b in zip(straight, list(backwards)[::-1], strict=True))


def test_half_precision(tree: tuple[Path, pd.DataFrame]) -> None:
    root, clips = tree
    exact = cache.cached(clips, root, features, {}, progress=False)
    half = cache.cached(clips, root, features, {}, dtype="float16", progress=False)
    assert half[0].dtype == np.float16
    assert np.allclose(exact[0], half[0], rtol=1e-3, atol=1e-3)


def test_another_parameter_code_or_file_is_another_cache(
    tree: tuple[Path, pd.DataFrame], tmp_path: Path
) -> None:
    root, clips = tree
    clips = clips[clips["corpus"] == "SAVEE"]
    cache.cached(clips, root, partial(energies, hop=160), {"hop": 160}, progress=False)
    one = _folders(tmp_path)
    cache.cached(clips, root, partial(energies, hop=160), {"hop": 160}, progress=False)
    assert _folders(tmp_path) == one
    cache.cached(clips, root, partial(energies, hop=160), {"hop": 161}, progress=False)
    cache.cached(clips, root, partial(energies, hop=320), {"hop": 160}, progress=False)
    cache.cached(clips.iloc[1:], root, partial(energies, hop=160), {"hop": 160}, progress=False)
    cache.cached(clips.assign(sound="x"), root, partial(energies, hop=160), {"hop": 160}, progress=False)
    assert len(_folders(tmp_path)) == 5


def test_a_damaged_cache_is_made_again(tree: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    root, clips = tree
    clips = clips[clips["corpus"] == "SAVEE"]
    before = [np.array(frames) for frames in cache.cached(clips, root, features, {}, progress=False)]
    frames = next((tmp_path / "cache/features").glob("*/frames.npy"))
    os.truncate(frames, frames.stat().st_size // 2)
    again = cache.cached(clips, root, features, {}, progress=False)
    assert all(np.array_equal(a, b) for a, b in zip(before, again, strict=True))


def test_a_full_disk_is_one_line_and_leaves_nothing(tree: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    """A file size limit breaks the write in the middle, as a full disk does."""
    root, clips = tree
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from training.__main__ import main\n"
        "sys.argv = ['training', 'cache', '--corpora', sys.argv[1]]; main()\n"
    )
    environ = os.environ | {"OUTCRY_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        cwd=HOME,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 70, done.stderr
    assert len(lines) == 1
    assert "the disk is full, nothing was kept" in lines[0]
    assert list((tmp_path / "cache/features").iterdir()) == []
    assert len(cache.cached(clips, root, features, FeatureParameters(), progress=False)) == len(clips)


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from training.atomic import replace\n"
        "with replace(Path(sys.argv[1])) as fresh:\n"
        "    (fresh / 'half').write_text('half'); print('there', flush=True); time.sleep(60)\n"
    )
    folder = tmp_path / "cache" / "key"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=HOME, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    assert not folder.exists()
    assert len(list(folder.parent.iterdir())) == 1
    with atomic.replace(folder) as fresh:
        (fresh / "whole").write_text("whole")
    assert [path.name for path in folder.parent.iterdir()] == ["key"]
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_another_fault_is_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), atomic.replace(tmp_path / "key"):
        raise PermissionError(errno.EACCES, "no")
    assert list(tmp_path.iterdir()) == []
