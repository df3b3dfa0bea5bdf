"""Edit the converted flatbuffer: int8 states at the boundary, named and ordered, and the checks on what is left.

The converter quantises the body but leaves every input and output float: a QUANTIZE behind each input, a
DEQUANTIZE before each output. States go from output to input raw, so theirs are cut off; those of `input` and
`logits` stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from device.errors import BadDataError

# From calibration: the range of a state going in and coming out, in floats that differ in their last digits.
_SAME_SCALE = 1e-4
_NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
_TYPES = {v: k for k, v in vars(schema.TensorType).items() if not k.startswith("_")}
_EDGES = ("QUANTIZE", "DEQUANTIZE")
# There a step of the answer in int8 (1/256, 1/128) is not reached any more.
_FLAT_BEYOND = {"LOGISTIC": 6.5, "TANH": 3.5}


@dataclass(frozen=True)
class Quantised:
    """Scale and zero point of an int8 tensor."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Operator:
    """One operator of the graph: its name, and the types of what it takes and gives."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Flatbuffer:
    """The one graph of a .tflite, open for editing."""

    def __init__(self, content: bytes) -> None:
        self._model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        if len(self._model.subgraphs) != 1:
            raise BadDataError(f"network: {len(self._model.subgraphs)} graphs, expected one without control flow")
        self._graph = self._model.subgraphs[0]

    def content(self) -> bytes:
        """The flatbuffer's bytes."""
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def operators(self) -> list[Operator]:
        """All operators, in the order they run."""

        def types(tensors: Any) -> tuple[str, ...]:
            return tuple(_TYPES[self._graph.tensors[i].type] for i in tensors if i >= 0)

        return [Operator(self._name(op), types(op.inputs), types(op.outputs)) for op in self._graph.operators]

    def cut_state_edges(self, states: list[str]) -> dict[str, Quantised]:
        """Make inputs `states` and outputs `<state>_out` int8; return what each state's numbers mean.

        Raises BadDataError with the state's name where input and output do not share scale and zero point.
        """
        inputs, outputs = self._signature()
        found = {}
        for state in states:
            inside = self._cut(inputs[state], "QUANTIZE")
            outside = self._cut(outputs[f"{state}_out"], "DEQUANTIZE")
            found[state] = self._share(state, inside, outside)
            inputs[state], outputs[f"{state}_out"] = inside, outside
        self._set_boundary(inputs, outputs, ["input", *states], ["logits", *[f"{s}_out" for s in states]])
        return found

    def input_quantisation(self) -> Quantised:
        """What the float `input` is quantised to by the graph's first operator."""
        edge = next(op for op in self._graph.operators if op.inputs[0] == self._graph.inputs[0])
        return self._quantisation(edge.outputs[0], "input")

    def narrow_saturated(self) -> None:
        """Spend no steps of int8 where LOGISTIC and TANH are flat: their inputs, sums, saturate there anyway."""
        for op in self._graph.operators:
            limit = _FLAT_BEYOND.get(self._name(op))
            if limit is None:
                continue
            (source,) = (o for o in self._graph.operators if op.inputs[0] in o.outputs)
            readers = sum(op.inputs[0] in o.inputs for o in self._graph.operators)
            # The scale of a sum is free; that of most other operators is bound to their inputs' or to their bias.
            if self._name(source) != "ADD" or readers != 1:
                continue
            found = self._graph.tensors[op.inputs[0]].quantization
            scale, zero_point = float(found.scale[0]), int(found.zeroPoint[0])
            low, high = max((-128 - zero_point) * scale, -limit), min((127 - zero_point) * scale, limit)
            found.scale = np.array([(high - low) / 255], np.float32)
            found.zeroPoint = np.array([round(-128 - low / float(found.scale[0]))], np.int64)

    def check_int8(self) -> None:
        """Raise BadDataError with the operator's name where one computes in float, or is no builtin."""
        for op in self.operators():
            floats = "FLOAT32" in (*op.inputs, *op.outputs)
            if op.name in ("CUSTOM", "WHILE", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE"):
                raise BadDataError(f"network: operator {op.name} is left, the device runs plain operators only")
            if floats and op.name not in _EDGES:
                raise BadDataError(f"network: operator {op.name} computes in float ({', '.join(op.inputs)})")
        edges = [op.name for op in self.operators() if op.name in _EDGES and "FLOAT32" in (*op.inputs, *op.outputs)]
        if sorted(edges) != ["DEQUANTIZE", "QUANTIZE"]:
            raise BadDataError(f"network: expected one QUANTIZE and one DEQUANTIZE at the edges, found {edges}")

    def _name(self, operator: Any) -> str:
        code = self._model.operatorCodes[operator.opcodeIndex]
        return _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def _signature(self) -> tuple[dict[str, int], dict[str, int]]:
        (signature,) = self._model.signatureDefs
        return tuple(
            {entry.name.decode(): entry.tensorIndex for entry in part} for part in (signature.inputs, signature.outputs)
        )

    def _cut(self, tensor: int, kind: str) -> int:
        """Remove the QUANTIZE behind an input, or the DEQUANTIZE before an output; return the int8 tensor."""
        for op in self._graph.operators:
            ours, other = (op.inputs, op.outputs) if kind == "QUANTIZE" else (op.outputs, op.inputs)
            if self._name(op) == kind and ours[0] == tensor:
                self._graph.operators.remove(op)
                return int(other[0])
        name = self._graph.tensors[tensor].name.decode()
        raise BadDataError(f"network: state {name} has no {kind} at its edge; it was not quantised")

    def _share(self, state: str, inside: int, outside: int) -> Quantised:
        into, out = self._quantisation(inside, state), self._quantisation(outside, state)
        if into.zero_point != out.zero_point or abs(into.scale / out.scale - 1) > _SAME_SCALE:
            raise BadDataError(
                f"network: state {state} goes in with scale {into.scale:.7g}, zero point {into.zero_point}, and "
                f"comes out with {out.scale:.7g}, {out.zero_point}; calibrate on longer real roll-outs"
            )
        self._graph.tensors[outside].quantization.scale = self._graph.tensors[inside].quantization.scale
        return into

    def _quantisation(self, tensor: int, name: str) -> Quantised:
        found = self._graph.tensors[tensor].quantization
        if self._graph.tensors[tensor].type != schema.TensorType.INT8 or len(found.scale) != 1:
            raise BadDataError(f"network: tensor {name} is not int8 with one scale")
        return Quantised(float(found.scale[0]), int(found.zeroPoint[0]))

    def _set_boundary(self, inputs: dict[str, int], outputs: dict[str, int], first: list[str], last: list[str]) -> None:
        """Name and order what goes in and out, in the graph and in its signature."""
        (signature,) = self._model.signatureDefs
        for part, names, tensors in ((signature.inputs, first, inputs), (signature.outputs, last, outputs)):
            if set(names) != set(tensors):
                raise BadDataError(f"network: boundary is {sorted(tensors)}, expected {sorted(names)}")
            for name in names:
                self._graph.tensors[tensors[name]].name = name.encode()
            for entry in part:
                entry.tensorIndex = tensors[entry.name.decode()]
        self._graph.inputs = np.array([inputs[n] for n in first], np.int32)
        self._graph.outputs = np.array([outputs[n] for n in last], np.int32)
