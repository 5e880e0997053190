"""Tables over runs: a row for each with what they differ in, and how facts vary within the cells of such a table."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from interp.analyze import measure
from interp.analyze._comparison import over_runs
from interp.base import UserError, near_miss
from interp.config import flatten
from interp.store import Run

STEPS = ("memorised", "generalised")
"""Facts that are steps: NaN where a run did not come there, censored at its last step."""

LAST = "last_step"
"""The column of the last logged step."""


def tabulate(runs: Mapping[str, Run] | Iterable[Run]) -> pd.DataFrame:
    """A row for each run: the fields in which they differ, by dotted name, and what came of it.

    Facts are the columns without a dot: `memorised` and `generalised`, the steps from which train and test accuracy stay
    at or above 99 % (NaN: not reached), `best_test_accuracy`, `final_test_accuracy`, all as the analysis "curves" measures
    them, and `last_step`. Further columns may be added, for `spread` too.
    """
    named = runs if isinstance(runs, Mapping) else {run.path.name: run for run in runs}
    fields = {
        name: {key: plain(value) for key, value in flatten(run.config.model_dump()).items()}
        for name, run in named.items()
    }
    known = dict.fromkeys(key for each in fields.values() for key in each if key != "name")
    varied = [key for key in known if len({each.get(key) for each in fields.values()}) > 1]
    rows = {name: {key: fields[name].get(key) for key in varied} | facts(run) for name, run in named.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def plain(value: object) -> object:
    """A value that can be compared and grouped by."""
    return tuple(value) if isinstance(value, list) else value


def facts(run: Run) -> dict[str, float]:
    """When a run memorised and generalised, and how good it was."""
    found = measure(run, "curves")
    accuracy = found["test_accuracy"].to_numpy()
    return {
        **{name: found.attrs[name] for name in STEPS},
        "best_test_accuracy": float(accuracy.max()),
        "final_test_accuracy": float(accuracy[-1]),
        LAST: int(found["step"][-1]),
    }


def spread(table: pd.DataFrame, by: Sequence[str] = (), steps: Sequence[str] = STEPS) -> pd.DataFrame:
    """Of every fact, within each cell of runs that agree in `by`: how many runs have it and how many lack it, median, range.

    Of the columns `steps`, a run that lacks it counts as one that arrives later than its last step: the median is that of
    Kaplan and Meier, NaN when fewer than half arrive. Of other facts it is the middle value, and runs that lack it are left
    out. Without `by` all runs are one cell.

    Raises:
        UserError: the table has no such column.
    """
    for name in (*by, *steps):
        if name not in table:
            raise UserError(f'the table has no column "{name}"{near_miss(name, map(str, table.columns))}')
    others = [
        name for name in table.select_dtypes("number") if "." not in str(name) and name not in (*by, *steps, LAST)
    ]
    cells = [(key, cell) for key, cell in table.groupby(list(by), dropna=False)] if by else [((), table)]
    found = {}
    for key, cell in cells:
        last = cell[LAST].tolist()
        rows = over_runs({name: (cell[name].tolist(), last) for name in steps})
        plain = pd.DataFrame({name: of_values(pd.Series(cell[name])) for name in others}, index=rows.columns).T
        found[key] = pd.concat([rows, plain])
    whole = pd.concat(found, names=[*by, "what"]) if by else found[()]
    return whole.astype({"reached": int, "censored": int}).rename(columns={"reached": "runs", "censored": "missing"})


def of_values(values: pd.Series) -> dict[str, float]:
    """The same numbers of a fact that is no step."""
    known = values.dropna()
    return {
        "reached": len(known),
        "censored": len(values) - len(known),
        "median": known.median(),
        "lowest": known.min(),
        "highest": known.max(),
    }
