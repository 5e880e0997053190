"""Runs for interactive use: what `interp.open_run` returns."""

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from interp import analyze, store
from interp.base import Shown, UserError, in_python, near_miss
from interp.config import RunConfig

Result = TypeVar("Result")

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr


class NoAnalysis(UserError, AttributeError):
    """An error for a name that is no analysis, and so no attribute either."""


class Catalogue(Generic[Result]):
    """An action by an analysis: `measure("fourier")`, `measure.fourier()` with completion by tab, or one of your own, by its
    module or the path of its file: `measure(sparsity)`, `measure("./sparsity.py")`.
    """

    def __init__(self, run: "Run", act: Callable[..., Result]):
        self._run, self._act = run, act

    def __call__(self, name: str | Path | ModuleType, **options: Any) -> Result:
        """Result of the action with the analysis of that name, or of that file or module."""
        return self._act(analyze.called(name), **options)

    def __getattr__(self, name: str) -> Callable[..., Result]:
        if name not in analyze.analyses():
            raise NoAnalysis(f'no analysis "{name}"{near_miss(name, analyze.analyses())}')
        options = analyze.find(name).Options.model_fields
        defaults = {each: field.default for each, field in options.items()} | {"anew": False}

        def act(**options: Any) -> Result:
            return self._act(name, **options)

        act.__name__, act.__doc__ = name, described(name)
        # What IPython completes by tab inside the brackets, and shows on a question mark.
        keyword = inspect.Parameter.KEYWORD_ONLY
        act.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(each, keyword, default=default) for each, default in defaults.items()]
        )
        return act

    def __dir__(self) -> list[str]:
        return sorted(self._run.applies.fitting)

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {analyze.analyses()[name]}" for name in self._run.applies.fitting)


@in_python()
def answer(run: store.Run, name: str, **options: Any) -> "xr.Dataset":
    """The measurement of that name, from what is kept as far as that is still so; in a terminal with a bar, in a notebook with a
    line every few seconds."""
    from interp import kept
    from interp.bars import in_notebook
    from interp.views.watched import shown

    bar = functools.partial(shown, name) if sys.stderr.isatty() or in_notebook() else nullcontext
    return kept.measure(run, name, shown=bar, **options).found


def described(name: str) -> str:
    """An analysis in words: its question, its options, its variables."""
    module = analyze.find(name)
    options = [
        f"    {each} = {field.default!r}: {' '.join((field.description or '').split())}"
        for each, field in module.Options.model_fields.items()
    ]
    variables = [
        f"    {each}[{', '.join(var.dims.split())}]: {var.long_name}" for each, var in module.VARIABLES.items()
    ]
    options.append("    anew = False: measure all, also what was measured before and is kept")
    parts = [("Options:", options), ("Variables, of a Dataset:", variables)]
    blocks = ["\n".join([title, *lines]) for title, lines in parts if lines]
    return "\n\n".join([analyze.analyses()[name], *blocks])


class Runs(Shown, list["Run"]):
    """Runs, shown as a table with a row for each."""

    def cells(self) -> list[tuple[str, ...]]:
        """Folder, checkpoints, losses and accuracies of each run."""
        topics = ("checkpoints", "loss", "accuracy")
        words = [(run.path.name, run.summary()) for run in self]
        return [("run", *topics), *((name, *(each.get(topic, "–") for topic in topics)) for name, each in words)]

    def __repr__(self) -> str:
        return self._text()


class Run(store.Run):
    """A run that can be measured and plotted."""

    @property
    def applies(self) -> "analyze.Applies":
        """Analyses that fit this run; and for each other one, a sentence that says why it does not."""
        return analyze.applies(self)

    @property
    def measure(self) -> "Catalogue[xr.Dataset]":
        """`run.measure("fourier", rule="largest_gap")`: the measurement over the checkpoints in view.

        What was measured before is answered again (interp/kept); `anew=True` measures all of it.
        """
        return Catalogue(self, functools.partial(answer, self))

    @property
    def plot(self) -> "Catalogue[go.Figure]":
        """`run.plot("fourier")`: the figure of that measurement. `beside=[run, …]`: others, as a band behind each curve.

        Where there is no notebook and no browser, as over ssh, showing it writes analysis/shown/fourier.html and says so.
        """

        from interp.report.picture import Picture  # here: plotly is loaded for figures alone
        from interp.store.layout import ANALYSIS, SHOWN

        def plot(name: str, beside: Sequence[store.Run] = (), **options: Any) -> "go.Figure":
            others = [answer(other, name, **options) for other in beside]
            figure = analyze.draw(analyze.against(answer(self, name, **options), others), others)
            return Picture(figure, self.path / ANALYSIS / SHOWN / f"{name}.html")

        return Catalogue(self, plot)


def open_run(path: str | Path, model: Any = None) -> Run:
    """The run in a directory.

    >>> interp.open_run("checkpoints/mine", model=Net()).at(300).model(examples)

    Args:
        path: the directory.
        model: your own torch module, of a run that `interp.record` wrote. `run.at(step).model` is then a copy of it with the
            weights of that step. No code is ever imported because a run names it.

    Raises:
        UserError: there is no run in the directory, or the module has other tensors than the run.
    """
    run = store.open_run(path, model)
    return Run(run.path, run.record, run.steps, module=run.module)


@in_python()
def train_run(config: RunConfig | str, out: str | Path, **how: Any) -> Run:
    """Train a configuration, or the preset of that name, and open the run; `how` and errors are as of interp.train.loop.train."""
    from interp.train.loop import train  # here: probing a run needs no trainer
    from interp.train.presets import preset

    config = preset(config).config if isinstance(config, str) else config
    return open_run(train(config, out, **how).path)


@in_python()
def train_runs(configs: Mapping[str, RunConfig], out: str | Path, **how: Any) -> Runs:
    """Train each configuration into the directory of its name in `out`, side by side where they fit together.

    `interp.grid` makes such configurations; further arguments and errors are those of interp.train.loop.train_many.
    """
    from interp.train.loop import train_many

    outs = [Path(out) / name for name in configs]
    return Runs(open_run(run.path) for run in train_many(list(configs.values()), outs, **how))


@in_python()
def connect_runs(a: str | Path, b: str | Path, out: str | Path, *, overwrite: bool = False, **curve: Any) -> Run:
    """The path from network A to network B (DIR@STEP, or DIR for the last checkpoint), written as a run into `out`.

    >>> interp.connect_runs("checkpoints/one", "checkpoints/two", "checkpoints/path", curve="bezier")

    Further arguments are the fields of interp.store.between.Curve; errors are those of interp.train.connect.connect.
    """
    from interp.store.between import Curve
    from interp.train.connect import connect

    return open_run(connect(a, b, out, Curve(**curve), overwrite=overwrite).path)


def open_runs(parent: str | Path) -> Runs:
    """Every run directly below a directory, by name; UserError when there is none."""
    found = store.find_runs(parent)
    if not found:
        raise UserError(f"there is no run in {parent}; train one with: python -m interp.train quick")
    return Runs(map(open_run, found))
