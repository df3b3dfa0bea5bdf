"""The papers' networks at the papers' sizes: parameter counts, outputs, and what stacking freezes."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from training.networks import (  # noqa: E402
    cnn1d_lstm,
    cnn2d_lstm,
    cnn2d_smote,
    cnn_transformer,
    conv1d,
    conv2d,
    fused,
    lstm,
    lstm_cnn,
    stacking,
)

pytestmark = pytest.mark.training
ROOT = Path(__file__).resolve().parents[2]
NETWORKS = ROOT / "training" / "networks"
OURS = sorted(
    {"lstm", "conv1d", "conv2d", "cnn2d_smote", "cnn1d_lstm", "cnn2d_lstm", "fused", "lstm_cnn", "stacking"}
    | {"cnn_transformer"}
)


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        # By hand: 4 gates x 256 x (256 in + 256 back + 1), then dense 128 and 6.
        (lstm.second, 4 * 256 * (256 + 256 + 1) + 257 * 128 + 129 * 6),
        (lambda: lstm.second(over="time"), 4 * 256 * (32 + 256 + 1) + 257 * 128 + 129 * 6),
        (lstm.first, 2 * 4 * 256 * (256 + 256 + 1) + 257 * 64 + 65 * 16 + 17 * 6),
        (cnn2d_smote.build, 640 + 2 * (576 + 1) * 64 + 2 * 4 * 64 + 129 * 64 + 65 * 4),
        (
            cnn1d_lstm.build,
            (3 * 40 + 1) * 64 + (3 * 64 + 1) * 128 + 4 * (64 + 128) + 4 * 48 * (128 + 48 + 1) + 49 * 7,
        ),
    ],
    ids=["lstm", "lstm-over-time", "lstm-first", "2dcnn", "cnn1d-lstm"],
)
def test_parameter_count_is_what_the_layers_say_by_hand(build, parameters):
    assert build().count_params() == parameters


def test_a_masked_lstm_does_not_hear_a_clips_padding():
    generator = np.random.default_rng(0)
    clip = np.zeros((1, 32, 8), np.float32)
    clip[:, :20] = generator.normal(size=(1, 20, 8))
    longer = lstm.second(32, 8, 6, units=8, over="time", masked=True)
    shorter = lstm.second(20, 8, 6, units=8, over="time", masked=True)
    shorter.set_weights(longer.get_weights())
    np.testing.assert_allclose(longer(clip), shorter(clip[:, :20]), atol=1e-6)
    plain = lstm.second(32, 8, 6, units=8, over="time")
    plain.set_weights(longer.get_weights())
    assert np.abs(np.asarray(plain(clip)) - np.asarray(longer(clip))).max() > 1e-4


def test_the_lstm_kernel_is_the_papers_256_by_1024():
    layer = next(x for x in lstm.second().layers if isinstance(x, keras.layers.LSTM))
    assert layer.cell.kernel.shape == (256, 1024)


@pytest.mark.parametrize(
    ("build", "paper"),
    [(cnn2d_lstm.build, 3.8e6), (cnn_transformer.build, 2.1e6)],
    ids=["cnn2d-lstm", "cnn-transformer"],
)
def test_the_count_is_within_a_tenth_of_the_papers(build, paper):
    assert build().count_params() == pytest.approx(paper, rel=0.10)


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (conv1d.build, 250_950),
        (conv2d.build, 57_414),
        (fused.build, 3_868_391),
        (lstm_cnn.build_1d, 87_703),
        (lstm_cnn.build_2d, 1_877_767),
        (lambda: stacking.build([stacking.binary() for _ in range(7)]), 26_779_719),
    ],
    ids=["conv1d", "conv2d", "fused", "lstm-cnn-1d", "lstm-cnn-2d", "stacking"],
)
def test_the_count_at_the_papers_size_is_what_the_docs_say(build, parameters):
    """These papers give no count; docs/papers.md tells ours."""
    assert build().count_params() == parameters
    assert f"{parameters:,}" in (ROOT / "docs" / "papers.md").read_text()


def test_the_lstm_of_cnn2d_lstm_walks_over_mel_because_time_does_not_fit_the_papers_count():
    """3.8 M fits unpadded convolutions and steps over the mel axis; over time a fifth is missing."""
    assert cnn2d_lstm.build().count_params() == 3_800_855
    assert cnn2d_lstm.build(over="time").count_params() == 3_063_575


def _small():
    yield lstm.first(32, 8, 6, units=8), (32, 8)
    yield lstm.second(32, 8, 6, units=8, over="time", layers=2), (32, 8)
    yield conv1d.build(32, 8, 6, filters=(4, 4)), (32, 8)
    yield conv2d.build(32, 8, 6, filters=(4, 4)), (32, 8)
    yield cnn2d_smote.build(16, 8, 6, filters=4), (16, 8)
    yield cnn1d_lstm.build(32, 8, 6, filters=(4, 4), units=8), (32, 8)
    yield cnn2d_lstm.build(32, 40, 6, filters=(4, 4), kernel=3, units=8), (32, 40)
    yield lstm_cnn.build_1d(32, 8, 6, units=8, filters=(4,)), (32, 8)
    yield lstm_cnn.build_2d(16, 40, 6, units=16, filters=(4, 4)), (16, 40)
    yield cnn_transformer.build(40, 40, 6, filters=(4, 8), heads=2, key_size=4, inner=16), (40, 40)


def test_every_network_answers_with_probabilities_that_depend_on_the_sound():
    generator = np.random.default_rng(0)
    for network, shape in _small():
        sound = generator.normal(size=(3, *shape)).astype(np.float32)
        answer = np.asarray(network(sound, training=False))
        assert answer.shape == (3, 6), network.name
        assert answer.sum(axis=1) == pytest.approx(1.0, abs=1e-5), network.name
        assert np.abs(answer[0] - answer[1]).max() > 0, network.name


def test_fused_hears_both_of_its_inputs():
    network = fused.build(32, 8, 32, 3, filters_1d=(4, 4), filters_2d=(4, 4), kernel_2d=3, units=8)
    generator = np.random.default_rng(1)
    mfcc = generator.normal(size=(2, 32, 8)).astype(np.float32)
    mel = generator.normal(size=(2, 32, 32)).astype(np.float32)
    both = np.asarray(network([mfcc, mel]))
    assert np.abs(both - np.asarray(network([mfcc * 2, mel]))).max() > 1e-6
    assert np.abs(both - np.asarray(network([mfcc, mel * 2]))).max() > 1e-6


def test_stacking_trains_its_head_and_nothing_else():
    binaries = [stacking.binary(32, 32, (4, 4), 3, 8) for _ in range(3)]
    network = stacking.build(binaries, dense=16)
    before = [[np.array(w) for w in b.get_weights()] for b in binaries]
    generator = np.random.default_rng(2)
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(generator.normal(size=(12, 32, 32)).astype(np.float32), np.arange(12) % 3, epochs=1, verbose=0)
    for weights, network_before in zip((b.get_weights() for b in binaries), before, strict=True):
        for now, then in zip(weights, network_before, strict=True):
            np.testing.assert_array_equal(now, then)
    assert sum(int(np.prod(w.shape)) for w in network.trainable_weights) == (3 * 8 + 1) * 16 + 17 * 3


def test_stacking_of_one_network_is_refused():
    with pytest.raises(ValueError, match="at least two classes"):
        stacking.build([stacking.binary(32, 32, (4,), 3, 8)])


def test_an_lstm_over_something_else_is_refused():
    with pytest.raises(ValueError, match="not over 'mel'"):
        lstm.second(over="mel")


@pytest.mark.parametrize("name", OURS)
def test_networks_are_stock_keras_and_know_no_backend(name):
    """A file that imports nothing but Keras and its neighbours runs on TensorFlow and on JAX alike."""
    tree = ast.parse((NETWORKS / f"{name}.py").read_text())
    roots = {
        (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert roots <= {"keras", "collections", "typing", "training"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


@pytest.mark.timeout(900)
def test_the_transformer_trains_on_jax_too():
    pytest.importorskip("jax")
    program = (
        "import numpy as np; from training.networks import cnn_transformer as c\n"
        "m = c.build(40, 40, 3, filters=(4, 8), heads=2, key_size=4, inner=16)\n"
        "m.compile('adam', 'sparse_categorical_crossentropy')\n"
        "x = np.random.default_rng(0).normal(size=(6, 40, 40)).astype('float32')\n"
        "h = m.fit(x, np.arange(6) % 3, epochs=2, verbose=0).history['loss']\n"
        "import keras; print(keras.backend.backend(), h[1] == h[1])\n"
    )
    environment = dict(os.environ, KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-800:]
    assert done.stdout.split() == ["jax", "True"]
