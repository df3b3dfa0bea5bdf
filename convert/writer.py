"""Write a .tflite graph of int8 operators, tensor by tensor: every scale is ours to choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

# The oldest version of each operator that takes int8 as it is used here: tflite-runtime 2.14 knows them all.
_VERSIONS = {"FULLY_CONNECTED": 5, "CONV_2D": 3, "QUANTIZE": 1, "RESHAPE": 1}
_TYPES = {
    "int8": schema.TensorType.INT8,
    "int32": schema.TensorType.INT32,
    "float32": schema.TensorType.FLOAT32,
}


@dataclass(frozen=True)
class Quantised:
    """Scale and zero point of an int8 tensor."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph; `kind` is None where it is float."""

    index: int
    shape: tuple[int, ...]
    kind: Quantised | None


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """The schema wants a buffer at a multiple of 16 bytes; the generated class does not see to it."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802 (flatbuffers calls it so)
        data = None
        if self.data is not None:
            content = bytes(self.data)
            builder.StartVector(1, len(content), 16)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


class Writer:
    """One graph in the making; operators run in the order they are added."""

    def __init__(self) -> None:
        self._model = schema.ModelT(version=3, description="outcry", buffers=[_AlignedBuffer()], operatorCodes=[])
        self._graph = schema.SubGraphT(tensors=[], operators=[], name="step")
        self._codes: dict[str, int] = {}

    def tensor(self, shape: tuple[int, ...], kind: Quantised | None) -> Tensor:
        """An int8 tensor that means (q - zero point) * scale, or a float one."""
        scales = None if kind is None else np.array([kind.scale], np.float32)
        zeros = None if kind is None else np.array([kind.zero_point], np.int64)
        return self._add(shape, "float32" if kind is None else "int8", 0, scales, zeros, kind=kind)

    def constant(self, values: NDArray[Any], kind: Quantised | None = None) -> Tensor:
        """An int8 or int32 constant."""
        scales = None if kind is None else np.array([kind.scale], np.float32)
        zeros = None if kind is None else np.array([kind.zero_point], np.int64)
        return self._add(values.shape, str(values.dtype), self._buffer(values), scales, zeros, kind=kind)

    def weights(self, values: NDArray[Any], scales: NDArray[np.float64], axis: int = 0) -> Tensor:
        """An int8 or int32 constant with a scale for each slice along `axis`."""
        zeros = np.zeros(len(scales), np.int64)
        return self._add(
            values.shape, str(values.dtype), self._buffer(values), scales.astype(np.float32), zeros, axis=axis
        )

    def operator(
        self, name: str, inputs: list[Tensor], shape: tuple[int, ...], kind: Quantised | None, **options: Any
    ) -> Tensor:
        """Add an operator with one output, and return that."""
        made = self.tensor(shape, kind)
        self._operate(name, inputs, [made], options)
        return made

    def unpack(self, whole: Tensor, axis: int) -> list[Tensor]:
        """The slices of `whole` along `axis`, which disappears."""
        shape = whole.shape[:axis] + whole.shape[axis + 1 :]
        made = [self.tensor(shape, whole.kind) for _ in range(whole.shape[axis])]
        self._operate("UNPACK", [whole], made, {"num": len(made), "axis": axis})
        return made

    def content(self, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> bytes:
        """The flatbuffer, with these inputs and outputs in this order."""
        for name, tensor in (inputs | outputs).items():
            self._graph.tensors[tensor.index].name = name.encode()
        self._graph.inputs = np.array([t.index for t in inputs.values()], np.int32)
        self._graph.outputs = np.array([t.index for t in outputs.values()], np.int32)
        signature = schema.SignatureDefT(signatureKey="step", subgraphIndex=0)
        signature.inputs = [schema.TensorMapT(name=n, tensorIndex=t.index) for n, t in inputs.items()]
        signature.outputs = [schema.TensorMapT(name=n, tensorIndex=t.index) for n, t in outputs.items()]
        self._model.signatureDefs = [signature]
        self._model.subgraphs = [self._graph]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _add(
        self,
        shape: tuple[int, ...],
        type_name: str,
        buffer: int,
        scales: NDArray[np.float32] | None,
        zeros: NDArray[np.int64] | None,
        *,
        axis: int = 0,
        kind: Quantised | None = None,
    ) -> Tensor:
        tensor = schema.TensorT(type=_TYPES[type_name], buffer=buffer, name="")
        tensor.shape = np.array(shape, np.int32)
        if scales is not None:
            tensor.quantization = schema.QuantizationParametersT(quantizedDimension=axis)
            tensor.quantization.scale, tensor.quantization.zeroPoint = scales, zeros
        self._graph.tensors.append(tensor)
        return Tensor(len(self._graph.tensors) - 1, tuple(shape), kind)

    def _buffer(self, values: NDArray[Any]) -> int:
        made = _AlignedBuffer()
        made.data = np.ascontiguousarray(values).view(np.uint8).ravel()
        self._model.buffers.append(made)
        return len(self._model.buffers) - 1

    def _operate(self, name: str, inputs: list[Tensor], outputs: list[Tensor], options: dict[str, Any]) -> None:
        operator = schema.OperatorT(opcodeIndex=self._code(name))
        operator.inputs = np.array([t.index for t in inputs], np.int32)
        operator.outputs = np.array([t.index for t in outputs], np.int32)
        kind = "".join(part.capitalize() for part in name.split("_")) + "Options"
        kind = {"Conv2dOptions": "Conv2DOptions"}.get(kind, kind)
        if hasattr(schema, f"{kind}T"):
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = getattr(schema, f"{kind}T")(**options)
        self._graph.operators.append(operator)

    def _code(self, name: str) -> int:
        if name not in self._codes:
            code = getattr(schema.BuiltinOperator, name)
            self._codes[name] = len(self._codes)
            self._model.operatorCodes.append(
                schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=code, version=_VERSIONS.get(name, 2))
            )
        return self._codes[name]
