"""The tables of the enhanced GRU's report as Markdown too, for docs/papers.md."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from training.report import Report
from training.reproductions.tables import Table, markdown


class TabledReport(Report):
    """A report that writes `tables.md` beside its page: the same tables, under the same headings."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.tables: list[Table] = []
        self._under = title

    def heading(self, text: str) -> None:
        """Begin a section; tables are titled by it."""
        super().heading(text)
        self._under = text

    def table(self, frame: pd.DataFrame, caption: str, *, digits: int = 3) -> None:
        """A table in the page, kept for tables.md."""
        super().table(frame, caption, digits=digits)
        head = (str(frame.index.name or ""), *map(str, frame.columns))
        rows = (tuple(_word(value, digits) for value in row) for row in frame.itertuples())
        self.tables.append(Table(self._under, caption, head, tuple(rows)))

    def write(self, path: Path) -> Path:
        """The page, and the tables beside it."""
        told = "\n".join(f"## {table.title}\n\n{table.told}\n\n{markdown(table)}" for table in self.tables)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name("tables.md").write_text(told, encoding="utf-8")
        return super().write(path)


def _word(value: Any, digits: int) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.{digits}f}"
    return str(value)
