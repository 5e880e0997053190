"""What is seen: one file on the shelves is one analysis, and its name is the command.

An analysis has a docstring that begins with its question, `Options`, a table `VARIABLES` of what it measures, and three
functions: `measure(seen, options)` gives an xarray.Dataset, `draw(found)` a plotly figure of it, and `summarise(found)` a table
with a row per step. The type of `measure`'s first parameter is the view of a run that it needs (interp/views): nothing else says
which runs it is for. `step` is the first dimension of every variable that has it.

A module with `BY_CHECKPOINT = True` measures each checkpoint alone: numbers at a step, and all that has no step, are the same
whatever other checkpoints are in view. Of a run that has grown it then measures the new ones only (interp/kept).

A module with a text `ALONE` ("takes minutes") is measured when it is asked for by name; `all` leaves it out and says so.

It may have a fourth, `compare(found)`: of the measurements of several runs, one table with a row for each number that is
compared. Where seeds of one setting are put together, it is decorated with `interp.views.comparison.for_each_setting`: each field
that was varied is then a column. `python -m interp.analyze NAME DIR DIR…` prints it after the runs and writes it as
NAME-comparison.csv into --out, if that is given, or into analysis/ of the one directory that the runs were found in; with --json
it is written there only, so that standard output keeps a line for each run and nothing else. Beside it may stand a fifth,
`draw_runs(found)`: a figure over these runs, written as NAME-comparison.html and .png.

`headline(found)` tells in a few words by topic what a reader asks first: "generalised": "at step 560". The page begins with it.
"""

import importlib
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints

from interp.analyze import own
from interp.base import DoesNotApply, Frozen, UserError, once
from interp.plugins import Registry

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    import xarray as xr

    from interp.store import Run
    from interp.views.view import View


ALL = "Every analysis that fits the run, and one page with all figures."
"""What `python -m interp.analyze all` does."""

SHELVES = ("features", "landscape", "learning", "mechanism")
"""Folders of analyses."""


@dataclass(frozen=True)
class Analysis:
    """An analysis by its name; its module is imported when it is asked for."""

    name: str
    home: str
    """The module."""
    about: str
    """The question that it asks."""
    held: ModuleType | None = None
    """The module of somebody's own analysis; None of those on the shelves."""
    typed: str = ""
    """What is typed for its name on the command line, if it is a file; empty: its name."""

    @once
    def module(self) -> ModuleType:
        """The module with `Options`, `measure`, `draw`, `summarise`."""
        return importlib.import_module(self.home) if self.held is None else self.held

    @once
    def view(self) -> "type[View]":
        """What a run has to be seen as."""
        hints = get_type_hints(self.module.measure)
        return hints[next(iter(hints))]


def from_file(file: Path) -> Analysis:
    """The analysis in a file of the shelves, whose first line is its question; the file is not imported."""
    with file.open(encoding="utf-8") as lines:
        about = next(lines).strip().removeprefix('"""').removesuffix('"""')
    return Analysis(file.stem, f"interp.analyze.{file.parent.name}.{file.stem}", about)


def from_module(module: ModuleType, typed: str = "") -> Analysis:
    """The analysis that a module of someone else holds; UserError if it lacks something."""
    own.check(module, getattr(module, "__name__", ""))
    name, about = module.__name__.rpartition(".")[2], (module.__doc__ or "").strip().split("\n")[0]
    return Analysis(name, module.__name__, about, module, typed)


FILES = [file for shelf in SHELVES for file in Path(__file__).parent.joinpath(shelf).glob("[!_]*.py")]
ANALYSES: "Registry[Analysis]" = Registry(
    "analysis",
    "interp.analyses",
    lambda analysis: analysis.name,
    tuple(map(from_file, sorted(FILES, key=lambda file: file.stem))),
    from_module,
)
"""Every analysis by name: those on the shelves, and those of others, whose entry points name modules."""


def add(module: ModuleType, typed: str = "") -> str:
    """Take an analysis of one's own, and return its name: a module with a question, `Options`, `VARIABLES`, `measure`, `draw`,
    `summarise`. A newer version of one that was added takes its place; `typed` is what stands for its name on the command line.

    Raises:
        UserError: it lacks one of these, or another analysis has its name.
    """
    analysis = from_module(module, typed)
    before = ANALYSES.get(analysis.name)
    if before is not None and before.held is not None and file_of(before.held) == file_of(module) is not None:
        ANALYSES.put(analysis)
    else:
        ANALYSES.add(analysis)
    return analysis.name


def file_of(module: ModuleType) -> str | None:
    """Path of the file that a module was run from; None if there is none."""
    file = getattr(module, "__file__", None)
    return None if file is None else os.path.realpath(file)


def called(analysis: "str | Path | ModuleType") -> str:
    """Name of an analysis that is given by its name, by the path of a file, or as a module, which is added.

    >>> called("./sparsity.py")
    'sparsity'

    Raises:
        UserError: the file or module is no analysis, or another analysis has its name.
    """
    if isinstance(analysis, ModuleType):
        file = getattr(analysis, "__file__", None) or ""
        alone = "." not in analysis.__name__ and file.endswith(".py")  # of a package it would not run by itself
        return add(analysis, os.path.relpath(file) if alone else "")
    if not isinstance(analysis, str | Path):  # type: ignore[reportUnnecessaryIsInstance]  whoever types it is not checked
        own.check(analysis, "")
    if is_file(analysis):
        return add(own.loaded(Path(analysis)), str(analysis))
    return str(analysis)


def is_file(analysis: str | Path) -> bool:
    """Whether a word is the path of a file, and no name."""
    return isinstance(analysis, Path) or analysis.endswith(".py") or "/" in analysis or os.sep in analysis


def analyses() -> dict[str, str]:
    """Every analysis with the question that it asks; of an installed one that cannot be loaded, why."""
    return {name: question(name) for name in ANALYSES}


def question(name: str) -> str:
    """The question that an analysis asks; why it cannot be loaded, if that is so."""
    try:
        return ANALYSES[name].about
    except UserError as error:
        return str(error)


def find(name: str) -> ModuleType:
    """The module of an analysis; UserError with the nearest name when there is none."""
    return ANALYSES.find(name).module


@dataclass(frozen=True)
class Applies(Mapping[str, str]):
    """Which analyses fit a run, and why the others do not: by name, nothing or a sentence."""

    why: dict[str, str]

    @property
    def fitting(self) -> list[str]:
        """Names of the analyses that fit."""
        return [name for name, why in self.why.items() if not why]

    def __getitem__(self, name: str) -> str:
        return self.why[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.why)

    def __len__(self) -> int:
        return len(self.why)

    def __repr__(self) -> str:
        declined = [f"{name}: {why}" for name, why in self.why.items() if why]
        return "\n".join([f"fit: {', '.join(self.fitting) or 'none'}", *declined])


def applies(run: "Run") -> Applies:
    """Which analyses fit the run, and in a sentence each, why the rest does not. Reads no weights."""
    return Applies({name: declines(run, name) for name in ANALYSES})


def declines(run: "Run", name: str) -> str:
    """Why an analysis does not fit the run, or cannot be loaded; nothing where it does."""
    try:
        seen(run, name)
    except DoesNotApply as error:
        return str(error)
    except UserError as error:
        if name in ANALYSES and question(name) == str(error):
            return str(error)
        raise
    return ""


def seen(run: "Run", name: str) -> "View":
    """The run as an analysis sees it; DoesNotApply where it cannot be seen so."""
    return ANALYSES.find(name).view.of(run, f'analysis "{name}"')


def measure(run: "Run", name: "str | Path | ModuleType", **options: Any) -> "xr.Dataset":
    """The measurement of that name on the checkpoints in view, with the analysis' options by keyword.

    An analysis of your own may stand for the name: a module, or the path of a file.

    Raises:
        UserError: there is no such analysis or option, or the analysis cannot read this run.
        CheckpointError: a checkpoint is damaged.
    """
    name = called(name)
    chosen = find(name).Options(**options)
    return signed(bare(run, name, chosen), run, name, chosen)


def bare(run: "Run", name: str, options: Frozen) -> "xr.Dataset":
    """The measurement as its analysis gives it; errors are those of `measure`."""
    return find(name).measure(seen(run, name), options)


def signed(found: "xr.Dataset", run: "Run", name: str, options: Frozen) -> "xr.Dataset":
    """The measurement with the analysis, the run's directory, and the command that makes it."""
    return found.assign_attrs(analysis=name, command=command(run, name, options), path=shlex.quote(str(run.path)))


def command(run: "Run", name: str, options: Frozen) -> str:
    """What to type for this measurement."""
    changed = options.model_dump(exclude_defaults=True)
    words = [f"--{option.replace('_', '-')} {as_words(value)}" for option, value in changed.items()]
    typed = shlex.quote(ANALYSES.find(name).typed or name)
    return " ".join(["python -m interp.analyze", typed, shlex.quote(str(run.path)), *run.view, *words])


def as_words(value: Any) -> str:
    """The value of an option as it is typed; several stand side by side."""
    return " ".join(shlex.quote(str(each)) for each in (value if isinstance(value, tuple) else (value,)))


def draw(found: "xr.Dataset", beside: "Sequence[xr.Dataset]" = ()) -> "go.Figure":
    """The figure of a measurement, with the command that made it; behind each curve a band over measurements `beside` it."""
    from interp import figures

    analysis = find(found.attrs["analysis"])
    figure = figures.apart(analysis.draw(found))
    if beside:
        about = f"lowest to highest of {named(beside)}"
        figure = figures.behind(figure, [analysis.draw(each) for each in beside], about)
    if along := found["step"].attrs.get("long_name"):
        figure = figures.over_points(figure, along)
    return figures.caption(figures.to_the_ends(figure), found.attrs["command"])


def named(found: "Sequence[xr.Dataset]") -> str:
    """Names of the runs that were measured; of those that differ only in their seeds, one name and their number."""
    counts = Counter(each.attrs["run"].split("+seed=")[0] for each in found)
    return ", ".join(f"{name} ({count} seeds)" if count > 1 else name for name, count in counts.items())


def against(found: "xr.Dataset", beside: "Sequence[xr.Dataset]", words: str = "") -> "xr.Dataset":
    """The measurement with what it does beyond others, such as its null twins, where the analysis tells that; and their names.

    `words` are the directories of the others as typed, for the command that the measurement tells.
    """
    if not beside:
        return found
    analysis = find(found.attrs["analysis"])
    if hasattr(analysis, "against"):
        found = analysis.against(found, beside)
    words = words or " ".join(shlex.quote(each.attrs.get("path", each.attrs["run"])) for each in beside)
    return found.assign_attrs(command=f"{found.attrs['command']} --beside {words}")


def summarise(found: "xr.Dataset") -> "pd.DataFrame":
    """The short table of a measurement, a row per step."""
    return find(found.attrs["analysis"]).summarise(found)


def verdict(found: "Sequence[xr.Dataset]") -> dict[str, str]:
    """What measurements of a run say in a few words, by topic; where two tell of one topic, the first counts."""
    told: dict[str, str] = {}
    for each in found:
        analysis = find(each.attrs["analysis"])
        words = analysis.headline(each) if hasattr(analysis, "headline") else {}
        told |= {topic: word for topic, word in words.items() if topic not in told}
    return told


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


__all__ = [
    "ANALYSES", "Applies", "add", "against", "analyses", "applies", "bare", "called", "compare", "declines", "draw", "draw_runs",
    "find", "is_file", "measure", "seen", "signed", "summarise", "verdict",
]  # fmt: skip
