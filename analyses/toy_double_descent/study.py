"""From how many examples does a toy model learn features, what did it keep before, and what lies between?

    python analyses/toy_double_descent/study.py            # n = 1,000, 3 to 2,000 examples, five seeds; 5,000 and 10,000, one
    python analyses/toy_double_descent/study.py --small    # n = 300, five sizes of the training set, two seeds
    python analyses/toy_double_descent/paper.py            # n = 10,000 to 1,000 examples, three seeds

"Superposition, Memorization, and Double Descent" (Henighan et al. 2023), and a table whose models had collapsed.
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from jaxtyping import Bool, Float

import interp
from interp import figures
from interp.analyze.features.regimes import REGIMES, at_the_end, over_field
from interp.config import RunConfig
from interp.maths import polygons
from interp.maths.superposition import feature_dimensionality
from interp.store import Run
from interp.study import script
from interp.views.seeds import MATCHED
from interp.views.seeds import between_seeds as pairs_of_seeds

SIZES = (3, 5, 6, 8, 10, 15, 30, 50, 100, 200, 300, 500, 700, 1000, 2000)
LARGE_SIZES = (5000, 10_000)
SIZES_OF_TABLE = (3, 10, 100, 1000, 5000, 10_000)
EXAMPLES = "task.examples"

TABLE = pd.DataFrame(
    {
        "test error": [0.0010995, 0.0011018, 0.0010996, 0.0010999, 0.0010997],
        "‖W‖": [1.2e-1, 8.7e-3, 2.3e-4, 7.8e-6, 2.1e-6],
        "‖b‖": [3.5e-2, 1.2e-2, 5.4e-4, 1.1e-5, 3.4e-6],
    },
    index=pd.Index((3, 10, 100, 1000, 10_000), name=EXAMPLES),
)
"""What a student experiment on the same model reported."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Sizes of the training set at n = 1,000, and ways to train with coupled decay."""
    base = interp.preset("toy-double-descent").config
    if small:
        task = base.task.but(n_features=300, sparsity=0.97, test_examples=500)
        base = base.but(task=task, train=base.train.but(steps=1500, warmup_steps=75, lr=3e-3))
        few = {name: each for name, each in coupled(base, (5, 100), 2).items() if name.startswith(("coupled", "again"))}
        return named("sweep", base, (5, 10, 30, 100, 600), 2) | few
    base = base.but(task=base.task.but(test_examples=5000), train=base.train.but(log_every=500))
    large = {name: each for name, each in named("sweep", base, LARGE_SIZES, 2).items() if each.seeds.model == 0}
    return named("sweep", base, SIZES, 5) | large | coupled(base)


def coupled(base: RunConfig, sizes: tuple[int, ...] = SIZES_OF_TABLE, seeds: int = 3) -> dict[str, RunConfig]:
    """The ways of `WAYS`, at the sizes at which each differs from the first."""
    adam = {"optimizer": "adam", "loss_reduction": "mean", "steps": 2000, "warmup_steps": 100, "log_every": 500}
    full = base.but(task=base.task.but(test_examples=2000), train=base.train.but(**adam))
    small = tuple(size for size in sizes if size <= 1000)
    above = {least: tuple(size for size in sizes if size > least and size != 5000) for least in (0, 10, 100)}

    def way(kind: str, sizes: tuple[int, ...], **options: object) -> dict[str, RunConfig]:
        """Runs of one way at these sizes."""
        return named(kind, full.but(train=full.train.but(**options)), sizes, seeds) if sizes else {}

    found = way("coupled", sizes)
    found |= way("constant", small, schedule="constant", warmup_steps=0)
    found |= way("sum", small, loss_reduction="sum")
    found |= way("batches10", above[10], batch_size=10)
    found |= way("batches100", above[100], batch_size=100)
    found |= way("longer", (small[0], small[-1]), batch_size=100, steps=10_000, warmup_steps=500, log_every=2500)
    for size in small:
        epochs = {"steps": 100 * -(-size // 10), "schedule": "constant", "warmup_steps": 0}
        found |= way("epochs", (size,), batch_size=10, **epochs)
    for size in above[0]:
        # To Adam a loss divided by T is the loss itself with T times the decay and ε.
        found |= way("again", (size,), batch_size=100, weight_decay=0.01 * size, eps=1e-8 * size)
    return found


WAYS = {
    "coupled": "mean over features, full batch",
    "constant": "constant rate",
    "sum": "sum over features",
    "batches10": "mini-batches of 10",
    "batches100": "mini-batches of 100",
    "longer": "mini-batches of 100, five times the steps",
    "epochs": "mini-batches of 10, 100 epochs, constant rate",
    "again": "mini-batches of 100, mean divided by T once more",
}
"""Ways in which a student may have trained with torch's Adam, whose decay is in the gradient (coupled, L2), by kind of run.

The first is 2,000 steps with a cosine schedule on a mean over features, which shrinks a gradient and not the decay. The others
change what they name."""


def named(kind: str, base: RunConfig, sizes: tuple[int, ...], seeds: int) -> dict[str, RunConfig]:
    """A run for each size of the training set and seed."""
    grid = interp.grid(base.but(name=kind), seeds, {EXAMPLES: list(sizes)})
    return {f"{kind}+{name}": config for name, config in grid.items()}


def report(runs: Mapping[str, Run]) -> script.Report:
    """Tables by number of examples, which of the expected bands they lie in, and the figures over it."""
    sweep, ways = of_kinds(runs, ("sweep",)), of_kinds(runs, tuple(WAYS))
    last = ends(sweep)
    apart, orders = between_seeds(sweep), fold_orders(sweep)
    full = ends(of_kinds(runs, ("coupled",)))
    found = ways_table(ways)
    tables = {
        "sweep": medians(last),
        "coupled": medians(full),
        "bands": bands(last),
        "geometry": geometry_table(apart, orders),
        "ways": found,
        "collapsed_table": beside_the_table(last, found),
    }
    drawn = {"sweep": over_field(last, EXAMPLES), "coupled": over_field(full, EXAMPLES), "planes": draw_planes(sweep)}
    return script.Report(tables, {**drawn, "geometry": draw_geometry(apart, orders), "ways": draw_ways(found)})


def of_kinds(runs: Mapping[str, Run], kinds: tuple[str, ...]) -> dict[str, Run]:
    """Those runs whose name begins with one of these kinds."""
    return {name: run for name, run in runs.items() if name.split("+")[0] in kinds}


def ends(runs: Mapping[str, Run]) -> pd.DataFrame:
    """What is measured at the end of every run, by its number of examples."""
    found = [interp.measure(run.select(last=1), "regimes") for run in runs.values()]
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


def between_seeds(runs: Mapping[str, Run]) -> pd.DataFrame:
    """A row for each two seeds of a size: distance ÷ null of their features and of what is kept of their examples."""
    found = [interp.measure(run.select(last=1), "geometry", examples=size_of(run)) for run in runs.values()]
    pairs = pairs_of_seeds(found)
    sizes = [size_of(run) for run in runs.values()]
    return pairs.assign(**{EXAMPLES: [sizes[run] for run in pairs["run"]]})


def fold_orders(runs: Mapping[str, Run]) -> pd.DataFrame:
    """A row for each run: m-fold orders at its end of what is kept of the examples, at m = T and 5, and of its features."""
    rows = []
    for run in runs.values():
        W = run.final.weights["W"].double()
        kept = torch.from_numpy(run.split.train.inputs).double() @ W.mT
        represented = W.mT[feature_dimensionality(W.mT) > 0.1]
        if len(represented) < 3:  # one direction has order 1 at every m
            represented = represented[:0]
        T = size_of(run)
        at_T, at_5 = polygons.fold_order(kept, torch.tensor([T, 5])).tolist()
        rows.append(
            {
                EXAMPLES: T,
                "order at T": at_T,
                "order at 5": at_5,
                "random": float(polygons.random_fold_order(kept)),
                "by length at 5": float(polygons.fold_order(kept, torch.tensor([5]), by_length=True)),
                "by length, random": float(polygons.random_fold_order(kept, by_length=True)),
                "features at 5": float(polygons.fold_order(represented, torch.tensor([5]))),
                "features, random": float(polygons.random_fold_order(represented)),
            }
        )
    return pd.DataFrame(rows)


def geometry_table(apart: pd.DataFrame, orders: pd.DataFrame) -> pd.DataFrame:
    """How far apart seeds are (1: as random directions), median, lowest and highest of the pairs, and m-fold orders, median,
    lowest and highest of the seeds, by number of examples."""
    pairs, seeds = apart.groupby(EXAMPLES), orders.groupby(EXAMPLES)
    columns: dict[str, Any] = {"seeds": seeds.size(), "pairs": pairs.size()}
    for kind, label in MATCHED.items():
        columns |= spread(pairs[kind], f"{label} apart")
        columns |= {f"{kind} {of}": pairs[f"{kind} {of}"].median() for of in ("distance", "null")}
    for name in orders.columns.drop(EXAMPLES):
        columns |= {name: seeds[name].median()} if "random" in name else spread(seeds[name], name)
    return pd.DataFrame(columns)


def spread(values: Any, name: str) -> dict[str, Any]:
    """Median, lowest and highest of grouped values, by name of the column."""
    return {name: values.median(), f"{name}, lowest": values.min(), f"{name}, highest": values.max()}


def resting_bias(run: Run) -> float:
    """‖b‖ where nothing moves it when W = 0, in closed form: ‖x̄‖·2c/(2c + λ).

    The loss is c·Σ_i (x_i − b_i)² in the mean over examples x, c = 1 or, as a mean over features, 1/n; its gradient with the
    coupled decay, 2c·(b_i − x̄_i) + λ·b_i, is 0 at this b, which is nowhere negative, as x̄ is not. Neither batches nor steps
    are in it.
    """
    train, mean = run.config.train, run.split.train.inputs.astype(float).mean(axis=0)
    c = 1 / len(mean) if train.loss_reduction == "mean" else 1.0
    return float(np.linalg.norm(mean)) * 2 * c / (2 * c + train.weight_decay)


def ways_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """By way of training with coupled decay and number of examples: medians over seeds beside what the student reported.

    Errors are means over features, as there. A way that at T = 3 is the first one falls from that one's ‖b‖.
    """
    rows = []
    for name, run in runs.items():
        end = interp.measure(run.select(last=1), "regimes").isel(step=0)
        rows.append(
            {
                "way": WAYS[name.split("+")[0]],
                EXAMPLES: size_of(run),
                "test error": float(end["test_relative"]) / run.task.shape.vectors.width,
                "‖W‖": float(end["weight_norm"]),
                "‖b‖": float(end["bias_norm"]),
                "‖b‖ at rest": resting_bias(run),
                "collapsed": float(end["collapsed"]),
            }
        )
    found = pd.DataFrame(rows).groupby(["way", EXAMPLES]).median().reindex(list(WAYS.values()), level=0)
    by_way = found["‖b‖"].unstack("way")
    fewest = by_way.iloc[0].fillna(by_way.iloc[0][WAYS["coupled"]])
    found["fall of ‖b‖ from T = 3"] = fewest.reindex(found.index.get_level_values("way")).to_numpy() / found["‖b‖"]
    reported = TABLE["‖b‖"].reindex(found.index.get_level_values(EXAMPLES)).to_numpy()
    found["reported ‖b‖"], found["‖b‖ ÷ reported"] = reported, found["‖b‖"] / reported
    found["reported fall of ‖b‖"] = TABLE["‖b‖"].iloc[0] / reported
    return found


def beside_the_table(last: pd.DataFrame, ways: pd.DataFrame) -> pd.DataFrame:
    """The student's table, ours by AdamW, by Adam with coupled decay, and by the way that comes nearest to it."""
    by_size = last[last[EXAMPLES].isin(SIZES_OF_TABLE)].groupby(EXAMPLES)
    adamw = {"test error": by_size["test_relative"].median() / 1000, "‖W‖": by_size["weight_norm"].median()}
    names = list(TABLE.columns)
    parts = {
        "reported": TABLE,
        "AdamW": pd.DataFrame({**adamw, "‖b‖": by_size["bias_norm"].median()}),
        "Adam, coupled L2": ways.loc[WAYS["coupled"]][names],
        "Adam, coupled L2, divided by T again": ways.loc[WAYS["again"]][names],
    }
    found = pd.concat(parts, names=["of"])
    found["test error ÷ lowest"] = found["test error"] / found["test error"].groupby(level=0).transform("min")
    for norm in ("‖W‖", "‖b‖"):
        found[f"fall of {norm} from T = 3"] = found[norm].groupby(level=0).transform("first") / found[norm]
    return found


def draw_geometry(apart: pd.DataFrame, orders: pd.DataFrame) -> go.Figure:
    """How far apart seeds are, and m-fold orders beside those of random directions, against the number of examples."""
    titles = [
        "distance between seeds ÷ that of random directions",
        "m-fold order of the examples",
        "5-fold order by length",
    ]
    figure = figures.panels(titles, heights=[4, 4, 3], title="Alike between seeds, and regular?", over_steps=False)
    curves = [
        (1, apart, "feature", "features", figures.PALETTE[0]),
        (1, apart, "represented", "represented features", figures.PALETTE[1]),
        (1, apart, "example", "examples", figures.PALETTE[2]),
        (2, orders, "order at T", "m = T", figures.PALETTE[2]),
        (2, orders, "order at 5", "m = 5", figures.PALETTE[1]),
        (2, orders, "random", "random directions", figures.QUIET),
        (3, orders, "by length at 5", "examples", figures.PALETTE[2]),
        (3, orders, "features at 5", "represented features", figures.PALETTE[0]),
        (3, orders, "by length, random", "random, examples", figures.QUIET),
    ]
    for row, table, name, label, colour in curves:
        middle = table.groupby(EXAMPLES)[name].median()
        here = {"legend": figures.legend_of(row), "row": row, "col": 1}
        figure.add_scatter(x=middle.index, y=middle, name=label, mode="lines", line={"color": colour}, **here)
        if "random" not in name:
            points = {"color": colour, "symbol": "circle-open", "size": 6}
            figure.add_scatter(
                x=table[EXAMPLES], y=table[name], mode="markers", marker=points, showlegend=False, **here
            )
    figures.level(figure, 1)
    figure.update_xaxes(type="log", dtick=1, exponentformat="none", range=np.log10([2.5, 12_000]).tolist())
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(title_text="distance ÷ null", row=1).update_yaxes(title_text="order", row=2)
    return figure.update_yaxes(title_text="order", row=3).update_xaxes(title_text="training examples T", row=3)


def draw_ways(ways: pd.DataFrame) -> go.Figure:
    """‖b‖ by number of examples for every way, and as reported."""
    figure = figures.panels(["‖b‖ with coupled decay"], heights=[6], title="A bias that falls with T", over_steps=False)
    figure.add_scatter(
        x=TABLE.index, y=TABLE["‖b‖"], name="reported", mode="lines+markers",
        line={"color": figures.INK, "dash": "dash"}, marker={"symbol": "x", "size": 9},
    )  # fmt: skip
    for number, way in enumerate(dict.fromkeys(ways.index.get_level_values("way"))):
        here = ways.loc[way]["‖b‖"]
        line = {
            "color": figures.PALETTE[number % len(figures.PALETTE)],
            "dash": "dot" if number >= len(figures.PALETTE) else "solid",
        }
        figure.add_scatter(x=here.index, y=here, name=way, mode="lines+markers", line=line)
    figure.update_xaxes(type="log", dtick=1, exponentformat="none", title_text="training examples T")
    return figure.update_yaxes(type="log", dtick=1, exponentformat="power", title_text="‖b‖")


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
