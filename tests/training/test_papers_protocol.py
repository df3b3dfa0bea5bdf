"""What the reproductions share: splits that keep voices apart, scores counted by hand, runs that resume."""

import json

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("keras")
pytest.importorskip("imblearn")

from hypothesis import given, settings
from hypothesis import strategies as st

from device.errors import BadDataError, MissingInputError, UsageError
from training.reproductions import lstm_song, smote_2dcnn
from training.reproductions.oversampling import oversample
from training.reproductions.protocol import PROTOCOLS, Clips, Planned, choose, figures_of, score, split
from training.reproductions.runs import RunFolder, picked
from training.reproductions.study import thinned

pytestmark = pytest.mark.training


def _table(corpora, each=3, labels=("angry", "happy", "sad", "neutral")):
    """An index: each speaker of each corpus says each label `each` times."""
    rows = [
        {
            "path": f"{corpus}/{speaker}/{label}{n}.wav",
            "corpus": corpus,
            "speaker": f"{corpus}/{speaker}",
            "emotion": label,
            "label": label,
            "keyword": "",
            "source": "",
            "part": "speech",
        }
        for corpus, speakers in corpora.items()
        for speaker in speakers
        for label in labels
        for n in range(each)
    ]
    return pd.DataFrame(rows)


def _clips(corpora, **more):
    table = _table(corpora, **more)
    return Clips(table, tuple(dict.fromkeys(table["label"])))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0.05, 0.6))
def test_no_speaker_stands_on_both_sides_of_the_speakers_protocol(seed, share):
    clips = _clips({"A": list("abcdefgh"), "B": list("ijkl"), "TESS": ["OAF", "YAF"]}, each=1)
    part = split(clips, "speakers", share, seed)
    speakers = clips.table["speaker"].to_numpy()
    assert not set(speakers[part.training]) & set(speakers[part.test])
    assert sorted([*part.training, *part.test]) == list(range(len(speakers)))
    # Every corpus with more than two speakers is tested; of two women none can be spared.
    assert set(clips.table["corpus"].iloc[part.test]) == {"A", "B"}


def test_the_random_protocol_mixes_speakers_and_keeps_proportions():
    clips = _clips({"A": list("abcdefgh")}, each=5)
    part = split(clips, "random", 0.2, 0)
    speakers = clips.table["speaker"].to_numpy()
    assert set(speakers[part.test]) <= set(speakers[part.training])
    assert np.bincount(clips.labels[part.test]).tolist() == [8, 8, 8, 8]


def test_the_house_protocol_tests_this_projects_held_out_actors():
    clips = _clips({"RAVDESS": ["01", "02", "03", "10"]})
    part = split(clips, "house", 0.4, 0)
    assert set(clips.table["speaker"].iloc[part.test]) == {"RAVDESS/03", "RAVDESS/10"}


def test_a_protocol_without_anybody_to_test_or_a_class_to_learn_says_so():
    with pytest.raises(BadDataError, match="house: none of the speakers"):
        split(_clips({"RAVDESS": ["01", "02"]}), "house", 0.4, 0)
    table = _table({"RAVDESS": ["01", "03"]})
    lost = table[(table["speaker"] == "RAVDESS/03") | (table["label"] != "sad")].reset_index(drop=True)
    with pytest.raises(BadDataError, match="house: no clip of sad is left to learn from"):
        split(Clips(lost, ("angry", "happy", "sad", "neutral")), "house", 0.4, 0)


def test_missing_and_half_corpora_are_named():
    table = _table({"CREMA-D": ["1001"]})
    classes = ("angry", "happy", "sad", "neutral")
    half, missing = choose(table, classes, {"CREMA-D": 7442, "TESS": 12, "SAVEE": 480}).lacks[::2]
    assert half.startswith("CREMA-D: 12 of its 7,442 clips are here")
    assert missing.startswith("SAVEE is not here")
    assert not choose(table, classes, {"CREMA-D": 12}).lacks
    with pytest.raises(BadDataError, match=r"no clip of sad.*only half there"):
        choose(table[table["label"] != "sad"], classes, {"CREMA-D": 12})
    with pytest.raises(MissingInputError, match="none of CREMA-D"):
        choose(table[:0], classes, {"CREMA-D": 12})


def test_scores_by_hand():
    truth = np.array([0, 0, 0, 1, 1, 2])
    probabilities = np.eye(3)[[0, 0, 1, 1, 1, 0]] * 0.7 + 0.1
    figures = figures_of(truth, probabilities, ("angry", "happy", "sad"))
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["uar"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert figures["confusion"] == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert figures["classes"]["happy"]["precision"] == pytest.approx(2 / 3)
    # A pair of a dangerous and a calm clip counts 1 when ranked rightly and a half on a tie.
    danger = probabilities[:, 0]
    pairs = [(d > c) + 0.5 * (d == c) for d in danger[:3] for c in danger[3:]]
    assert figures["danger_auc"] == pytest.approx(sum(pairs) / 9)


def test_surprise_stays_out_of_danger_and_one_side_gives_none():
    names = ("angry", "surprise")
    assert figures_of(np.array([0, 1]), np.eye(2), names)["danger_auc"] is None


def test_score_tells_accuracy_by_origin():
    clips = _clips({"A": ["a"], "B": ["b"]}, each=1)
    probabilities = np.eye(4)[[0, 1, 2, 3, 1, 1, 1, 1]]
    told = score(clips, np.arange(8), probabilities)
    assert told["by_origin"] == {"A": 1.0, "B": 0.25}
    assert told["test_speakers"] == 2


def test_smote_makes_classes_equal_from_neighbours_of_the_same_class():
    generator = np.random.default_rng(0)
    examples = np.concatenate([generator.normal(0, 1, (30, 4)), generator.normal(50, 1, (5, 4))])
    labels = np.array([0] * 30 + [1] * 5)
    more = oversample(examples.astype(np.float32), labels, ("calm", "angry"), 0)
    assert np.bincount(more.labels).tolist() == [30, 30]
    assert more.neighbours == 4  # five examples have four neighbours each
    np.testing.assert_array_equal(more.examples[:35], examples.astype(np.float32))
    made = more.examples[more.synthetic]
    assert len(made) == 25
    low, high = examples[30:].min(axis=0), examples[30:].max(axis=0)
    assert ((made >= low - 1e-3) & (made <= high + 1e-3)).all()


def test_smote_refuses_a_class_with_one_example_and_names_it():
    with pytest.raises(BadDataError, match="class angry has one example"):
        oversample(np.zeros((4, 2), np.float32), np.array([0, 0, 0, 1]), ("calm", "angry"), 0)


def test_smote_keeps_the_shape_of_arrays():
    arrays = np.random.default_rng(1).normal(size=(8, 3, 2)).astype(np.float32)
    more = oversample(arrays, np.array([0] * 6 + [1] * 2), ("calm", "angry"), 0)
    assert more.examples.shape == (12, 3, 2)


def test_songs_are_six_classes_with_calm_apart():
    table = _table({"RAVDESS": ["01"]}, labels=("angry", "happy", "sad", "neutral", "fear"))
    calm = table[table["emotion"] == "neutral"].assign(keyword="calm", path=lambda t: t["path"] + "c")
    table = pd.concat([table, calm], ignore_index=True).assign(part="song")
    speech = table.assign(part="speech", path=table["path"] + "s")
    clips = lstm_song.select(pd.concat([table, speech], ignore_index=True).drop(columns="label"))
    assert len(clips.table) == len(table)
    assert clips.table["label"].value_counts()["calm"] == 3
    assert clips.classes == ("neutral", "calm", "happy", "sad", "angry", "fear")


def test_the_stand_in_has_iemocaps_proportions_and_is_called_one():
    clips = smote_2dcnn.select(_table({"CREMA-D": [str(n) for n in range(40)]}).drop(columns="label"))
    counts = clips.table["label"].value_counts()
    for name, count in smote_2dcnn.IEMOCAP_COUNTS.items():
        assert counts[name] / counts["neutral"] == pytest.approx(count / 1708, abs=0.01)
    assert clips.notes[0].startswith("STAND-IN")


def test_iemocap_is_taken_where_it_is():
    table = _table({"CREMA-D": ["1001"], "IEMOCAP": ["Ses01F", "Ses01M"]})
    clips = smote_2dcnn.select(table.drop(columns="label"))
    assert set(clips.table["corpus"]) == {"IEMOCAP"}
    assert not any(note.startswith("STAND-IN") for note in clips.notes)


def test_thinning_keeps_speakers_and_proportions():
    clips = _clips({"A": list("abcdef")}, each=4)
    table = clips.table
    some = thinned(Clips(table[(table["label"] != "sad") | (table["path"].str.contains("sad0"))], clips.classes), 12)
    assert some.table["label"].value_counts().to_dict() == {"angry": 12, "happy": 12, "neutral": 12, "sad": 4}
    assert some.table[some.table["label"] == "angry"]["speaker"].nunique() == 6


def test_thinning_leaves_no_corpus_and_no_side_out():
    clips = _clips({"CREMA-D": [str(n) for n in range(1001, 1041)], "RAVDESS": ["01", "02", "03", "04"]}, each=2)
    some = thinned(clips, 16)
    kept = some.table.groupby(["label", "corpus"]).size()
    assert len(kept) == 8
    assert kept.min() >= 2
    for protocol in PROTOCOLS:
        part = split(some, protocol, 0.4, 0)
        assert set(some.table["corpus"].iloc[part.test]) == {"CREMA-D", "RAVDESS"}, protocol


def _planned(calls, name="one", **settings_of_run):
    def work():
        calls.append(name)
        return {"accuracy": 0.5}, {"rows": np.arange(3)}

    return Planned(name, {"epochs": 2, **settings_of_run}, work)


def test_a_finished_run_is_read_and_an_unfinished_one_made(tmp_path):
    calls = []
    first = RunFolder(tmp_path, "lstm-song", "abc")
    list(first.make([_planned(calls)]))
    again = RunFolder(tmp_path, "lstm-song", "abc")
    records = list(again.make([_planned(calls), _planned(calls, "two")]))
    assert calls == ["one", "two"]
    assert [record["figures"] for record in records] == [{"accuracy": 0.5}] * 2
    np.testing.assert_array_equal(again.arrays("one")["rows"], [0, 1, 2])


def test_a_run_with_other_settings_is_made_again(tmp_path):
    calls = []
    runs = RunFolder(tmp_path, "lstm-song", "abc")
    list(runs.make([_planned(calls)]))
    list(runs.make([_planned(calls, epochs=50)]))
    assert calls == ["one", "one"]
    assert runs.records()[0]["settings"]["epochs"] == 50


def test_a_killed_run_leaves_nothing_that_counts_as_finished(tmp_path):
    def killed():
        raise KeyboardInterrupt

    runs = RunFolder(tmp_path, "lstm-song", "abc")
    with pytest.raises(KeyboardInterrupt):
        list(runs.make([Planned("one", {}, killed)]))
    assert runs.records() == []


def test_the_folder_of_another_index_or_reproduction_is_refused(tmp_path):
    RunFolder(tmp_path, "lstm-song", "abc")
    with pytest.raises(BadDataError, match=r"holds runs of lstm-song on clips abc.*name another folder"):
        RunFolder(tmp_path, "lstm-song", "abd")
    with pytest.raises(BadDataError, match="holds runs of lstm-song"):
        RunFolder(tmp_path, "loopq", "abc")


def test_runs_are_picked_by_name_in_their_order():
    planned = [_planned([], name) for name in ("random-lstm-0", "house-lstm-0", "random-conv1d-0", "random-lstm-1")]
    assert picked(planned, ()) == planned
    assert [run.name for run in picked(planned, ["*-conv1d-0", "random-lstm-?"])] == [
        "random-lstm-0",
        "random-conv1d-0",
        "random-lstm-1",
    ]
    with pytest.raises(UsageError, match=r"--only random-gru\* fits none of the 4 runs.*random-lstm-0"):
        picked(planned, ["random-lstm-0", "random-gru*"])


def test_a_run_that_is_made_of_a_missing_one_names_it(tmp_path):
    with pytest.raises(MissingInputError, match=r"run random-fused-0 first"):
        RunFolder(tmp_path, "loopq", "abc").arrays("random-fused-0")


def test_a_broken_record_is_named(tmp_path):
    calls = []
    runs = RunFolder(tmp_path, "lstm-song", "abc")
    list(runs.make([_planned(calls)]))
    path = tmp_path / "runs" / "one.json"
    path.write_text(json.dumps({"settings": 1})[:-3])
    with pytest.raises(BadDataError, match=r"one\.json can't be read"):
        list(runs.make([_planned(calls)]))
