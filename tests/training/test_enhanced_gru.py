"""The reproduction of the enhanced GRU on data made here: what is trained, kept, resumed and reported."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.corpora.clip import EMOTIONS
from training.networks import paper_gru
from training.reproductions import enhanced_gru, enhanced_gru_report
from training.reproductions.fitting import Recipe
from training.reproductions.protocol import Clips
from training.reproductions.runs import RunFolder
from training.reproductions.study import Scale

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def task() -> enhanced_gru.Task:
    """Sixty sequences whose class shifts one coefficient: easy to learn."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 6
    frames = rng.normal(size=(60, 7, 6)).astype(np.float32)
    frames[np.arange(60), :, labels] += 2
    valid = np.ones((60, 7), np.float32)
    valid[::3, 5:] = 0
    table = pd.DataFrame(
        {
            "path": [f"CREMA-D/{n}.wav" for n in range(60)],
            "corpus": "CREMA-D",
            "speaker": [f"CREMA-D/{1001 + n % 5}" for n in range(60)],
            "label": [EMOTIONS[n] for n in labels],
        }
    )
    clips = Clips(table, EMOTIONS)
    order = np.arange(60)
    return enhanced_gru.Task(
        frames, valid, labels, EMOTIONS, lambda _, seed: (order[:48], order[48:]), Recipe(2, 16), clips
    )


def _model(name: str) -> enhanced_gru.Model:
    return next(model for model in enhanced_gru.models() if model.name == name)


def test_the_papers_models_are_all_there() -> None:
    told = {model.name: model.options for model in enhanced_gru.models()}
    assert {f"enhanced-{share}" for share in (10, 20, 30, 40)} <= set(told)
    assert told["base"] == {"initializer": "random_uniform"}
    assert told["base-glorot"] == {"initializer": "glorot_uniform"}
    assert told["enhanced-20"] == {"initializer": "glorot_uniform", "normalise": True, "dropout": 0.2}
    assert told["enhanced-cell-20"]["cell_dropout"] == 0.2
    assert told["enhanced-cell-20"]["dropout"] == 0
    assert told["normalised"] == {"initializer": "random_uniform", "normalise": True}
    assert (enhanced_gru.RECIPE.epochs, enhanced_gru.RECIPE.batch) == (50, 64)


def test_base_and_enhanced_differ_by_the_six_normalisations_alone() -> None:
    base = paper_gru.build(7, 6, 6, units=(8,), initializer="random_uniform")
    best = paper_gru.build(7, 6, 6, units=(8,), normalise=True, dropout=0.2)
    names = {weight.path.split("/")[-1] for weight in best.weights} - {w.path.split("/")[-1] for w in base.weights}
    assert names == {"gamma_x", "mean_x", "variance_x", "gamma_h", "mean_h", "variance_h"}
    gamma = next(weight for weight in best.weights if weight.path.endswith("gamma_h"))
    assert gamma.shape == (3 * 8,)
    kernel = next(np.asarray(w) for w in base.weights if w.path.endswith("recurrent_kernel"))
    assert np.abs(kernel).max() <= 0.05


def test_the_augmentation_rests_outside_training() -> None:
    layer = paper_gru.FrameAugment(seed=1)
    frames = np.ones((2, 20, 3), np.float32)
    assert np.array_equal(np.asarray(layer(frames, training=False)), frames)
    changed = np.asarray(layer(frames, training=True))
    assert changed.shape == frames.shape
    assert (changed == 0).all(axis=2).sum() > 0
    assert changed[0, :, 0][changed[0, :, 0] != 0].mean() != pytest.approx(1, abs=1e-3)


def test_the_papers_models_come_first_and_nothing_is_made_twice(task: enhanced_gru.Task, tmp_path: Path) -> None:
    study = enhanced_gru.EnhancedGru(Scale(seeds=2, epochs=2))
    planned = study.planned({"speech": task})
    names = [run.name for run in planned]
    assert len(set(names)) == len(names)
    assert set(names[:12]) == {
        f"{protocol}-{model}-{seed}"
        for protocol in ("random", "house")
        for model in ("base", "base-glorot", "enhanced-20")
        for seed in (0, 1)
    }
    assert names[12:18] == [f"random-enhanced-{share}-{seed}" for seed in (0, 1) for share in (10, 30, 40)]
    assert all(run.settings["group"] != "paper" for run in planned[18:])
    some = [run for run in planned if run.name in ("random-base-0", "random-enhanced-20-0", "house-base-0")]
    runs = RunFolder(tmp_path / "run", "enhanced-gru", "abc")
    first = list(runs.make(some[:2]))
    made = {path.name: path.stat().st_mtime_ns for path in runs.runs.iterdir()}
    again = list(runs.make(some))
    assert again[:2] == first
    assert all((runs.runs / name).stat().st_mtime_ns == at for name, at in made.items())
    figures = first[1]["figures"]
    assert (figures["trained_on"], figures["validated_on"], figures["clips"]) == (38, 10, 12)
    assert len(figures["history"]["val_accuracy"]) == 2
    runs.note({"title": "P1", "notes": ["chosen"], "clips": {"CREMA-D": {"sad": 3}}, "quick": False, "frame_ms": 40})
    page = study.write_report(runs).read_text(encoding="utf-8")
    for told in ("63.21", "67.34", "Does its claim hold here?", "base: confusion", "fifteen test clips", "house"):
        assert told in page
    tables = (runs.folder / "tables.md").read_text(encoding="utf-8")
    assert f"| base | {100 * first[0]['figures']['accuracy']:.2f} (1) |" in tables


def test_an_easy_task_is_learned(task: enhanced_gru.Task) -> None:
    figures, kept = enhanced_gru.work(_model("enhanced-20"), task, Recipe(25, 8, rate=0.01), "random", 0)
    assert figures["accuracy"] > 0.6
    assert kept["probabilities"].sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert kept["paths"][0] == "CREMA-D/48.wav"


def test_the_claim_is_computed_not_quoted() -> None:
    def record(variant: str, accuracy: float, training: float) -> dict[str, object]:
        figures = {"accuracy": accuracy, "training_accuracy": training, "gap": training - accuracy}
        return {"settings": {"variant": variant, "protocol": "random", "seed": 0}, "figures": figures}

    def told(gain: float) -> str:
        page = enhanced_gru_report.Report("P1")
        records = [record("base", 0.5, 0.9), record("base-glorot", 0.5, 0.9), record("enhanced-20", 0.5 + gain, 0.7)]
        enhanced_gru_report._claim(page, records)
        return page.page()

    assert "+4.20 points" in told(0.042)
    assert "it holds here" in told(0.042)
    assert "it does not hold here" in told(0.04)
    assert "from 40.0 to 15.8 points: narrower" in told(0.042)
    assert "overfits less than the paper" in told(0.042)


def test_other_data_lie_in_a_package() -> None:
    none = pd.DataFrame({"part": pd.Series([], dtype="object")})
    tasks = enhanced_gru.other_data(none, Path(), 4)
    assert set(tasks) == {"basic-motions", "gunpoint"}
    motions, guns = tasks["basic-motions"], tasks["gunpoint"]
    assert motions.frames.shape == (80, 100, 6)
    assert guns.frames.shape == (200, 150, 1)
    training, test = motions.sides("random", 0)
    assert (len(training), len(test)) == (40, 40)
    assert replace(guns).classes == ("1", "2")
