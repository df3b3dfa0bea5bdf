"""What the danger network is shown: repeatable, masked, with the right targets and wearers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from device.errors import UsageError
from device.features import FRAME_SIZE
from device.view import VIEW_SIZE, ViewParameters
from training import teachers
from training.batches import Crops, view_parameters
from training.copies import Copy
from training.corpora.clip import CLASSES
from training.targets import targets_of
from training.teachers import Teachers, Told

pytestmark = pytest.mark.training
LABELS = ("neutral", "angry", "fear", "happy", "sad", "surprise", "background", "scream", "disgust", "boredom")


def clips(count: int = 120) -> pd.DataFrame:
    rows = range(count)
    return pd.DataFrame(
        {
            "corpus": ["Background" if LABELS[i % 10] == "background" else "CREMA-D" for i in rows],
            "speaker": [f"CREMA-D/{i % 4}" for i in rows],
            "emotion": [LABELS[i % 10] if i % 3 else "neutral" for i in rows],
            "votes": [None] * count,
            "intensity": [("low", "", "high")[i % 3] for i in rows],
        }
    )


def copy(count: int = 120, seed: int = 0) -> Copy:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 400, count)
    frames = rng.normal(size=(lengths.sum(), FRAME_SIZE)).astype(np.float16)
    frames[:, -1] = rng.random(len(frames)) > 0.3
    return Copy(frames, np.concatenate([[0], np.cumsum(lengths)]))


def crops(**more: object) -> Crops:
    parameters = ViewParameters(*[(1.0,) * FRAME_SIZE] * 3)
    options = {"frames": 80, "batch": 16, "steps": 3, "seed": 4} | more
    return Crops(clips(), np.arange(100), [copy(), copy(seed=1)], parameters, **options)


def test_the_same_seed_shows_the_same_and_every_epoch_something_else() -> None:
    one, two = crops(), crops()
    for (a, b, c), (d, e, f) in zip((one[0], one[1]), (two[0], two[1]), strict=True):
        for left, right in ((a, d), (b, e), (c, f)):
            for name in left:
                np.testing.assert_array_equal(left[name], right[name])
    first = one[0][0]["view"]
    one.on_epoch_end()
    assert not np.array_equal(first, one[0][0]["view"])


def test_shapes_masks_and_weights() -> None:
    inputs, targets, weights = crops(mixup=0.0)[2]
    assert inputs["view"].shape == (16, 80, VIEW_SIZE)
    assert inputs["valid"].shape == (16, 80)
    assert not inputs["view"][inputs["valid"] == 0].any()
    assert (np.diff(inputs["valid"], axis=1) <= 0).all()  # sound first, then nothing
    assert inputs["valid"].sum(axis=1).min() >= 1
    counts = weights["emotion"] > 0  # surprise and boredom have no emotion to learn
    np.testing.assert_allclose(targets["emotion"][counts].sum(axis=1), 1, atol=1e-5)
    assert set(np.unique(targets["danger"])) <= {0.0, 1.0}
    assert {name: weight.shape for name, weight in weights.items()} == {
        "emotion": (16,), "danger": (16,), "steps": (16, 20)
    }  # fmt: skip


def test_corpora_without_background_or_calm_clips_are_learned_from() -> None:
    parameters = ViewParameters(*[(1.0,) * FRAME_SIZE] * 3)
    for missing in (["background"], ["background", "neutral", "sad", "happy", "disgust"]):
        rows = np.flatnonzero(~clips()["emotion"].isin(missing))
        shown = Crops(clips(), rows, [copy()], parameters, frames=80, batch=64, steps=1, seed=4, noises=0.5)
        inputs, _, weights = shown[0]
        assert len(shown.background) == 0
        assert np.isfinite(inputs["view"]).all()
        assert (inputs["valid"].sum(axis=1) >= 1).all()
        assert weights["danger"].any()


def test_the_wearer_is_known_as_often_as_asked() -> None:
    for knows, low, high in ((0.0, 0.0, 0.0), (1.0, 0.6, 1.0)):
        batches = crops(knows=knows, mixup=0.0, steps=10)
        flags = np.concatenate([batches[at][0]["view"][:, 0, -1] for at in range(10)])
        assert low <= flags.mean() <= high


def test_targets_say_what_the_labels_say() -> None:
    some = clips(30)
    told = targets_of(some)
    for row, label in enumerate(some["emotion"]):
        if label in CLASSES:
            assert CLASSES[int(told.emotion[row].argmax())] == label
            assert told.emotion_weight[row] > 0
        else:
            assert told.emotion_weight[row] == 0
        assert told.danger[row, 0] == (label in ("angry", "fear", "scream"))
    assert told.danger_weight[some["emotion"] == "surprise"].max() <= 0.2


def test_listeners_votes_soften_a_target() -> None:
    some = clips(3).assign(emotion="angry", votes=[None, (1, 0, 0, 0, 0, 0), (0, 0, 0, 1, 0, 0)])
    told = targets_of(some).emotion
    np.testing.assert_allclose(told[0], told[1], atol=1e-6)
    assert told[2, CLASSES.index("happy")] > 0.2 > told[0, CLASSES.index("happy")]
    assert told[2].argmax() == CLASSES.index("angry")


def test_view_parameters_centre_and_scale_the_training_frames() -> None:
    made = copy()
    shifted = Copy((made.frames * 3 + 5).astype(np.float16), made.starts)
    parameters = view_parameters([shifted], np.arange(100), np.random.default_rng(0))
    np.testing.assert_allclose(parameters.shift[:40], 5, atol=0.3)
    np.testing.assert_allclose(parameters.scale[:40], 3, atol=0.3)


def test_steps_are_calm_until_the_clip_begins_and_dangerous_within_it() -> None:
    some = crops(mixup=0.0, frames=240, batch=64)
    seen = 0
    for inputs, targets, weights in (some[step] for step in range(3)):
        steps, weight = targets["steps"][:, :, 0], weights["steps"]
        assert steps.shape == weight.shape == (64, 60)
        assert not weight[inputs["valid"][:, 3::4] == 0].any()
        heard = [row[of > 0] for row, of in zip(steps, weight, strict=True)]
        for danger, row in zip(targets["danger"][:, 0], heard, strict=True):
            assert (np.diff(row) >= 0).all()  # calm, then danger
            assert not len(row) or row[-1] in (0, danger)
        mixed = [row for row in heard if len(row) and row[0] == 0 and row[-1] == 1]
        seen += len(mixed)
    assert seen > 5


class _Says:
    """A network that gives one logit for danger everywhere, and the class of its number."""

    def __init__(self, number: int, logit: float) -> None:
        self.emotion = np.where(np.arange(len(CLASSES)) == number, 50.0, 0.0).astype(np.float32)
        self.logit = np.float32(logit)

    def predict_on_batch(self, heard: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        batch = len(heard["view"])
        shapes = {"danger": (batch, 1), "steps": (batch, 5, 1)}
        return {"emotion": np.tile(self.emotion, (batch, 1))} | {
            name: np.full(shape, self.logit, np.float32) for name, shape in shapes.items()
        }


def test_a_teacher_says_nothing_of_clips_that_it_does_not_teach(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"all": _Says(0, 50.0), "some": _Says(1, -50.0)}
    monkeypatch.setattr(teachers, "network_of", lambda folder: said[folder.name])
    monkeypatch.setattr(teachers, "_view_of", lambda _: crops().parameters)
    folders = [Path("all"), Path("some")]
    frames, valid = np.zeros((3, 20, FRAME_SIZE), np.float32), np.ones((3, 20), np.float32)
    nobody, drawn = np.full((3, FRAME_SIZE), np.nan, np.float32), np.array([2, 0, 1])
    subjects = np.array([[True, True, True], [False, True, False]])
    told = Teachers(folders, subjects)(frames, valid, nobody, drawn)
    np.testing.assert_allclose(told.danger[:, 0], [1, 1, 0.5], atol=1e-5)
    np.testing.assert_allclose(told.steps, told.danger[:, None] * np.ones((3, 5, 1)), atol=1e-5)
    np.testing.assert_allclose(told.emotion[:, :2], [[1, 0], [1, 0], [0.5, 0.5]], atol=1e-5)
    together = Teachers(folders)(frames, valid, nobody, drawn)
    np.testing.assert_allclose(together.danger, 0.5, atol=1e-5)
    with pytest.raises(UsageError, match="a clip that no list has"):
        Teachers(folders, subjects[::-1] & subjects)
    with pytest.raises(UsageError, match="1 for 2 teachers"):
        Teachers(folders, subjects[:1])


def test_teachers_soften_the_labels_within_the_clip_alone() -> None:
    def soft_teachers(frames: np.ndarray, valid: np.ndarray, means: np.ndarray, drawn: np.ndarray) -> Told:
        assert drawn.shape == (16,)
        assert frames.shape == (16, 80, FRAME_SIZE)
        assert means.shape == (16, FRAME_SIZE)
        assert valid.shape == (16, 80)
        return Told(
            np.full((16, len(CLASSES)), 1 / len(CLASSES), np.float32),
            np.full((16, 1), 0.5, np.float32),
            np.full((16, 20, 1), 0.5, np.float32),
        )

    inputs, hard, weights = crops(mixup=0.0)[1]
    taught_inputs, soft, taught_weights = crops(mixup=0.0, teachers=soft_teachers, taught=0.4)[1]
    assert inputs["view"].shape == taught_inputs["view"].shape
    counts = weights["emotion"] > 0
    np.testing.assert_allclose(soft["emotion"][counts].sum(axis=1), 1, atol=1e-5)
    assert set(np.unique(soft["danger"].round(3))) <= {np.float32(0.2), np.float32(0.8)}
    # Nothing is danger before the clip, though the teachers were half sure everywhere.
    assert set(np.unique(soft["steps"].round(3))) <= {np.float32(0.0), np.float32(0.2), np.float32(0.8)}
    assert set(np.unique(hard["steps"])) <= {0.0, 1.0}
    assert weights.keys() == taught_weights.keys()
