"""The int8 step graph: plain operators, raw states with one meaning, and nearly the float network's answers."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from convert.build import geometry
from convert.edges import check_int8, check_states
from convert.fold import FoldedNetwork, fold
from convert.listen import listen
from convert.quantise import Choices, QuantisedNetwork, quantise
from convert.run_folder import Stream
from convert.runner import Runner, interpreter
from convert.step import StepGraph
from convert.writer import Quantised, Tensor, Writer
from device.errors import BadDataError, UsageError
from tests.convert.networks import VIEW, random_network

pytestmark = pytest.mark.training

_ALL = Choices()

SHAPES = [
    {"units": (24,)},
    {"units": (16, 12), "convolutions": ((16, 7, 4),)},
    {"convolutions": (), "units": (12,)},
    {"input_norm": True, "convolutions": ((16, 5, 1), (8, 3, 2))},
]


def windows(count: int, frames: int = 64, seed: int = 1) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [np.clip(draw.normal(0, 1, (frames, VIEW)), -4, 4).astype(np.float32) for _ in range(count)]


def made_of(network: FoldedNetwork, batch: int = 2, choices: Choices = _ALL) -> tuple[QuantisedNetwork, StepGraph]:
    graph = StepGraph(network, batch, 8)
    return quantise(graph, listen(network, windows(12, 480)), choices), graph


def error_of(network: FoldedNetwork, choices: Choices = _ALL, kernels: str = "builtin", frames: int = 480) -> float:
    """Mean error of the logits over a long view, in both rows of the batch."""
    made, graph = made_of(network, choices=choices)
    views = windows(2, frames, seed=9)
    told = Runner(made.content, geometry(Stream(8, 2, 8, 4), graph, made), kernels).run_each(views)
    return float(np.mean([np.abs(t - network.logits(v)).mean() for t, v in zip(told, views, strict=True)]))


def test_a_step_of_broken_strides_is_refused() -> None:
    with pytest.raises(UsageError, match="multiple of 4"):
        StepGraph(fold(random_network()), 1, 10)


@pytest.fixture(scope="module")
def network() -> FoldedNetwork:
    return fold(random_network(units=(16, 12)))


def test_int8_has_plain_operators_raw_states_and_one_scale(network: FoldedNetwork) -> None:
    made, _ = made_of(network)
    pairs = [f"{word}_{layer}" for word in ("gru", "rest") for layer in (1, 2)]
    assert list(made.states) == ["tail_1", "tail_2", *pairs]
    assert {op.name for op in made.operators}.isdisjoint({"WHILE", "CUSTOM", "CALL_ONCE"})
    assert [op.name for op in made.operators if "FLOAT32" in (*op.inputs, *op.outputs)] == ["QUANTIZE", "DEQUANTIZE"]
    runtime = interpreter(made.content, "builtin")
    names = ["input", *made.states]
    for kind, details in (("", runtime.get_input_details()), ("_out", runtime.get_output_details())):
        expected = names if not kind else ["logits", *[f"{s}_out" for s in made.states]]
        assert [d["name"] for d in details] == expected
        assert [d["dtype"] for d in details] == [np.float32] + [np.int8] * len(made.states)
        for state, detail in zip(made.states.values(), details[1:], strict=True):
            scale, zero_point = detail["quantization"]
            assert (scale, zero_point) == (pytest.approx(state.kind.scale, 1e-6), state.kind.zero_point)
            assert tuple(detail["shape"]) == state.shape


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kernels", ["xnnpack", "builtin"])
def test_int8_says_nearly_what_float_says(shape: dict, kernels: str) -> None:
    assert error_of(fold(random_network(**shape)), kernels=kernels) < 0.02


def test_the_second_word_makes_the_error_less_where_units_are_slow() -> None:
    """A state of one word comes to rest before it has arrived."""
    slow = fold(random_network(units=(24,)))
    (layer,) = slow.recurrences
    layer.bias[: layer.units] += 3.0
    assert error_of(slow) < 0.8 * error_of(slow, Choices(rest=False))


def test_a_state_with_two_meanings_is_named() -> None:
    def graph(out: Quantised) -> bytes:
        writer = Writer()
        h = writer.tensor((1, 4), Quantised(0.01, 0))
        return writer.content({"h": h}, {"h_out": writer.operator("ADD", [h, h], (1, 4), out)})

    check_states(graph(Quantised(0.01, 0)), ["h"])
    for scale, zero_point, words in ((0.02, 0, "0.02, 0"), (0.01, 1, "0.01, 1")):
        with pytest.raises(BadDataError, match=f"h goes in with scale 0.01, zero point 0, and comes out with {words}"):
            check_states(graph(Quantised(scale, zero_point)), ["h"])
    with pytest.raises(BadDataError, match="no tensor g"):
        check_states(graph(Quantised(0.01, 0)), ["g"])


def test_a_float_operator_is_named() -> None:
    def graph(*body: tuple[str, Quantised | None]) -> bytes:
        writer = Writer()
        first = made = writer.tensor((1, 4), None)
        for name, kind in body:
            made = writer.operator(name, [made], (1, 4), kind)
        return writer.content({"input": first}, {"logits": made})

    share, wide = Quantised(1 / 256, -128), Quantised(0.05, 0)
    check_int8(graph(("QUANTIZE", wide), ("LOGISTIC", share), ("DEQUANTIZE", None)))
    with pytest.raises(BadDataError, match="operator LOGISTIC computes in float"):
        check_int8(graph(("LOGISTIC", None), ("QUANTIZE", wide), ("DEQUANTIZE", None)))
    with pytest.raises(BadDataError, match="expected one QUANTIZE and one DEQUANTIZE"):
        check_int8(graph(("QUANTIZE", wide), ("LOGISTIC", share)))
    with pytest.raises(BadDataError, match="operator WHILE is left"):
        check_int8(graph(("QUANTIZE", wide), ("WHILE", wide), ("DEQUANTIZE", None)))


def test_constants_lie_where_the_schema_wants_them(network: FoldedNetwork) -> None:
    content = made_of(network)[0].content
    model = schema.Model.GetRootAs(content, 0)
    starts = []
    for i in range(model.BuffersLength()):
        table = model.Buffers(i)._tab
        offset = table.Offset(4)
        starts += [table.Vector(offset)] if offset else []
    # Aligned from the end, as flatbuffers counts; the whole is a multiple of 16 long.
    assert len(starts) > 20
    assert {start % 16 for start in starts} == {0}


def test_no_window_long_enough_is_said(network: FoldedNetwork) -> None:
    with pytest.raises(BadDataError, match="no window is as long"):
        listen(network, windows(3, 3))


def test_a_tensor_knows_its_place() -> None:
    writer = Writer()
    whole = writer.tensor((2, 3, 4), Quantised(0.1, 0))
    parts = writer.unpack(whole, 1)
    assert parts == [Tensor(i, (2, 4), Quantised(0.1, 0)) for i in (1, 2, 3)]
