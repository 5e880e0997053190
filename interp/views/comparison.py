"""One table over several runs: steps that some runs reach and others do not, with Kaplan–Meier medians."""

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from interp.maths.phases import kaplan_meier_median
from interp.views.swept import swept

Comparison = Callable[[list[xr.Dataset]], pd.DataFrame]
"""A table over measurements of several runs."""

Steps = tuple[list[float], list[float]]
"""Steps of the runs, NaN where not reached; and where each of them is censored then."""


def over_runs(rows: Mapping[str, Steps], collapsed: Mapping[str, Sequence[bool]] = {}) -> pd.DataFrame:
    """A row for each name: in how many runs the step is reached, in how many censored; its median, lowest and highest.

    `collapsed` are those of the runs that reached it and later lost what they had learned, if it is known which those are:
    `reached` is then of all others. The median is that of Kaplan and Meier, which counts a censored run as one that arrives
    later than where it is censored; NaN when fewer than half arrive. Lowest and highest are of the runs that arrive.
    """
    table = {}
    for name, (steps, last) in rows.items():
        found, until = np.array(steps, dtype=float), np.array(last, dtype=float)
        missing = np.isnan(found)
        reached = found[~missing]
        lost = int((np.array(collapsed.get(name, np.zeros(len(found))), dtype=bool) & ~missing).sum())
        table[name] = {
            "reached": len(reached) - lost,
            "collapsed": lost,
            "censored": int(missing.sum()),
            "median": kaplan_meier_median(reached, until[missing]),
            "lowest": reached.min() if len(reached) else np.nan,
            "highest": reached.max() if len(reached) else np.nan,
        }
    return pd.DataFrame.from_dict(table, orient="index", columns=COLUMNS).rename_axis("what")


COLUMNS = ["reached", "collapsed", "censored", "median", "lowest", "highest"]
"""Columns of a comparison of steps."""


def for_each_setting(compare: Comparison) -> Comparison:
    """The comparison made of each setting by itself: seeds are put together, and nothing else.

    Each field in which the runs differ, seeds apart, is a column before the others. What is compared of one setting stands
    above the same of the next.
    """

    @functools.wraps(compare)
    def of_settings(found: list[xr.Dataset]) -> pd.DataFrame:
        fields = swept(found)
        if fields.empty:
            return compare(found)
        numbers = all(map(pd.api.types.is_numeric_dtype, fields.dtypes))
        parts = []
        for _, rows in fields.groupby(list(fields.columns), sort=numbers, dropna=False):
            part = compare([found[row] for row in rows.index])
            for place, name in enumerate(fields):
                part.insert(place, name, [rows[name].iloc[0]] * len(part))
            parts.append(part)
        whole = pd.concat(parts)
        order = {what: place for place, what in enumerate(dict.fromkeys(whole.index))}
        return whole.iloc[np.argsort([order[what] for what in whole.index], kind="stable")].rename_axis(
            parts[0].index.name
        )

    return of_settings
