"""The wearer's own call: found where it is, quiet elsewhere, refused where it can't work; and its one file."""

import json
import stat
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from device import cli, enrol, package
from device.errors import BadDataError, MissingInputError, UsageError
from device.features import SAMPLE_RATE, features
from device.installed_models import golden
from device.network import Network
from device.voice import callbook
from device.voice.call import EXAMPLES, Call, Caller, Debounce, example
from device.voice.callbook import CallBook
from device.voice.segments import MOST_FRAMES, Segmenter
from device.wearer import Wearer
from device.wearer import digest as voice_digest
from tests.device.made_package import original

RNG = np.random.default_rng(5)


def quiet(seconds: float) -> np.ndarray:
    return RNG.normal(size=int(seconds * SAMPLE_RATE)) * 0.001


def hum(hertz: float, seconds: float, glide: float = 0.0) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    swell = np.minimum(1, np.minimum(time, seconds - time) / 0.05)
    phase = 2 * np.pi * hertz * (time + glide * time**2)
    return 0.15 * swell * sum(np.sin(k * phase) / k for k in range(1, 9)) + quiet(seconds)[: len(time)]


def like_a_hum() -> np.ndarray:
    return hum(140 * RNG.uniform(0.97, 1.03), 0.8 * RNG.uniform(0.93, 1.07))


def in_quiet(sounds: list[np.ndarray]) -> np.ndarray:
    pieces = [quiet(1.0)]
    for sound in sounds:
        pieces += [sound, quiet(1.0)]
    return np.clip(np.concatenate(pieces) * 32768, -32768, 32767).astype(np.int16)


def written(path: Path, samples: np.ndarray) -> str:
    soundfile.write(path, samples, SAMPLE_RATE)
    return str(path)


@pytest.fixture(scope="module")
def network() -> Network:
    return golden.open_network(package.load(original()))


@pytest.fixture(scope="module")
def call(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Call:
    five = written(tmp_path_factory.mktemp("call") / "five.wav", in_quiet([like_a_hum() for _ in range(EXAMPLES)]))
    return enrol.from_files("hum", [five], network)


# --- single sounds of a stream ---------------------------------------------------------------------------


def test_each_sound_comes_out_once_with_its_own_length():
    sounds = Segmenter().push(features(in_quiet([hum(140, 0.4), hum(200, 1.2), hum(300, 2.0)])))
    assert [len(sound) for sound in sounds] == pytest.approx([40, 120, 200], abs=8)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_sounds_are_the_same_whatever_the_chunking_of_whole_pieces(sizes):
    frames = features(in_quiet([hum(140, 0.4), hum(200, 1.2)]))
    segmenter, found, at, turn = Segmenter(), [], 0, 0
    while at < len(frames):
        size = 10 * sizes[turn % len(sizes)]
        found += segmenter.push(frames[at : at + size])
        at, turn = at + size, turn + 1
    for ours, whole in zip(found, Segmenter().push(frames), strict=True):
        np.testing.assert_array_equal(ours, whole)


def test_who_talks_on_makes_no_single_sound():
    talk = np.concatenate([hum(140 + 10 * (n % 5), 0.35) for n in range(12)])
    assert Segmenter().push(features(in_quiet([talk]))) == []


def test_a_fan_that_goes_on_does_not_deafen_it_for_ever():
    fan = RNG.normal(size=20 * SAMPLE_RATE) * 0.02
    fan[-3 * SAMPLE_RATE : -2 * SAMPLE_RATE] += hum(140, 1.0) * 3
    stream = np.clip(np.concatenate([quiet(2), fan]) * 32768, -32768, 32767).astype(np.int16)
    assert [len(sound) for sound in Segmenter().push(features(stream))] == pytest.approx([100], abs=15)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_whatever_comes_a_sound_is_never_longer_than_a_call_may_be(seed):
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.uniform(-200, 0, 60), rng.integers(1, 60, 60))
    frames = rng.normal(size=(len(levels), 42)).astype(np.float32)
    frames[:, 0] = levels
    for sound in Segmenter().push(frames):
        assert 0 < len(sound) <= MOST_FRAMES


# --- enrolled and heard ----------------------------------------------------------------------------------


def heard_by(call: Call, network: Network, samples: np.ndarray) -> list[str]:
    caller = Caller([call], network.package.manifest.view, network.memory)
    frames = features(samples)
    for at in range(0, len(frames), 10):
        caller.hear(frames[at : at + 10])
    return caller.taken()


def test_the_call_is_heard_each_time_and_other_sounds_are_not(call, network):
    others = [hum(420, 0.8, glide=0.5), RNG.normal(size=SAMPLE_RATE // 2) * 0.1, hum(140, 0.2), hum(140, 2.2)]
    assert heard_by(call, network, in_quiet([like_a_hum(), *others, like_a_hum()])) == ["hum", "hum"]
    assert heard_by(call, network, in_quiet(others)) == []


def test_listening_for_the_call_leaves_the_network_as_it_was(call, network):
    samples = in_quiet([like_a_hum(), hum(300, 1.5)])
    frames = features(samples)
    network.reset()
    alone = network.push(frames)
    network.reset()
    caller = Caller([call], network.package.manifest.view, network.memory)
    beside = []
    for at in range(0, len(frames), 10):
        beside += network.push(frames[at : at + 10])
        caller.hear(frames[at : at + 10])
    assert caller.taken() == ["hum"]
    assert [one.danger for one in beside] == [one.danger for one in alone]


def test_what_is_known_of_the_voice_does_not_move_a_call(network):
    frames = features(like_a_hum())
    view = network.package.manifest.view
    before = example(frames, view, network.memory)
    worn = golden.open_network(network.package, wearer=Wearer((1.0,) * 42, 60.0, voice_digest(view)))
    assert worn.wearer is not None
    assert example(frames, view, worn.memory) == before


def test_four_examples_are_refused(network, tmp_path):
    four = written(tmp_path / "four.wav", in_quiet([like_a_hum() for _ in range(4)]))
    with pytest.raises(BadDataError, match=r"4 single sounds were heard, 5 are needed"):
        enrol.from_files("hum", [four], network)


def test_sounds_unlike_one_another_are_refused_and_the_odd_one_is_named(network, tmp_path):
    sounds = [like_a_hum(), like_a_hum(), RNG.normal(size=int(0.8 * SAMPLE_RATE)) * 0.1, like_a_hum(), like_a_hum()]
    with pytest.raises(BadDataError, match="example 3 is too unlike the others"):
        enrol.from_files("hum", [written(tmp_path / "five.wav", in_quiet(sounds))], network)


def test_what_has_the_outline_of_ordinary_speech_is_refused(network, monkeypatch, tmp_path):
    view = network.package.manifest.view
    monkeypatch.setattr(enrol, "ordinary_speech", lambda _: [example(features(like_a_hum()), view, network.memory)])
    five = written(tmp_path / "five.wav", in_quiet([like_a_hum() for _ in range(5)]))
    with pytest.raises(BadDataError, match="too like ordinary speech"):
        enrol.from_files("hum", [five], network)


def test_the_everyday_sounds_that_ship_can_be_compared(network):
    kept = enrol.ordinary_speech(network.package.manifest.view)
    assert len(kept) > 100
    sound = example(features(like_a_hum()), network.package.manifest.view, network.memory)
    assert {len(one.outline) for one in kept} == {len(sound.outline)}


@pytest.mark.parametrize("name", ["", "a" * 33, "x\n", "../x"])
def test_a_name_that_is_none_is_refused(name, network):
    with pytest.raises(UsageError, match="a name is 1 to 32"):
        enrol.made(name, [], network.package.manifest, 1.0)


def test_a_file_without_a_single_sound_is_named(network, tmp_path):
    with pytest.raises(BadDataError, match=r"still\.wav: no single sound"):
        enrol.from_files("hum", [written(tmp_path / "still.wav", np.zeros(SAMPLE_RATE, np.int16))], network)


def test_a_call_made_again_and_again_is_one_call():
    debounce = Debounce()
    assert debounce.heeds(100.0, alerting=False)
    assert [debounce.heeds(100.0 + at, alerting=True) for at in (1, 2, 8, 20, 59)] == [False] * 5
    assert debounce.heeds(161.0, alerting=True)
    assert debounce.heeds(170.0, alerting=False)  # the wearer had cancelled meanwhile, and calls again


# --- the file --------------------------------------------------------------------------------------------


def test_kept_for_the_owner_alone_and_read_again(call, tmp_path):
    path = tmp_path / callbook.FILE_NAME
    callbook.save(CallBook((call,), "mic"), path)
    assert callbook.load(path) == CallBook((call,), "mic")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [callbook.FILE_NAME]


def test_another_package_s_calls_do_not_fit(call, network):
    manifest = network.package.manifest
    entry = msgspec.structs.replace(manifest.files["network.tflite"], sha256="0" * 64)
    other = msgspec.structs.replace(manifest, files={**manifest.files, "network.tflite": entry})
    assert CallBook((call,)).fitting(manifest) == (call,)
    assert CallBook((call,)).fitting(other) == ()


def test_the_same_name_replaces_and_a_sixth_call_is_refused(call):
    book = CallBook(())
    for name in "abcde":
        book = book.written_in(msgspec.structs.replace(call, name=name), "")
    assert len(book.written_in(msgspec.structs.replace(call, name="c", limit=1.0), "").calls) == 5
    with pytest.raises(BadDataError, match="5 calls are enrolled already"):
        book.written_in(msgspec.structs.replace(call, name="f"), "")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept: kept["calls"][0].update(limit=-1),
        lambda kept: kept["calls"][0].update(unlike=0),
        lambda kept: kept["calls"][0]["examples"].pop(),
        lambda kept: kept["calls"][0]["examples"][2]["memory"].pop(),
        lambda kept: kept["calls"][0]["examples"][2].update(frames=0),
        lambda kept: kept["calls"].append(kept["calls"][0]),
        lambda kept: kept.update(more=1),
    ],
)
def test_a_spoilt_file_is_refused_in_words(spoil, call, tmp_path):
    kept = msgspec.to_builtins(CallBook((call,)))
    kept = json.loads(json.dumps(kept))
    spoil(kept)
    path = tmp_path / "calls.json"
    path.write_text(json.dumps(kept))
    with pytest.raises(BadDataError, match="run `outcry enrol NAME` again"):
        callbook.load(path)


def test_a_file_that_is_not_there_says_what_makes_one(tmp_path):
    with pytest.raises(MissingInputError, match="`outcry enrol NAME` makes one"):
        callbook.load(tmp_path / "calls.json")


# --- the commands ----------------------------------------------------------------------------------------


def test_enrolled_replayed_and_forgotten(tmp_path, monkeypatch):
    state = tmp_path / "state"
    monkeypatch.setenv("STATE_DIRECTORY", str(state))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    five = written(tmp_path / "five.wav", in_quiet([like_a_hum() for _ in range(5)]))
    stream = written(tmp_path / "day.wav", in_quiet([hum(420, 0.3), like_a_hum(), like_a_hum()]))
    runner = CliRunner()
    done = runner.invoke(cli.outcry, ["enrol", "hum", five, "--model", str(original())], catch_exceptions=False)
    assert done.exit_code == 0
    assert "'hum' is enrolled" in done.stderr
    arguments = ["replay", stream, "--model", str(original()), "--calls", str(state / callbook.FILE_NAME)]
    lines = runner.invoke(cli.outcry, arguments, catch_exceptions=False).stdout.splitlines()
    alerts = [event for event in map(json.loads, lines) if event["kind"] == "alert"]
    assert [(event["reason"], event["repeat"]) for event in alerts] == [("call", 0)]
    assert 3.0 < alerts[0]["t_s"] < 4.2
    assert "forgotten" in runner.invoke(cli.outcry, ["forget", "--yes"], catch_exceptions=False).stderr
    assert not (state / callbook.FILE_NAME).exists()
