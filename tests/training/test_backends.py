"""The same network, the same data, a few steps: TensorFlow and JAX learn alike."""

import json
import os
import subprocess
import sys

import pytest

from training.places import HOME

pytestmark = [pytest.mark.training, pytest.mark.timeout(1200)]

_STEPS = """
import json, keras, numpy as np
from training.networks.paper_gru import build
rng = np.random.default_rng(3)
x = rng.normal(size=(16, 12, 5)).astype("float32")
valid = (np.arange(12)[None] < rng.integers(4, 13, size=(16, 1))).astype("float32")
y = rng.integers(0, 3, 16)
model = build(12, 5, 3, units=(8, 6), normalise=True)
model.set_weights([
    value if not value.ndim or "mean" in w.path or "variance" in w.path or "gamma" in w.path
    else (0.3 * rng.normal(size=value.shape)).astype("float32")
    for w, value in zip(model.weights, model.get_weights())
])
model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
losses = [float(model.train_on_batch([x, valid], y)) for _ in range(4)]
told = model.predict([x, valid], verbose=0)
print(json.dumps({"backend": keras.backend.backend(), "losses": losses, "told": np.asarray(told).ravel().tolist()}))
"""


def _start(backend: str) -> subprocess.Popen[str]:
    environ = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, "-c", _STEPS], cwd=HOME, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _told(learner: subprocess.Popen[str]) -> dict[str, object]:
    out, err = learner.communicate(timeout=1000)
    assert learner.returncode == 0, err
    return dict(json.loads(out.splitlines()[-1]))


def test_both_engines_learn_alike() -> None:
    one, other = [_told(learner) for learner in [_start("tensorflow"), _start("jax")]]
    assert (one["backend"], other["backend"]) == ("tensorflow", "jax")
    assert one["losses"] == pytest.approx(other["losses"], rel=1e-4)
    assert one["losses"][3] < one["losses"][0]  # type: ignore[index]
    assert one["told"] == pytest.approx(other["told"], abs=1e-4)
