"""Does the quick preset grok for every seed? Trains it with ten and tabulates when each memorises and generalises."""

import sys
import tempfile
from pathlib import Path

import pandas as pd

import interp

RESULTS = Path(__file__).parent / "results"


def study(seeds: range, work: Path) -> pd.DataFrame:
    """One row a seed; the seed sets both the split and the initial weights."""
    rows = []
    for seed in seeds:
        config = interp.preset("quick").config.but(seeds=interp.Seeds(split=seed, model=seed))
        run = interp.train_run(config, work / f"seed{seed}")
        found = interp.measure(run, "curves")
        between = [step for step in run.steps if found.attrs["memorised"] <= step <= found.attrs["generalised"]]
        rows.append({"seed": seed, **interp.summarise(found).iloc[0].to_dict(), "checkpoints between": len(between)})
        print(rows[-1], file=sys.stderr)
    return pd.DataFrame(rows).set_index("seed")


if __name__ == "__main__":
    if sys.argv[1:]:
        print(f"this study takes no options, and got {' '.join(sys.argv[1:])}; leave them out", file=sys.stderr)
        sys.exit(2)
    with tempfile.TemporaryDirectory() as work:
        table = study(range(10), Path(work))
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / "seeds.csv")
    print(table.to_string())
