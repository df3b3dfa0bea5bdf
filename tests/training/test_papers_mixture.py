"""P4's reproduction from the command to its report, on a small made tree and with small networks."""

import json
import re
from functools import partial

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

pytest.importorskip("keras")
pytest.importorskip("pygad")
pytest.importorskip("keras_tuner")

from training.networks import cnn1d_lstm
from training.reproductions import loopq, others
from training.reproductions.command import reproduce
from training.reproductions.fitting import Recipe
from training.reproductions.study import Variant

pytestmark = pytest.mark.training
RATE = 16000
EMOTION = {"01": 150, "03": 400, "04": 220, "05": 700, "06": 1000, "07": 1500, "08": 2100}
HELD_OUT = ("03", "10")


@pytest.fixture
def speech(tmp_path, monkeypatch):
    """RAVDESS speech of four actors, two of them this project's held-out ones: a tone for each emotion."""
    monkeypatch.setenv("OUTCRY_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "corpora"
    t = np.arange(int(0.4 * RATE)) / RATE
    for actor in ("01", "02", *HELD_OUT):
        for emotion, pitch in EMOTION.items():
            for take in ("01", "02"):
                folder = root / "RAVDESS" / "Audio_Speech_Actors_01-24" / f"Actor_{actor}"
                folder.mkdir(parents=True, exist_ok=True)
                noise = 0.02 * np.random.default_rng(int(actor + take + emotion)).normal(size=len(t))
                sound = 0.3 * np.sin(2 * np.pi * pitch * t) + noise
                soundfile.write(folder / f"03-01-{emotion}-01-{take}-01-{actor}.wav", sound, RATE, subtype="PCM_16")
    return root


def _small(size):
    """The six names with one small network, and SAVEE's fault."""
    small = partial(cnn1d_lstm.build, size.frames, 40, filters=(8,), units=8, dropout=0.0)
    for name in loopq.WEIGHTS:
        yield Variant(name, "systems", small, Recipe(1, 8, 0.01), inputs="mfcc")
    yield Variant(loopq.FAULT, "labels", small, Recipe(1, 8, 0.01), ("random",), "mfcc")


@pytest.mark.timeout(900)
def test_the_mixture_goes_from_the_command_to_one_table_of_all_systems(speech, tmp_path, monkeypatch):
    monkeypatch.setattr(loopq, "variants", _small)
    monkeypatch.setattr(others, "variants", lambda _: [])
    output = tmp_path / "runs" / "loopq"
    arguments = ["loopq", "--corpora", str(speech), "--output", str(output), "--seeds", "1", "--epochs", "3"]
    arguments += ["--no-ours", *(part for name in ("house-*", "random-savee-fault-0") for part in ("--only", name))]
    done = CliRunner().invoke(reproduce, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "TESS is not here" in done.stderr
    records = {path.stem: json.loads(path.read_text()) for path in (output / "runs").glob("*.json")}
    assert len(records) == 6 + 3 + 1 + 2  # the six, the ensembles, the shipped package, the fault and the one table
    assert {r["settings"]["epochs"] for r in records.values() if r["settings"]["group"] == "systems"} == {3}
    for name in ("house-fused-0", "house-average-0", "house-genetic-nested-0"):
        assert records[name]["figures"]["clips"] == 2 * 14, name
        assert records[name]["figures"]["by_origin"].keys() == {"RAVDESS"}, name
    # All stand on the validation actor alone, without surprise, in the first go.
    table = records["house-one-table-0"]["figures"]
    assert table["clips"] == 12
    assert table["systems"].keys() == {*loopq.WEIGHTS, "average", "genetic", "genetic-nested", "shipped"}
    text = (output / "tables.md").read_text()
    row = re.search(r"^\| cnn2d-lstm \|.*$", text, re.M).group().split(" | ")
    assert row[1] == "71.4"
    assert row[3] == "73.3"
    for words in ("All systems on the same unseen speakers", "the paper, random | 0.186", "savee-fault"):
        assert words in text, words
    page = (output / "report.html").read_text()
    assert "labels: accuracy by epoch" in page
    assert "`" not in re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.S)
