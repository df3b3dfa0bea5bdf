"""`python -m training reproduce` from end to end: on small made trees, and on a slice of the real songs."""

import json
import re
import shutil
import zlib

import keras
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

pytest.importorskip("imblearn")

from device.errors import BadDataError, MissingInputError, OutcryError
from training.judging import floats
from training.networks import conv1d, paper_gru
from training.paper_features import SONG, frames_of
from training.places import HOME
from training.reproductions import fitting, footprint, loopq, lstm_song, others, ours
from training.reproductions.command import reproduce
from training.reproductions.fitting import Recipe
from training.reproductions.protocol import PROTOCOLS, Clips, Split
from training.reproductions.smote_2dcnn import Smote2dCnn, SmoteVariant
from training.reproductions.study import Scale, Variant
from training.runs import Run, load_recipe
from training.train import DangerRecipe

pytestmark = pytest.mark.training
RATE = 16000
EMOTION = {"01": 150, "02": 180, "03": 400, "04": 220, "05": 700, "06": 1000}
"""A pitch for each emotion of the made songs, so that there is something to learn."""


def _sing(path, pitch_hz, seed):
    generator = np.random.default_rng(seed)
    t = np.arange(int(0.4 * RATE)) / RATE
    sound = 0.3 * np.sin(2 * np.pi * pitch_hz * t) + 0.02 * generator.normal(size=len(t))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, RATE, subtype="PCM_16")


@pytest.fixture
def songs(tmp_path, monkeypatch):
    """RAVDESS songs of four actors, two of them this project's held-out ones."""
    monkeypatch.setenv("OUTCRY_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "corpora"
    for actor in ("01", "02", "03", "10"):
        for emotion, pitch in EMOTION.items():
            for take in ("01", "02"):
                name = f"03-02-{emotion}-01-{take}-01-{actor}.wav"
                folder = root / "RAVDESS" / "Audio_Song_Actors_01-24" / f"Actor_{actor}"
                _sing(folder / name, pitch, int(actor + take + emotion))
    return root


def _small():
    """Two small networks in the place of the paper's: what is tested is everything around them."""
    small = lambda: conv1d.build(lstm_song.FRAMES, 32, 6, filters=(8,), dropout=0.0)  # noqa: E731
    yield Variant("conv1d", "systems", small, Recipe(2, 8, 0.01))
    yield Variant("lstm-rate-0.01", "learning rate alone", small, Recipe(2, 8, 0.01), PROTOCOLS[:1])


@pytest.mark.timeout(900)  # starts processes of its own, which a busy machine holds up
def test_reproduce_resumes_and_writes_its_report(songs, tmp_path, monkeypatch):
    monkeypatch.setattr(lstm_song, "variants", _small)
    output = tmp_path / "runs"
    arguments = ["lstm-song", "--corpora", str(songs), "--output", str(output), "--seeds", "1", "--no-ours"]
    done = CliRunner().invoke(reproduce, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    made = sorted((output / "runs").glob("*.json"))
    assert [path.stem for path in made] == [
        "house-conv1d-0",
        "random-conv1d-0",
        "random-lstm-rate-0.01-0",
        "speakers-conv1d-0",
    ]
    record = json.loads((output / "runs" / "random-conv1d-0.json").read_text())["figures"]
    costs = json.loads((output / "costs.json").read_text())
    assert costs["conv1d"]["int8_bytes"] > 4000, costs["conv1d"].get("int8_reason")
    assert costs["conv1d"]["network_ms_per_s"] > 0
    assert costs["ours"]["int8_bytes"] > 0
    assert record["clips"] == 20  # 40 % of 48, rounded up
    assert len(record["history"]["val_accuracy"]) == 2
    page = (output / "report.html").read_text()
    for words in ("84.0", "Beside the paper", "Confusion", "data:image/png", "spontaneous", "learning rate alone"):
        assert words in page, words
    assert not re.search(r"(src|href)=.https?:", page)

    # One run is lost, as by a kill: only that one is made again.
    (output / "runs" / "house-conv1d-0.json").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in made if path.exists()}
    again = CliRunner().invoke(reproduce, arguments, catch_exceptions=False)
    assert again.exit_code == 0
    after = {path.name: path.stat().st_mtime_ns for path in (output / "runs").glob("*.json")}
    assert after.pop("house-conv1d-0.json")
    assert after == before

    # Of two that are lost, --only makes the one that is asked for.
    for name in ("house-conv1d-0", "speakers-conv1d-0"):
        (output / "runs" / f"{name}.json").unlink()
    CliRunner().invoke(reproduce, [*arguments, "--only", "house-*"], catch_exceptions=False)
    assert (output / "runs" / "house-conv1d-0.json").is_file()
    assert not (output / "runs" / "speakers-conv1d-0.json").exists()

    # Runs at the paper's size are no runs of this folder.
    with pytest.raises(BadDataError, match=r"holds runs of lstm-song on .* not of lstm-song-full"):
        CliRunner().invoke(reproduce, [*arguments, "--full"], catch_exceptions=False)

    # Where nothing is left to train, no features are read.
    monkeypatch.setattr(lstm_song.LstmSong, "prepare", None)
    CliRunner().invoke(reproduce, [*arguments, "--only", "random-*"], catch_exceptions=False)


def test_a_folder_without_runs_has_no_report(tmp_path):
    with pytest.raises(MissingInputError, match="holds no runs"):
        CliRunner().invoke(reproduce, ["lstm-song", "--report-only", "--output", str(tmp_path)], catch_exceptions=False)


def test_a_tree_without_songs_is_told_in_one_line(songs, tmp_path):
    speech = songs / "RAVDESS" / "Audio_Speech_Actors_01-24" / "Actor_01"
    for path in sorted((songs / "RAVDESS").rglob("*.wav")):
        target = speech / path.name.replace("03-02-", "03-01-", 1)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    with pytest.raises(OutcryError, match="none of RAVDESS") as told:
        CliRunner().invoke(
            reproduce,
            ["lstm-song", "--corpora", str(songs), "--output", str(tmp_path / "runs")],
            catch_exceptions=False,
        )
    assert told.value.code == 66


@pytest.fixture
def iemocap(tmp_path, monkeypatch):
    """IEMOCAP's layout: two sessions, four emotions; angry is rare."""
    monkeypatch.setenv("OUTCRY_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "corpora"
    takes = {"neu": 8, "sad": 6, "exc": 4, "hap": 2, "ang": 3}
    pitches = {"neu": 150, "sad": 200, "exc": 500, "hap": 500, "ang": 900}
    for session in ("01", "05"):
        for sex in "FM":
            dialogue = f"Ses{session}{sex}_impro01"
            turns = []
            for code, count in takes.items():
                for _ in range(count):
                    turn = f"{dialogue}_{sex}{len(turns):03d}"
                    turns.append(f"[6.29 - 8.23]\t{turn}\t{code}\t[2.5000, 2.5000, 2.5000]")
                    folder = root / "IEMOCAP" / f"Session{int(session)}"
                    path = folder / "sentences" / "wav" / dialogue / f"{turn}.wav"
                    _sing(path, pitches[code], zlib.crc32(turn.encode()))
            table = folder / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"
            table.parent.mkdir(parents=True, exist_ok=True)
            table.write_text("% header\n\n" + "\n\n".join(turns) + "\n")
    return root


def test_smotes_orders_on_iemocaps_layout(iemocap):
    from training.index import build_index

    study = Smote2dCnn(Scale(seeds=1, epochs=1))
    clips = study.select(build_index(iemocap, progress=False))
    # Excited counts as happy: 4 speakers x (8 neutral, 6 sad, 6 happy, 3 angry).
    assert clips.table["label"].value_counts().to_dict() == {"neutral": 32, "sad": 24, "happy": 24, "angry": 12}
    study.prepare(clips, iemocap)
    by_name = {v.name: v for v in study.chosen() if isinstance(v, SmoteVariant) and v.inputs == "means"}
    part = study.split(clips, "speakers", 0)
    before, _ = study.work(by_name["means-smote-before"], clips, study.split(clips, "random", 0))
    after, arrays = study.work(by_name["means-smote-after"], clips, part)
    # Before: 4 x 32 clips, a fifth tested, some of them made. After: real clips of unheard speakers alone.
    assert before["clips"] == 26
    assert 0 < before["synthetic_share"] < 1
    assert before["real"]["clips"] == round(26 * (1 - before["synthetic_share"]))
    assert before["neighbours"] == 5
    assert after["clips"] == len(part.test)
    np.testing.assert_array_equal(arrays["rows"], part.test)
    largest = np.bincount(clips.labels[part.training]).max()
    assert after["training_clips"] == 4 * largest


def test_a_class_with_one_example_stops_at_smotes_step(iemocap):
    from training.index import build_index

    study = Smote2dCnn(Scale(seeds=1, epochs=1))
    clips = study.select(build_index(iemocap, progress=False))
    study.prepare(clips, iemocap)
    angry = np.flatnonzero(clips.table["label"] == "angry")
    lonely = Split("speakers", 0, np.setdiff1d(np.arange(len(clips.table)), angry[1:]), angry[1:])
    variant = next(v for v in study.chosen() if v.name == "means-smote-after")
    with pytest.raises(BadDataError, match=r"SMOTE: class angry has one example.*add clips") as told:
        study.work(variant, clips, lonely)
    assert told.value.code == 65


@pytest.mark.parametrize(
    ("protocol", "kept", "message"),
    [
        ("house", {"Ses01F_impro01_F020", "Ses05F_impro01_F020"}, "SMOTE: class angry has one example"),
        ("random", {"Ses01F_impro01_F020"}, "class angry has one clip"),
    ],
)
def test_a_class_with_one_clip_is_named_by_the_command(iemocap, tmp_path, protocol, kept, message):
    """One angry clip to learn from stops at SMOTE's step, one in all at the split; nothing is left behind."""
    for table in iemocap.rglob("*.txt"):
        lines = table.read_text().split("\n")
        table.write_text("\n".join(line for line in lines if "\tang\t" not in line or line.split("\t")[1] in kept))
    arguments = ["smote-2dcnn", "--corpora", str(iemocap), "--output", str(tmp_path / "out"), "--epochs", "1"]
    arguments += ["--only", f"{protocol}-means-smote-after-0"]
    with pytest.raises(BadDataError, match=message):
        CliRunner().invoke(reproduce, arguments, catch_exceptions=False)
    assert not list((tmp_path / "out" / "runs").iterdir())


def test_arrays_are_padded_to_four_seconds_at_the_stated_rate(iemocap):
    from training.index import build_index

    for full, frames in ((False, 31), (True, 126)):
        study = Smote2dCnn(Scale(full=full))
        clips = study.select(build_index(iemocap, progress=False))
        study.prepare(clips, iemocap)
        variant = next(v for v in study.variants() if v.name == "arrays")
        inputs = study.inputs(variant, Split("random", 0, np.arange(40), np.arange(40, 92)))
        assert inputs.shape == (92, frames, 120)
        # A clip ends in its own quietest frame: a constant, no difference.
        assert np.ptp(study.arrays[:, -3:], axis=1).max() == 0
        assert not study.arrays[:, -3:, 40:].any()
        assert (study.arrays[:, -1, 0] <= study.arrays[:, :, 0].min(axis=1) + 1e-3).all()
        assert variant.build().input_shape == (None, frames, 120)


def test_p4s_clips_are_padded_to_eight_seconds_in_both_sizes(songs):
    from training.index import build_index

    clips = lstm_song.select(build_index(songs, progress=False))
    for full, shape in ((True, (251, 180)), (False, (63, 116))):
        study = loopq.LoopQ(Scale(full=full))
        study.prepare(clips, songs)
        assert study.columns.shape == (48, *shape)
        # Of a clip of 0.4 s the end is silence: flat over time, no chroma.
        end = study.columns[:, -20:]
        assert np.ptp(end, axis=1).max() == 0
        assert not end[..., 40:52].any()


def test_the_other_papers_networks_take_p4s_clips_in_their_own_features(songs):
    from training.index import build_index

    clips = lstm_song.select(build_index(songs, progress=False))
    training = np.arange(0, 48, 2)
    for other in others.others():
        inputs = others.inputs(other.inputs, clips.table, songs, training)
        parts = inputs if isinstance(inputs, list) else [inputs]
        network = other.build(7)
        assert [one.shape[1:] for one in network.inputs] == [one.shape[1:] for one in parts]
        assert network.output_shape == (None, 7)
        assert len(parts[0]) == 48


def test_the_shipped_package_is_judged_as_a_system(songs):
    from training.index import build_index

    clips = lstm_song.select(build_index(songs, progress=False))
    figures, arrays = ours.shipped(clips, np.arange(2, 20), songs)
    assert figures["clips"] == 18
    np.testing.assert_allclose(arrays["probabilities"].sum(axis=1), 1, rtol=1e-4)
    assert arrays["danger"].shape == (18,)


def test_ours_learns_calm_where_a_paper_does_and_gives_it_back():
    import pandas as pd

    table = pd.DataFrame({"label": ["calm", "fear"], "emotion": ["neutral", "fear"]})
    clips = Clips(table, lstm_song.CLASSES)
    assert list(ours.relabelled(clips)["emotion"]) == ["disgust", "fear"]
    logits = np.zeros((2, 8), np.float32)
    logits[0, 1] = 5.0  # disgust's slot
    told = ours.in_classes(logits, clips.classes)
    assert told.shape == (2, 6)
    assert told[0].argmax() == clips.classes.index("calm")
    np.testing.assert_allclose(told.sum(axis=1), 1.0, rtol=1e-5)
    with pytest.raises(ValueError, match="needs the slot"):
        ours.relabelled(Clips(table, (*lstm_song.CLASSES, "disgust")))


def test_ours_never_says_a_class_that_it_lacks():
    told = ours.in_classes(np.zeros((1, 8), np.float32), ("fear", "surprise"))
    np.testing.assert_allclose(told, [[1.0, 0.0]])


def test_ours_is_the_shipped_recipes_from_nothing_with_steps_by_the_data():
    shipped = load_recipe(HOME / "training" / "recipes" / "danger-speakers.toml", DangerRecipe)
    many, few = (ours.recipes(None, quick=False, learns=n) for n in (20_000, 501))
    first, taught = many
    assert (first.start, first.noises, first.throats, first.grid) == ("", 0.0, shipped.throats, shipped.grid)
    assert (first.steps, first.epochs, first.teachers) == (shipped.steps, shipped.epochs, ())
    assert (taught.start, taught.teachers, taught.taught) == ("danger-speakers", ("danger-speakers",), 0.5)
    assert [part.steps * part.epochs for part in few] == [ours.LEAST_STEPS] * 2
    for part, passes in zip(ours.recipes(None, quick=False, learns=3333), ours.PARTS.values(), strict=True):
        assert part.steps * part.epochs * part.batch == pytest.approx(passes * 3333, rel=0.02)
    short = ours.recipes(3, quick=False, learns=501)[0]
    assert (short.epochs, short.average_last, short.rate) == (3, 1, shipped.rate)


@pytest.mark.timeout(900)
def test_ours_goes_on_where_it_was_cut_and_leaves_a_run_to_convert(songs, tmp_path, monkeypatch):
    def cut(*_):
        raise KeyboardInterrupt

    arguments = ["lstm-song", "--corpora", str(songs), "--output", str(tmp_path / "runs"), "--quick"]
    arguments += ["--only", "speakers-ours-*"]
    folder = tmp_path / "runs" / "ours" / "speakers-0"
    first, taught = (folder / part for part in ours.PARTS)
    with monkeypatch.context() as during:
        during.setattr(floats, "predict", cut)
        assert CliRunner().invoke(reproduce, arguments).exit_code == 1
    assert not Run(first).finished
    assert not taught.is_dir()
    assert not list((tmp_path / "runs" / "runs").glob("*.json"))
    begun = (first / "run.json").read_bytes()
    assert CliRunner().invoke(reproduce, arguments, catch_exceptions=False).exit_code == 0
    assert Run(first).finished
    assert Run(first).about["started"] == json.loads(begun)["started"]
    assert Run(taught).finished
    assert (taught / "network.keras").is_file()
    record = json.loads((tmp_path / "runs" / "runs" / "speakers-ours-0.json").read_text())
    assert len(record["figures"]["confusion"]) == 6
    assert record["figures"]["parts"].keys() == set(ours.PARTS)
    assert record["figures"]["parts"]["danger-taught"] == record["figures"]["accuracy"]
    assert record["settings"]["seed"] == 0
    # The first part is not made again where the second is lost.
    learnt = (first / "network.keras").stat().st_mtime_ns
    shutil.rmtree(taught)
    (tmp_path / "runs" / "runs" / "speakers-ours-0.json").unlink()
    assert CliRunner().invoke(reproduce, arguments, catch_exceptions=False).exit_code == 0
    assert (first / "network.keras").stat().st_mtime_ns == learnt
    assert Run(taught).finished
    # Another recipe in the same place begins anew.
    assert CliRunner().invoke(reproduce, [*arguments, "--epochs", "1"], catch_exceptions=False).exit_code == 0
    assert len(Run(taught).history()) == 1


def test_our_own_gru_converts_with_its_steps_written_out():
    network = paper_gru.build(5, 4, 3, units=(6,), normalise=True)
    frames, valid = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32), np.ones((3, 5), np.float32)
    assert footprint.int8_size(network, [frames, valid]).get("int8_bytes", 0) > 1000


def test_a_network_that_does_not_convert_has_a_reason():
    inputs = keras.Input((4, 2))
    network = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    told = footprint.int8_size(network, np.zeros((3, 4, 2), np.float32), limit_s=0.01)
    assert told == {"int8_reason": "the converter took more than 0 s"}


def test_training_is_the_same_for_a_seed():
    sound = np.random.default_rng(0).normal(size=(12, 16, 4)).astype(np.float32)
    labels = np.arange(12) % 2
    build = lambda: conv1d.build(16, 4, 2, filters=(4,), kernel=3)  # noqa: E731
    sides = ((sound[:8], labels[:8]), (sound[8:], labels[8:]))
    one, two = (fitting.train(build, *sides, Recipe(1, 4), seed=3).probabilities for _ in range(2))
    np.testing.assert_array_equal(one, two)


CORPORA = HOME.parent / "shared" / "corpora"


@pytest.mark.skipif(not (CORPORA / "RAVDESS").is_dir(), reason="the shared corpora are not here")
def test_real_songs_fill_at_most_the_256_frames(tmp_path, monkeypatch):
    import pandas as pd

    from training.sound import measure, read_samples

    monkeypatch.setenv("OUTCRY_CACHE", str(tmp_path))
    paths = sorted((CORPORA / "RAVDESS").rglob("03-02-*.*"))[::120]
    rows = [
        {"path": path.relative_to(CORPORA).as_posix(), "corpus": "RAVDESS"}
        | {key: getattr(measure(read_samples(path)), key) for key in ("sound", "start_s", "end_s", "duration_s")}
        for path in paths
    ]
    table = pd.DataFrame(rows)
    for frames, seconds in zip(frames_of(table, CORPORA, SONG), table["duration_s"], strict=True):
        assert frames.shape == (int(seconds * RATE) // SONG.hop_samples + 1, 32)
        assert len(frames) <= lstm_song.FRAMES
        assert np.isfinite(frames).all()
