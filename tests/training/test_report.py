"""One page, everything in it, nothing that a name could break."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training import report

pytestmark = pytest.mark.training


def test_a_page_holds_everything_itself(tmp_path: Path) -> None:
    page = report.Report("Fear & <anger>")
    page.note(report.CAVEAT)
    page.heading("By corpus")
    page.text("One", "sentence.")
    page.points(["a < b"])
    page.table(pd.DataFrame({"uar": [0.12345, np.nan]}, index=pd.Index(["<b>", "x"], name="corpus")), "Figures.")
    page.table(pd.DataFrame.from_dict({"RAVDESS": {"clips": 3}}, orient="index"), "Names without a title.")
    page.table(pd.DataFrame({"path": ["a.wav"]}), "Numbers are no names.")
    counts = pd.DataFrame([[3, 1], [0, 2]], index=["sad", "fear"], columns=["sad", "fear"])
    page.picture(report.confusion_picture(counts), "Confusion.")
    path = page.write(tmp_path / "new" / "report.html")
    text = path.read_text(encoding="utf-8")
    assert "Fear &amp; &lt;anger&gt;" in text
    assert "&lt;b&gt;" in text
    assert "<td>RAVDESS</td>" in text
    assert "<td>0</td>" not in text
    assert "<b>" not in text
    assert "0.123" in text
    assert "nan" not in text.lower().replace("alternan", "")
    assert text.count("data:image/png;base64,") == 1
    assert not re.search(r"https?://|<script|<link", text)
    assert [found.name for found in path.parent.iterdir()] == ["report.html"]


def test_the_confusion_shows_shares_of_the_truth() -> None:
    counts = pd.DataFrame([[3, 1], [0, 0]], index=["sad", "fear"], columns=["sad", "fear"])
    told = [text.get_text() for text in report.confusion_picture(counts).axes[0].texts]
    assert told == ["75 %\n3", "25 %\n1", "0 %\n0", "0 %\n0"]


def test_curves_show_mean_and_range_over_the_seeds() -> None:
    history = pd.DataFrame(
        {"epoch": [0, 1, 0, 1], "seed": [0, 0, 1, 1], "loss": [2.0, 1, 4, 3], "val_loss": [5.0, 5, 7, 7]}
    )
    figure = report.curves_picture({"base": history}, "loss", "loss")
    lines = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[0].lines}
    assert lines == {"training": [3, 2], "validation": [6, 6]}


def test_bars_carry_their_intervals() -> None:
    values = pd.DataFrame({"auc": [0.5], "auc_low": [0.4], "auc_high": [0.7]}, index=["A"])
    axes = report.bars_picture(values, "auc").axes[0]
    segment = axes.collections[0].get_segments()[0]
    assert segment[:, 1].tolist() == pytest.approx([0.4, 0.7])


def test_danger_curves_are_drawn() -> None:
    curve = {name: np.array([0.0, 0.5, 1.0]) for name in ("false_positive", "true_positive", "precision", "recall")}
    roc, precision = report.danger_picture({"EMO-DB": curve}).axes
    assert roc.lines[0].get_label() == precision.lines[0].get_label() == "EMO-DB"
