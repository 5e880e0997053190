"""Measurements: labelled results of an analysis, with where they came from."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from interp.base import Frozen
from interp.maths.curves import IN_A_ROW, collapse, reached
from interp.store import Run


class AnalysisOptions(Frozen):
    """Options of an analysis: every field is one on the command line, with its docstring as help."""

    section: ClassVar[str] = ""


class Var(NamedTuple):
    """A variable of a measurement: its dimensions, its meaning, and its units."""

    dims: str
    """Names of the dimensions, separated by blanks; `step` comes first if there is one."""
    long_name: str
    """Meaning of the variable, in words; may hold {options} and other fields that `dataset` is given as `words`."""
    units: str = ""
    """Units of the values: "1" for shares, {loss_units} for a loss in the units of the run's history, empty if there are none."""

    def labelled(self, values: Any, words: Mapping[str, Any]) -> xr.Variable:
        """Values with their dimensions and attributes, as xarray takes them."""
        attrs = {"long_name": self.long_name.format(**words)} | (
            {"units": self.units.format(**words)} if self.units else {}
        )
        return xr.Variable(self.dims.split(), values, attrs)


Variables = Mapping[str, Var]
"""Type of an analysis' VARIABLES table: what it measures, by name."""

LEARNING: Variables = {
    "train_loss": Var("step", "loss on the training set", "{loss_units}"),
    "test_loss": Var("step", "loss on the test set", "{loss_units}"),
    "train_accuracy": Var("step", "accuracy on the training set", "1"),
    "test_accuracy": Var("step", "accuracy on the test set", "1"),
}
"""Columns of the history as variables; the units of the losses are the run's."""

UPDATES = {"units": "optimiser updates"}


def step_axis(run: Run, steps: Sequence[int]) -> xr.Variable:
    """The coordinate `step`: optimiser updates, or numbers of the points on a path between two networks."""
    if run.between is None:
        return xr.Variable("step", list(steps), UPDATES)
    along = f"point on the path (0: A, {run.between.curve.points - 1}: B)"
    return xr.Variable("step", list(steps), {"units": "points", "long_name": along})


def history_of(run: Run, history: pd.DataFrame) -> xr.Dataset:
    """Losses and accuracies at every logged step, whatever checkpoints are in view; losses in the run's own units."""
    logged = labelled(run, {name: history[name].to_numpy() for name in LEARNING}, LEARNING)
    return xr.Dataset(logged, coords={"step": step_axis(run, history.index.tolist())})


def labelled(
    run: Run, found: Mapping[str, Any], variables: Variables, words: Mapping[str, Any] = {}
) -> dict[str, xr.Variable]:
    """Values that were found, labelled by the VARIABLES table and in its order. Each must have an entry there."""
    assert not (strange := found.keys() - variables.keys()), f"no entry in VARIABLES for {strange}"
    words = {"loss_units": run.config.loss_units, **words}
    return {name: var.labelled(found[name], words) for name, var in variables.items() if name in found}


def dataset(
    run: Run,
    options: AnalysisOptions,
    found: Mapping[str, Any],
    variables: Variables,
    *,
    coords: Mapping[str, Any] = {},
    definition: str,
    source: str,
    words: Mapping[str, Any] = {},
) -> xr.Dataset:
    """A measurement at the run's checkpoints: what was found, labelled by the VARIABLES table, and where it came from.

    The losses and accuracies of those steps come along, and the steps of memorisation and generalisation, so that any
    figure can show them.

    Args:
        found: values by name; those of the table that are not there are left out, and others have no place.
        coords: values of the further dimensions, or (dimension, values, attributes).
        definition: how the numbers are defined.
        source: where that definition is from.
        words: what stands in braces in the table's texts.
    """
    history = run.history
    at_steps = history.reindex(run.steps)
    logged = labelled(run, {name: at_steps[name].to_numpy() for name in LEARNING}, LEARNING)
    measured = labelled(run, found, variables, words)
    steps, reached_at = {"step": step_axis(run, run.steps)}, landmarks(history, learns=run.between is None)
    whole = xr.Dataset(logged | measured, coords={**steps, **coords})
    return whole.assign_attrs(provenance(run, options), definition=definition, source=source, **reached_at)


def by_step(found: xr.Dataset) -> pd.DataFrame:
    """An empty table with a row for each step."""
    return pd.DataFrame(index=pd.Index(found["step"].values, name="step"))


def provenance(run: Run, options: AnalysisOptions) -> dict[str, str]:
    """Attributes that name the run and the options of a measurement."""
    return {
        "run": run.name,
        "config": run.config.model_dump_json(),
        "options": options.model_dump_json(),
        "interp_version": metadata.version("interp"),
    }


def landmarks(
    history: pd.DataFrame, threshold: float = 0.99, in_a_row: int = IN_A_ROW, learns: bool = True
) -> dict[str, Any]:
    """Attributes that say when train and test accuracy reached the threshold, how long they stayed, and what they lost.

    `memorised`, `generalised`: first of so many evaluations in a row at or above it; NaN: not reached. `…_until`: the last step
    of that first stay, or by which it is known not to be reached. `…_fell`: every later step at which it fell below. `collapsed`:
    the step at which what had been reached was lost (`interp.maths.curves.collapse`); NaN: never. On a path between two
    networks nothing is learned (`learns`), and so nothing is reached.
    """
    steps = history.index.to_numpy()
    train, test = (history[f"{split}_accuracy"].to_numpy() for split in ("train", "test"))
    if not learns:
        train = test = np.full(len(steps), np.nan)
    found: dict[str, Any] = {}
    for name, values in (("memorised", train), ("generalised", test)):
        marks = reached(steps, values, threshold, in_a_row)
        falls = " ".join(f"{step:.0f}" for step in marks.falls) or "never"
        found |= {name: marks.step, f"{name}_until": marks.until, f"{name}_fell": falls}
    return found | {"collapsed": collapse(steps, train, test, threshold, in_a_row)}


LANDMARKS = (
    "collapsed",
    *(f"{mark}{more}" for mark in ("memorised", "generalised") for more in ("", "_until", "_fell")),
)
"""Names of the attributes that `landmarks` gives."""


def frequency_axis(n: int, what: str = "residues") -> tuple[str, np.ndarray, dict[str, str]]:
    """The coordinate `freq` of waves on n values: k = 1 … ⌊n/2⌋."""
    return "freq", np.arange(1, n // 2 + 1), {"units": f"cycles per {n} {what}"}


def named(keys: Sequence[int]) -> str:
    """Frequencies as text for an attribute: `6 23 37`."""
    return " ".join(map(str, keys))
