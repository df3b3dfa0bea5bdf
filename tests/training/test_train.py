"""From corpora to a run folder by the commands: the ablation's four networks, and a pupil of the first of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.made_corpora import make
from tests.training.test_commands import one_line, training
from training.teachers import network_of

pytestmark = [pytest.mark.training, pytest.mark.timeout(1200)]

TINY = """
convolutions = [[8, 5, 2], [8, 5, 2]]
units = [8]
frames = 80
batch = 4
steps = 2
epochs = 2
average_last = 1
step_weight = 0.5
copies = 0
throats = 0.5
paces = 0.5
noises = 0.5
split = "validation"
"""


def test_ablation_and_a_pupil(tmp_path: Path) -> None:
    root = make(tmp_path / "corpora", ("CREMA-D", "RAVDESS", "EMO-DB", "Background"))
    recipe, runs = tmp_path / "tiny.toml", tmp_path / "runs"
    recipe.write_text(TINY)
    ablation = ["ablation", str(recipe), "--runs", str(runs), "--corpora", str(root), "--seeds", "1"]
    done = training(*ablation, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    for name in ("whole", "no-normalisation", "no-dropout", "uniform"):
        assert f"{name}-s1: accuracy " in done.stdout
        assert (runs / f"{name}-s1/network.keras").is_file()
    made = {name: (runs / f"{name}-s1/network.keras").stat().st_mtime_ns for name in ("whole", "uniform")}
    assert "whole" in (runs / "ablation.csv").read_text()

    pupil = tmp_path / "pupil.toml"
    taught = TINY + 'teachers = ["whole-s1", "uniform-s1"]\ntaught = 0.4\n'
    pupil.write_text(taught + 'start = "whole-s1"\nsubjects = [[], ["CREMA-D/"]]\n')
    words = ["train", str(pupil), "--corpora", str(root), "--run"]
    done = training(*words, str(runs / "pupil"), cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert "validation speakers, float" in done.stdout
    assert json.loads((runs / "pupil/run.json").read_text())["finished"]
    assert (runs / "pupil/view.json").read_bytes() == (runs / "whole-s1/view.json").read_bytes()
    with np.load(runs / "pupil/unseen.npz") as unseen:
        assert len(unseen["emotions"]) > 0
    # Finished runs are kept.
    assert made == {name: (runs / f"{name}-s1/network.keras").stat().st_mtime_ns for name in made}

    mean = ["average", str(runs / "whole-s1"), str(runs / "pupil"), "--corpora", str(root), "--run"]
    done = training(*mean, str(runs / "mean"), "--share", "1", "--share", "3", cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    one, other, both = (network_of(runs / name).get_weights() for name in ("whole-s1", "pupil", "mean"))
    for a, b, c in zip(one, other, both, strict=True):
        np.testing.assert_allclose(0.25 * a + 0.75 * b, c, atol=1e-6)
    done = training(*mean, str(runs / "no"), "--share", "1", cache=tmp_path / "cache")
    one_line(done, 2, "--share: 1 given for 2 runs; one each, not all zero")

    pupil.write_text(taught + 'subjects = [["CREMA-D/"], ["SAVEE/"]]\n')
    done = training(*words, str(runs / "untaught"), cache=tmp_path / "cache")
    one_line(done, 2, "a clip that no list has needs a teacher whose list is empty")
    pupil.write_text(TINY + 'subjects = [["CREMA-D/"]]\n')
    done = training(*words, str(runs / "alone"), cache=tmp_path / "cache")
    one_line(done, 2, "subjects: 1 for 0 teachers")
    pupil.write_text(TINY + 'teachers = ["nobody"]\n')
    done = training(*words, str(runs / "orphan"), cache=tmp_path / "cache")
    one_line(done, 66, f"{runs / 'nobody/network.keras'}: the recipe builds on this run; train it first")
