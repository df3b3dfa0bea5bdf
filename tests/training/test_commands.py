"""`python -m training`: what it prints, and every bad input as one line with its code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.training.made_corpora import make, noise
from training.places import HOME

pytestmark = pytest.mark.training


def training(*words: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"OUTCRY_CACHE": str(cache), "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, "-m", "training", *words], cwd=HOME, env=environ, capture_output=True, text=True, check=False
    )


def one_line(done: subprocess.CompletedProcess[str], code: int, told: str) -> None:
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_counts_and_problems(tmp_path: Path) -> None:
    root = make(tmp_path / "corpora", ("EMO-DB", "CREMA-D"))
    soundfile.write(root / "EMO-DB/wav/03a01Xa.wav", noise(1), 16000)
    done = training("corpora", "--corpora", str(root), cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert "8 clips, 0.0 h, index " in done.stdout
    assert "EMO-DB: 1 unknown label" in done.stdout
    assert "EMO-DB/wav/03a01Xa.wav: emotion 'X' is none of A, E, F, L, N, T, W" in done.stdout


def test_the_cache_says_how_fast(tmp_path: Path) -> None:
    root = make(tmp_path / "corpora", ("EMO-DB",))
    done = training("cache", "--corpora", str(root), cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert "4 clips, 0.0 h, " in done.stdout
    assert "times real time" in done.stdout


def test_no_corpora(tmp_path: Path) -> None:
    done = training("corpora", "--corpora", str(tmp_path / "nowhere"), cache=tmp_path)
    one_line(done, 66, f"no corpora at {tmp_path / 'nowhere'}: name their folder with --corpora or OUTCRY_CORPORA")
    one_line(training("corpora", "--corpora", str(tmp_path), cache=tmp_path), 66, "none of the folders CREMA-D")


def test_a_tree_with_a_wrong_layout(tmp_path: Path) -> None:
    (tmp_path / "corpora/TESS").mkdir(parents=True)
    soundfile.write(tmp_path / "corpora/TESS/one.wav", noise(1), 16000)
    done = training("cache", "--corpora", str(tmp_path / "corpora"), cache=tmp_path / "cache")
    one_line(done, 65, f"{tmp_path / 'corpora/TESS'}: none of its 1 files is named and laid out as TESS's are")


def test_a_recipe_with_an_unknown_key(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("unitz = [160]\n")
    done = training("train", str(recipe), cache=tmp_path)
    one_line(done, 78, f"{recipe}: Object contains unknown field `unitz`; its keys are convolutions, ")


def test_a_run_folder_of_another_index(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text("epochs = 1\n")
    first = make(tmp_path / "one", ("EMO-DB",))
    setup = (
        "import sys; from pathlib import Path; from training.runs import Run, load_recipe\n"
        "from training.train import DangerRecipe; import msgspec\n"
        "plan = msgspec.structs.replace(load_recipe(Path(sys.argv[1]), DangerRecipe), average_last=1)\n"
        "Run.begin(Path(sys.argv[2]), plan, index='0123456789abcdef', seed=plan.seed)\n"
    )
    environ = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": str(HOME)}
    subprocess.run([sys.executable, "-c", setup, str(recipe), str(tmp_path / "run")], env=environ, check=True)
    done = training(
        "train", str(recipe), "--run", str(tmp_path / "run"), "--corpora", str(first), cache=tmp_path / "cache"
    )
    one_line(done, 65, f"{tmp_path / 'run'}: a run of another index: 0123456789abcdef (now ")


def test_comparing_what_is_no_run(tmp_path: Path) -> None:
    one_line(training("compare", str(tmp_path), cache=tmp_path), 66, "no run.json, so no run")


def test_help_needs_no_keras(tmp_path: Path) -> None:
    done = training("--help", cache=tmp_path)
    assert done.returncode == 0
    for command in ("corpora", "cache", "train", "evaluate", "compare", "reproduce"):
        assert f"  {command} " in done.stdout
    assert training("nothing", cache=tmp_path).returncode == 2
    code = "import sys, training.__main__; print('keras' in sys.modules, 'pandas' in sys.modules)"
    imports = subprocess.run([sys.executable, "-c", code], cwd=HOME, capture_output=True, text=True, check=True)
    assert imports.stdout.split() == ["False", "False"]
