"""What is seen: one file is one analysis, and the file name is the command. Files that begin with "_" are shared.

An analysis has a docstring, `Options`, and three functions: `measure(run, options)` gives an xarray.Dataset, `draw(found)` a
plotly figure of it, and `summarise(found)` a table with a row per step. `step` is the first dimension of every variable that
has it.

It may have a fourth, `compare(found)`: of the measurements of several runs, one table with a row for each number that is
compared. `python -m interp.analyze NAME DIR DIR…` prints it after the runs and writes it as NAME-comparison.csv into --out, if
that is given, or into analysis/ of the one directory that the runs were found in; with --json it is written there only, so that
standard output keeps a line for each run and nothing else. Beside it may stand a fifth, `draw_runs(found)`: a figure over these
runs, written as NAME-comparison.html and .png.
"""

import ast
import importlib
import shlex
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from interp.base import Frozen, UserError, near_miss

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    import xarray as xr

    from interp.store import Run


ALL = "Every analysis that fits the run, and one page with all figures."
"""What `python -m interp.analyze all` does."""


def analyses() -> dict[str, str]:
    """Every analysis with the first line of its docstring; read from the files, none is imported."""
    files = sorted(file for file in Path(__file__).parent.glob("*.py") if not file.stem.startswith("_"))
    return {file.stem: (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n")[0] for file in files}


def find(name: str) -> ModuleType:
    """The module of an analysis; UserError with the nearest name when there is none."""
    if name not in analyses():
        raise UserError(f'no analysis "{name}"{near_miss(name, analyses())}')
    return importlib.import_module(f"interp.analyze.{name}")


def measure(run: "Run", name: str, **options: Any) -> "xr.Dataset":
    """The measurement of that name on the checkpoints in view, with the analysis' options by keyword.

    Raises:
        UserError: there is no such analysis or option, or the analysis cannot read this run.
        CheckpointError: a checkpoint is damaged.
    """
    analysis = find(name)
    chosen = analysis.Options(**options)
    return analysis.measure(run, chosen).assign_attrs(analysis=name, command=command(run, name, chosen))


def command(run: "Run", name: str, options: Frozen) -> str:
    """What to type for this measurement."""
    changed = options.model_dump(exclude_defaults=True)
    words = [f"--{option.replace('_', '-')} {as_words(value)}" for option, value in changed.items()]
    return " ".join(["python -m interp.analyze", name, shlex.quote(str(run.path)), *run.view, *words])


def as_words(value: Any) -> str:
    """The value of an option as it is typed; several stand side by side."""
    return " ".join(shlex.quote(str(each)) for each in (value if isinstance(value, tuple) else (value,)))


def draw(found: "xr.Dataset") -> "go.Figure":
    """The figure of a measurement, with the command that made it."""
    from interp import figures

    return figures.caption(find(found.attrs["analysis"]).draw(found), found.attrs["command"])


def summarise(found: "xr.Dataset") -> "pd.DataFrame":
    """The short table of a measurement, a row per step."""
    return find(found.attrs["analysis"]).summarise(found)


def compare(found: "list[xr.Dataset]") -> "pd.DataFrame":
    """One table over several measurements of one analysis.

    Raises:
        UserError: there are none, they are of different analyses, or theirs compares nothing.
    """
    return one_that(found, "compare").compare(found)


def draw_runs(found: "list[xr.Dataset]") -> "go.Figure":
    """One figure over several measurements of one analysis; errors are those of `compare`."""
    return one_that(found, "draw_runs").draw_runs(found)


def one_that(found: "list[xr.Dataset]", does: str) -> ModuleType:
    """The analysis that all of these measurements are of; UserError unless there is one, and it has such a function."""
    names = {measurement.attrs["analysis"] for measurement in found}
    if len(names) != 1:
        raise UserError(
            f"the measurements are of {', '.join(sorted(names)) or 'no run'}; compare those of one analysis"
        )
    (name,) = names
    if not hasattr(find(name), does):
        able = ", ".join(each for each in analyses() if hasattr(find(each), does))
        what = {"compare": "compares nothing", "draw_runs": "has no figure"}[does]
        raise UserError(f'analysis "{name}" {what} over runs; those that do are {able}')
    return find(name)


__all__ = ["analyses", "compare", "draw", "draw_runs", "find", "measure", "summarise"]
