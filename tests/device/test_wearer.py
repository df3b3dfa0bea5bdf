"""What is known of a wearer: learned from voice alone, kept whole, refused where it does not fit."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from device.errors import BadDataError, MissingInputError
from device.features import FRAME_SIZE, SAMPLE_RATE, features
from device.view import ViewParameters
from device.wearer import Learner, Wearer, digest, load, save

VIEW = ViewParameters((0.0,) * FRAME_SIZE, (1.0,) * FRAME_SIZE, (1.0,) * FRAME_SIZE)
OTHER_VIEW = ViewParameters((0.1,) * FRAME_SIZE, (1.0,) * FRAME_SIZE, (1.0,) * FRAME_SIZE)


def voice(seconds: float, hertz: float = 140.0) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return 0.1 * sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 8))


def learned(seconds: float = 3.0, microphone: str = "") -> Wearer:
    learner = Learner()
    learner.push(features(voice(seconds)))
    return learner.wearer(VIEW, microphone)


def test_only_voiced_frames_count() -> None:
    learner = Learner()
    learner.push(features(np.random.default_rng(0).normal(size=5 * SAMPLE_RATE) * 0.1))
    assert learner.seconds < 1
    noise_s = learner.seconds
    learner.push(features(voice(2.0)))
    assert learner.seconds == pytest.approx(noise_s + 2.0, abs=0.1)


def test_means_are_those_of_the_voiced_frames() -> None:
    frames = features(voice(3.0))
    voiced = frames[frames[:, -1] >= 0.45].astype(np.float64)
    np.testing.assert_allclose(learned().means, voiced.mean(axis=0), rtol=1e-5)


def test_less_than_a_second_of_voice_is_refused_in_words() -> None:
    with pytest.raises(BadDataError, match=r"only 0.. s of voice"):
        learned(0.8)


def test_it_says_when_more_would_be_better() -> None:
    assert not learned(3.0).enough
    assert learned(21.0).enough


def test_saved_and_loaded_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "wearer.json"
    save(learned(), path)
    assert load(path) == learned()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["wearer.json"]


def test_other_parameters_or_another_microphone_do_not_fit() -> None:
    assert learned().fits(VIEW)
    assert not learned().fits(OTHER_VIEW)
    assert digest(VIEW) != digest(OTHER_VIEW)
    assert learned(microphone="usb").fits(VIEW, "usb")
    assert not learned(microphone="usb").fits(VIEW, "other")
    assert learned(microphone="").fits(VIEW, "any")


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff\xfe", b'{"means":[1,2],"seconds":3,"parameters":"x"}', b"[" * 70000]
)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wearer.json"
    path.write_bytes(content)
    with pytest.raises(BadDataError, match=r"^wearer file .*wearer\.json") as told:
        load(path)
    assert "\n" not in str(told.value)


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="not there"):
        load(tmp_path / "none.json")
    with pytest.raises(BadDataError, match="can't be read"):
        load(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "file").touch()
    with pytest.raises(BadDataError, match="can't be written"):
        save(learned(), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
