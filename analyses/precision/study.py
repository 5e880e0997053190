"""Does bfloat16 change when a network groks?

python analyses/precision/study.py            # ten seeds of the quick preset in each precision of the matrix products
python analyses/precision/study.py --small    # one seed in each
"""

import sys
from collections.abc import Mapping

import pandas as pd

import interp
from interp.config import RunConfig
from interp.store import Run
from interp.study import compare, script, spread, tabulate

PRECISIONS = ("float32", "bfloat16_gradients", "bfloat16")
FACTS = ["memorised", "generalised", "lowest_train_loss", "final_test_loss", "last_step"]


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each precision and seed."""
    return interp.grid(interp.preset("quick").config, seeds=1 if small else 10, vary={"train.precision": PRECISIONS})


def report(runs: Mapping[str, Run]) -> script.Report:
    """When each run memorises and generalises, and the spread over seeds for each precision."""
    table = tabulate(runs).assign(
        precision=[run.config.train.precision for run in runs.values()],
        seed=[run.config.seeds.model for run in runs.values()],
        lowest_train_loss=[run.history["train_loss"].min() for run in runs.values()],
        final_test_loss=[run.history["test_loss"].iloc[-1] for run in runs.values()],
    )
    table = table.loc[:, ["precision", "seed", *FACTS]]
    cells = spread(table.drop(columns="seed"), by=["precision"])
    tables = {"spread": cells, "comparisons": compared(table), "seeds": table.set_index(["precision", "seed"])}
    return script.Report(tables, {})


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Whether each precision differs from float32."""
    return compare(table, "precision", FACTS[:-1], control="float32")


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
