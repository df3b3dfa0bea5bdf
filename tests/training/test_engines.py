"""Several processes, one network: data-parallel steps, and a search by chief and workers. Both on this machine."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from device.errors import UsageError
from training import engines
from training.places import HOME

pytestmark = [pytest.mark.training, pytest.mark.timeout(1200)]

_STEPS = """
import json, sys
import keras, numpy as np
from training.engines import join
worker = join()
from training.networks.paper_gru import build
keras.utils.set_random_seed(5)
rng = np.random.default_rng(0)
x = rng.normal(size=(36, 6, 3)).astype("float32")
valid = np.ones((36, 6), "float32")
y = (x[:, 0, 0] > 0).astype("int32")
model = build(6, 3, 2, units=(4,))
model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
rows = worker.rows(36, 16)
told = model.fit([x[rows], valid[rows]], y[rows], batch_size=worker.share(16), epochs=3, shuffle=False, verbose=0)
weights = np.concatenate([np.asarray(w).ravel() for w in model.get_weights()])
print(json.dumps({"count": worker.count, "losses": told.history["loss"], "weights": weights.tolist()}))
"""


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _start(code: str, **variables: str) -> subprocess.Popen[str]:
    environ = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"} | variables
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=HOME, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _told(process: subprocess.Popen[str]) -> dict[str, object]:
    out, err = process.communicate(timeout=1000)
    assert process.returncode == 0, err
    return dict(json.loads(out.splitlines()[-1]))


def test_two_processes_learn_what_one_does() -> None:
    workers = f"127.0.0.1:{_port()},127.0.0.1:{_port()}"
    started = [_start(_STEPS, OUTCRY_WORKERS=workers, OUTCRY_WORKER=str(number)) for number in (0, 1)]
    one, other, alone = (_told(process) for process in [*started, _start(_STEPS)])
    assert (one["count"], other["count"], alone["count"]) == (2, 2, 1)
    assert one["weights"] == other["weights"]
    assert one["weights"] == pytest.approx(alone["weights"], abs=1e-5)


def test_a_worker_takes_its_share_of_every_batch() -> None:
    shares = [engines.Worker(number, 2).rows(11, 4) for number in (0, 1)]
    assert shares[0].tolist() == [0, 1, 4, 5]
    assert shares[1].tolist() == [2, 3, 6, 7]
    assert np.array_equal(engines.Worker().rows(4, 4), np.arange(4))
    with pytest.raises(UsageError, match="a batch of 5 can't be shared by 2 workers"):
        engines.Worker(0, 2).share(5)


@pytest.mark.parametrize(
    ("workers", "worker", "line"),
    [
        ("a:1,b:2", "2", r"OUTCRY_WORKER=2: it counts from 0 to 1"),
        ("a:1,b:2", "x", r"OUTCRY_WORKER=x"),
        ("a,b", "0", r"each must be HOST:PORT"),
    ],
)
def test_a_wrong_variable_is_one_line(monkeypatch: pytest.MonkeyPatch, workers: str, worker: str, line: str) -> None:
    monkeypatch.setenv("OUTCRY_WORKERS", workers)
    monkeypatch.setenv("OUTCRY_WORKER", worker)
    with pytest.raises(UsageError, match=line):
        engines.join()


def test_a_chief_and_a_worker_search_together(tmp_path: Path) -> None:
    variables = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(_port())}
    words = ["search", "--data", "gunpoint", "--trials", "2", "--epochs", "1", "--batch", "25"]
    code = f"import sys; sys.argv = ['training', *{[*words, '--output', str(tmp_path / 'search')]!r}]\n"
    code += "from training.__main__ import main; main()"
    chief = _start(code, KERASTUNER_TUNER_ID="chief", **variables)
    worker = _start(code, KERASTUNER_TUNER_ID="tuner0", **variables)
    out, err = worker.communicate(timeout=1000)
    chief.communicate(timeout=200)
    assert worker.returncode == 0, err
    assert chief.returncode == 0
    best = re.findall(r"tuner0: (\d\.\d+) \{", out)
    assert len(best) == 2
    trials = list((tmp_path / "search").glob("trial_*/trial.json"))
    assert len(trials) == 2
    assert {json.loads(path.read_text())["status"] for path in trials} == {"COMPLETED"}
