"""The step graph equals the folded network; its int8 form has plain operators, raw states and one scale for each."""

from __future__ import annotations

import numpy as np
import pytest

from convert.edges import Flatbuffer, Quantised
from convert.fold import FoldedNetwork, fold
from convert.quantise import _convert, quantise, roll_out
from convert.step import StepGraph
from device.errors import BadDataError, UsageError
from tests.convert.networks import VIEW, random_network

pytestmark = pytest.mark.training

SHAPES = [
    {"units": (24,)},
    {"units": (16, 12), "convolutions": ((16, 7, 4),)},
    {"convolutions": (), "units": (12,)},
    {"input_norm": True, "convolutions": ((16, 5, 1), (8, 3, 2))},
]


def windows(count: int, frames: int = 64, seed: int = 1) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [np.clip(draw.normal(0, 1, (frames, VIEW)), -4, 4).astype(np.float32) for _ in range(count)]


def stepped(graph: StepGraph, view: np.ndarray) -> np.ndarray:
    """Logits of view (batch, n, V), by the TensorFlow graph, step by step."""
    function, states, parts = graph.function(), graph.start(), []
    for at in range(0, view.shape[1], graph.frames):
        out = function(view[:, at : at + graph.frames], *states)
        states = [np.asarray(out[f"{name}_out"]) for name in graph.state_shapes]
        parts.append(np.asarray(out["logits"]))
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_step_graph_equals_the_folded_network(shape: dict, batch: int) -> None:
    network = fold(random_network(**shape))
    graph = StepGraph(network, batch, 8)
    view = np.stack(windows(batch, 1200 // 8 * 8))
    expected = np.stack([network.logits(one) for one in view])
    assert np.abs(stepped(graph, view) - expected).max() < 1e-4


def test_a_step_of_broken_strides_is_refused() -> None:
    with pytest.raises(UsageError, match="multiple of 4"):
        StepGraph(fold(random_network()), 1, 10)


@pytest.fixture(scope="module")
def network() -> FoldedNetwork:
    return fold(random_network(units=(16, 12)))


def test_int8_has_plain_operators_raw_states_and_one_scale(network: FoldedNetwork) -> None:
    from convert.runner import interpreter

    graph = StepGraph(network, 2, 8)
    made = quantise(graph, roll_out(graph, windows(20)))
    assert list(made.states) == ["tail_1", "tail_2", "gru_1", "gru_2"]
    assert {op.name for op in made.operators}.isdisjoint({"WHILE", "CUSTOM", "CALL_ONCE"})
    assert [op.name for op in made.operators if "FLOAT32" in (*op.inputs, *op.outputs)] == ["QUANTIZE", "DEQUANTIZE"]
    runtime = interpreter(made.content, "builtin")
    names = ["input", *made.states]
    for kind, details in (("", runtime.get_input_details()), ("_out", runtime.get_output_details())):
        expected = names if not kind else ["logits", *[f"{s}_out" for s in made.states]]
        assert [d["name"] for d in details] == expected
        assert [d["dtype"] for d in details] == [np.float32] + [np.int8] * len(made.states)
        for state, detail in zip(made.states, details[1:], strict=True):
            assert Quantised(*detail["quantization"]) == made.states[state]


def test_int8_says_nearly_what_float_says(network: FoldedNetwork) -> None:
    from convert.build import _geometry
    from convert.run_folder import Stream
    from convert.runner import Runner

    graph = StepGraph(network, 2, 8)
    made = quantise(graph, roll_out(graph, windows(40)))
    geometry = _geometry(Stream(8, 2, 8, 4), graph, made)
    view = windows(1, 512, seed=9)[0]
    expected = network.logits(view)
    for kernels in ("xnnpack", "builtin"):
        told = Runner(made.content, geometry, kernels).run_each([view])[0]
        assert told.shape == expected.shape
        assert np.abs(told - expected).mean() < 0.03


def test_a_state_that_comes_out_wider_than_it_goes_in_stops_the_build(network: FoldedNetwork) -> None:
    """What `roll_out` prevents: states drawn at random do not cover what the graph makes of them."""
    graph = StepGraph(network, 1, 8)
    draw = np.random.default_rng(3)
    pairs = [
        {
            "input": view[None, :8],
            **{n: draw.uniform(-0.1, 0.1, s).astype(np.float32) for n, s in graph.state_shapes.items()},
        }
        for view in windows(20)
    ]
    with pytest.raises(BadDataError, match=r"state gru_1 goes in with scale .* comes out with"):
        quantise(graph, pairs)


def test_a_float_operator_is_named(network: FoldedNetwork) -> None:
    """A graph whose edges were not cut, and one that was never quantised."""
    graph = StepGraph(network, 1, 8)
    pairs = roll_out(graph, windows(10))
    with pytest.raises(BadDataError, match="expected one QUANTIZE and one DEQUANTIZE"):
        Flatbuffer(_convert(graph, pairs)).check_int8()
    import tensorflow as tf

    module = tf.Module()
    module.step = graph.function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.step.get_concrete_function()], module)
    with pytest.raises(BadDataError, match=r"operator [A-Z_0-9]+ computes in float"):
        Flatbuffer(bytes(converter.convert())).check_int8()


def test_no_window_long_enough_is_said(network: FoldedNetwork) -> None:
    with pytest.raises(BadDataError, match="no window is as long"):
        roll_out(StepGraph(network, 1, 8), windows(3, 5))
