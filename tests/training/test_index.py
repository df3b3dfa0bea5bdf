"""Loaders on small made trees, and what the index says of a tree that is not as it should be."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from device.errors import BadDataError, MissingInputError
from tests.training.made_corpora import EMPTY_SHA224, make, noise
from training import index
from training.corpora import CORPORA, nemo
from training.corpora.clip import LABELS

pytestmark = pytest.mark.training


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTCRY_CACHE", str(tmp_path / "cache"))


def _clips(root: Path) -> pd.DataFrame:
    return index.build_index(root, progress=False).set_index("path")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("CREMA-D/AudioWAV/1015_DFA_ANG_XX.wav", ("CREMA-D/1015", "male", "en", "angry", "")),
        ("CREMA-D/AudioWAV/1021_IEO_FEA_HI.flac", ("CREMA-D/1021", "female", "en", "fear", "high")),
        (
            "RAVDESS/Audio_Speech_Actors_01-24/Actor_03/03-01-06-02-01-01-03.wav",
            ("RAVDESS/03", "male", "en", "fear", "strong"),
        ),
        (
            "RAVDESS/Audio_Speech_Actors_01-24/Actor_03/03-01-02-01-01-01-03.wav",
            ("RAVDESS/03", "male", "en", "neutral", "normal"),
        ),
        (
            "RAVDESS/Audio_Song_Actors_01-24/Actor_10/03-02-05-02-01-01-10.wav",
            ("RAVDESS/10", "female", "en", "angry", "strong"),
        ),
        (
            "RAVDESS/Audio_Song_Actors_01-24/Actor_10/03-02-08-01-01-01-10.wav",
            ("RAVDESS/10", "female", "en", "surprise", "normal"),
        ),
        ("TESS/OAF_fear/OAF_back_fear.wav", ("TESS/OAF", "female", "en", "fear", "")),
        ("TESS/OAF_fear/OA_bite_neutral.wav", ("TESS/OAF", "female", "en", "neutral", "")),
        ("TESS/YAF_surprise/YAF_back_ps.wav", ("TESS/YAF", "female", "en", "surprise", "")),
        ("SAVEE/ALL/JE_a01.wav", ("SAVEE/JE", "male", "en", "angry", "")),
        ("SAVEE/ALL/JE_sa01.wav", ("SAVEE/JE", "male", "en", "sad", "")),
        ("SAVEE/ALL/DC_su02.wav", ("SAVEE/DC", "male", "en", "surprise", "")),
        ("EMO-DB/wav/09a01Wb.wav", ("EMO-DB/09", "female", "de", "angry", "")),
        ("EMO-DB/wav/15b02Lc.wav", ("EMO-DB/15", "male", "de", "boredom", "")),
        ("nEMO/samples/MP0_anger_1.wav", ("nEMO/MP0", "male", "pl", "angry", "")),
        ("nEMO/samples/MK0_surprised_2.wav", ("nEMO/MK0", "", "pl", "surprise", "")),
        ("ASED/05Angry/a5-01-02-02-07.wav", ("ASED/07", "female", "am", "angry", "")),
        ("ASED/04Sad/S4-04-02-01-07.wav", ("ASED/07", "female", "am", "sad", "")),
        (
            "IEMOCAP/Session5/sentences/wav/Ses05F_impro01/Ses05F_impro01_F000.wav",
            ("IEMOCAP/Ses05F", "female", "en", "fear", ""),
        ),
        (
            "IEMOCAP/Session5/sentences/wav/Ses05F_impro01/Ses05F_impro01_M001.wav",
            ("IEMOCAP/Ses05M", "male", "en", "happy", ""),
        ),
        (
            "IEMOCAP/Session5/sentences/wav/Ses05F_impro01/Ses05F_impro01_M002.wav",
            ("IEMOCAP/Ses05M", "male", "en", "", ""),
        ),
        (
            "IEMOCAP/Session1/sentences/wav/Ses01M_script01_1/Ses01M_script01_1_F003.wav",
            ("IEMOCAP/Ses01F", "female", "en", "other", ""),
        ),
        ("TORGO/F03/Session1/wav_headMic/0001.wav", ("TORGO/F03", "female", "en", "neutral", "")),
        ("TORGO/MC01/Session2/wav_arrayMic/0002.wav", ("TORGO/MC01", "male", "en", "neutral", "")),
        ("Screams/scream/damm_1.wav", ("", "", "", "scream", "")),
        ("Screams/other/clnsp1.wav", ("", "", "", "background", "")),
        ("Nonverbal/screaming/2CVI_15_11_0_15_0_0_0.wav", ("Nonverbal/2CVI", "", "", "scream", "")),
        ("Nonverbal/yawning/3JO1_5_12_0_23_0_0_0.wav", ("Nonverbal/3JO1", "", "", "background", "")),
        (
            "Speech/prompts/es_MX_f_Allison/auth-thankyou.wav",
            ("Speech/Allison", "female", "es", "neutral", ""),
        ),
        ("Speech/wakewords/heycomputer/es/heycomputer-es-258d487d.wav", ("", "", "es", "neutral", "")),
        ("Own/anna/afraid/kitchen.wav", ("Own/anna", "", "", "fear", "")),
        ("Own/anna/calm/kitchen2.wav", ("Own/anna", "", "", "neutral", "")),
    ],
)
def test_what_a_name_means(whole_tree: pd.DataFrame, path: str, fields: tuple[str, ...]) -> None:
    told = whole_tree.loc[path, ["speaker", "sex", "language", "emotion", "intensity"]]
    assert tuple(told) == fields


@pytest.fixture(scope="module")
def whole_tree(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    root = make(tmp_path_factory.mktemp("corpora"))
    patch = pytest.MonkeyPatch()
    patch.setenv("OUTCRY_CACHE", str(tmp_path_factory.mktemp("cache")))
    clips, problems = index.build(root, progress=False)
    patch.undo()
    assert problems.empty, problems.to_string()
    assert set(clips["corpus"]) == set(CORPORA)
    assert set(clips["emotion"]) <= set(LABELS)
    assert clips["duration_s"].to_numpy() == pytest.approx(0.4)
    return clips.set_index("path")


@pytest.mark.parametrize(
    ("name", "emotion", "environment"),
    [
        (f"help-safe-calm-20190709085918-{EMPTY_SHA224}", "neutral", ""),
        (f"help-scream-fearful-20190709085919-{EMPTY_SHA224}", "scream", "scream"),
        (f"background-scream-None-20190709085920-{EMPTY_SHA224}", "scream", "scream"),
        (f"background-safe-calm-1561964985.253338-{EMPTY_SHA224}", "background", ""),
        (f"no-scream-calm-20190709085922_copy-{EMPTY_SHA224}", "neutral", "scream"),
        ("bacho-glass_break-fearful-20190709085923-0123abcd", "fear", "glass_break"),
    ],
)
def test_calls_for_help(whole_tree: pd.DataFrame, name: str, emotion: str, environment: str) -> None:
    clip = whole_tree.loc[f"EmoSpeech-Command/House/{name}.wav"]
    assert (clip["emotion"], clip["environment"]) == (emotion, environment)
    assert clip["speaker"] == ("" if name.endswith(EMPTY_SHA224) else "EmoSpeech-Command/0123abcd")


def test_votes_are_shares_in_the_order_of_the_emotions(whole_tree: pd.DataFrame) -> None:
    tie = whole_tree.loc["CREMA-D/AudioWAV/1015_DFA_ANG_XX.wav", "votes"]
    assert list(tie) == [0.5, 0.5, 0, 0, 0, 0]
    assert list(whole_tree.loc["CREMA-D/AudioWAV/1021_IEO_FEA_HI.flac", "votes"]) == [0, 0, 1, 0, 0, 0]
    assert whole_tree.loc["CREMA-D/AudioWAV/1001_TIE_NEU_XX.wav", "votes"] is None


def test_a_recording_that_was_cut_keeps_its_source(whole_tree: pd.DataFrame) -> None:
    sources = whole_tree["source"]
    assert sources["Screams/scream/damm_0.wav"] == sources["Screams/scream/damm_1.wav"] == "Screams/damm"
    assert sources["Screams/scream/femaleScream-002.wav"] == "Screams/femaleScream-002"
    cuts = [
        "Background/ESC-10/001_-_Dog_bark/2-118072-A.wav",
        "Background/ESC-10/001_-_Dog_bark/3-118072-B.wav",
    ]
    assert sources[cuts].nunique() == 1


def test_prompts_and_microphones_of_torgo(whole_tree: pd.DataFrame) -> None:
    clip = whole_tree.loc["TORGO/F03/Session1/wav_headMic/0001.wav"]
    assert (clip["keyword"], clip["part"], clip["environment"]) == ("stick", "dysarthric", "headMic")
    assert whole_tree.loc["TORGO/MC01/Session2/wav_arrayMic/0002.wav", "part"] == "control"


def test_exact_zeros_around_a_clip_are_measured(tmp_path: Path) -> None:
    make(tmp_path, ("ASED",))
    padded = np.concatenate([np.zeros(1600, np.int16), noise(9), np.zeros(16000, np.int16)])
    soundfile.write(tmp_path / "ASED/05Angry/a5-02-01-02-02.wav", padded, 16000, subtype="PCM_16")
    clip = _clips(tmp_path).loc["ASED/05Angry/a5-02-01-02-02.wav"]
    assert clip["start_s"] == pytest.approx(0.1, abs=1e-3)
    assert clip["end_s"] == pytest.approx(0.5, abs=1e-3)
    assert clip["duration_s"] == pytest.approx(1.5)


def test_problems_are_listed_and_skipped(tmp_path: Path) -> None:
    make(tmp_path, ("CREMA-D", "RAVDESS"))
    sounds = tmp_path / "CREMA-D/AudioWAV"
    (sounds / "1002_DFA_ANG_XX.wav").write_bytes(b"RIFF no sound")
    soundfile.write(sounds / "1003_DFA_ANG_XX.wav", np.zeros(8000, np.int16), 16000)
    soundfile.write(sounds / "1004_DFA_ANG_XX.wav", np.full(8000, 3, np.int16), 16000)
    soundfile.write(sounds / "1004_DFA_JOY_XX.wav", noise(1), 16000)
    soundfile.write(sounds / "notes.wav", noise(2), 16000)
    soundfile.write(sounds / "1076_MTI_SAD_XX.wav", noise(3), 16000)
    soundfile.write(sounds / "1005_DFA_ANG_XX.wav", noise(4), 16000)
    soundfile.write(sounds / "1005_DFA_ANG_HI.wav", noise(4), 16000)
    soundfile.write(sounds / "1006_DFA_ANG_XX.wav", noise(5), 16000)
    soundfile.write(sounds / "1006_DFA_SAD_XX.wav", noise(5), 16000)
    clips, problems = index.build(tmp_path, progress=False)
    told = {Path(row.path).stem: (row.kind, row.detail) for row in problems.itertuples()}
    assert told["1002_DFA_ANG_XX"][0] == "broken"
    assert told["1003_DFA_ANG_XX"] == ("zeros", "all zeros")
    assert told["1004_DFA_ANG_XX"] == ("zeros", "silent: -81 dBFS")
    assert told["1004_DFA_JOY_XX"][0] == "unknown label"
    assert "'JOY'" in told["1004_DFA_JOY_XX"][1]
    assert told["notes"] == ("unknown label", "not a name that CREMA-D has")
    assert told["1076_MTI_SAD_XX"] == ("left out", "all zeros")
    assert told["1005_DFA_ANG_XX"] == ("double", "the same sound as CREMA-D/AudioWAV/1005_DFA_ANG_HI.wav")
    assert told["1006_DFA_ANG_XX"] == (
        "two labels",
        "the same sound as CREMA-D/AudioWAV/1006_DFA_SAD_XX.wav (sad)",
    )
    assert told["1006_DFA_SAD_XX"] == (
        "two labels",
        "the same sound as CREMA-D/AudioWAV/1006_DFA_ANG_XX.wav (angry)",
    )
    assert len(told) == 9
    assert len(clips) == 4 + 4 + 1
    assert not set(clips["path"]) & set(problems["path"])


def test_one_name_with_two_suffixes_is_a_double(tmp_path: Path) -> None:
    make(tmp_path, ("EMO-DB",))
    soundfile.write(tmp_path / "EMO-DB/wav/03a01Fa.flac", noise(77), 16000)
    clips, problems = index.build(tmp_path, progress=False)
    assert list(problems["kind"]) == ["double"]
    assert clips["path"].str.startswith("EMO-DB/wav/03a01Fa").sum() == 1


def test_a_corpus_in_another_layout_is_one_line(tmp_path: Path) -> None:
    make(tmp_path, ("SAVEE",))
    (tmp_path / "nEMO").mkdir()
    soundfile.write(tmp_path / "nEMO" / "clip1.wav", noise(1), 16000)
    with pytest.raises(BadDataError, match="nEMO: none of its 1 files is named and laid out as nEMO's are") as told:
        index.build(tmp_path, progress=False)
    assert "\n" not in str(told.value)


def test_a_folder_that_no_loader_reads_is_told(tmp_path: Path) -> None:
    make(tmp_path, ("SAVEE",))
    for name in ("FAU-Aibo", "Rooms", "nEMO"):
        (tmp_path / name).mkdir()
    clips, problems = index.build(tmp_path, progress=False)
    assert set(clips["corpus"]) == {"SAVEE"}
    assert problems[["path", "kind"]].to_numpy().tolist() == [["FAU-Aibo", "unknown folder"]]


def test_no_corpus_at_all(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="none of the folders CREMA-D"):
        index.build(tmp_path, progress=False)
    with pytest.raises(MissingInputError, match="no folder"):
        index.build(tmp_path / "nowhere", progress=False)


def test_the_index_is_kept_until_the_tree_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, ("EMO-DB", "SAVEE"))
    first = index.build_index(tmp_path, progress=False)
    heard: list[Path] = []
    reader = index.read_samples
    monkeypatch.setattr(index, "read_samples", lambda path: heard.append(path) or reader(path))
    again = index.build_index(tmp_path, progress=False)
    pd.testing.assert_frame_equal(again, first)
    assert heard == []
    soundfile.write(tmp_path / "SAVEE/ALL/KL_a01.wav", noise(5), 16000)
    grown = index.build_index(tmp_path, progress=False)
    assert len(grown) == len(first) + 1
    assert {path.parts[-3] for path in heard} == {"SAVEE"}  # EMO-DB was not heard again
    assert index.index_hash(grown) != index.index_hash(first)


def test_an_edited_table_of_labels_is_read_again(tmp_path: Path) -> None:
    make(tmp_path, ("nEMO",))
    assert set(index.build(tmp_path, progress=False)[0]["sex"]) == {"male", ""}
    table = tmp_path / "nEMO/data.tsv"
    table.write_text(table.read_text().replace("\tmale", "\tmxle"))  # as long as before
    nemo._sexes.cache_clear()  # as in another process
    assert set(index.build(tmp_path, progress=False)[0]["sex"]) == {"mxle", ""}


def test_the_index_hash_depends_on_what_is_said_not_where(tmp_path: Path) -> None:
    make(tmp_path / "a", ("EMO-DB",))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    one, other = (index.build_index(tmp_path / name, progress=False) for name in "ab")
    assert index.index_hash(one) == index.index_hash(other)
    assert index.index_hash(one) != index.index_hash(one.assign(emotion="sad"))
