"""Read a .tflite back: its operators, and the checks on what a device may run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from device.errors import BadDataError

_NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
_TYPES = {v: k for k, v in vars(schema.TensorType).items() if not k.startswith("_")}
_EDGES = ("QUANTIZE", "DEQUANTIZE")


@dataclass(frozen=True)
class Operator:
    """One operator of the graph: its name, and the types of what it takes and gives."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def operators(content: bytes) -> list[Operator]:
    """All operators, in the order they run."""
    model, graph = _opened(content)

    def types(tensors: Any) -> tuple[str, ...]:
        return tuple(_TYPES[graph.tensors[i].type] for i in tensors if i >= 0)

    def name(operator: Any) -> str:
        code = model.operatorCodes[operator.opcodeIndex]
        return _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]

    return [Operator(name(op), types(op.inputs), types(op.outputs)) for op in graph.operators]


def check_int8(content: bytes) -> None:
    """Raise BadDataError with the operator's name where one computes in float, or is no builtin."""
    found = operators(content)
    for op in found:
        floats = "FLOAT32" in (*op.inputs, *op.outputs)
        if op.name in ("CUSTOM", "WHILE", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE"):
            raise BadDataError(f"network: operator {op.name} is left, the device runs plain operators only")
        if floats and op.name not in _EDGES:
            raise BadDataError(f"network: operator {op.name} computes in float ({', '.join(op.inputs)})")
    edges = [op.name for op in found if op.name in _EDGES and "FLOAT32" in (*op.inputs, *op.outputs)]
    if sorted(edges) != ["DEQUANTIZE", "QUANTIZE"]:
        raise BadDataError(f"network: expected one QUANTIZE and one DEQUANTIZE at the edges, found {edges}")


def check_states(content: bytes, states: list[str]) -> None:
    """Raise BadDataError with the state's name where `<state>` and `<state>_out` have not one meaning, or not int8."""
    _, graph = _opened(content)
    ends = {graph.tensors[i].name.decode(): graph.tensors[i] for i in (*graph.inputs, *graph.outputs)}
    for state in states:
        into, out = _meaning(ends.get(state), state), _meaning(ends.get(f"{state}_out"), f"{state}_out")
        if into != out:
            raise BadDataError(
                f"network: state {state} goes in with scale {into[0]:.7g}, zero point {into[1]}, and "
                f"comes out with {out[0]:.7g}, {out[1]}"
            )


def _meaning(tensor: Any, name: str) -> tuple[float, int]:
    if tensor is None:
        raise BadDataError(f"network: no tensor {name} at its boundary")
    found = tensor.quantization
    if tensor.type != schema.TensorType.INT8 or found is None or found.scale is None or len(found.scale) != 1:
        raise BadDataError(f"network: tensor {name} is not int8 with one scale")
    return float(found.scale[0]), int(found.zeroPoint[0])


def _opened(content: bytes) -> tuple[Any, Any]:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    if len(model.subgraphs) != 1:
        raise BadDataError(f"network: {len(model.subgraphs)} graphs, expected one without control flow")
    return model, model.subgraphs[0]
