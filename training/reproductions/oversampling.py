"""SMOTE as P3 uses it, by imbalanced-learn: every class made as large as the largest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from imblearn.over_sampling import SMOTE
from numpy.typing import NDArray

from device.errors import BadDataError

NEIGHBOURS = 5
"""imbalanced-learn's default; the paper does not give its k."""


@dataclass(frozen=True, slots=True)
class Oversampled:
    """The real examples first, in their order, then the made ones. `neighbours` is the k that was used."""

    examples: NDArray[np.float32]
    labels: NDArray[np.int64]
    synthetic: NDArray[np.bool_]
    neighbours: int


def oversample(
    examples: NDArray[np.float32], labels: NDArray[np.int64], classes: Sequence[str], seed: int
) -> Oversampled:
    """Fill every class up to the largest with points between an example and one of its nearest neighbours.

    `examples` (n, ...) are flattened for the distances and given back in their shape. Where a class has fewer than
    six examples, all classes take as many neighbours as it has. Raises BadDataError for a class with one example:
    there is nothing between it and itself.
    """
    numbers, counts = np.unique(labels, return_counts=True)
    lonely = [classes[number] for number, count in zip(numbers, counts, strict=True) if count < 2]
    if lonely:
        raise BadDataError(
            f"SMOTE: class {', '.join(lonely)} has one example to learn from, and it takes two to make a third "
            "between them: add clips of it, or leave the class out"
        )
    neighbours = min(NEIGHBOURS, int(counts.min()) - 1)
    flat = examples.reshape(len(examples), -1)
    made, told = SMOTE(k_neighbors=neighbours, random_state=seed).fit_resample(flat, labels)
    synthetic = np.arange(len(told)) >= len(labels)
    made = np.asarray(made, np.float32).reshape(-1, *examples.shape[1:])
    return Oversampled(made, np.asarray(told, np.int64), synthetic, neighbours)
