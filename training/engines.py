"""Data-parallel training over several processes or machines: Keras' distribution API over JAX.

Every process runs the same command with the same recipe; OUTCRY_WORKERS names all of them ("host:port,host:port", the
first one coordinates), OUTCRY_WORKER says which one this is (from 0). Each holds the whole network, takes its share of
every batch, and gradients are averaged, so all end with the same weights. Without these variables nothing changes.
"""

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device.errors import UsageError


@dataclass(frozen=True, slots=True)
class Worker:
    """Which of how many processes this is."""

    number: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """The one that writes files and tells figures."""
        return self.number == 0

    def share(self, batch: int) -> int:
        """Clips of a batch that this worker takes; UsageError where it can't be shared evenly."""
        if batch % self.count:
            raise UsageError(f"a batch of {batch} can't be shared by {self.count} workers; make it a multiple")
        return batch // self.count

    def rows(self, clips: int, batch: int) -> NDArray[np.int64]:
        """The rows that this worker takes of `clips` in order, whole batches only: its share of each, one by one."""
        share = self.share(batch)
        starts = np.arange(0, clips - clips % batch, batch)[:, None]
        return (starts + self.number * share + np.arange(share)[None, :]).ravel()


def join() -> Worker:
    """Meet the others, if there are any, before the first tensor is made; UsageError where a variable is wrong."""
    addresses = [name for name in os.environ.get("OUTCRY_WORKERS", "").split(",") if name]
    told = os.environ.get("OUTCRY_WORKER", "0")
    if len(addresses) < 2:
        return Worker()
    if not told.isdigit() or int(told) >= len(addresses):
        raise UsageError(f"OUTCRY_WORKER={told}: it counts from 0 to {len(addresses) - 1}, as OUTCRY_WORKERS has them")
    if any(":" not in name for name in addresses):
        raise UsageError(f"OUTCRY_WORKERS={','.join(addresses)}: each must be HOST:PORT")
    import keras

    if keras.backend.backend() != "jax":
        raise UsageError("several workers need KERAS_BACKEND=jax; under TensorFlow use its own tf.distribute")
    keras.distribution.initialize(",".join(addresses), len(addresses), int(told))
    # auto_shard_dataset is for tf.data; here each worker draws its own share.
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return Worker(int(told), len(addresses))
