"""Figures for interactive use: shown in a notebook, in a browser, or as a page whose place is told."""

import os
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from interp.bars import in_notebook
from interp.base import UserError
from interp.store.files import write_whole


class Picture(go.Figure):
    """A plotly figure whose `show` never fails for want of a browser: it writes one page, and says where."""

    def __init__(self, figure: go.Figure, page: Path):
        super().__init__(figure)
        self._page = page

    def show(self, *words: Any, **how: Any) -> None:
        """Show the figure in a notebook, or as plotly does if it is told how; else as a page, in a browser where there is one."""
        if words or how or in_notebook():
            super().show(*words, **how)
            return
        page = self._written()
        print(f"page: {page}")
        if has_display():
            webbrowser.open(page.as_uri())

    def write_html(self, *words: Any, **how: Any) -> None:
        """Write the figure as a page. One with a slider does not play by itself, unless `auto_play` says so."""
        super().write_html(*words, **({"auto_play": False} | how))

    def _ipython_display_(self) -> None:
        """What IPython calls for a figure at the end of a cell."""
        self.show()

    def __repr__(self) -> str:
        title = (self.layout.title.text or "figure").partition("<br>")[0]  # type: ignore[attr-defined]
        return f"{title} ({len(self.data)} traces); .show() shows it, .write_html(FILE) writes it"  # type: ignore[arg-type]

    def _written(self) -> Path:
        """The page with the figure, one file that needs no other; in a temporary directory if the run's is not ours."""
        content = self.to_html(
            include_plotlyjs=True, include_mathjax=False, auto_play=False, config={"displaylogo": False}
        ).encode()
        for page in (self._page, Path(tempfile.gettempdir()) / f"interp-{os.getpid()}" / self._page.name):
            try:
                page.parent.mkdir(parents=True, exist_ok=True)
                write_whole(page, content)
            except (OSError, UserError):
                continue
            return page.resolve()
        raise UserError(f"cannot write {self._page}; write the figure elsewhere by its write_html")


def has_display() -> bool:
    """Whether a browser with windows could open: over ssh there is none, and one of text would take the terminal."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
