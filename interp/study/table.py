"""Tables over runs: a row for each with what they differ in, and how facts vary within the cells of such a table."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from interp.analyze import measure
from interp.base import UserError, near_miss
from interp.config import flatten
from interp.store import Run
from interp.views.comparison import over_runs

STEPS = ("memorised", "generalised")
"""Columns that are steps; NaN means that a run did not get there: right-censored at its last step."""

COLLAPSED = "collapsed"
"""Column with the step at which a run lost what it had reached; NaN if it never did."""

LAST = "last_step"
"""Name of the column with a run's last logged step."""


def tabulate(runs: Mapping[str, Run] | Iterable[Run]) -> pd.DataFrame:
    """A table with a row for each run: the fields in which the runs differ, by dotted name, and the facts of each run.

    Facts are the columns without a dot. `memorised` and `generalised`: steps at which train and test accuracy reached 99 %
    (NaN: not reached, right-censored at `…_until`). `collapsed`: step at which what had been reached was lost (NaN: never).
    `best_test_accuracy`, `final_test_accuracy`: shares. All are as the analysis "curves" measures them. `last_step`: last
    logged step. Further columns may be added, for `spread` too. Runs that are given without names are named by their folders;
    by their whole paths if two folders have one name.

    Raises:
        UserError: one run is given twice.
    """
    named = runs if isinstance(runs, Mapping) else by_folder(list(runs))
    fields = {
        name: {key: plain(value) for key, value in flatten(run.config.model_dump()).items()}
        for name, run in named.items()
    }
    known = dict.fromkeys(key for each in fields.values() for key in each if key != "name")
    varied = [key for key in known if len({each.get(key) for each in fields.values()}) > 1]
    rows = {name: {key: fields[name].get(key) for key in varied} | facts(run) for name, run in named.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def by_folder(runs: Sequence[Run]) -> dict[str, Run]:
    """The runs by the names of their folders, or by their paths where these are not enough; UserError for one given twice."""
    paths = [str(run.path) for run in runs]
    for names in ([run.path.name for run in runs], paths):
        if len(set(names)) == len(runs):
            return dict(zip(names, runs, strict=True))
    twice = next(path for path in paths if paths.count(path) > 1)
    raise UserError(f"{twice} is given twice; give each run once, or a dictionary of runs by name")


def plain(value: object) -> object:
    """A value in a form that can be compared and grouped by."""
    return tuple(value) if isinstance(value, list) else value


def facts(run: Run) -> dict[str, float]:
    """Facts of a run by name: when it memorised, generalised and collapsed (steps), its test accuracies, its last step."""
    found = measure(run, "curves")
    accuracy = found["test_accuracy"].to_numpy()
    return {
        **{name: found.attrs[name] for step in STEPS for name in (step, f"{step}_until")},
        COLLAPSED: found.attrs["collapsed"],
        "best_test_accuracy": float(accuracy.max()),
        "final_test_accuracy": float(accuracy[-1]),
        LAST: int(found["step"][-1]),
    }


def spread(table: pd.DataFrame, by: Sequence[str] = (), steps: Sequence[str] = STEPS) -> pd.DataFrame:
    """A table with a row for each cell of runs that agree in `by`: number with and without each fact, median, range.

    For the columns in `steps`, a run without the fact counts as one that arrives later: after the step in its column
    `…_until` if the table has one, otherwise after its last step, and in each case after it collapsed. The median is then that of
    Kaplan and Meier: NaN if fewer than half arrive. Runs that arrived and collapsed later are counted apart, as `collapsed`.
    For other facts it is the ordinary median of the runs that have it.
    Without `by` all runs are one cell.

    Raises:
        UserError: the table has no such column.
    """
    having(table, (*by, *steps))
    others = [
        name
        for name in table.select_dtypes("number")
        if "." not in str(name) and name not in (*by, *steps, *(f"{step}_until" for step in steps), COLLAPSED, LAST)
    ]
    cells = [(key, cell) for key, cell in table.groupby(list(by), dropna=False)] if by else [((), table)]
    found = {}
    for key, cell in cells:
        lost = list(cell[COLLAPSED].notna()) if COLLAPSED in cell else [False] * len(cell)
        rows = over_runs(
            {name: (cell[name].tolist(), watched(cell, name, steps)[1].tolist()) for name in steps},
            dict.fromkeys(steps, lost),
        )
        plain = pd.DataFrame({name: of_values(pd.Series(cell[name])) for name in others}, index=rows.columns).T
        found[key] = pd.concat([rows, plain])
    whole = pd.concat(found, names=[*by, "what"]) if by else found[()]
    counts = dict.fromkeys(("reached", "collapsed", "censored"), int)
    return whole.astype(counts).rename(columns={"reached": "runs", "censored": "missing"})


def having(table: pd.DataFrame, names: Iterable[str]) -> None:
    """UserError if a column is missing."""
    for name in names:
        if name not in table:
            raise UserError(f'the table has no column "{name}"{near_miss(name, map(str, table.columns))}')


def watched(table: pd.DataFrame, name: str, steps: Sequence[str] = STEPS) -> tuple[np.ndarray, np.ndarray]:
    """A column, and of each run the step up to which it is known not to have arrived if it has no value there.

    That is the step in the column `…_until` if the table has one, otherwise the last step of a column in `steps`, and in
    each case the step at which the run collapsed if that is earlier; NaN if the table does not tell.
    """
    last = f"{name}_until" if f"{name}_until" in table else LAST if name in steps else None
    until = np.full(len(table), np.nan) if last is None or last not in table else numbers(table, last)
    if COLLAPSED in table:
        until = np.where(np.isnan(until), np.nan, np.fmin(until, numbers(table, COLLAPSED)))
    return numbers(table, name), until


def numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    """A column of numbers as an array."""
    return np.asarray(table[name], dtype=float)


def of_values(values: pd.Series) -> dict[str, float]:
    """Number with and without the fact, median and range of a fact that is not a step."""
    known = values.dropna()
    return {
        "reached": len(known),
        "collapsed": 0,
        "censored": len(values) - len(known),
        "median": known.median(),
        "lowest": known.min(),
        "highest": known.max(),
    }
