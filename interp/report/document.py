"""HTML that stands alone: templates that escape what they are given, tables, and figures that draw themselves when seen."""

import base64
import functools
import gzip
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from interp import figures
from interp.report.files import cell

PAGES = Path(__file__).parent / "pages"
"""Templates, style and script of the pages."""
ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(PAGES),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
"""The templates; text that is put into them is escaped."""


def render(template: str, **values: Any) -> bytes:
    """A page as bytes of UTF-8, with plotly, style and script in it: no network and no other file is needed."""
    style, script = (Markup((PAGES / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    return ENVIRONMENT.get_template(template).render(style=style, script=script, plotly=plotly(), **values).encode()


def packed(text: str) -> str:
    """Text in a fifth of its size, in letters that may stand in HTML: gzip, then base64. The same text gives the same bytes."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


@functools.cache
def plotly() -> str:
    """The plotly script, packed."""
    return packed(get_plotlyjs())


class Drawing(NamedTuple):
    """A figure on a page."""

    key: str
    """Its name, once on the page."""
    data: str
    """The figure, packed."""
    height: int
    """Pixels, where there is room enough."""


def drawing(key: str, figure: go.Figure) -> Drawing:
    """The figure for a page: without title and caption, which are the page's text, and of single precision."""
    shown = figures.without_frame(figure)
    return Drawing(key, packed(str(shown.to_json())), int(shown.layout.height or 450))


class Table(NamedTuple):
    """A table as it is printed."""

    columns: list[str]
    rows: list[list[str]]
    upright: bool
    """Whether it is a single row that stands upright: name and value."""
    of: int
    """Number of rows that there are, of which some may be left out."""


def table(found: pd.DataFrame, most: int = 60) -> Table:
    """A table in printed digits: at most so many rows, evenly chosen, first and last among them; one row stands upright."""
    index = found.reset_index()
    chosen = np.unique(np.linspace(0, len(index) - 1, min(most, len(index))).round().astype(int))
    shown = index.iloc[chosen].map(cell)
    columns, rows = [str(name) for name in shown.columns], shown.to_numpy().tolist()
    if len(index) == 1:
        return Table([], [list(pair) for pair in zip(columns, rows[0], strict=True)], True, 1)
    return Table(columns, rows, False, len(index))
