"""Judging a package on made sound: what goes where, checked with the package that ships."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from device.decision import DecisionParameters
from device.installed_models import chosen
from device.network import Network
from device.package import load
from tests.training.made_corpora import make
from training.index import build_index
from training.judging import clips as package_clips
from training.judging import page, speakers

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    root = make(tmp_path_factory.mktemp("corpora"), ("EMO-DB", "Speech", "Screams", "Background"))
    patch = pytest.MonkeyPatch()
    patch.setenv("OUTCRY_CACHE", str(tmp_path_factory.mktemp("cache")))
    clips = build_index(root, progress=False)
    patch.undo()
    return root, clips


def test_only_emotions_that_the_corpus_has_are_said(tree: tuple[Path, pd.DataFrame]) -> None:
    _, clips = tree
    emodb = clips[clips["corpus"] == "EMO-DB"]  # made: fear... of the six: angry, disgust, happy
    told = pd.DataFrame(
        {name: 0.1 for name in ("angry", "disgust", "fear", "happy", "neutral", "sad")}, index=emodb.index
    )
    told["sad"] = 0.9
    told["disgust"] = 0.5
    assert set(speakers.said(emodb, told, clips)) == {"disgust"}


def test_ordinary_sound_end_to_end(tree: tuple[Path, pd.DataFrame]) -> None:
    root, clips = tree
    heard = {stream.name: stream for stream in speakers.ordinary_streams(clips, root)}
    assert set(heard) == {
        "Speech/prompts", "Speech/read-en", "Speech/wakewords",
        "Background/ESC-10", "Background/infant-cries", "Background/music-moh",
    }  # fmt: skip
    assert heard["Background/ESC-10"].seconds == pytest.approx(0.8)
    assert all(stream.events == () for stream in heard.values())


def test_events_lie_where_they_are_said_to(tree: tuple[Path, pd.DataFrame]) -> None:
    root, clips = tree
    heard = {stream.name: stream for stream in speakers.event_streams(clips, root)}
    assert set(heard) == {"EMO-DB", "Screams"}
    stream = heard["Screams"]
    assert len(stream.events) == 3
    for start, end in stream.events:
        assert end - start == pytest.approx(0.4)
        event = stream.samples[round(start * 16000) : round(end * 16000)].astype(float)
        before = stream.samples[round((start - 0.4) * 16000) : round(start * 16000)].astype(float)
        assert 10 * np.log10(np.mean(event**2) / np.mean(before**2)) == pytest.approx(20, abs=1)


def test_the_decision_is_the_devices() -> None:
    times = np.arange(0.0, 10.0, 0.5)
    danger = np.where((times >= 2) & (times < 4), 0.9, 0.1)
    parameters = DecisionParameters(threshold=0.8, release=0.5, smooth_s=0.0, n=2, m=3)
    assert speakers.decide(times, danger, parameters, 10.0) == [(2.5, 4.0)]


def test_a_package_is_judged_and_the_page_written(tree: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    root, clips = tree
    package = load(chosen.shipped()[0])
    judged = speakers.judge(package, clips, clips, root, progress=False)
    names = [told.name for told in package.manifest.classes]
    assert judged.clips[names].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-4)
    assert set(judged.by_corpus.index) == {"EMO-DB"}
    calm = judged.streams[judged.streams["events"] == 0]
    assert calm.groupby("sensitivity").size().eq(7).all()  # six kinds, and all of them together
    network = Network(package)
    times, danger = speakers.listen(network, np.zeros(32000, np.int16))
    assert 2.0 - network.seconds_per_step - 0.05 <= times[-1] <= 2.0
    assert ((danger >= 0) & (danger <= 1)).all()
    written = page.report_of(judged, ["made sound"]).page()
    for told in ("Which emotion?", "Is it danger?", "All day long", "spontaneous fear", "EMO-DB"):
        assert told in written


def test_louder_does_not_clip() -> None:
    rng = np.random.default_rng(0)
    loud, soft = np.float32([0.5, -0.8, 0.1]), np.float32([0.05, -0.08, 0.01])
    np.testing.assert_allclose(package_clips.louder(10)(soft, rng), soft * 10**0.5, rtol=1e-6)
    np.testing.assert_allclose(package_clips.louder(10)(loud, rng), loud / 0.8, rtol=1e-6)
    np.testing.assert_allclose(package_clips.louder(-20)(loud, rng), loud / 10, rtol=1e-6)
    assert package_clips.louder(10)(np.zeros(3, np.float32), rng).tolist() == [0, 0, 0]
