"""Does bfloat16 change when a network groks? Ten seeds of the quick preset in each precision of the matrix products."""

import sys
import tempfile
from pathlib import Path

import pandas as pd

import interp

RESULTS = Path(__file__).parent / "results"
PRECISIONS = ("float32", "bfloat16_gradients", "bfloat16")


def study(seeds: int, work: Path) -> pd.DataFrame:
    """One row a run: precision, seed, and when it memorises and generalises."""
    configs = interp.grid(interp.preset("quick").config, seeds=seeds, vary={"train.precision": PRECISIONS})
    rows = []
    for run in interp.train_runs(configs, work):
        found = interp.summarise(interp.measure(run, "curves")).iloc[0].to_dict()
        lowest = run.history["train_loss"].min()
        here = {"precision": run.config.train.precision, "seed": run.config.seeds.model}
        rows.append({**here, **found, "lowest train loss": lowest})
        print(rows[-1], file=sys.stderr)
    return pd.DataFrame(rows).set_index(["precision", "seed"])


def spread(table: pd.DataFrame) -> pd.DataFrame:
    """Median and range of each column, for each precision."""
    return table.groupby("precision", sort=False).agg(["min", "median", "max"]).T


if __name__ == "__main__":
    if sys.argv[1:]:
        print(f"this study takes no options, and got {' '.join(sys.argv[1:])}; leave them out", file=sys.stderr)
        sys.exit(2)
    with tempfile.TemporaryDirectory() as work:
        table = study(10, Path(work))
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / "seeds.csv")
    print(spread(table).to_string())
