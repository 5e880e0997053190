"""From how many examples does a toy model learn features, what did it keep before, and what lies between?

    python analyses/toy_double_descent/study.py            # n = 1,000 from 3 to 2,000 examples, n = 10,000 to 1,000, three seeds
    python analyses/toy_double_descent/study.py --small    # n = 300, five sizes of the training set, two seeds

"Superposition, Memorization, and Double Descent" (Henighan et al. 2023), and a table whose models had collapsed.
"""

import sys
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from jaxtyping import Bool, Float

import interp
from interp import figures
from interp.analyze.features.double_descent import REGIMES, at_the_end, over_field
from interp.config import RunConfig
from interp.maths.superposition import feature_dimensionality
from interp.store import Run
from interp.study import script

SIZES = (3, 5, 6, 8, 10, 15, 30, 50, 100, 200, 300, 500, 700, 1000, 2000)
SIZES_OF_PAPER = (3, 5, 6, 8, 10, 15, 30, 50, 100, 200, 500, 1000)
SIZES_OF_TABLE = (3, 10, 100, 1000)
EXAMPLES = "task.examples"

PUBLISHED = pd.DataFrame(
    {
        "figure": [np.nan, 1.000, 1.000, 1.018, np.nan, 1.022, 1.0075, 1.005, 1.003, 1.0015, 1.0005, 1.0007],
        "replication": [1.133, 1.0000, 1.0000, np.nan, 1.047, 1.0044, 1.0142, 1.0081, 1.0036, 1.0016, 1.0005, 1.0002],
        "replication ‖W‖": [2.00, 2.91, 3.63, np.nan, 11.4, 13.2, 15.6, 21.7, 25.1, 30.4, 30.8, 25.8],
        "replication ‖b‖": [0.92, 1.59, 2.91, np.nan, 41.3, 40.9, 54.5, 80.9, 81.2, 80.4, 57.5, 37.5],
    },
    index=pd.Index(SIZES_OF_PAPER, name=EXAMPLES),
)
"""Test loss ÷ that of answering 0 at n = 10,000: read off the paper's figure (at 3 and 10 it is beyond its axis, more than
1.025), and of the models that a replication stored, one seed (selected-topics-ai/TOY-DOUBLE-DECENT)."""

TABLE = pd.DataFrame(
    {"test error": [0.0010995, 0.0011018, 0.0010996, 0.0010999], "‖W‖": [1.2e-1, 8.7e-3, 2.3e-4, 7.8e-6],
     "‖b‖": [3.5e-2, 1.2e-2, 5.4e-4, 1.1e-5]},
    index=pd.Index(SIZES_OF_TABLE, name=EXAMPLES),
)  # fmt: skip
"""What a student experiment on the same model reported; its fifth row is at 10,000 examples (.0010997, 2.1e-6, 3.4e-6)."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Sizes of the training set at n = 1,000; at the paper's n with its mean loss and steps; and Adam with coupled decay."""
    base = interp.preset("toy-double-descent").config
    if small:
        task = base.task.but(n_features=300, sparsity=0.97, test_examples=500)
        base = base.but(task=task, train=base.train.but(steps=1500, warmup_steps=75, lr=3e-3))
        return named("sweep", base, (5, 10, 30, 100, 600), 2) | named("coupled", coupled(base), (5, 100), 2)
    base = base.but(task=base.task.but(test_examples=5000))
    paper = base.but(
        task=base.task.but(n_features=10_000, sparsity=0.999, test_examples=2000),
        train=base.train.but(
            steps=50_000, warmup_steps=2500, loss_reduction="mean", log_every=5000, checkpoint_every=50_000
        ),
    )
    return {
        **named("sweep", base, SIZES, 3),
        **named("paper", paper, SIZES_OF_PAPER, 3),
        **named("coupled", coupled(base.but(train=base.train.but(steps=4000, warmup_steps=200))), SIZES_OF_TABLE, 3),
    }


def coupled(base: RunConfig) -> RunConfig:
    """The same with weight decay in the gradient (L2) of a mean loss, which shrinks a gradient and not the decay."""
    return base.but(train=base.train.but(optimizer="adam", loss_reduction="mean"))


def named(kind: str, base: RunConfig, sizes: tuple[int, ...], seeds: int) -> dict[str, RunConfig]:
    """A run for each size of the training set and seed."""
    grid = interp.grid(base.but(name=kind), seeds, {EXAMPLES: list(sizes)})
    return {f"{kind}+{name}": config for name, config in grid.items()}


def report(runs: Mapping[str, Run]) -> script.Report:
    """Tables by number of examples, which of the expected bands they lie in, and the figures over it."""
    kinds = {kind: {name: run for name, run in runs.items() if name.split("+")[0] == kind} for kind in KINDS}
    found = {kind: ends(of_kind) for kind, of_kind in kinds.items() if of_kind}
    tables = {kind: medians(last) for kind, last in found.items()}
    tables["bands"] = bands(found["sweep"])
    if "paper" in tables:
        tables["paper"] = tables["paper"].join(PUBLISHED)
        tables["collapsed_table"] = beside_the_table(found)
    drawn = {kind: over_field(last, EXAMPLES) for kind, last in found.items()}
    if "paper" in drawn:
        add_published(drawn["paper"])
    return script.Report(tables, {**drawn, "planes": draw_planes(kinds["sweep"])})


KINDS = ("sweep", "paper", "coupled")


def ends(runs: Mapping[str, Run]) -> pd.DataFrame:
    """What is measured at the end of every run, by its number of examples."""
    found = [interp.measure(run.select(last=1), "double_descent") for run in runs.values()]
    gaps = [angular_gaps(run) for run in runs.values()]
    return at_the_end(found).assign(
        seed=[run.config.seeds.model for run in runs.values()],
        widest_gap=[each.max() if len(each) else np.nan for each in gaps],
        narrowest_gap=[each.min() if len(each) else np.nan for each in gaps],
    )


def medians(last: pd.DataFrame) -> pd.DataFrame:
    """Over seeds, by number of examples; the test loss with its lowest and highest."""
    by_size = last.drop(columns="seed").groupby(EXAMPLES)
    table = by_size.median()
    test = by_size["test_relative"]
    return table.drop(columns="regime").assign(
        lowest_test=test.min(),
        highest_test=test.max(),
        collapsed=by_size["collapsed"].sum(),
        regime=by_size["regime"].agg(regimes),
    )


def regimes(numbers: pd.Series) -> str:
    """Their names, each once."""
    return "/".join(REGIMES[round(number)] for number in sorted(set(numbers)))


def angular_gaps(run: Run, above: float = 0.1) -> Float[np.ndarray, " gap"]:
    """Degrees between neighbours among the features of D > 0.1 in the plane of the final W; none unless there are several."""
    W = run.final.weights["W"].double()
    D = feature_dimensionality(W.mT)
    angles = torch.atan2(W[1], W[0])[above < D].rad2deg().sort().values
    return torch.diff(angles, append=angles[:1] + 360).numpy() if len(angles) > 1 else np.empty(0)


def bands(last: pd.DataFrame) -> pd.DataFrame:
    """What is expected at n = 1,000 from earlier trials, what was found over all seeds, and whether it lies within."""
    size, seeds = last[EXAMPLES].to_numpy(), last["seed"].to_numpy()
    rows: list[tuple[str, str, bool]] = []

    def add(what: str, values: Float[np.ndarray, " run"], low: float, high: float) -> None:
        within = bool(((values >= low) & (values <= high)).all())
        rows.append((what, f"{values.min():.4g} to {values.max():.4g}", within))

    def of(name: str, where: Bool[np.ndarray, " run"]) -> Float[np.ndarray, " run"]:
        return last[name].to_numpy(dtype=float)[where]

    def largest(name: str, where: Bool[np.ndarray, " run"]) -> Float[np.ndarray, " seed"]:
        return np.array([of(name, where & (seeds == seed)).max() for seed in np.unique(seeds)])

    everywhere, fewest, most = size > 0, size == size.min(), size == size.max()
    few, hump, many = (size >= 5) & (size <= 100), (size >= 200) & (size <= 500), size >= 700
    if many.any():
        add("test loss at T = 5, 6: 1.000 ± .001", of("test_relative", (size == 5) | (size == 6)), 0.999, 1.001)
        add("highest test loss at T = 200 to 500: at least 1.05", largest("test_relative", hump), 1.05, np.inf)
        add("test loss from T = 700 on: below .995", of("test_relative", many), 0, 0.995)
    rise = largest("weight_norm", everywhere) / largest("weight_norm", fewest)
    add("‖W‖ at its largest ÷ at the fewest examples: at least 8", rise, 8, np.inf)
    add(f"‖W‖ at T = {size.max():,}: 2.4 to 2.7", of("weight_norm", most), 2.4, 2.7)
    share = of("median_example_dimensionality", few) * size[few] / 2
    add("median D of the examples ÷ (m/T), T = 5 to 100: .9 to 1.1", share, 0.9, 1.1)
    add(f"features with D > .1 at T = {size.max():,}: 5", of("features_represented", most), 5, 5)
    add(f"widest gap between them, degrees, T = {size.max():,}: 62 to 82", of("widest_gap", most), 62, 82)
    add(f"narrowest gap, T = {size.max():,}: 62 to 82", of("narrowest_gap", most), 62, 82)
    return pd.DataFrame(rows, columns=["expected", "found", "within"]).set_index("expected")


def beside_the_table(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The student's table, and ours by AdamW and by Adam with coupled decay; errors are means over features, as there."""
    parts = {"reported": TABLE.assign(**{"test ÷ zero": np.nan, "collapsed": np.nan})}
    for kind, label in (("sweep", "AdamW"), ("coupled", "Adam, coupled L2")):
        last = found[kind][found[kind][EXAMPLES].isin(SIZES_OF_TABLE)]
        by_size = last.groupby(EXAMPLES)
        relative = by_size["test_relative"].median()
        parts[label] = pd.DataFrame(
            {
                "test error": relative / 1000,  # the mean over 1,000 features of vectors of length 1
                "‖W‖": by_size["weight_norm"].median(),
                "‖b‖": by_size["bias_norm"].median(),
                "test ÷ zero": relative,
                "collapsed": by_size["collapsed"].sum(),
            }
        )
    return pd.concat(parts, names=["of"])


def add_published(figure: go.Figure) -> None:
    """The paper's test loss and a replication's, on the upper panel."""
    for name, symbol in (("figure", "x"), ("replication", "diamond-open")):
        figure.add_scatter(
            x=PUBLISHED.index, y=PUBLISHED[name], name=f"test loss, {name}", mode="markers",
            marker={"symbol": symbol, "color": figures.INK, "size": 9}, legend=figures.legend_of(1), row=1, col=1,
        )  # fmt: skip


def draw_planes(runs: Mapping[str, Run]) -> go.Figure:
    """Columns of W and what is kept of the training examples, in the plane, for one seed at five sizes of the training set."""
    first = {size_of(run): run for run in runs.values() if run.config.seeds.model == 0}
    sizes = [size for size in first if size in SHOWN] or list(first)
    titles = [f"{what}, T = {size:,}" for what in ("features", "examples") for size in sizes]
    figure = figures.panels(
        titles,
        heights=[3, 3],
        title="From polygons of examples to a pentagon of features",
        columns=len(sizes),
        over_steps=False,
    )
    for column, size in enumerate(sizes, start=1):
        W = first[size].final.weights["W"]
        kept = torch.from_numpy(first[size].split.train.inputs) @ W.mT
        for row, (points, colour) in enumerate(((W.mT, figures.PALETTE[0]), (kept, figures.PALETTE[2])), start=1):
            arrows = np.stack([np.zeros(points.shape), points.numpy(), np.full(points.shape, np.nan)], axis=1).reshape(
                -1, 2
            )
            reach = 1.15 * float(points.abs().max())
            figure.add_scatter(
                x=arrows[:, 0], y=arrows[:, 1], mode="lines+markers", line={"color": colour, "width": 1},
                marker={"size": 3, "color": colour}, opacity=0.7, showlegend=False, row=row, col=column,
            )  # fmt: skip
            figure.update_xaxes(range=[-reach, reach], nticks=4, row=row, col=column)
            figure.update_yaxes(range=[-reach, reach], nticks=4, row=row, col=column)
    return figure


def size_of(run: Run) -> int:
    """Its number of training examples."""
    return len(run.split.train)


SHOWN = (5, 15, 100, 300, 1000)

if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
