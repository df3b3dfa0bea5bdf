"""The listening thread and its wearer: what fits is worn, the rest is said; calls are heard, calm is learned from."""

from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from device import enrol, package, wearer
from device.audio import Chunk
from device.config import Config
from device.features import SAMPLE_RATE, features
from device.hearing.road import Road, decision_parameters
from device.hearing.thread import Hearing, Pupillage
from device.installed_models import golden
from device.network import Network
from device.settings.sections import DecisionSection
from device.view import VOICING
from device.voice.call import EXAMPLES
from device.voice.callbook import CallBook
from device.wearer import Learner, Wearer
from tests.device.made_package import original

RNG = np.random.default_rng(3)


def hum(hertz: float, seconds: float) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    swell = np.minimum(1, np.minimum(time, seconds - time) / 0.05)
    return 0.15 * swell * sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 9))


def in_quiet(*sounds: np.ndarray) -> np.ndarray:
    pieces = [np.zeros(SAMPLE_RATE)]
    for sound in sounds:
        pieces += [sound, np.zeros(SAMPLE_RATE)]
    whole = np.concatenate(pieces)
    return ((whole + RNG.normal(size=len(whole)) * 0.001) * 32767).astype(np.int16)


def learned(network: Network, microphone: str = "") -> Wearer:
    learner = Learner()
    learner.push(features(in_quiet(hum(140, 3.0))))
    return learner.wearer(network.package.manifest.view, microphone)


class Ears:
    """The listening thread's room without its thread: a test hands it the chunks."""

    def __init__(self, **given) -> None:
        self.network = golden.open_network(package.load(original()))
        # No made sound is danger here, whatever the package that ships says of it.
        config = msgspec.structs.replace(Config(), decision=DecisionSection(threshold=1.0, release=1.0))
        road = Road(self.network, decision_parameters(self.network.package.manifest, config))
        self.microphone = SimpleNamespace(info=SimpleNamespace(name="first"), opened=True)
        self.calls: list[str] = []
        self.now = 0.0
        listening = SimpleNamespace(microphone=self.microphone)
        known = given.pop("wearer", lambda network: None)(self.network)
        given["calls"] = given.pop("calls", lambda network: None)(self.network)
        self.hearing = Hearing(
            listening, road, lambda heard: None, known, on_call=lambda _, name: self.calls.append(name), **given
        )

    def hear(self, samples: np.ndarray, *, gap: bool = False) -> None:
        for at in range(0, len(samples) - 1599, 1600):
            self.now += 0.1
            self.hearing._hear(Chunk(samples[at : at + 1600], self.now, gap and at == 0))


@pytest.mark.parametrize(
    ("known", "says", "worn"),
    [
        (lambda network: None, "none", False),
        (learned, "learned", True),
        (lambda network: learned(network, "first"), "learned", True),
        (lambda network: learned(network, "second"), "does_not_fit", False),
        (lambda network: msgspec.structs.replace(learned(network), parameters="0" * 16), "does_not_fit", False),
        (lambda network: wearer.UNREADABLE, "does_not_fit", False),
    ],
    ids=["nobody", "from files", "this microphone", "another microphone", "another view", "unreadable"],
)
def test_what_is_known_of_the_wearer_is_worn_only_where_it_fits_and_said(known, says, worn):
    ears = Ears(wearer=known)
    ears.hear(in_quiet())
    assert ears.hearing.wearer_known == says
    assert (ears.network.wearer is not None) is worn


def test_another_package_is_said_before_any_sound_came():
    ears = Ears(wearer=lambda network: msgspec.structs.replace(learned(network), parameters="0" * 16))
    assert ears.hearing.wearer_known == "does_not_fit"


def test_a_microphone_that_was_swapped_takes_the_wearer_away_and_back():
    ears = Ears(wearer=lambda network: learned(network, "first"))
    ears.hear(in_quiet())
    ears.microphone.info = SimpleNamespace(name="second")
    ears.hear(in_quiet(), gap=True)
    assert (ears.hearing.wearer_known, ears.network.wearer) == ("does_not_fit", None)
    ears.microphone.info = SimpleNamespace(name="first")
    ears.hear(in_quiet(), gap=True)
    assert ears.hearing.wearer_known == "learned"
    assert ears.network.wearer is not None


def book(network: Network) -> CallBook:
    sounds = enrol.sounds_of(in_quiet(*[hum(140 * RNG.uniform(0.98, 1.02), 0.8) for _ in range(EXAMPLES)]))
    view = network.package.manifest.view
    examples = [enrol.example(sound, view, network.memory) for sound in sounds]
    return CallBook((enrol.made("hum", examples, network.package.manifest, enrol.unlike(network)),))


def test_the_call_is_heard_but_not_while_one_is_enrolled():
    ears = Ears(calls=book)
    ears.hear(in_quiet(hum(140, 0.8)))
    assert (ears.calls, ears.hearing.calls_known) == (["hum"], "learned")
    ears.hearing.enrol(60.0)
    ears.hear(in_quiet(hum(140, 0.8)))
    assert ears.calls == ["hum"]
    ears.hearing.enrol(0)
    ears.hear(in_quiet(hum(140, 0.8)))
    assert ears.calls == ["hum", "hum"]
    ears.hearing.heeds(None)
    ears.hear(in_quiet(hum(140, 0.8)))
    assert (ears.calls, ears.hearing.calls_known) == (["hum", "hum"], "none")


def test_a_call_of_another_package_is_said():
    def other(network: Network) -> CallBook:
        calls = book(network).calls
        return CallBook(tuple(msgspec.structs.replace(call, parameters="0" * 16) for call in calls))

    ears = Ears(calls=other)
    ears.hear(in_quiet(hum(140, 0.8)))
    assert (ears.calls, ears.hearing.calls_known) == ([], "does_not_fit")


@pytest.mark.parametrize("calm", [True, False])
def test_it_learns_on_in_calm_hours_alone_and_keeps_learning_over_a_gap(calm):
    grown: list[Wearer] = []

    def higher(network: Network) -> Wearer:
        known = learned(network)
        means = list(known.means)
        means[VOICING] -= 0.05
        return msgspec.structs.replace(known, means=tuple(means))

    ears = Ears(wearer=higher, pupil=Pupillage(lambda: calm, grown.append))
    ears.hear(in_quiet())
    apprentice = ears.hearing._apprentice
    apprentice._low_bar = 1.0
    for turn in range(5):
        for _ in range(8):
            ears.hear(in_quiet(hum(140, 3.0)), gap=turn == 2)
    assert not grown
    assert ears.hearing._apprentice is apprentice
    ears.now += 3600
    ears.hear(in_quiet(hum(140, 3.0)))
    if not calm:
        assert not grown
        return
    assert [len(one.start) for one in grown] == [len(grown[0].means)]
    assert grown[0].learned_s > 10
    assert ears.hearing.wearer_known == "learned"
    ears.hear(in_quiet())
    assert ears.network.wearer == grown[0]


def test_without_the_setting_nothing_is_learned_on():
    ears = Ears(wearer=learned)
    ears.hear(in_quiet(hum(140, 3.0)))
    assert [type(ear).__name__ for ear in ears.hearing.road.ears] == []
