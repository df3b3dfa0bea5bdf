"""The enhanced GRU: what it normalises by, what it drops, what it keeps; on whichever engine Keras runs."""

import keras
import numpy as np
import pytest

from training.networks.gru import AttentionPooling, GateNormalisedGRU, danger_gru

pytestmark = pytest.mark.training
UNITS, SIZE = 6, 4


def sequence(batch: int = 5, steps: int = 9, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, steps, SIZE)).astype(np.float32)


def layer(**options: object) -> GateNormalisedGRU:
    keras.utils.set_random_seed(3)
    made = GateNormalisedGRU(UNITS, seed=1, **options)
    made.build((None, None, SIZE))
    return made


def value(weight: object) -> np.ndarray:
    return keras.ops.convert_to_numpy(weight)


def test_without_normalisation_it_is_keras_own_gru() -> None:
    plain = layer(normalise=False)
    stock = keras.layers.GRU(UNITS, reset_after=True, return_sequences=True)
    stock.build((None, None, SIZE))
    biases = np.random.default_rng(1).normal(size=(2, 3 * UNITS)).astype(np.float32)
    plain.set_weights([*(value(w) for w in (plain.kernel, plain.recurrent_kernel)), *biases])
    stock.set_weights([value(plain.kernel), value(plain.recurrent_kernel), biases])
    np.testing.assert_allclose(value(plain(sequence())), value(stock(sequence())), atol=2e-6)


def test_the_input_is_normalised_over_batch_and_time_without_the_masked_steps() -> None:
    gru, x = layer(momentum=0.0), sequence()
    mask = np.ones((5, 9), bool)
    mask[2, 4:] = mask[4, 1:] = False
    gru(x, training=True, mask=mask)
    linear = (x @ value(gru.kernel))[mask]
    np.testing.assert_allclose(value(gru.mean_x), linear.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(value(gru.variance_x), linear.var(axis=0), atol=1e-5)


def test_the_state_is_normalised_over_batch_and_time_without_the_masked_steps() -> None:
    gru, x = layer(momentum=0.0), sequence()
    mask = np.ones((5, 9), bool)
    mask[3, 5:] = False
    states = value(gru(x, training=True, mask=mask))
    before = np.concatenate([np.zeros((5, 1, UNITS), np.float32), states[:, :-1]], axis=1)
    linear = (before @ value(gru.recurrent_kernel))[mask]
    np.testing.assert_allclose(value(gru.mean_h), linear.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(value(gru.variance_h), linear.var(axis=0), atol=1e-5)


def test_a_masked_step_keeps_the_state_and_changes_no_other() -> None:
    gru, x = layer(), sequence()
    mask = np.ones((5, 9), bool)
    mask[:, 6:] = False
    states = value(gru(x, mask=mask))
    np.testing.assert_array_equal(states[:, 6:], np.repeat(states[:, 5:6], 3, axis=1))
    np.testing.assert_allclose(states[:, :6], value(gru(x[:, :6])), atol=1e-6)
    last = layer(return_sequences=False)
    last.set_weights(gru.get_weights())
    np.testing.assert_allclose(value(last(x, mask=mask)), states[:, 5], atol=1e-6)


def test_six_normalisations_or_three_or_none() -> None:
    count = {
        name: len(layer(**options).weights)
        for name, options in {
            "six": {},
            "three": {"statistics": "sum"},
            "none": {"normalise": False},
        }.items()
    }
    # Kernels and offsets (4), then gain, mean and variance for W x and for U h.
    assert count == {"six": 10, "three": 7, "none": 4}


@pytest.mark.parametrize("options", [{"dropout": 0.4}, {"cell_dropout": 0.4}])
def test_dropout_only_in_training(options: dict[str, float]) -> None:
    gru, x = layer(**options), sequence()
    calm = value(gru(x))
    np.testing.assert_array_equal(calm, value(gru(x)))
    assert np.abs(value(gru(x, training=True)) - calm).max() > 0.01


def test_dropout_inside_the_cell_leaves_the_state_bounded() -> None:
    states = value(layer(cell_dropout=0.4)(sequence(steps=200), training=True))
    assert np.isfinite(states).all()
    assert np.abs(states).max() < 10


def test_config_says_everything(tmp_path) -> None:
    network = danger_gru(frames=40, view_size=SIZE, classes=3, convolutions=((8, 5, 2), (8, 3, 1)), units=(UNITS, 5))
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    given = {"view": sequence(2, 40), "valid": np.ones((2, 40), np.float32)}
    for name, told in network.predict(given, verbose=0).items():
        np.testing.assert_allclose(again.predict(given, verbose=0)[name], told, atol=1e-6)
    config = layer(dropout=0.3, statistics="sum", gamma=0.1).get_config()
    assert GateNormalisedGRU.from_config(config).get_config() == config


def test_an_unknown_statistics_is_refused() -> None:
    with pytest.raises(ValueError, match="'separate' or 'sum'"):
        GateNormalisedGRU(3, statistics="both")


def test_what_comes_after_the_end_changes_nothing() -> None:
    network = danger_gru(frames=None, view_size=SIZE, classes=3, convolutions=((8, 5, 2),), units=(UNITS,))
    clip = sequence(1, 60)
    longer = np.concatenate([clip, 9 * np.ones((1, 20, SIZE), np.float32)], axis=1)
    valid = (np.arange(80) < 60).astype(np.float32)[None]
    short = network.predict({"view": clip, "valid": np.ones((1, 60), np.float32)}, verbose=0)
    padded = network.predict({"view": longer, "valid": valid}, verbose=0)
    padded["steps"] = padded["steps"][:, :30]  # a step is two frames
    for name, told in short.items():
        np.testing.assert_allclose(padded[name], told, atol=1e-5)


def test_attention_pools_by_the_exponential_of_the_last_logit() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 7, 4)).astype(np.float32)
    valid = np.ones((2, 7), np.float32)
    valid[1, 3:] = 0
    weights = np.exp(logits[:, :, -1]) * valid
    wanted = (weights[:, :, None] * logits[:, :, :-1]).sum(axis=1) / weights.sum(axis=1)[:, None]
    np.testing.assert_allclose(value(AttentionPooling()(logits, valid)), wanted, atol=1e-5)


def test_a_rounded_state_lies_on_its_grid_in_training_alone() -> None:
    gru = layer(grid=128)
    rounded, plain = (value(gru(sequence(), training=training)) * 128 for training in (True, False))
    np.testing.assert_allclose(rounded, np.round(rounded), atol=1e-3)
    assert np.abs(plain - np.round(plain)).max() > 0.1
