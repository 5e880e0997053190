"""Does the quick preset grok for every seed?

    python analyses/quick_preset/study.py            # ten seeds
    python analyses/quick_preset/study.py --small    # two seeds

A table of when each memorises and generalises.
"""

import sys
from collections.abc import Mapping

import pandas as pd

import interp
from interp.config import RunConfig
from interp.store import Run
from interp.study import script, tabulate

FACTS = ["memorised", "generalised", "between", "final_test_accuracy", "last_step"]
"""`between` counts checkpoints."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """The preset as it is; the seed sets both the split and the initial weights."""
    return interp.grid(interp.preset("quick").config, seeds=2 if small else 10)


def report(runs: Mapping[str, Run]) -> script.Report:
    """One row a seed."""
    table = tabulate(runs).assign(
        seed=[run.config.seeds.model for run in runs.values()],
        between=[checkpoints_between(run) for run in runs.values()],
    )
    seeds = table.set_index("seed").loc[:, FACTS]
    return script.Report({"seeds": seeds, "summary": summarised(seeds)}, {})


def summarised(seeds: pd.DataFrame) -> pd.DataFrame:
    """Fewest, median and most of each fact, and of the steps between memorising and generalising."""
    table = seeds.assign(steps_between=seeds["generalised"] - seeds["memorised"])
    return table.agg(["min", "median", "max"]).T.rename_axis("what")


def checkpoints_between(run: Run) -> int:
    """How many there are from when it has memorised to when it has generalised."""
    marks = interp.measure(run, "curves").attrs
    return sum(marks["memorised"] <= step <= marks["generalised"] for step in run.steps)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
