"""One table over several runs: steps that some runs reach and others do not, with Kaplan–Meier medians."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from interp.maths.phases import kaplan_meier_median

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
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("what")
