"""P4's ensembles and search: genetic weights, nested ones, stacking in two steps, a Hyperband that resumes."""

import numpy as np
import pandas as pd
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("pygad")
pytest.importorskip("keras_tuner")

from sklearn.metrics import f1_score  # noqa: E402

from training.reproductions import ensembles, fitting, loopq, others, search, side_by_side  # noqa: E402
from training.reproductions.protocol import PROTOCOLS, Clips, Planned, Split  # noqa: E402
from training.reproductions.runs import RunFolder  # noqa: E402
from training.reproductions.study import Scale  # noqa: E402

pytestmark = pytest.mark.training


def _noise(generator, clips, classes=3):
    return generator.dirichlet(np.ones(classes), clips)


def _macro(truth, probabilities):
    return f1_score(truth, probabilities.argmax(axis=1), average="macro")


def test_the_average_by_hand():
    members = [np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])]
    np.testing.assert_allclose(ensembles.average(members), [[0.5, 0.5]])
    np.testing.assert_allclose(ensembles.average(members, np.array([0.25, 0.75])), [[0.25, 0.75]])


def test_macro_f1_is_scikit_learns():
    generator = np.random.default_rng(3)
    truth, said = generator.integers(0, 4, 50), generator.integers(0, 3, 50)
    assert ensembles.f1_macro(truth, said, 4) == pytest.approx(f1_score(truth, said, average="macro"))


def test_genetic_weights_find_the_one_member_that_knows():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 60)
    knows = 0.5 * np.eye(3)[truth] + 0.5 * _noise(generator, 60)
    members = [_noise(generator, 60), knows, _noise(generator, 60)]
    weights = ensembles.genetic_weights(members, truth, seed=0, generations=10)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()
    assert weights.argmax() == 1
    assert _macro(truth, ensembles.average(members, weights)) >= _macro(truth, ensembles.average(members))


def test_genetic_weights_are_the_same_for_a_seed():
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 3, 40)
    members = [_noise(generator, 40) for _ in range(3)]
    one, two = (ensembles.genetic_weights(members, truth, seed=5, generations=4) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_weights_tuned_on_their_own_test_promise_more_than_nested_ones():
    """Members that know nothing: what tuning on the test shows above chance is what it makes up."""
    generator = np.random.default_rng(2)
    promised, kept = [], []
    for seed in range(3):
        truth = np.arange(90) % 3
        members = [_noise(generator, 90) for _ in range(6)]
        weights = ensembles.genetic_weights(members, truth, seed, generations=10)
        promised.append(_macro(truth, ensembles.average(members, weights)))
        kept.append(_macro(truth, ensembles.nested(members, truth, seed, generations=10)))
    assert np.mean(promised) > np.mean(kept) + 0.05


def test_nested_weights_never_know_the_voice_that_they_judge(monkeypatch):
    generator = np.random.default_rng(0)
    speakers = generator.integers(0, 7, 120)
    truth = generator.integers(0, 3, 120)
    # A member's probabilities tell who speaks: so it is seen whose clips a weight was found on.
    members = [np.repeat(speakers[:, None], 3, axis=1).astype(float), _noise(generator, 120)]
    found_on = []

    def known(sides, *_):
        found_on.append(set(sides[0][:, 0].astype(int)))
        return np.array([1.0, 0.0])

    monkeypatch.setattr(ensembles, "genetic_weights", known)
    ensembles.nested(members, truth, seed=0, speakers=speakers.astype(object))
    assert len(found_on) == ensembles.FOLDS
    left_out = [set(range(7)) - one for one in found_on]
    assert all(left_out)
    assert sorted(voice for one in left_out for voice in one) == list(range(7))
    found_on.clear()
    ensembles.nested(members, truth, seed=0)
    assert found_on == [set(range(7))] * ensembles.FOLDS


def test_the_label_fault_makes_savees_sad_clips_angry_and_leaves_the_rest():
    table = pd.DataFrame(
        {"corpus": ["SAVEE", "SAVEE", "TESS"], "label": ["sad", "fear", "sad"], "path": ["a", "b", "c"]}
    )
    clips = loopq.faulty(Clips(table, loopq.CLASSES))
    assert list(clips.table["label"]) == ["angry", "fear", "sad"]
    assert list(table["label"]) == ["sad", "fear", "sad"]


def test_the_label_fault_is_learned_and_judged_on_the_same_clips(monkeypatch):
    names = np.array(["sad", "angry", "fear", "neutral"])[np.arange(80) % 4]
    table = pd.DataFrame({"label": names, "corpus": "SAVEE", "speaker": "SAVEE/DC", "path": np.arange(80)})
    clips = Clips(table, ("sad", "angry", "fear", "neutral"))
    made = loopq.LoopQ(Scale(seeds=1))
    asked = {}
    monkeypatch.setattr(made, "work", lambda variant, *told: asked.update({variant.name: told}))
    by_name = {variant.name: variant for variant in made.variants()}
    for name in ("cnn1d-lstm", loopq.FAULT):
        made._one(by_name[name], clips, "random", 0)
    (right, part), (wrong, same) = asked["cnn1d-lstm"], asked[loopq.FAULT]
    np.testing.assert_array_equal(part.test, same.test)
    assert (right.table["label"] == "sad").sum() == 20
    assert (wrong.table["label"] == "sad").sum() == 0
    assert (wrong.table["label"] == "angry").sum() == 40


def test_the_mixture_is_speech_without_calm():
    rows = [
        ("RAVDESS", "speech", "", "neutral"),
        ("RAVDESS", "speech", "calm", "neutral"),
        ("RAVDESS", "song", "", "sad"),
        *[("TESS", "speech", "back", name) for name in loopq.CLASSES],
        ("nEMO", "speech", "", "sad"),
    ]
    index = pd.DataFrame(rows, columns=["corpus", "part", "keyword", "emotion"])
    clips = loopq.select(index)
    assert clips.table["corpus"].value_counts().to_dict() == {"TESS": 7, "RAVDESS": 1}
    assert any("SAVEE is not here" in note for note in clips.lacks)


@pytest.fixture
def study():
    """P4 on made frames of two classes, which differ in every column; no sound needed."""
    made = loopq.LoopQ(Scale(seeds=1, epochs=2))
    made.size = loopq.Size(63, 64, 1 / 64)
    labels = np.arange(24) % 2
    generator = np.random.default_rng(0)
    shape = (24, made.size.frames, 52 + made.size.bands)
    made.columns = (generator.normal(size=shape) + 10 + 3 * labels[:, None, None]).astype(np.float32)
    names = np.array(["fear", "angry"])[labels]
    voices = np.array(["CREMA-D/1001", "CREMA-D/1002", "CREMA-D/1003"])[np.arange(24) // 4 % 3]
    table = pd.DataFrame({"label": names, "corpus": "CREMA-D", "speaker": voices, "path": np.arange(24)})
    return made, Clips(table, ("fear", "angry")), Split("speakers", 0, np.arange(16), np.arange(16, 24))


def test_inputs_are_what_their_names_say(study):
    made, _, part = study
    by_name = {variant.name: variant for variant in made.variants()}
    mel = made.inputs(by_name["cnn2d-lstm"], part)
    assert mel.shape == (24, 64, 63)
    assert mel[part.training].mean() == pytest.approx(0, abs=1e-3)
    assert made.inputs(by_name["lstm-cnn-1d"], part).shape == (24, 63, 52)
    assert [one.shape for one in made.inputs(by_name["fused"], part)] == [(24, 63, 40), (24, 64, 63)]
    unscaled = made.inputs(by_name["cnn1d-lstm-chroma-unscaled"], part)
    assert unscaled.mean() == pytest.approx(11.5, abs=0.1)


def test_every_variant_is_built_for_the_inputs_that_it_gets(study):
    made, _, part = study
    for variant in made.variants():
        if variant.name != "stacking" and variant.group != others.GROUP:
            inputs = made.inputs(variant, part)
            parts = inputs if isinstance(inputs, list) else [inputs]
            assert [one.shape[1:] for one in variant.build().inputs] == [one.shape[1:] for one in parts]


@pytest.mark.timeout(900)
def test_stacking_is_trained_in_two_steps_and_scored(study, monkeypatch):
    made, clips, part = study
    variant = next(variant for variant in made.chosen() if variant.name == "stacking")
    learned = []

    def noted(build, training, test, recipe, seed, **more):
        trained = fitting.train(build, training, test, recipe, seed, **more)
        learned.append((recipe, seed, training[1].tolist(), trained.network))
        return trained

    monkeypatch.setattr(loopq, "train", noted)
    figures, arrays = made.work(variant, clips, part)
    # Seven in the paper, two here: each one class against the rest, by the whole recipe, then the head on all of them.
    truth = clips.labels[part.training]
    assert [one[2] for one in learned] == [(truth == 0).tolist(), (truth == 1).tolist(), truth.tolist()]
    assert [one[:2] for one in learned] == [(variant.recipe, 0), (variant.recipe, 1), (variant.recipe, 0)]
    kept = [np.asarray(weights) for weights in learned[-1][3].non_trainable_weights]
    for _, _, _, binary in learned[:2]:
        kernel = np.asarray(next(one for one in binary.layers if isinstance(one, keras.layers.Conv2D)).kernel)
        assert any(one.shape == kernel.shape and (one == kernel).all() for one in kept)
    assert arrays["probabilities"].shape == (8, 2)
    assert len(figures["history"]["loss"]) == 2
    assert figures["classes"].keys() == {"fear", "angry"}


def test_ensembles_join_the_six_members_of_each_protocol(study, tmp_path):
    made, clips, part = study
    runs = RunFolder(tmp_path, "loopq", "made")
    generator = np.random.default_rng(0)
    truth = clips.labels[part.test]
    for protocol in ("random", "speakers", "house"):
        for name in loopq.WEIGHTS:
            told = 0.3 * np.eye(2)[truth] + 0.7 * generator.dirichlet(np.ones(2), len(truth))
            arrays = {"rows": part.test, "probabilities": told}
            list(runs.make([Planned(f"{protocol}-{name}-0", {}, lambda arrays=arrays: ({}, arrays))]))
    planned = [run for run in made.afterwards(clips, runs) if run.settings["group"] == "ensembles"]
    assert [run.name for run in planned][:3] == ["random-average-0", "random-genetic-0", "random-genetic-nested-0"]
    records = {record["name"]: record["figures"] for record in runs.make(planned)}
    assert len(records) == 9
    weights = ensembles.table([one for one in runs.records() if one["settings"]], loopq.WEIGHTS)
    assert [row[0] for row in weights.rows] == ["the paper, random", *(f"{one}, run 0" for one in PROTOCOLS)]
    assert sum(map(float, weights.rows[1][1:])) == pytest.approx(1, abs=0.01)
    # A member made anew changes the ensemble, whatever was joined before.
    right = {"rows": part.test, "probabilities": np.eye(2)[truth]}
    for name in loopq.WEIGHTS:
        list(runs.make([Planned(f"house-{name}-0", {"epochs": 9}, lambda: ({}, right))]))
    again = next(run for run in planned if run.name == "house-average-0")
    assert next(iter(runs.make([again])))["figures"]["accuracy"] == 1.0
    assert sum(records["house-genetic-0"]["weights"].values()) == pytest.approx(1, abs=1e-3)
    for protocol in ("random", "speakers", "house"):
        assert records[f"{protocol}-genetic-0"]["f1_macro"] >= records[f"{protocol}-average-0"]["f1_macro"]
        assert records[f"{protocol}-average-0"]["clips"] == 8


def test_all_systems_are_judged_on_the_same_clips_of_the_six_classes(tmp_path):
    labels = ["angry", "surprise", "sad", "fear", "happy", "sad"]
    actors = ["RAVDESS/03"] * 5 + ["RAVDESS/10"]  # the last one does not validate: the shipped package heard her
    table = pd.DataFrame(
        {"label": labels, "corpus": "RAVDESS", "speaker": actors, "source": "", "path": [*labels[:5], "other"]}
    )
    clips = Clips(table, loopq.CLASSES)
    rows, right = np.arange(6), np.eye(7)[clips.labels]
    # Knows all, but would say surprise for the happy clip before anything else.
    hasty = right.copy()
    hasty[4] = 0
    hasty[4, loopq.CLASSES.index("surprise")], hasty[4, loopq.CLASSES.index("happy")] = 0.6, 0.4
    never = np.eye(7)[np.full(6, loopq.CLASSES.index("neutral"))]
    runs = RunFolder(tmp_path / "loopq", "loopq", "made")
    told = {"group": "systems", "protocol": "house", "seed": 0}
    planned = side_by_side.planned(clips, runs, 0)  # before anything is there, as by a first run
    kept = {
        "cnn2d-lstm": {"probabilities": hasty},
        "ours": {"probabilities": never, "danger": np.array([9, 0, 1, 8, 2, 9])},
    }
    for name, arrays in kept.items():
        made = Planned(f"house-{name}-0", told | {"variant": name}, lambda a=arrays: ({}, a | {"rows": rows}))
        list(runs.make([made]))
    record = next(iter(runs.make([planned])))["figures"]
    assert record["clips"] == 4
    assert record["systems"]["cnn2d-lstm"] == {"accuracy": 1.0, "uar": 1.0, "danger_auc": 1.0}
    # Ours is ranked by its own output for danger, whatever class it says.
    assert record["systems"]["ours"] == {"accuracy": 0.0, "uar": 0.0, "danger_auc": 1.0}
    spent = {"network_ms_per_s": 1, "features_ms_per_s": 0.5, "cpu_s_per_1000": 8}
    costs = {"cnn2d-lstm as trained": {"parameters": 73_527} | spent}
    table = side_by_side.table(runs.records(), costs)
    assert [row[0] for row in table.rows] == ["cnn2d-lstm", "ours"]
    costs |= {"ours": {"step_s": 0.2, "answer_ms": 0.5, "network_ms_per_s": 2, "features_ms_per_s": 0.25}}
    costs |= {f"{name} as trained": costs["cnn2d-lstm as trained"] for name in loopq.WEIGHTS}
    table = side_by_side.table(runs.records(), costs)
    assert table.rows[0][1:9] == ("100.0", "100.0", "1.000", "73,527", "-", "1.00", "0.50", "no")
    assert table.rows[0][9:] == ("at the clip's end", "8.0")
    assert table.rows[1][8:] == ("yes", "every 0.2 s of sound", "0.5")
    together = side_by_side._spent("average", costs)
    assert (together["parameters"], together["network_ms_per_s"]) == (6 * 73_527, 6)
    assert together["features_ms_per_s"] == 0.5
    assert not side_by_side._spent("average", {"fused as trained": {}})
    # P1's own run lies beside: its calm clip is none of these, its four others are.
    (tmp_path / "enhanced-gru" / "runs").mkdir(parents=True)
    kept = {"truth": np.array([4, 0, 5, 2, 3, 5]), "probabilities": np.eye(6)[[4, 0, 5, 2, 0, 0]]}
    paths = np.array(["calm", "angry", "sad", "fear", "happy", "elsewhere"])
    np.savez(tmp_path / "enhanced-gru" / "runs" / "house-base-0.npz", paths=paths, **kept)
    first = next(iter(runs.make([side_by_side.planned(clips, runs, 0)])))["figures"]["systems"]["p1-gru-base"]
    assert first["accuracy"] == 0.75
    # Ours and P2's Conv2D together: what the pair says is the mean of both.
    both = {"rows": rows, "probabilities": right}
    list(runs.make([Planned("house-p2-conv2d-0", told | {"variant": "p2-conv2d"}, lambda: ({}, both))]))
    systems = next(iter(runs.make([side_by_side.planned(clips, runs, 0)])))["figures"]["systems"]
    assert systems["ours + p2-conv2d"]["danger_auc"] == 1.0
    assert "shipped + p2-conv2d" not in systems
    # One run more, and the comparison is made again.
    more = Planned("house-fused-0", told | {"variant": "fused"}, lambda: ({}, {"rows": rows, "probabilities": right}))
    list(runs.make([more]))
    assert len(next(iter(runs.make([side_by_side.planned(clips, runs, 0)])))["figures"]["systems"]) == 6


class _Cut(keras.callbacks.Callback):
    """Counts trainings, and ends the process' work in one of them, as Ctrl-C would."""

    trainings = 0
    cut_in = 0

    def on_train_begin(self, logs=None):
        _Cut.trainings += 1
        if _Cut.trainings == _Cut.cut_in:
            raise KeyboardInterrupt


@pytest.mark.timeout(900)
def test_an_interrupted_search_resumes_after_its_last_finished_trial(tmp_path):
    generator = np.random.default_rng(0)
    sound = generator.normal(size=(12, 40, 3)).astype(np.float32)
    labels = np.arange(12) % 3
    sides = ((sound[:9], labels[:9]), (sound[9:], labels[9:]))

    def go(folder):
        _Cut.trainings = 0
        return search.hyperband(
            "cnn1d-lstm",
            *sides,
            folder,
            classes=3,
            seed=0,
            most_epochs=2,
            width=1 / 32,
            most_blocks=2,
            callbacks=[_Cut()],
        )

    _Cut.cut_in = 2
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path)
    _Cut.cut_in = 0
    resumed = go(tmp_path)
    assert resumed["trials"] >= 2
    assert _Cut.trainings == resumed["trials"] - 1
    record = {"settings": {"variant": "hyperband"}, "figures": {"search": resumed, "accuracy": 0.5}}
    assert search.table([record]).rows[0][1] == str(resumed["trials"])
    assert resumed["best"].keys() == {"kernel", "blocks", "first_kernels", "later_kernels", "units", "rate"}


@pytest.mark.parametrize("way", ["published", "nested"])
def test_a_nested_search_never_sees_the_test_clips(study, tmp_path, monkeypatch, way):
    made, clips, part = study
    seen = {}

    def noted(family, training, chooses, folder, **more):
        seen.update(training=training, chooses=chooses, folder=folder, epochs=more["most_epochs"])
        best = {"kernel": 3, "blocks": 1, "first_kernels": 32, "later_kernels": 64, "units": 32, "rate": 1e-3}
        return {"best": best, "trials": 1, "accuracy": 0.5}

    monkeypatch.setattr(search, "hyperband", noted)
    # The clips bear their number in every column, so that it is seen which were given.
    numbered = np.broadcast_to(np.arange(24, dtype=np.float32)[:, None, None], (24, 63, 40))
    bounds, recipe = search.Bounds(1 / 16, 3, 9), fitting.Recipe(1)
    more = {"folder": tmp_path, "bounds": bounds, "recipe": recipe, "share": 0.25}
    figures, arrays = search.searched("cnn1d-lstm", way, numbered, clips, part, **more)
    learns, chooses = ({int(clip[0, 0]) for clip in seen[side][0]} for side in ("training", "chooses"))
    assert not learns & chooses
    if way == "nested":
        assert learns | chooses == set(part.training)
    else:
        assert (learns, chooses) == (set(part.training), set(part.test))
    for side in ("training", "chooses"):
        np.testing.assert_array_equal(seen[side][1], clips.labels[seen[side][0][:, 0, 0].astype(int)])
    np.testing.assert_array_equal(arrays["rows"], part.test)
    assert figures["clips"] == len(part.test)
    # Trials of other bounds are never taken for these.
    search.searched("cnn1d-lstm", way, numbered, clips, part, **more | {"bounds": search.Bounds(1 / 16, 3, 27)})
    assert seen["folder"] != tmp_path / f"{way}-9-epochs"
    assert made.bounds.most_epochs == made.epochs == 2


def test_what_a_search_found_can_be_built_again():
    best = {"kernel": 5, "blocks": 2, "first_kernels": 64, "later_kernels": 128, "units": 36, "rate": 1e-4}
    network = search.rebuilt(best, "cnn1d-lstm", (40, 3), 7, width=0.125)()
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv1D)]
    assert [(c.filters, c.kernel_size) for c in convolutions] == [(8, (5,)), (16, (5,))]
    assert float(network.optimizer.learning_rate) == pytest.approx(1e-4)
