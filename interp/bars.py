"""Bars in a terminal, all in one style: a short bar, what is done of how much, the time left. On stderr, not stdout."""

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

LEFT = (TimeRemainingColumn(), TextColumn("left"))
"""Columns with the time that is left."""


def bar(*columns: ProgressColumn, gone: bool = False) -> Progress:
    """A bar, the description of its task, and further columns; at the end it stays, or is `gone`."""
    first = (BarColumn(bar_width=8), TextColumn("{task.description}", markup=False))
    return Progress(*first, *columns, console=Console(stderr=True), transient=gone)


def in_notebook() -> bool:
    """Whether a notebook shows what cells return."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None) is not None
