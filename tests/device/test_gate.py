"""The silence gate: closed only on the room's own noise, and nothing of a word is lost when it opens."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.audio import SAMPLE_RATE, Chunk
from device.hearing.gate import GateParameters, SilenceGate

CHUNK = 1_600


def white(level_dbfs: float, seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.rint(rng.normal(0, 32_768 * 10 ** (level_dbfs / 20), round(seconds * SAMPLE_RATE))).astype(np.int16)


def push(gate: SilenceGate, samples: np.ndarray, start: int = 0) -> list[Chunk]:
    """Push chunk by chunk, numbered by `heard_at`; what the gate hands on."""
    given_on = []
    for index in range(len(samples) // CHUNK):
        chunk = Chunk(samples[index * CHUNK : (index + 1) * CHUNK], float(start + index))
        given_on += gate.push(chunk)
    return given_on


def closed_gate() -> SilenceGate:
    gate = SilenceGate()
    push(gate, white(-65, 20))
    assert not gate.open
    return gate


def test_closes_in_a_steady_room_after_learning_and_hanging():
    gate = SilenceGate()
    given_on = push(gate, white(-65, 20))
    known = GateParameters()
    assert len(given_on) * 0.1 == pytest.approx(known.learn_s + known.hang_s, abs=0.3)
    assert gate.floor_dbfs == pytest.approx(-65, abs=0.5)
    assert gate.heard_s + gate.skipped_s == pytest.approx(20 - known.before_s, abs=0.2)


def test_digital_silence_closes_it_too():
    gate = SilenceGate()
    push(gate, np.zeros(20 * SAMPLE_RATE, np.int16))
    assert not gate.open
    assert gate.floor_dbfs == pytest.approx(-96)


def test_a_sound_opens_it_at_once_and_brings_the_second_before_with_it():
    gate = closed_gate()
    given_on = push(gate, white(-50, 0.1), start=1_000)
    assert [chunk.heard_at for chunk in given_on] == [*range(190, 200), 1_000]
    assert [chunk.gap for chunk in given_on] == [True] + [False] * 10
    assert gate.open


def test_a_soft_voice_above_rumble_opens_it():
    """Its high tones stand out where the rumble rules the level."""
    rumble = np.cumsum(np.random.default_rng(0).normal(0, 1, 30 * SAMPLE_RATE))
    rumble = rumble - np.convolve(rumble, np.ones(800) / 800, mode="same")
    rumble = rumble / rumble.std() * 100
    gate = SilenceGate(GateParameters(margin_db=8))
    push(gate, np.rint(rumble[: 25 * SAMPLE_RATE]).astype(np.int16))
    assert not gate.open
    hiss = np.random.default_rng(1).normal(0, 40, SAMPLE_RATE)  # 8 dB under the rumble
    assert push(gate, np.rint(rumble[25 * SAMPLE_RATE : 26 * SAMPLE_RATE] + hiss).astype(np.int16))
    assert gate.open


def test_stays_open_for_a_while_after_the_last_sound():
    gate = closed_gate()
    push(gate, white(-40, 0.5))
    assert len(push(gate, white(-65, 2.5))) == 25
    push(gate, white(-65, 2))
    assert not gate.open


def test_a_steady_scream_is_always_heard():
    gate = closed_gate()
    tone = np.rint(3_000 * np.sin(2 * np.pi * 1_500 * np.arange(120 * SAMPLE_RATE) / SAMPLE_RATE)).astype(np.int16)
    given_on = push(gate, tone)
    assert len(given_on) >= 1_200
    assert gate.open


def test_a_louder_room_is_learned_slowly():
    gate = closed_gate()
    assert len(push(gate, white(-50, 20))) >= 200
    push(gate, white(-50, 40))
    assert not gate.open


def test_after_a_gap_everything_is_heard_and_nothing_from_before_it():
    gate = closed_gate()
    given_on = gate.push(Chunk(white(-65, 0.1), 500.0, gap=True))
    assert [chunk.heard_at for chunk in given_on] == [500.0]
    assert len(push(gate, white(-65, 4))) == 40


def test_chunks_of_any_size():
    for size in (1, 0, 320, 1_599, 8_000):
        gate = SilenceGate()
        for number in range(20 * SAMPLE_RATE // max(size, 320)):
            gate.push(Chunk(white(-65, 0.5, seed=number)[:size], float(number)))


@settings(max_examples=40, deadline=None)
@given(
    stretches=st.lists(st.tuples(st.sampled_from([-96, -70, -60, -45, -20]), st.integers(1, 80)), max_size=8),
    margin_db=st.sampled_from([3.0, 5.0, 8.0]),
)
def test_order_is_kept_nothing_comes_twice_and_a_pause_is_marked(stretches, margin_db):
    gate, number, given_on = SilenceGate(GateParameters(margin_db=margin_db)), 0, []
    for level, chunks in stretches:
        for samples in np.split(white(level, chunks * 0.1, seed=number), chunks):
            given_on += gate.push(Chunk(samples, float(number)))
            number += 1
    numbers = [chunk.heard_at for chunk in given_on]
    assert numbers == sorted(set(numbers))
    for before, after in pairwise(given_on):
        if after.heard_at != before.heard_at + 1:
            assert after.gap  # the states restart after what was held back
    loud = {n for n, level in enumerate(level for level, chunks in stretches for _ in range(chunks)) if level > -40}
    assert loud <= set(numbers)
    spared_s = number * 0.1 - gate.heard_s
    assert -1e-6 <= spared_s - gate.skipped_s <= GateParameters().before_s + 0.01
