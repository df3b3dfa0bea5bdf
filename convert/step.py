"""The step graph's outline: k frames and all states in, logits and states out, for several windows at once."""

from __future__ import annotations

from dataclasses import dataclass

from convert.fold import FoldedNetwork
from device.errors import UsageError


@dataclass(frozen=True)
class StepGraph:
    """The graph of `network` for `batch` windows of `frames` frames each call."""

    network: FoldedNetwork
    batch: int
    frames: int

    def __post_init__(self) -> None:
        """Refuse a step that is no whole number of strides."""
        if self.frames % self.network.stride or self.frames < 1:
            raise UsageError(f"frames per step {self.frames}: must be a multiple of {self.network.stride}")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(batch, frames, V)."""
        return self.batch, self.frames, self.network.input_size

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(batch, frames / stride, classes + 2)."""
        return self.batch, self.frames // self.network.stride, self.network.classes + 2
