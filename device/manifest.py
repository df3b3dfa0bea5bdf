"""`manifest.json` of a model package: its schema, as types, and what the types alone can't say.

`docs/package.md` describes the fields for people. Unknown fields are refused, so that a typing error can't
pass as a default; a manifest of another schema version is refused before anything else of it is read.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from device.errors import BadDataError
from device.features import PARAMETERS, FeatureParameters
from device.view import VIEW_SIZE, ViewParameters

SCHEMA = 1
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
NETWORK, GOLDEN, CARD = "network.tflite", "golden.npz", "README.md"
REQUIRED_FILES = (NETWORK, GOLDEN, CARD)
FILE_BYTES = 8 * 1024 * 1024
_FILES = 16
_PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

Name = Annotated[str, Meta(pattern=_PLAIN_NAME)]
Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Finite = Annotated[float, Meta(ge=-1e9, le=1e9)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]
Probability = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1, le=10_000)]
Dimensions = Annotated[tuple[Count, ...], Meta(min_length=1, max_length=4)]
Int8 = Annotated[int, Meta(ge=-128, le=127)]
SensitivityName = Literal["fewer-alarms", "balanced", "catch-more"]
SENSITIVITIES: tuple[SensitivityName, ...] = ("fewer-alarms", "balanced", "catch-more")


class EmotionClass(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One class of the network, in the order of its logits."""

    name: Word
    danger: bool


class FloatTensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A float32 tensor of the graph's boundary."""

    name: Word
    shape: Dimensions


class StateTensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An int8 state: input `name`, output `name` + "_out", copied raw from step to step.

    A real value is `(raw - zero_point) * scale`; a window starts with `initial` (raw): one number for all, or
    one a channel (last axis).
    """

    name: Word
    shape: Dimensions
    scale: Positive
    zero_point: Int8
    initial: Int8 | tuple[Int8, ...]


class Geometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one call of the graph takes and gives, and how windows are staggered.

    A step takes `frames_per_step` frames; a window restarts from the initial states after `window_steps`
    steps; `batch` windows run beside each other, each started `hop_steps` steps after the one before: the
    windows' length is `batch` times that. The graph's inputs are `inputs` then `states`, its outputs
    `outputs` then the states' `_out`, in this order. `outputs[0]` is `logits` (batch, outputs per step,
    classes + 2): the classes, then danger, then attention.
    """

    frames_per_step: Count
    batch: Count
    window_steps: Count
    hop_steps: Count
    inputs: Annotated[tuple[FloatTensor, ...], Meta(min_length=1, max_length=1)]
    states: Annotated[tuple[StateTensor, ...], Meta(max_length=16)]
    outputs: Annotated[tuple[FloatTensor, ...], Meta(min_length=1, max_length=1)]

    @property
    def input(self) -> FloatTensor:
        """The one input: (batch, frames_per_step, size of the view)."""
        return self.inputs[0]

    @property
    def logits(self) -> FloatTensor:
        """The one output besides the states."""
        return self.outputs[0]


class Sensitivity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One named way to decide, and what it cost and caught when it was measured (absent: not measured)."""

    threshold: Probability
    release: Probability
    smooth_s: Annotated[float, Meta(ge=0, le=60)]
    n: Count
    m: Count
    false_alarms_per_hour: Annotated[float, Meta(ge=0)] | None = None
    recall: Probability | None = None


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """danger = sigmoid(scale * logit + bias); emotions = softmax(logits / temperature)."""

    scale: Positive = 1.0
    bias: Finite = 0.0
    temperature: Positive = 1.0


class DecisionDefaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where danger comes from, and how it becomes a decision."""

    sensitivities: dict[SensitivityName, Sensitivity]
    danger: Literal["head", "classes"] = "head"
    calibration: Calibration = Calibration()


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file of the package must be."""

    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Meta(ge=1, le=FILE_BYTES)]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of `manifest.json`."""

    schema: Literal[1] = 1
    name: Name
    version: Name
    created: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    classes: Annotated[tuple[EmotionClass, ...], Meta(min_length=2, max_length=32)]
    features: FeatureParameters
    view: ViewParameters
    geometry: Geometry
    decision: DecisionDefaults
    licence: Annotated[str, Meta(min_length=1, max_length=2000)]
    files: Annotated[dict[Name, FileEntry], Meta(min_length=len(REQUIRED_FILES), max_length=_FILES)]

    @property
    def identity(self) -> str:
        """NAME-VERSION: the directory's name in a store, `model` in events."""
        return f"{self.name}-{self.version}"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names, in the order of the logits."""
        return tuple(c.name for c in self.classes)


def decode_manifest(raw: bytes, where: str) -> Manifest:
    """The manifest in `raw`, checked but for the files it names; `where` stands in the error's line.

    Raises BadDataError.
    """
    try:
        outline = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        schema = msgspec.json.decode(outline.get("schema", msgspec.Raw(b"null")))
        if schema != SCHEMA:
            raise refusal(where, f"{MANIFEST} has schema {schema!r:.40}, this outcry reads {SCHEMA}")
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise refusal(where, f"{MANIFEST} is not valid: {error}") from None
    fault = _feature_fault(manifest) or _geometry_fault(manifest) or _list_fault(manifest)
    if fault:
        raise refusal(where, fault)
    return manifest


def refusal(where: object, what: str) -> BadDataError:
    """The error for a package at `where`: one line, whatever characters the package brought along."""
    line = "".join(c if c.isprintable() else "?" for c in f"model package {where}: {what}")
    return BadDataError(line[:500])


def _feature_fault(manifest: Manifest) -> str | None:
    for name in FeatureParameters.__struct_fields__:
        theirs, ours = getattr(manifest.features, name), getattr(PARAMETERS, name)
        if theirs != ours:
            return f"made for other features: {name} is {theirs!r}, this device computes {ours!r}"
    return None


def _geometry_fault(manifest: Manifest) -> str | None:
    geometry, classes = manifest.geometry, len(manifest.classes)
    shape, logits = geometry.input.shape, geometry.logits.shape
    if len(shape) != 3 or shape[:2] != (geometry.batch, geometry.frames_per_step):
        return f"geometry.inputs: shape {shape} does not fit batch and frames_per_step"
    if shape[2] != VIEW_SIZE:
        return f"made for other features: its view has {shape[2]} numbers, this device makes {VIEW_SIZE}"
    if len(logits) != 3 or (logits[0], logits[2]) != (geometry.batch, classes + 2):
        return f"geometry.outputs: shape {logits} does not fit batch and {classes} classes"
    if geometry.window_steps != geometry.batch * geometry.hop_steps:
        return f"geometry.window_steps {geometry.window_steps} is not batch times hop_steps"
    for state in geometry.states:
        if state.shape[0] != geometry.batch:
            return f"state {state.name}: shape {state.shape} does not fit batch {geometry.batch}"
        if isinstance(state.initial, tuple) and len(state.initial) != state.shape[-1]:
            return f"state {state.name}: initial has {len(state.initial)} values, not {state.shape[-1]}"
    return None


def _list_fault(manifest: Manifest) -> str | None:
    geometry = manifest.geometry
    tensors = [t.name for t in (*geometry.inputs, *geometry.outputs)] + [s.name for s in geometry.states]
    for what, names in (("class", manifest.class_names), ("tensor", tensors)):
        if len(set(names)) != len(names):
            return f"{MANIFEST} names a {what} twice"
    for name in SENSITIVITIES:
        sensitivity = manifest.decision.sensitivities.get(name)
        if sensitivity is None:
            return f"decision.sensitivities lacks {name}"
        if sensitivity.release > sensitivity.threshold or sensitivity.n > sensitivity.m:
            return f"sensitivity {name}: release above threshold, or n above m"
    for file in REQUIRED_FILES:
        if file not in manifest.files:
            return f"{MANIFEST} lists no {file}"
    if {MANIFEST, SIGNATURE} & manifest.files.keys():
        return f"{MANIFEST} lists itself or its signature"
    return None
