"""No speaker on two sides, whatever the index; the papers' protocol says that it has no such promise."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.errors import UsageError
from training import splits
from training.corpora.clip import LABELS

pytestmark = pytest.mark.training

KNOWN = [
    f"{corpus}/{name}"
    for corpus, sides in splits.HELD_OUT.items()
    for names in sides.values()
    for name in names
]
OWNERS = [*KNOWN, "CREMA-D/1001", "TESS/OAF", "SAVEE/DC", "Own/anna", "Own/ben", "Nonverbal/2CVI", ""]


@st.composite
def indexes(draw: st.DrawFn) -> pd.DataFrame:
    owners = draw(st.lists(st.sampled_from(OWNERS), min_size=12, max_size=80))
    rows = []
    for number, speaker in enumerate(owners):
        corpus = (
            speaker.split("/")[0] if speaker else draw(st.sampled_from(["Background", "Speech", "Screams"]))
        )
        source = "" if speaker else draw(st.sampled_from(["", f"{corpus}/a", f"{corpus}/b"]))
        emotion = draw(st.sampled_from(LABELS))
        rows.append((f"{corpus}/{number}.wav", corpus, speaker, source, emotion))
    return pd.DataFrame(rows, columns=["path", "corpus", "speaker", "source", "emotion"])


def _crossing(clips: pd.DataFrame, part: pd.Series) -> list[str]:
    sides = part.groupby(splits.group(clips)).nunique()
    return list(sides[sides > 1].index)


@settings(max_examples=60, deadline=None)
@given(indexes(), st.integers(0, 4), st.integers(0, 99))
def test_no_speaker_crosses(clips: pd.DataFrame, fold: int, seed: int) -> None:
    parts = [splits.speaker_independent(clips)]
    parts += [splits.leave_one_corpus_out(clips, corpus) for corpus in set(clips["corpus"])]
    if splits.group(clips).nunique() >= 5:
        parts.append(splits.grouped_kfold(clips, fold, seed=seed))
    for part in parts:
        assert set(part) <= set(splits.NAMES)
        assert len(part) == len(clips)
        assert _crossing(clips, part) == []


@settings(max_examples=30, deadline=None)
@given(indexes())
def test_the_default_depends_on_names_alone(clips: pd.DataFrame) -> None:
    whole = splits.speaker_independent(clips)
    half = clips.sample(frac=0.5, random_state=1)
    pd.testing.assert_series_equal(splits.speaker_independent(half), whole[half.index])


def _index(owners: list[str], emotions: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": [f"{n}.wav" for n in range(len(owners))],
            "corpus": [owner.split("/")[0] for owner in owners],
            "speaker": owners,
            "source": "",
            "emotion": emotions,
        }
    )


def test_the_validation_speakers_of_the_corpora(tmp_path: object) -> None:
    owners = [
        "CREMA-D/1015",
        "CREMA-D/1021",
        "CREMA-D/1001",
        "RAVDESS/03",
        "RAVDESS/10",
        "TESS/OAF",
        "nEMO/MP0",
    ]
    part = splits.speaker_independent(_index(owners, ["sad"] * 7))
    assert list(part) == ["validation", "test", "train", "validation", "test", "train", "validation"]
    cremad = splits.HELD_OUT["CREMA-D"]
    assert sorted(cremad["validation"] + cremad["test"]) == [
        "1015",
        "1020",
        "1021",
        "1030",
        "1050",
        "1070",
        "1079",
        "1089",
        "1090",
    ]


def test_the_papers_protocol_keeps_proportions_and_crosses() -> None:
    clips = _index(["CREMA-D/1001"] * 100, ["sad"] * 60 + ["angry"] * 40)
    part = splits.random_stratified(clips, validation=0.2, test=0.25, seed=3)
    counts = clips.groupby([part, "emotion"]).size()
    assert counts.to_dict() == {
        ("test", "angry"): 10,
        ("test", "sad"): 15,
        ("train", "angry"): 22,
        ("train", "sad"): 33,
        ("validation", "angry"): 8,
        ("validation", "sad"): 12,
    }
    assert _crossing(clips, part) == ["CREMA-D/1001"]
    assert (part == splits.random_stratified(clips, validation=0.2, test=0.25, seed=3)).all()
    assert (part != splits.random_stratified(clips, validation=0.2, test=0.25, seed=4)).any()


def test_every_fold_tests_once() -> None:
    clips = _index([f"CREMA-D/{1000 + n % 17}" for n in range(170)], ["sad", "angry"] * 85)
    tested = [splits.split(clips, f"fold:{fold}/5") == "test" for fold in range(5)]
    assert sum(part.astype(int) for part in tested).eq(1).all()


def test_a_corpus_left_out_is_all_test() -> None:
    clips = _index(["CREMA-D/1021", "EMO-DB/03", "EMO-DB/09", "CREMA-D/1001"], ["sad"] * 4)
    assert list(splits.split(clips, "without:EMO-DB")) == ["validation", "test", "test", "train"]


@pytest.mark.parametrize(
    ("protocol", "line"),
    [
        ("speaker", "no split 'speaker'"),
        ("fold:5", "no split 'fold:5'"),
        ("fold:5/5", "fold 5 of 5"),
        ("fold:0/9", "do not make 9 folds"),
        ("without:FAU", "no corpus 'FAU' here to leave out; there are CREMA-D"),
    ],
)
def test_a_split_that_can_not_be_is_one_line(protocol: str, line: str) -> None:
    clips = _index(["CREMA-D/1021", "CREMA-D/1001"], ["sad", "angry"])
    with pytest.raises(UsageError, match=line):
        splits.split(clips, protocol)
