"""Toy double descent at the paper's size: 10,000 features, up to 1,000 examples, beside the published curve.

python analyses/toy_double_descent/paper.py            # three seeds, 50,000 steps
python analyses/toy_double_descent/paper.py --small    # n = 2,000, 300 steps of two sizes, one seed
"""

import sys
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from study import EXAMPLES, ends, medians, named

import interp
from interp import figures
from interp.analyze.features.regimes import over_field
from interp.config import RunConfig
from interp.store import Run
from interp.study import script

SIZES = (3, 5, 6, 8, 10, 15, 30, 50, 100, 200, 500, 1000)

PUBLISHED = pd.DataFrame(
    {
        "figure": [np.nan, 1.000, 1.000, 1.018, np.nan, 1.022, 1.0075, 1.005, 1.003, 1.0015, 1.0005, 1.0007],
        "replication": [1.133, 1.0000, 1.0000, np.nan, 1.047, 1.0044, 1.0142, 1.0081, 1.0036, 1.0016, 1.0005, 1.0002],
        "replication ‖W‖": [2.00, 2.91, 3.63, np.nan, 11.4, 13.2, 15.6, 21.7, 25.1, 30.4, 30.8, 25.8],
        "replication ‖b‖": [0.92, 1.59, 2.91, np.nan, 41.3, 40.9, 54.5, 80.9, 81.2, 80.4, 57.5, 37.5],
    },
    index=pd.Index(SIZES, name=EXAMPLES),
)
"""Test loss ÷ that of answering 0 at n = 10,000: read off the paper's figure (at 3 and 10 it is beyond its axis, more than
1.025), and of the models that a replication stored, one seed (selected-topics-ai/TOY-DOUBLE-DECENT)."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Sizes of the training set at the paper's n, with a mean loss as the replication has it, and the paper's steps."""
    base = interp.preset("toy-double-descent").config
    steps = 300 if small else 50_000
    task = {"n_features": 2000, "test_examples": 200} if small else {"n_features": 10_000, "test_examples": 2000}
    paper = base.but(
        task=base.task.but(sparsity=0.999, **task),
        train=base.train.but(
            steps=steps,
            warmup_steps=steps // 20,
            loss_reduction="mean",
            log_every=steps // 10,
            checkpoint_every=steps,
        ),
    )
    return named("paper", paper, (3, 10) if small else SIZES, 1 if small else 3)


def report(runs: Mapping[str, Run]) -> script.Report:
    """Medians by number of examples beside what was published, and the figure over it."""
    last = ends(runs)
    drawn = over_field(last, EXAMPLES)
    add_published(drawn)
    return script.Report({"paper": medians(last).join(PUBLISHED)}, {"paper": drawn})


def add_published(figure: go.Figure) -> None:
    """The paper's test loss and a replication's, on the upper panel."""
    for name, symbol in (("figure", "x"), ("replication", "diamond-open")):
        figure.add_scatter(
            x=PUBLISHED.index, y=PUBLISHED[name], name=f"test loss, {name}", mode="markers",
            marker={"symbol": symbol, "color": figures.INK, "size": 9}, legend=figures.legend_of(1), row=1, col=1,
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
