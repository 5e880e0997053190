"""One table over several runs: steps that some runs reach and others do not, with Kaplan–Meier medians."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from interp.maths.phases import kaplan_meier_median

Steps = tuple[list[float], list[float]]
"""Steps of the runs, NaN where not reached; and where each of them is censored then."""


def over_runs(rows: Mapping[str, Steps]) -> pd.DataFrame:
    """A row for each name: in how many runs the step is reached and in how many censored, its median, lowest and highest.

    The median is that of Kaplan and Meier, which counts a censored run as one that arrives later than its last step; NaN when
    fewer than half arrive. Lowest and highest are of the runs that arrive.
    """
    table = {}
    for name, (steps, last) in rows.items():
        found, until = np.array(steps, dtype=float), np.array(last, dtype=float)
        missing = np.isnan(found)
        reached = found[~missing]
        table[name] = {
            "reached": len(reached),
            "censored": int(missing.sum()),
            "median": kaplan_meier_median(reached, until[missing]),
            "lowest": reached.min() if len(reached) else np.nan,
            "highest": reached.max() if len(reached) else np.nan,
        }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("what")
