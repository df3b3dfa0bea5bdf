"""The enhanced GRU of the 2024 paper: batch normalisation in its gates, dropout, Glorot.

`GateNormalisedGRU` is the recurrent layer (P1 in `docs/papers.md`); `danger_gru` the network built on it.
Written with `keras.ops` alone, so it trains under TensorFlow and under JAX.

With `reset_after`, as in cuDNN and in Keras' default GRU (Cho et al. 2014, arXiv:1406.1078 v1):

    z = sigmoid(BN(W_z x) + BN(U_z h))         r = sigmoid(BN(W_r x) + BN(U_r h))
    c = tanh(BN(W_c x) + r * BN(U_c h))        h' = z * h + (1 - z) * c

Six normalisations, each with its own gain and offset, so no further bias is needed.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

_EPSILON = 1e-3
# In the first steps of a sequence h is near zero and a batch tells nothing of the spread of U h:
# the moving averages count as this many steps, so that training normalises as inference will.
_PRIOR_STEPS = 8.0


@keras.saving.register_keras_serializable(package="outcry")
class GateNormalisedGRU(keras.layers.Layer):
    """A GRU whose six linear transformations are each batch-normalised before the activation.

    Statistics are taken over batch and time together, masked steps left out. W x is there for all steps
    at once; U h is not, so a step is normalised by the statistics of all steps up to it. The batch
    statistics leave the scan as its carry and move the averages outside of it (an update inside would be
    an UnexpectedTracerError under JAX).

    Args:
        units: size of the state.
        normalise: False gives the plain GRU (the paper's base model), with a bias for each transformation.
        statistics: "separate" (W x and U h each normalised, six) or "sum" (only W x, three; U h enters plain).
        dropout: share dropped of the layer's output, one mask per step (the paper's first reading).
        cell_dropout: share dropped inside the cell: input, both gates, candidate and new state, one mask
            per sequence (its second reading, as in variational dropout).
        initializer: of both kernels. Glorot is the paper's.
        gamma: initial gain of each normalisation.
        momentum: of the moving averages.
        grid: while training, the state is rounded to 1 / grid as an int8 state will be (128), and the gradient goes
            straight through (Jacob et al., arXiv:1712.05877); 0: not.
        return_sequences: all states, shape (batch, steps, units), or the last one that is not masked.
    """

    def __init__(
        self,
        units: int,
        *,
        normalise: bool = True,
        statistics: str = "separate",
        dropout: float = 0.0,
        cell_dropout: float = 0.0,
        initializer: str = "glorot_uniform",
        gamma: float = 1.0,
        momentum: float = 0.99,
        grid: int = 0,
        return_sequences: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if statistics not in ("separate", "sum"):
            raise ValueError(f"statistics: expected 'separate' or 'sum', got {statistics!r}")
        self.units = int(units)
        self.normalise = normalise
        self.statistics = statistics
        self.dropout = float(dropout)
        self.cell_dropout = float(cell_dropout)
        self.initializer = initializer
        self.gamma = float(gamma)
        self.momentum = float(momentum)
        self.grid = int(grid)
        self.return_sequences = return_sequences
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    @property
    def normalises_recurrent(self) -> bool:
        """Whether U h is normalised too."""
        return self.normalise and self.statistics == "separate"

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights for an input of shape (batch, steps, size)."""
        size, wide = int(input_shape[-1] or 0), 3 * self.units
        self.kernel = self.add_weight(shape=(size, wide), initializer=self.initializer, name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, wide),
            initializer=self.initializer,
            name="recurrent_kernel",
        )
        self.beta_x = self.add_weight(shape=(wide,), initializer="zeros", name="beta_x")
        self.beta_h = self.add_weight(shape=(wide,), initializer="zeros", name="beta_h")
        for part, wanted in (("x", self.normalise), ("h", self.normalises_recurrent)):
            if wanted:
                self._add_statistics(part, wide)

    def _add_statistics(self, part: str, wide: int) -> None:
        gain = keras.initializers.Constant(self.gamma)
        for name, initializer, trainable in (
            ("gamma", gain, True),
            ("mean", "zeros", False),
            ("variance", "ones", False),
        ):
            weight = self.add_weight(shape=(wide,), initializer=initializer, trainable=trainable, name=f"{name}_{part}")
            setattr(self, f"{name}_{part}", weight)

    def call(self, sequence: Any, training: bool = False, mask: Any = None) -> Any:
        """States of `sequence`, shape (batch, steps, size); `mask` (batch, steps) is False where there is none."""
        batch, steps = ops.shape(sequence)[0], sequence.shape[1]
        valid = ops.ones((batch, steps)) if mask is None else ops.cast(mask, "float32")
        sequence = ops.cast(sequence, self.compute_dtype)
        drops = self._cell_masks(batch, sequence.shape[-1]) if training and self.cell_dropout else None
        if drops is not None:
            sequence = sequence * drops["input"][:, None, :]
        # Time first from here on: what is transposed is the narrow input, not the wide product.
        sequence, valid = ops.transpose(sequence, (1, 0, 2)), ops.transpose(valid)[:, :, None]
        kernel, offset = self.kernel, self.beta_x
        if self.normalise:
            mean, gain = self._statistics_of_input(sequence, valid, training)
            kernel, offset = kernel * gain, offset - mean * gain
        linear = ops.matmul(sequence, kernel) + offset
        last, states = self._scan(linear, valid, training, drops)
        # A masked step keeps the state, so the last state is the last valid one.
        states = ops.transpose(states, (1, 0, 2)) if self.return_sequences else last
        if drops is not None:
            states = states * (drops["state"][:, None, :] if self.return_sequences else drops["state"])
        if training and self.dropout:
            states = keras.random.dropout(states, self.dropout, seed=self.seed_generator)
        return states

    def _cell_masks(self, batch: Any, size: int) -> dict[str, Any]:
        def draw(width: int) -> Any:
            return keras.random.dropout(ops.ones((batch, width)), self.cell_dropout, seed=self.seed_generator)

        return {"input": draw(size)} | {name: draw(self.units) for name in ("z", "r", "candidate", "state")}

    def _statistics_of_input(self, sequence: Any, valid: Any, training: bool) -> tuple[Any, Any]:
        """Mean of W x, and the gain that makes its deviation gamma.

        W x is linear, so its mean and variance follow from the input's mean and covariance: the same numbers, without a
        pass over all of W x, and the normalisation is a scaling of the kernel.
        """
        mean, variance = self.mean_x, self.variance_x
        if training:
            count = ops.maximum(ops.sum(valid), 1.0)
            centre = ops.sum(sequence * valid, axis=(0, 1)) / count
            away = ops.reshape((sequence - centre) * valid, (-1, sequence.shape[-1]))
            covariance = ops.matmul(ops.transpose(away), away) / count
            mean = ops.matmul(centre[None, :], self.kernel)[0]
            variance = ops.sum(self.kernel * ops.matmul(covariance, self.kernel), axis=0)
            self._move("x", mean, variance)
        return mean, self.gamma_x * ops.rsqrt(variance + _EPSILON)

    def _move(self, part: str, mean: Any, variance: Any) -> None:
        for name, value in (("mean", mean), ("variance", variance)):
            average = getattr(self, f"{name}_{part}")
            average.assign(average * self.momentum + ops.stop_gradient(value) * (1 - self.momentum))

    def _scan(self, linear: Any, valid: Any, training: bool, drops: dict[str, Any] | None) -> tuple[Any, Any]:
        """The last state, (batch, units), and all of them, (steps, batch, units)."""
        batch = ops.shape(linear)[1]
        state = ops.zeros((batch, self.units), dtype=linear.dtype)
        prior = _PRIOR_STEPS * ops.cast(batch, "float32")
        # How many states have been seen by the end of each step, (steps, 1, 1).
        counts = (prior + ops.cumsum(ops.sum(valid, axis=(1, 2))))[:, None, None]
        collects = training and self.normalises_recurrent
        start: tuple[Any, ...] = (state,)
        if collects:
            power = self.variance_h + ops.square(self.mean_h)
            start = (state, ops.stop_gradient(ops.stack([self.mean_h * prior, power * prior])))
        known = linear.shape[0] is not None

        def step(carry: tuple[Any, ...], now: Any) -> tuple[tuple[Any, ...], Any]:
            wide = 3 * self.units
            x, weight, count = now if known else (now[:, :wide], now[:, wide : wide + 1], now[:1, wide + 1 :])
            h, sums = carry[0], carry[1:]
            # What is read of the state is dropped, not what is carried on: scaled anew at every step it would grow.
            u = ops.matmul(h if drops is None else h * drops["state"], self.recurrent_kernel)
            if collects:
                both = ops.matmul(ops.transpose(weight), ops.concatenate([u, ops.square(u)], axis=1))
                sums = (sums[0] + ops.reshape(both, (2, wide)),)
                mean, power = ops.split(sums[0] / count, 2)
                variance = ops.maximum(power - ops.square(mean), 0.0)
            elif self.normalises_recurrent:
                mean, variance = self.mean_h, self.variance_h
            if self.normalises_recurrent:
                u = (u - mean) * (self.gamma_h * ops.rsqrt(variance + _EPSILON))
            new = self._gates(x, u + self.beta_h, h, drops)
            if training and self.grid:
                new = new + ops.stop_gradient(ops.round(new * self.grid) / self.grid - new)
            carry = (weight * new + (1 - weight) * h, *sums)
            return carry, carry  # TensorFlow's scan wants what it stacks to be shaped as the carry

        if known:
            inputs = (linear, valid, counts)
        else:  # TensorFlow's scan takes sequences of unknown length as one tensor only.
            inputs = ops.concatenate([linear, valid, counts + ops.zeros_like(valid)], axis=2)
        carry, stacked = ops.scan(step, start, inputs)
        if collects:
            seen = ops.maximum(ops.sum(valid), 1.0)
            mean, power = ops.unstack((carry[1] - start[1]) / seen)
            self._move("h", mean, ops.maximum(power - ops.square(mean), 0.0))
        return carry[0], stacked[0]

    def _gates(self, x: Any, u: Any, h: Any, drops: dict[str, Any] | None) -> Any:
        n = self.units
        z = ops.sigmoid(x[:, :n] + u[:, :n])
        r = ops.sigmoid(x[:, n : 2 * n] + u[:, n : 2 * n])
        if drops is not None:
            z, r = z * drops["z"], r * drops["r"]
        candidate = ops.tanh(x[:, 2 * n :] + r * u[:, 2 * n :])
        if drops is None:
            return z * h + (1 - z) * candidate
        # Inverted dropout scales by 1 / keep; a gate must stay within 0..1 for the state to stay bounded.
        z = ops.minimum(z, 1.0)
        return z * h + (1 - z) * candidate * drops["candidate"]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of what `call` returns."""
        if self.return_sequences:
            return (*input_shape[:-1], self.units)
        return (input_shape[0], self.units)

    def compute_mask(self, _: Any, mask: Any = None) -> Any:
        """The mask goes on with the sequence."""
        return mask if self.return_sequences else None

    def get_config(self) -> dict[str, Any]:
        """All arguments, for saving."""
        names = "units normalise statistics dropout cell_dropout initializer gamma momentum grid return_sequences seed"
        return super().get_config() | {name: getattr(self, name) for name in names.split()}


@keras.saving.register_keras_serializable(package="outcry")
class AttentionPooling(keras.layers.Layer):
    """Mean of the steps' logits over time, weighted by exp(attention logit): streams as two running sums.

    Input: logits of shape (batch, steps, outputs + 1), the last one the attention's, and validity of
    shape (batch, steps). Output: shape (batch, outputs).
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, *_: Any, **__: Any) -> None:
        """No steps are left to mask."""
        return

    def call(self, logits: Any, valid: Any) -> Any:
        """Pool over the valid steps."""
        attention = logits[:, :, -1] + (valid - 1.0) * 1e9
        weight = ops.softmax(attention, axis=1)
        return ops.sum(logits[:, :, :-1] * weight[:, :, None], axis=1)


def danger_gru(
    *,
    frames: int | None,
    view_size: int,
    classes: int,
    convolutions: tuple[tuple[int, int, int], ...] = ((96, 5, 2), (128, 5, 2)),
    units: tuple[int, ...] = (128,),
    dropout: float = 0.2,
    cell_dropout: float = 0.0,
    normalise: bool = True,
    initializer: str = "glorot_uniform",
    gamma: float = 1.0,
    grid: int = 0,
    seed: int = 0,
) -> keras.Model:
    """The network of the shipped package: causal convolutions, enhanced GRU layers, a head for every step.

    Inputs `view` (batch, frames, view_size) and `valid` (batch, frames), 1 where there is sound.
    Outputs `emotion` (batch, classes) and `danger` (batch, 1), both logits pooled over time by attention, and `steps`
    (batch, steps, 1), the danger logit of every step: what a device hears as it goes.

    A convolution of kernel k and stride s sees k - s frames of the past, zeros before the start; so it
    streams with a tail of k - s frames as its state, and every step of the graph needs whole strides only.

    Args:
        frames: length of all sequences, or None; each a multiple of the product of the strides.
        view_size: numbers of a frame's view.
        classes: emotions of the head.
        convolutions: (channels, kernel, stride) each.
        units: size of each GRU layer.
        dropout, cell_dropout, normalise, initializer, gamma, grid, seed: see `GateNormalisedGRU`.
    """
    view = keras.Input((frames, view_size), name="view")
    valid = keras.Input((frames,), name="valid")
    x, kept = view, valid
    for number, (channels, kernel, stride) in enumerate(convolutions, 1):
        x = keras.layers.ZeroPadding1D((kernel - stride, 0), name=f"pad_{number}")(x)
        x = keras.layers.Conv1D(channels, kernel, strides=stride, use_bias=False, name=f"conv_{number}")(x)
        kept = kept[:, stride - 1 :: stride]
        x = keras.layers.BatchNormalization(momentum=0.99, name=f"norm_{number}")(x)
        x = keras.layers.ReLU(name=f"relu_{number}")(x)
    for number, size in enumerate(units, 1):
        x = GateNormalisedGRU(
            size,
            normalise=normalise,
            dropout=dropout,
            cell_dropout=cell_dropout,
            initializer=initializer,
            gamma=gamma,
            grid=grid,
            seed=seed + number,
            name=f"gru_{number}",
        )(x, mask=kept)
    logits = keras.layers.Dense(classes + 2, name="head")(x)
    pooled = AttentionPooling(name="pool")(logits, kept)
    outputs = {
        "emotion": keras.layers.Identity(name="emotion")(pooled[:, :classes]),
        "danger": keras.layers.Identity(name="danger")(pooled[:, classes:]),
        "steps": keras.layers.Identity(name="steps")(logits[:, :, classes : classes + 1]),
    }
    return keras.Model({"view": view, "valid": valid}, outputs, name="danger_gru")
