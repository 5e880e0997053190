"""The curves of a run: what it logged, and every measured number that there is one of at each step, or a few with names."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import xarray as xr

from interp import kept
from interp.measurement import LEARNING
from interp.store import Run

MOST = 64
"""Most curves of one variable: the parts of a matrix are many, those of a model few."""

Curves = dict[str, dict[int, float]]


def curves_of(run: Run, analyses: Sequence[str] = ()) -> tuple[Curves, list[str]]:
    """Curves by name, values by step; and the variables of these analyses that are no curves, by name.

    A column of the history keeps its name. A variable is `fourier/gini`; of one with a further dimension of at most 64 labels
    each is a curve, `fourier/gini/W_E`. A value that is not finite is left out.

    Raises:
        UserError: an analysis is not known, or does not fit the run.
    """
    found: Curves = {str(name): finite(column.items()) for name, column in run.history.items()}
    left_out = list[str]()
    for name in analyses:
        for variable in kept.measure(run, name).found.drop_vars(LEARNING, errors="ignore").data_vars.values():
            curves = of_variable(name, variable)
            left_out += [] if curves else [f"{name}/{variable.name}"]
            found |= curves
    return {name: values for name, values in found.items() if values}, left_out


def of_variable(analysis: str, variable: xr.DataArray) -> Curves:
    """Curves of a variable; none if it has other dimensions, too many labels, or values that are no numbers."""
    name, others = f"{analysis}/{variable.name}", [dim for dim in variable.dims if dim != "step"]
    if "step" not in variable.dims or len(others) > 1 or variable.dtype.kind not in "bif":
        return {}
    if not others:
        return {name: by_step(variable)}
    if variable.sizes[others[0]] > MOST:
        return {}
    labels = variable[others[0]].values if others[0] in variable.coords else range(variable.sizes[others[0]])
    return {f"{name}/{label}": by_step(variable.isel({others[0]: number})) for number, label in enumerate(labels)}


def by_step(variable: xr.DataArray) -> dict[int, float]:
    """Finite values of a variable by step."""
    return finite(zip(variable["step"].values, variable.values, strict=True))


def finite(values: Iterable[tuple[Any, Any]]) -> dict[int, float]:
    """Finite values by step, from pairs of a step and a value."""
    return {int(step): float(value) for step, value in values if math.isfinite(value)}
