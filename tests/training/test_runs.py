"""Recipes and run folders: strict, one line a fault, and a killed run goes on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from device.errors import BadDataError, ConfigError, MissingInputError
from training import runs
from training.places import HOME

pytestmark = pytest.mark.training


class Small(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recipe of two keys."""

    units: int = 8
    rate: float = 0.001


def _recipe(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(text)
    return path


def test_a_recipe_is_read(tmp_path: Path) -> None:
    assert runs.load_recipe(_recipe(tmp_path, "units = 16\n"), Small) == Small(units=16)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("unit = 16\n", "unknown field `unit`; its keys are units, rate"),
        ("units = 'many'\n", r"Expected `int`, got `str` - at `\$.units`"),
        ("units = \n", "small.toml: "),
    ],
)
def test_a_bad_recipe_is_one_line_that_names_the_file(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(ConfigError, match=line) as told:
        runs.load_recipe(_recipe(tmp_path, text), Small)
    assert "small.toml" in str(told.value)
    assert "\n" not in str(told.value)


def test_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"nothing.toml: no recipe"):
        runs.load_recipe(tmp_path / "nothing.toml", Small)


def test_a_run_tells_what_it_was(tmp_path: Path) -> None:
    run = runs.Run.begin(tmp_path / "a", Small(), index="abc", seed=3)
    assert run.about["recipe"] == {"units": 8, "rate": 0.001}
    assert run.about["index"] == "abc"
    assert len(run.about["revision"].removesuffix("+changes")) == 40
    assert "keras" in run.about["packages"]
    assert runs.load_recipe(run.folder / "recipe.toml", Small) == Small()
    assert not run.finished
    run.finish(accuracy=0.5)
    again = runs.Run.begin(tmp_path / "a", Small(), index="abc", seed=3)
    assert again.finished
    assert again.about["figures"] == {"accuracy": 0.5}


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    runs.Run.begin(tmp_path / "a", Small(), index="abc", seed=3)
    with pytest.raises(BadDataError, match=r"a: a run of another index: abc \(now xyz\)"):
        runs.Run.begin(tmp_path / "a", Small(), index="xyz", seed=3)
    with pytest.raises(BadDataError, match=r"another recipe: units 8 \(now 9\)"):
        runs.Run.begin(tmp_path / "a", Small(units=9), index="abc", seed=3)
    with pytest.raises(BadDataError, match=r"another seed: 3 \(now 4\)"):
        runs.Run.begin(tmp_path / "a", Small(), index="abc", seed=4)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "letter.txt").write_text("dear")
    with pytest.raises(BadDataError, match=r"holds files, but no run.json"):
        runs.Run.begin(tmp_path / "a", Small(), index="abc", seed=3)
    (tmp_path / "a" / "run.json").write_text('{"schema"')
    with pytest.raises(BadDataError, match=r"run.json: can't be read"):
        runs.Run(tmp_path / "a")
    with pytest.raises(MissingInputError, match=r"no run.json, so no run"):
        runs.compare([tmp_path / "b"])


def test_compare_shows_where_recipes_differ(tmp_path: Path) -> None:
    for name, units in (("one", 8), ("two", 9)):
        run = runs.Run.begin(tmp_path / name, Small(units=units), index="abc", seed=1)
        (run.folder / "history.csv").write_text("epoch,loss\n0,2.0\n1,1.5\n1,1.25\n")
        run.finish(uar=0.5 + units / 100)
    table = runs.compare([tmp_path / "one", tmp_path / "two"])
    assert table["recipe units"].tolist() == [8, 9]
    assert "recipe rate" not in table
    assert table["uar"].tolist() == pytest.approx([0.58, 0.59])
    assert table["last loss"].tolist() == [1.25, 1.25]


_TRAINER = """
import sys, time, keras, msgspec, numpy as np
from pathlib import Path
from training.runs import Run
class Small(msgspec.Struct):
    units: int = 8
run = Run.begin(Path(sys.argv[1]), Small(), index="abc", seed=1)
keras.utils.set_random_seed(1)
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32"); y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(2)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
tell = lambda epoch, logs: (print("epoch", epoch, flush=True), time.sleep(0.3))
slow = keras.callbacks.LambdaCallback(on_epoch_end=tell)
model.fit(x, y, epochs=8, verbose=0, callbacks=[*run.callbacks(), slow])
run.finish(loss=float(model.evaluate(x, y, verbose=0)), steps=int(model.optimizer.iterations))
"""


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    environ = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": str(HOME)}
    words = [sys.executable, "-c", _TRAINER, str(tmp_path / "run")]
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("epoch 3"):
                child.send_signal(signal.SIGKILL)
    assert not runs.Run(tmp_path / "run").finished
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True)
    begun = [line for line in done.stdout.splitlines() if line.startswith("epoch")]
    assert begun[0] in ("epoch 3", "epoch 4")  # killed within epoch 3, before or after its backup
    assert begun[-1] == "epoch 7"
    run = runs.Run(tmp_path / "run")
    assert run.finished
    assert run.about["figures"]["steps"] == 8 * 2
    assert run.history()["epoch"].tolist() == list(range(8))
    assert list((tmp_path / "run" / "tensorboard").rglob("events.out.tfevents.*"))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finished"] is True
