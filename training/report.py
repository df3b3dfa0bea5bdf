"""One HTML file that a stranger can read: text, tables, pictures inside, nothing fetched from anywhere."""

import base64
import html
import io
import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

mpl.use("Agg")

CAVEAT = (
    "All emotions here are acted or labelled by a crowd: nothing in these recordings is spontaneous fear. "
    "Figures tell how systems compare on such sound, not how often a real call would be heard."
)
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
caption, figcaption { text-align: left; color: #444; margin: .3rem 0; font-size: .9rem; }
figure { margin: 1.5rem 0; } img { max-width: 100%; } .note { border-left: .3rem solid #c60; padding-left: .8rem; }
"""


class Report:
    """A page that grows from top to bottom; `write` puts it in place whole."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, *sentences: str) -> None:
        """One paragraph."""
        self._parts.append(f"<p>{html.escape(' '.join(sentences))}</p>")

    def note(self, text: str) -> None:
        """A paragraph that must not be overlooked."""
        self._parts.append(f'<p class="note">{html.escape(text)}</p>')

    def points(self, sentences: Sequence[str]) -> None:
        """A list, one sentence a line."""
        self._parts.append("<ul>" + "".join(f"<li>{html.escape(told)}</li>" for told in sentences) + "</ul>")

    def table(self, frame: pd.DataFrame, caption: str, *, digits: int = 3) -> None:
        """A table with its index as the first column; numbers rounded, nothing where there is none."""
        named = not isinstance(frame.index, pd.RangeIndex)
        shown = frame.rename_axis(frame.index.name or "").reset_index() if named else frame
        shown = shown.map(lambda value: _number(value, digits))
        body = shown.to_html(index=False, border=0, escape=True, na_rep="")
        self._parts.append(f"<p>{html.escape(caption)}</p>{body}")

    def picture(self, figure: Figure, caption: str) -> None:
        """A drawing, as a PNG within the page; the caption says what is seen."""
        figure.set_layout_engine("tight")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        data = base64.b64encode(buffer.getvalue()).decode()
        told = html.escape(caption)
        self._parts.append(
            f'<figure><img alt="{told}" src="data:image/png;base64,{data}"><figcaption>{told}</figcaption></figure>'
        )

    def page(self) -> str:
        """The whole page."""
        title = html.escape(self.title)
        head = f'<head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
        return f'<!doctype html>\n<html lang="en">{head}<body><h1>{title}</h1>{"".join(self._parts)}</body></html>\n'

    def write(self, path: Path) -> Path:
        """Write the page, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(self.page(), encoding="utf-8")
        fresh.replace(path)
        return path


def confusion_picture(counts: pd.DataFrame, title: str = "") -> Figure:
    """Rows: the truth; columns: what was said; each cell the share of its row, and the clips."""
    figure = Figure(figsize=(1.6 + 0.75 * len(counts.columns), 1.2 + 0.6 * len(counts)))
    axes = figure.add_subplot()
    totals = counts.sum(axis=1).to_numpy()[:, None]
    share = counts.to_numpy() / np.maximum(totals, 1)
    axes.imshow(share, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for (row, column), value in np.ndenumerate(share):
        colour = "white" if value > 0.55 else "black"
        told = f"{100 * value:.0f} %\n{counts.iat[row, column]}"
        axes.text(column, row, told, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(counts.columns)), list(counts.columns), rotation=30, ha="right")
    axes.set_yticks(range(len(counts)), list(counts.index))
    axes.set(xlabel="said", ylabel="true", title=title)
    return figure


def curves_picture(histories: dict[str, pd.DataFrame], what: str, label: str) -> Figure:
    """Training (full) and validation (dashed) values of `what`, one panel a name: mean and range over its seeds.

    Each history has the columns `what` and `val_` + `what`, one row an epoch, a seed after the other in `seed`.
    """
    figure = Figure(figsize=(3.4 * len(histories), 3.2))
    first = None
    for at, (name, history) in enumerate(histories.items(), 1):
        axes = figure.add_subplot(1, len(histories), at, sharey=first)
        first = first or axes
        for column, style, told in ((what, "-", "training"), (f"val_{what}", "--", "validation")):
            by_epoch = history.groupby("epoch")[column]
            mean = by_epoch.mean()
            (line,) = axes.plot(mean.index + 1, mean, style, label=told)
            axes.fill_between(mean.index + 1, by_epoch.min(), by_epoch.max(), alpha=0.2, color=line.get_color())
        axes.set(title=name, xlabel="epoch", ylabel=label if at == 1 else "")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def danger_picture(curves: dict[str, dict[str, NDArray[np.floating]]]) -> Figure:
    """ROC on the left, precision over recall on the right, one line a name (see evaluate.danger_curves)."""
    figure = Figure(figsize=(9, 4))
    roc, precision = figure.subplots(1, 2)
    for name, told in curves.items():
        roc.plot(told["false_positive"], told["true_positive"], label=name)
        precision.plot(told["recall"], told["precision"], label=name)
    roc.plot([0, 1], [0, 1], ":", color="grey")
    roc.set(xlabel="share of calm clips called danger", ylabel="share of danger heard", title="ROC")
    precision.set(xlabel="share of danger heard", ylabel="share of alarms that are danger", title="precision-recall")
    for axes in (roc, precision):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def bars_picture(values: pd.DataFrame, label: str) -> Figure:
    """One bar a row and column; columns side by side, with a column's `NAME_low`/`NAME_high` as whiskers."""
    names = [name for name in values if not str(name).endswith(("_low", "_high"))]
    figure = Figure(figsize=(max(5, 0.9 * len(values) * max(1, len(names) / 2)), 3.6))
    axes = figure.add_subplot()
    width = 0.8 / len(names)
    for at, name in enumerate(names):
        place = np.arange(len(values)) + (at - (len(names) - 1) / 2) * width
        whiskers = None
        if f"{name}_low" in values:
            low, high = values[name] - values[f"{name}_low"], values[f"{name}_high"] - values[name]
            whiskers = np.maximum([low, high], 0)
        axes.bar(place, values[name], width, yerr=whiskers, capsize=3, label=str(name))
    axes.set_xticks(range(len(values)), list(values.index), rotation=30, ha="right")
    axes.set(ylabel=label)
    axes.grid(alpha=0.3, axis="y")
    axes.legend(fontsize=8)
    return figure


def _number(value: object, digits: int) -> object:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.{digits}f}"
    return "" if value is None else value
