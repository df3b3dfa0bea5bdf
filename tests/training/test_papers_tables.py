"""The tables of a reproduction's report, cell by cell, and that scaling knows the training clips alone."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("keras")
pytest.importorskip("imblearn")

from training.paper_features import Scaler
from training.reproductions import loopq, lstm_song, smote_2dcnn, tables
from training.reproductions.protocol import Clips, Split
from training.reproductions.study import PaperFigures, Scale

pytestmark = pytest.mark.training
PART = Split("random", 0, np.arange(0, 20), np.arange(20, 30))


def _record(variant, protocol, seed, group="systems", **figures):
    settings = {"variant": variant, "group": group, "protocol": protocol, "seed": seed}
    return {"settings": settings, "figures": {"f1_macro": 0.5, "uar": 0.25, "danger_auc": 0.8} | figures}


def test_the_drop_is_what_is_lost_over_the_seeds_that_both_protocols_have():
    records = [_record("lstm", "random", seed, accuracy=0.7 + seed / 10) for seed in range(3)]
    records += [_record("lstm", "speakers", 2, accuracy=0.5), _record("average", "house", 0, "ensembles", accuracy=0.4)]
    table = tables.systems(records, PaperFigures({"lstm": 0.758}, {"lstm": 0.7}), {"average": ("house",)})
    lstm, average = (dict(zip(table.head, row, strict=True)) for row in table.rows)
    assert (lstm["paper"], lstm["paper, F1 macro"]) == ("75.8", "70.0")
    assert lstm["random"] == "80.0 ± 10.0 (3)"
    assert lstm["drop"] == "40.0"  # of seed 2 alone: the means, which are of other splits, differ by 30
    assert (lstm["house"], lstm["house danger AUC"]) == ("not run", "not run")
    assert (average["random"], average["drop"], average["paper"]) == ("-", "-", "-")
    assert (average["house"], average["house UAR"], average["house danger AUC"]) == ("40.0", "25.0", "0.800")
    records += [_record("lstm", "speakers", 1, accuracy=0.6)]
    assert tables.drop(records, "lstm") == "30.0 ± 14.1 (2)"


def test_the_leak_stands_apart_from_the_easier_test_set():
    before = _record("means-smote-before", "random", 0, accuracy=0.6, synthetic_share=0.25, synthetic_accuracy=0.9)
    before["figures"]["real"] = {"accuracy": 0.5, "uar": 0.45}
    after = _record("means-smote-after", "random", 0, accuracy=0.4)
    assert tables.real_and_made([after]) is None
    first, second = tables.real_and_made([before, after]).rows
    assert first == ("means-smote-before", "60.0", "25.0", "90.0", "50.0", "45.0")
    assert second == ("means-smote-after", "40.0", "0.0", "-", "40.0", "25.0")


def test_a_corpus_that_a_protocol_never_tests_is_told_apart_from_one_that_was_not_run():
    records = [
        _record("lstm", "random", 0, accuracy=1, by_origin={"TESS": 0.9, "SAVEE": 0.5}),
        _record("lstm", "house", 0, accuracy=1, by_origin={"SAVEE": 0.4}),
        _record("savee-fault", "random", 0, "labels", accuracy=1, by_origin={"SAVEE": 0.3}),
    ]
    rows = tables.by_origin(records, PaperFigures({}, by_origin={"lstm": {"TESS": 0.998}})).rows
    assert ("lstm", "TESS", "99.8", "90.0", "not run", "-") in rows
    assert ("lstm", "SAVEE", "-", "50.0", "not run", "40.0") in rows
    assert ("savee-fault", "SAVEE", "-", "30.0", "not run", "not run") in rows


def test_what_each_change_does_stands_beside_the_papers_figure():
    told = {"history": {}, "training_accuracy": 0.99, "accuracy": 0.6, "gap": 0.39, "best_epoch_accuracy": 0.65}
    table = tables.overfitting([_record("no-mel", "random", 0, "features", **told)], PaperFigures({"no-mel": 0.62}))
    assert table.rows == (("features", "no-mel", "-", "99.0", "62.0", "60.0", "39.0", "65.0"),)


def _loud(frames):
    """The same clips, those of the test side much louder."""
    changed = [np.array(clip) for clip in frames]
    for row in PART.test:
        changed[row] = changed[row] * 50 + 7
    return changed if isinstance(frames, list) else np.stack(changed)


def _training_inputs(study, name, frames):
    for where, clips in frames.items():
        setattr(study, where, clips)
    inputs = study.inputs(next(one for one in study.variants() if one.name == name), PART)
    return np.asarray(inputs)[PART.training]


@pytest.mark.parametrize(
    ("kind", "name", "where", "shape"),
    [
        (lstm_song.LstmSong, "lstm", "frames", None),
        (smote_2dcnn.Smote2dCnn, "means", "means", (30, 120)),
        (smote_2dcnn.Smote2dCnn, "arrays", "arrays", (30, 31, 120)),
        (loopq.LoopQ, "cnn1d-lstm", "columns", (30, 63, 116)),
        (loopq.LoopQ, "cnn2d-lstm", "columns", (30, 63, 116)),
    ],
)
def test_scaling_knows_nothing_of_the_test_clips(kind, name, where, shape):
    generator = np.random.default_rng(0)
    songs = [generator.normal(3, 2, (n + 5, 32)).astype(np.float32) for n in range(30)]
    frames = songs if shape is None else generator.normal(3, 2, shape).astype(np.float32)
    study = kind(Scale(seeds=1))
    quiet = _training_inputs(study, name, {where: frames})
    np.testing.assert_array_equal(_training_inputs(study, name, {where: _loud(frames)}), quiet)
    if shape is not None:
        assert abs(quiet[quiet != 0].mean()) < 0.01


@pytest.mark.parametrize("order", ["after", "before"])
def test_smotes_clips_are_scaled_by_what_is_learned_from(monkeypatch, order):
    class _SeenError(Exception):
        pass

    generator = np.random.default_rng(1)
    labels = np.array(["angry", "sad", "sad", "neutral", "happy"])[np.arange(30) % 5]
    table = pd.DataFrame({"label": labels, "corpus": "CREMA-D", "speaker": "CREMA-D/1001", "path": np.arange(30)})
    study = smote_2dcnn.Smote2dCnn(Scale(seeds=1))
    study.means = generator.normal(3, 2, (30, 120)).astype(np.float32)
    fitted, sides = [], []

    def noted(clips):
        fitted.append(np.array(clips))
        return Scaler(np.zeros(120, np.float32), np.ones(120, np.float32))

    def stop(_, training, test, *__):
        sides.append((training[0], test[0]))
        raise _SeenError

    monkeypatch.setattr(smote_2dcnn.Scaler, "fit", noted)
    monkeypatch.setattr(smote_2dcnn, "train", stop)
    variant = next(one for one in study.variants() if one.name == f"means-smote-{order}")
    with pytest.raises(_SeenError):
        study.work(variant, Clips(table, smote_2dcnn.CLASSES), PART)
    assert len(fitted) == 1
    learnt, heard = sides[0]
    np.testing.assert_array_equal(smote_2dcnn.filled(fitted[0]), learnt)
    together = {one.tobytes() for one in learnt} & {one.tobytes() for one in heard}
    assert not together
