"""The road of `run` from a file, with the clock taken from the samples; and the judgement of whole files.

A replay tells what a device would have told: nobody presses its button or answers it, so an alert latches. When
the file ends within a pre-alert the clock runs on until the alert; those seconds hold no sound.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from device.alarm import Alarm
from device.audio import Recording, read_samples
from device.config import Config
from device.decision import Decider
from device.events import Effect, Event, Told
from device.features import SAMPLE_RATE
from device.hearing.gate import SilenceGate
from device.hearing.road import Heard, Road, decision_parameters
from device.network import Network
from device.network import classify as classify_samples
from device.telling.evidence import DIGITS, emotions_of, evidence_of
from device.voice.call import Caller, Debounce
from device.voice.callbook import CallBook


class Posteriors(msgspec.Struct, frozen=True):
    """One second of a replay."""

    t_s: float
    danger: float
    emotions: dict[str, float]


class Change(msgspec.Struct, frozen=True):
    """The decision has changed."""

    t_s: float
    decision: str
    danger: float


class Judgement(msgspec.Struct, frozen=True):
    """What the network makes of a file as a whole; the line of `classify`."""

    file: str
    seconds: float
    emotions: dict[str, float]
    danger: float
    danger_max: float


Line = Event | Posteriors | Change


class _Replay:
    """One pass; holds what the lines of output need besides the road."""

    def __init__(
        self, network: Network, config: Config, posteriors: bool, decisions: bool, calls: CallBook | None
    ) -> None:
        self._manifest = network.package.manifest
        self._config = config
        self._posteriors, self._decisions = posteriors, decisions
        parameters = decision_parameters(self._manifest, config)
        self._threshold = parameters.threshold
        network.reset()
        self.road = Road(network, parameters, SilenceGate() if config.microphone.silence_gate else None)
        self.alarm = Alarm(config.alarm)
        fitting = calls.fitting(self._manifest) if calls else ()
        self.caller = Caller(fitting, self._manifest.view, network.memory)
        self._debounce = Debounce()
        if fitting:
            self.road.ears = (self.caller,)
        self._next_second = 1.0
        self._latest: Heard | None = None

    def start(self) -> Iterator[Line]:
        yield from self._told(0.0, self.alarm.start(0.0))

    def heard(self, heard: Heard) -> Iterator[Line]:
        if self._posteriors:
            # The line of a second tells what was known when it was over.
            while self._latest is not None and heard.t_s > self._next_second:
                yield self._second(self._next_second)
                self._next_second += 1.0
        self._latest = heard
        if self._decisions and heard.decision.changed:
            word = "danger" if heard.decision.danger else "calm"
            yield Change(round(heard.t_s, 3), word, round(heard.decision.score, DIGITS))
        evidence = evidence_of(heard, self._manifest, self._threshold)
        yield from self._told(heard.t_s, self.alarm.on_decision(heard.t_s, heard.decision, evidence))

    def called(self, t_s: float) -> Iterator[Line]:
        """Heed the calls that were heard up to now."""
        for _ in self.caller.taken():
            if self._latest is not None and self._debounce.heeds(t_s, alerting=self.alarm.mode == "alert"):
                evidence = evidence_of(self._latest, self._manifest, self._threshold)
                yield from self._told(t_s, self.alarm.call(t_s, evidence))

    def end(self, seconds: float) -> Iterator[Line]:
        if self._posteriors and self._latest is not None:
            yield self._second(seconds)
        yield from self._told(seconds, self.alarm.tick(seconds))
        if self.alarm.mode == "pre_alert":
            over_s = seconds + self._config.alarm.pre_alert_s
            yield from self._told(over_s, self.alarm.tick(over_s))

    def _second(self, t_s: float) -> Posteriors:
        heard = self._latest
        assert heard is not None
        danger = 0.0 if heard.posterior is None else heard.posterior.danger
        return Posteriors(round(t_s, 3), round(float(danger), DIGITS), emotions_of(heard, self._manifest))

    def _told(self, t_s: float, effects: list[Effect]) -> Iterator[Event]:
        device = self._config.device
        for effect in effects:
            if isinstance(effect, Told):
                # The wall clock knows nothing of when a recording was made.
                yield effect.event(device.name, at=None, place=device.place, t_s=round(t_s, 3))


def replay(
    recording: Recording,
    network: Network,
    config: Config,
    *,
    posteriors: bool = False,
    decisions: bool = False,
    calls: CallBook | None = None,
) -> Iterator[Line]:
    """Give the lines of a replay as they come about. Raises BadDataError where the file breaks off."""
    run = _Replay(network, config, posteriors, decisions, calls)
    yield from run.start()
    seconds = 0.0
    for chunk in recording:
        seconds = chunk.heard_at
        for heard in run.road.push(chunk):
            yield from run.heard(heard)
        yield from run.called(seconds)
    yield from run.end(seconds)


def classify(file: str | Path, network: Network, config: Config) -> Judgement:
    """Judge a file as a whole. Raises BadDataError and MissingInputError for what can't be read."""
    samples = read_samples(file)
    whole, steps = classify_samples(network, samples)
    decider = Decider(decision_parameters(network.package.manifest, config))
    scores = [decider.update(step.frame / 100, step.danger).score for step in steps]
    names = network.package.manifest.class_names
    return Judgement(
        file=str(file),
        seconds=round(len(samples) / SAMPLE_RATE, 3),
        emotions={name: round(float(p), 6) for name, p in zip(names, whole.emotions, strict=True)},
        danger=round(float(whole.danger), 6),
        danger_max=round(max(scores), 6),
    )
