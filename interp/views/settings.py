"""Several runs as settings of one field, each with several seeds: means with errors, where runs fit, where error peaks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from interp.base import UserError, near_miss
from interp.maths.peaks import intervals, peak, threshold
from interp.maths.permutation import holm
from interp.views.swept import swept

FITS = "train error"
"""Measure of which a threshold is looked for."""
PEAKS = ("test error", "test loss")
"""Measures of which a peak is looked for: the first that runs have."""
FEWEST = 3
"""Settings that a peak needs."""
RISING = "still rising"
"""Name of a highest mean that is of the last setting, after which nothing is known to fall."""


Mark = tuple[int, dict[str, Any]]
"""Place of a setting on a curve, and what is known of it."""


@dataclass(frozen=True)
class Runs:
    """A row for each run: the fields in which runs differ, and what was measured."""

    table: pd.DataFrame
    over: str | None
    """Field of the settings; None where runs differ in no number, or in several fields without one being named."""
    apart: list[str]
    """Fields whose values are looked at apart."""
    measures: list[str]

    @property
    def by(self) -> list[str]:
        """All fields in which runs differ, that of the settings last."""
        return [*self.apart, *([] if self.over is None else [self.over])]

    @property
    def peaks(self) -> str:
        """Measure of which a peak is looked for."""
        return next(name for name in PEAKS if name in self.measures)

    def curve(self, cell: pd.DataFrame, what: str) -> Float[np.ndarray, "setting run"]:
        """Values of a measure by setting, ascending; NaN where a setting has fewer runs than others."""
        each = [group[what].to_numpy(dtype=float) for _, group in cell.groupby(self.over)]
        curve = np.full((len(each), max(map(len, each))), np.nan)
        for line, values in zip(curve, each, strict=True):
            line[: len(values)] = values
        return curve


def runs_of(found: Sequence[xr.Dataset], measured: pd.DataFrame, over: str = "") -> Runs:
    """The runs by what they differ in, seeds apart.

    Args:
        found: measurements of the runs.
        measured: a row of numbers for each of them.
        over: field of the settings, or "parameters", in place of all that is told of the model; empty: the only field, if it is a
            number.

    Raises:
        UserError: the runs do not differ in that field, or it is no number.
    """
    fields = swept(found)
    if over == "parameters":
        fields = fields[[name for name in fields if not name.startswith("model.")]]
        fields = fields.assign(parameters=[each.attrs["parameters"] for each in found])
    if over and len(fields) > 1 and over not in fields:
        raise UserError(f'the runs do not differ in "{over}"{near_miss(over, [*map(str, fields), "parameters"])}')
    numbers = [str(name) for name in fields if pd.api.types.is_numeric_dtype(fields[name])]
    if over in fields and over not in numbers:
        raise UserError(f'"{over}" is no number; compare over one that is, or over "parameters"')
    alone = numbers[0] if len(fields.columns) == 1 and numbers else None
    chosen = over if over in fields else alone
    table = pd.concat([fields, measured], axis=1)
    return Runs(table, chosen, [str(name) for name in fields if name != chosen], list(measured))


def settings_of(runs: Runs) -> pd.DataFrame:
    """A row for each setting: number of runs, median of the train error, and means with standard errors (NaN of one run)."""
    rows = {}
    for key, cell in runs.table.groupby(runs.by, sort=True, dropna=False) if runs.by else [(("all",), runs.table)]:
        row: dict[str, Any] = {"runs": len(cell)}
        if FITS in runs.measures:
            row[f"median {FITS}"] = cell[FITS].median()
        for name in runs.measures:
            row |= {name: cell[name].mean(), f"{name} ±": cell[name].std() / np.sqrt(len(cell))}
        rows[key] = row
    index = pd.MultiIndex.from_tuples(list(rows), names=runs.by or ["runs of"])
    table = pd.DataFrame(list(rows.values()), index=index)
    return table if len(index.names) > 1 else table.set_index(index.get_level_values(0))


def marks(table: pd.DataFrame, runs: Runs, level: float, draws: int, seed: int) -> pd.DataFrame:
    """The table of settings with threshold, valley, peak and second valley named in `is`, and what is known of each.

    `rise` is the height of the peak above the valley, with its standard error; `p` the chance of so large a rise if the curve
    never rises, and `holm` the same for all curves of the table together. `fall` is the fall after the valley by the same rule,
    `fall p` its chance if the curve never falls from there on. `… from` and `… to` are 95 % intervals over runs.
    """
    found: dict[Any, dict[str, Any]] = {key: {"is": ""} for key in table.index}
    cells: list[Any] = (
        list(runs.table.groupby(runs.apart, sort=True, dropna=False)) if runs.apart else [((), runs.table)]
    )
    for key, cell in cells:
        settings = np.unique(cell[runs.over].to_numpy(dtype=float))
        index = [(*key, setting) if key else setting for setting in settings.tolist()]
        for place, facts in of_curve(runs, cell, settings, level, draws, seed):
            row = found[index[place]]
            row |= facts | {"is": ", ".join(filter(None, (row["is"], facts["is"])))}
    marked = pd.DataFrame(list(found.values()), index=table.index)
    if "p" in marked:
        known = marked["p"].notna()
        marked.loc[known, "holm"] = holm(marked.loc[known, "p"].to_numpy(dtype=float))
    return pd.concat([table, marked], axis=1)


def of_curve(runs: Runs, cell: pd.DataFrame, settings: np.ndarray, level: float, draws: int, seed: int) -> list[Mark]:
    """What is marked on one curve: the place of a setting, and what is known of it."""
    curve = runs.curve(cell, runs.peaks)
    fits = runs.curve(cell, FITS) if FITS in runs.measures else np.full_like(curve, np.inf)
    found: list[Mark] = []
    several = (~np.isnan(curve)).sum(axis=1).min() > 1
    spread = intervals(curve, fits, level, seed=seed) if several else None

    def between(name: str) -> dict[str, Any]:
        """The ends of an interval over settings, where runs tell it; infinite beyond the last setting."""
        if spread is None:
            return {}
        beyond, (low, high) = np.append(settings, np.inf), getattr(spread, name)
        return {f"{name} from": beyond[int(low)], f"{name} to": beyond[int(high)]}

    first = threshold(settings, fits, level)
    if not np.isnan(first):
        found.append((int(np.searchsorted(settings, first)), {"is": "threshold", **between("threshold")}))
    if len(settings) < FEWEST or not several:
        return found
    rise = peak(curve, draws, seed)
    if rise.peak == rise.valley:
        return found
    name = "peak" if rise.peak < len(settings) - 1 else RISING
    facts = {"rise": rise.height, "rise ±": rise.height_error, "p": rise.p, **between("peak")}
    found += [(rise.valley, {"is": "valley"}), (rise.peak, {"is": name, **facts})]
    fall = peak(curve[rise.valley :][::-1], draws, seed)  # of the curve read backwards: the fall after the valley
    if fall.height > 0:
        facts = {"fall": fall.height, "fall ±": fall.height_error, "fall p": fall.p}
        found.append((len(settings) - 1 - fall.valley, {"is": "second valley", **facts}))
    return found


def only_curve(runs: Runs) -> Runs:
    """The runs again; UserError unless they are settings of one field and differ in no other."""
    if runs.over is None or runs.apart:
        raise UserError(
            f"the runs differ in {', '.join(runs.by) or 'seeds alone'}; a figure over runs needs one field that is a number, "
            "such as model.width, or --over and runs that agree in the others"
        )
    return runs
