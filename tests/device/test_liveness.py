"""The judgement of hearing: every state and every flaw, in simulated time."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from device.audio import SAMPLE_RATE, Chunk
from device.liveness import WORDS, Liveness, LivenessParameters, Reason
from device.sound.pace import Pace
from device.sound.soundness import Soundness, SoundnessParameters

CHUNK_S = 0.1
RNG = np.random.default_rng(7)


POOL: dict[float, list[np.ndarray]] = {}


def noise(level: float = 0.05) -> np.ndarray:
    """A chunk of noise out of a pool that is longer than the second in which a repeat would show."""
    pool = POOL.setdefault(level, [])
    if len(pool) < 40:
        pool.append(made_noise(level, CHUNK_S))
        return pool[-1]
    pool.append(pool.pop(0))
    return pool[-1]


def made_noise(level: float, seconds: float) -> np.ndarray:
    return np.rint(RNG.normal(0, level * 32_768, round(SAMPLE_RATE * seconds))).clip(-32_768, 32_767).astype(np.int16)


def zeros() -> np.ndarray:
    return np.zeros(round(SAMPLE_RATE * CHUNK_S), np.int16)


class Life:
    """A liveness with a clock, fed as the listening thread does."""

    def __init__(self, **parameters) -> None:
        self.now = 1_000.0
        self.liveness = Liveness(LivenessParameters(**parameters), self.now)
        self.liveness.stream_opened()
        self.states: list[tuple[float, str]] = []

    def hear(self, seconds: float, sound=noise) -> int:
        """Sound for so long; how many chunks were admitted."""
        admitted = 0
        for _ in range(round(seconds / CHUNK_S)):
            self.now += CHUNK_S
            admitted += self.liveness.heard(Chunk(sound(), self.now))
            self.tick()
        return admitted

    def nothing(self, seconds: float):
        for _ in range(round(seconds / CHUNK_S)):
            self.now += CHUNK_S
            self.tick()
        return self.report

    def tick(self):
        self.report = self.liveness.tick(self.now)
        if not self.states or self.states[-1][1] != self.report.state:
            self.states.append((self.now, self.report.state))
        return self.report

    def first(self, state: str, after: float) -> float:
        """Seconds from a time until a state was first entered."""
        return next(at for at, each in self.states if each == state and at >= after) - after


def test_every_reason_has_words():
    assert set(WORDS) == set(get_args(Reason)) | {"zeros", "frozen", "dc", "clipping", "muted"}


def test_healthy_from_the_first_sound_on():
    life = Life()
    assert life.tick().state == "suspect"
    assert life.report.reasons == ("starting",)
    assert life.report.fault is None
    life.hear(5)
    assert (life.report.state, life.report.reasons, life.report.fault) == ("healthy", (), None)
    assert life.report.level_dbfs == pytest.approx(20 * np.log10(0.05), abs=1)
    assert [state for _, state in life.states] == ["suspect", "healthy"]


def test_silence_of_the_stream_goes_through_all_states_and_back():
    life = Life()
    life.hear(5)
    stopped = life.now
    life.nothing(40)
    assert life.first("suspect", stopped) == pytest.approx(1.0, abs=0.15)
    assert life.first("recovering", stopped) == pytest.approx(2.0, abs=0.15)
    assert life.first("failed", stopped) == pytest.approx(32.0, abs=0.2)
    assert life.report.fault == "no_sound"
    assert life.report.deaf
    assert life.report.age_s == pytest.approx(40, abs=0.1)
    life.liveness.stream_opened()
    life.hear(0.9)
    assert life.report.state == "failed"  # a click is not yet a microphone
    life.hear(1)
    assert life.report.state == "healthy"


def test_a_short_hole_is_a_doubt_and_tells_nobody():
    life = Life()
    life.hear(5)
    life.nothing(1.5)
    assert (life.report.state, life.report.fault) == ("suspect", None)
    life.hear(2)
    assert life.report.state == "healthy"


def test_never_a_sound_is_deaf_within_five_seconds():
    life = Life()
    life.nothing(5)
    assert life.report.deaf
    assert life.report.fault == "no_sound"


@pytest.mark.parametrize("reason", ["missing", "busy"])
def test_a_microphone_that_does_not_open_is_named(reason):
    life = Life()
    life.liveness.opening_failed(reason, "card Device is held by pipewire (pid 812)")
    life.nothing(3)
    assert life.report.reasons[0] == reason
    assert "held by pipewire" in life.report.words
    life.liveness.stream_opened()
    life.hear(2)
    assert (life.report.state, life.report.detail) == ("healthy", "")


@pytest.mark.parametrize(
    ("flaw", "sound"),
    [
        ("zeros", zeros),
        ("dc", lambda: np.full(1_600, 3_000, np.int16)),
        ("dc", lambda: (3_000 + RNG.integers(0, 2, 1_600)).astype(np.int16)),
        ("frozen", lambda frozen=noise(): frozen),  # noqa: B008
    ],
)
def test_chunks_that_are_no_sound_are_deafness_within_five_seconds(flaw, sound):
    life = Life()
    life.hear(10)
    began = life.now
    life.hear(40, sound)
    assert life.first("suspect", began) <= 1.3
    assert life.first("recovering", began) <= 3.3
    assert life.first("failed", began) <= 34
    assert life.report.reasons == (flaw,)
    assert life.report.fault == flaw
    life.hear(2)
    assert life.report.state == "healthy"


def test_a_reopened_stream_of_zeros_stays_deaf():
    life = Life()
    life.hear(5, zeros)
    assert life.report.state == "recovering"
    life.liveness.stream_opened()
    life.hear(2.5, zeros)
    assert life.report.state == "recovering"


def test_a_ring_buffer_that_goes_round_is_frozen_whatever_its_length():
    ring = made_noise(0.05, 0.237)
    samples = np.tile(ring, 40)
    soundness = Soundness()
    flaws = [soundness.push(Chunk(samples[i : i + 1_600], 0.0)) for i in range(0, 32_000, 1_600)]
    assert "frozen" in flaws[-1]
    assert flaws[-1]["frozen"] > 1


def test_a_very_quiet_room_is_no_fault():
    life = Life()
    life.hear(20, lambda: RNG.integers(-1, 2, 1_600).astype(np.int16))
    assert life.report.state == "healthy"


def test_clipping_is_told_but_hearing_goes_on():
    life = Life()
    life.hear(12, lambda: noise(3.0))
    assert (life.report.state, life.report.fault) == ("suspect", "clipping")
    assert not life.report.deaf
    life.hear(12)
    assert life.report.state == "healthy"


def test_a_scream_that_clips_for_three_seconds_is_no_fault():
    life = Life()
    life.hear(20)
    life.hear(3, lambda: noise(3.0))
    assert life.report.state == "healthy"
    life.hear(10)
    assert all(state in ("suspect", "healthy") for _, state in life.states)
    assert life.states[-1][1] == "healthy"


def test_covered_microphone():
    life = Life()
    life.hear(120, lambda: noise(0.003))
    assert life.report.state == "healthy"
    life.hear(9, lambda: noise(0.0002))
    assert life.report.state == "healthy"
    life.hear(3, lambda: noise(0.0002))
    assert (life.report.state, life.report.fault) == ("suspect", "muted")
    life.hear(600, lambda: noise(0.0002))
    assert life.report.fault == "muted"  # not soon taken for a quiet room
    life.hear(1, lambda: noise(0.003))
    assert life.report.state == "healthy"


def test_a_quiet_night_after_a_loud_day_with_sounds_in_it_is_not_muted():
    life = Life()
    life.hear(120, lambda: noise(0.003))
    for _ in range(10):
        life.hear(6, lambda: noise(0.0002))
        life.hear(0.3, lambda: noise(0.002))  # the wearer moves
    assert life.report.fault is None


def test_the_floor_survives_a_reopened_stream():
    soundness = Soundness(SoundnessParameters(floor_learn_s=20))
    for _ in range(300):
        soundness.push(Chunk(noise(0.003), 0.0))
    floor = soundness.floor_dbfs
    assert floor == pytest.approx(20 * np.log10(0.003), abs=1)
    soundness.restart()
    assert soundness.floor_dbfs == floor


def test_burst_after_a_stall_is_dropped_and_counted():
    life = Life()
    life.hear(5)
    life.nothing(8)
    admitted = 0
    for _ in range(80):  # the server hands over 8 s within 0.4 s
        life.now += 0.005
        admitted += life.liveness.heard(Chunk(noise(), life.now))
    life.tick()
    assert admitted == 0
    assert life.report.deaf
    assert life.liveness.dropped_s == pytest.approx(8, abs=0.2)
    assert life.hear(3) >= 28  # then live again at once
    assert life.report.state == "healthy"
    assert life.report.dropped_s == pytest.approx(8, abs=0.5)


def test_a_stream_that_never_paces_is_not_live():
    life = Life()
    heard = 0
    for _ in range(2_000):
        life.now += 0.002
        heard += life.liveness.heard(Chunk(noise(), life.now))
        life.tick()
    assert heard < 20
    assert life.report.deaf
    assert life.report.reasons[0] == "stale"


@pytest.mark.parametrize(("speed", "reason"), [(0.92, "slow"), (1.088, "fast"), (0.5, "slow"), (1.15, "fast")])
def test_a_wrong_clock(speed, reason):
    life = Life()
    life.hear(3)
    for _ in range(600):
        life.now += CHUNK_S / speed
        life.liveness.heard(Chunk(noise(), life.now))
        life.tick()
    assert life.report.fault == reason
    assert not life.report.deaf


def test_a_busy_machine_hears_late_but_hears_all():
    """Sound that comes in bursts of up to a second is kept, and is no fault."""
    life, admitted = Life(), 0
    life.hear(3)
    for _ in range(60):
        life.nothing(1.0)
        for _ in range(10):
            admitted += life.liveness.heard(Chunk(noise(), life.now))
        life.tick()
        assert life.report.fault is None
    assert admitted == 600


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), drift=st.floats(-0.0005, 0.0005))
def test_jitter_and_a_crystals_drift_are_no_fault(seed, drift):
    rng, pace, admitted = np.random.default_rng(seed), Pace(), 0
    arrivals = np.arange(1_000) * CHUNK_S * (1 + drift) + rng.uniform(0, 0.06, 1_000)
    for at in np.maximum.accumulate(arrivals):
        admitted += pace.admit(Chunk(np.zeros(1_600, np.int16), float(at)))
        assert not pace.slow
        assert not pace.fast
    assert admitted == 1_000


def test_overflow_shows_for_a_while():
    life = Life()
    life.hear(3)
    life.liveness.overflowed(life.now)
    assert life.tick().reasons == ("overflow",)
    life.hear(6)
    assert life.report.state == "healthy"


def test_a_moved_stream_is_deaf_until_a_new_one():
    life = Life()
    life.hear(3)
    life.liveness.moved("from mic to rig_out.monitor")
    assert life.tick().state == "recovering"
    assert life.report.reasons == ("moved",)
    life.hear(3)
    assert life.report.state == "recovering"
    life.liveness.stream_opened()
    life.hear(2)
    assert life.report.state == "healthy"


def test_silence_while_released_is_no_fault():
    life = Life()
    life.hear(3)
    life.now += 3_600
    life.liveness.resumed(life.now)
    life.liveness.stream_opened()
    assert not life.tick().deaf
    life.hear(2)
    assert life.report.state == "healthy"


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["noise", "zeros", "nothing", "burst", "opened", "missing", "moved", "overflow"]),
            st.integers(1, 55),
        ),
        max_size=12,
    )
)
@example(steps=[("nothing", 2), ("zeros", 29), ("nothing", 19)])
@example(steps=[("noise", 20), ("nothing", 19), ("zeros", 29), ("nothing", 19), ("zeros", 29)])
def test_whatever_happens_deafness_shows_and_good_sound_heals(steps):
    """No path is a trap: at most 5 s after the last good chunk it is deaf, and 5 s of sound after opening heal it."""
    life = Life()
    last_good = life.now
    for what, tenths in steps:
        for _ in range(tenths):
            life.now += 0.001 if what == "burst" else CHUNK_S
            if what in ("noise", "burst"):
                life.liveness.heard(Chunk(noise(), life.now))
                last_good = life.now
            elif what == "zeros":
                life.liveness.heard(Chunk(zeros(), life.now))
            life.tick()
            if life.now - last_good > 5:
                assert life.report.deaf
                assert life.report.fault is not None
        if what == "opened":
            life.liveness.stream_opened()
        elif what == "missing":
            life.liveness.opening_failed("missing", "none")
        elif what == "moved":
            life.liveness.moved("elsewhere")
        elif what == "overflow":
            life.liveness.overflowed(life.now)
    life.liveness.stream_opened()
    life.hear(6)
    assert life.report.state == "healthy"
    assert life.report.reasons == ()


def test_who_lets_zeros_last_longer_is_not_overruled():
    life = Life(zeros_after_s=60.0)
    life.hear(2)
    life.hear(10, zeros)
    assert not life.report.deaf
    life.hear(51, zeros)
    assert life.report.deaf
