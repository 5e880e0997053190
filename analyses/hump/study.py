"""What makes the hump between memorising and generalising taller or flatter, and what moves it along the number of examples?

    python analyses/hump/study.py            # nine ways to train, three sparsities and repeated examples, n = 1,000, three seeds
    python analyses/hump/study.py --small    # three ways and one repeated example, n = 300, two seeds

Around the toy model of Henighan et al. (2023), and the comments of others below that paper.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

import interp
from interp import figures
from interp.analyze.features.regimes import REGIMES, at_the_end
from interp.config import RunConfig
from interp.store import Run
from interp.study import compare, script
from interp.tasks import SparseFeaturesTask

EXAMPLES, DENSE_ENOUGH = "task.examples", "T · (1 − S)"
SIZES = (50, 100, 200, 300, 500, 700, 1000)
SIGHTINGS = (1, 2, 3, 5, 7, 10, 15)
"""How often a feature is seen in the training set, T · (1 − S), where sparsity is varied."""
SPARSITIES = (0.97, 0.99, 0.995)
COPIES = (1, 2, 3, 5, 10)
WAYS: dict[str, dict[str, Any]] = {
    "base": {},
    "weight decay 0.1": {"train.weight_decay": 0.1},
    "weight decay 1": {"train.weight_decay": 1.0},
    "a quarter of the steps": {"train.steps": 0.25, "train.warmup_steps": 0.25},
    "m = 4": {"model.d_hidden": 4},
    "m = 8": {"model.d_hidden": 8},
    "eps 1e-5": {"train.eps": 1e-5},
    "eps 1e-4": {"train.eps": 1e-4},
    "mean loss": {"train.loss_reduction": "mean"},
}
"""What is other than in the base: sum of squared errors, decay 0.01, m = 2, eps 1e-8. Shares are of the base's steps."""

ROUND = [digit * 10**power for power in range(4) for digit in (1, 2, 3, 5, 7)]
"""Marks of a logarithmic axis."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Every way at every size, the base at other sparsities, and one example that stands in a large set several times."""
    base = interp.preset("toy-double-descent").config.but(name="hump")
    seeds = 2 if small else 3
    ways, sizes, sparsities, copies, many = WAYS, SIZES, SPARSITIES, COPIES, 2000
    if small:
        task = base.task.but(n_features=300, sparsity=0.97, test_examples=500)
        base = base.but(task=task, train=base.train.but(steps=1500, warmup_steps=75, lr=3e-3))
        ways = {way: WAYS[way] for way in ("base", "weight decay 1", "eps 1e-4")}
        sizes, sparsities, copies, many = (30, 100, 600), (), (1, 10), 600
    found = {
        f"{way}+{name}".replace(" ", "_"): config
        for way, changes in ways.items()
        for name, config in interp.grid(changed(base, changes), seeds, {EXAMPLES: list(sizes)}).items()
    }
    for sparsity in sparsities:
        counts = [round(sightings / (1 - sparsity)) for sightings in SIGHTINGS]
        sparse = base.but(task=base.task.but(sparsity=sparsity))
        found |= {f"S={sparsity}+{name}": each for name, each in interp.grid(sparse, seeds, {EXAMPLES: counts}).items()}
    for number in copies:
        task = base.task.but(examples=many, **({"repeated": 1, "copies": number} if number > 1 else {}))
        repeated = base.but(task=task, train=base.train.but(checkpoint_every=base.train.steps))
        found |= {f"copies={number}+{name}": each for name, each in interp.grid(repeated, seeds).items()}
    return found


def changed(base: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """The base with these fields changed; shares of steps become steps."""
    parts: dict[str, dict[str, Any]] = {}
    for field, value in changes.items():
        part, name = field.split(".")
        whole = getattr(getattr(base, part), name)
        parts.setdefault(part, {})[name] = round(value * whole) if "steps" in name else value
    return base.but(**{part: getattr(base, part).but(**fields) for part, fields in parts.items()})


def task_of(run: Run) -> SparseFeaturesTask:
    """What a run was trained on."""
    assert isinstance(run.task, SparseFeaturesTask)
    return run.task


def report(runs: Mapping[str, Run]) -> script.Report:
    """How tall the hump is and where, for every way; where generalising begins by sparsity; and what repeated examples get."""
    kinds = {name: name.split("+")[0].replace("_", " ") for name in runs}
    rows = {name: at_the_end([interp.measure(run.select(last=1), "regimes")]).iloc[0] for name, run in runs.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").assign(
        way=kinds.values(),
        examples=[len(run.split.train) for run in runs.values()],
        seed=[run.config.seeds.model for run in runs.values()],
        sparsity=[task_of(run).sparsity for run in runs.values()],
    )
    ways = table.loc[table["way"].isin(list(WAYS))]
    sparse = table.loc[table["way"].str.startswith("S=")]
    tables = {
        "ways": humps(ways),
        "comparisons": compared(ways),
        "sizes": by_size(ways),
        "repeated": repeated({n: run for n, run in runs.items() if kinds[n].startswith("copies")}),
    }
    drawn = {"ways": draw_ways(ways)}
    if len(sparse):
        tables["sparsity"] = humps(sparse)
        drawn["sparsity"] = draw_sparsities(sparse)
    return script.Report({**tables, "runs": table}, drawn)


def humps(table: pd.DataFrame) -> pd.DataFrame:
    """By way: the highest test loss and where it is, the largest norms, and the least set from which features are learned."""
    rows = {}
    for way, runs in table.groupby("way", sort=False):
        each = [of_seed(rows_of_seed) for _, rows_of_seed in runs.groupby("seed")]
        columns = pd.DataFrame(each)
        rows[way] = {
            "highest test loss": columns["highest"].median(),
            "lowest seed": columns["highest"].min(),
            "highest seed": columns["highest"].max(),
            "at T": columns["at"].median(),
            "largest ‖W‖": columns["weight_norm"].median(),
            "largest ‖b‖": columns["bias_norm"].median(),
            "generalises from T": columns["onset"].median(),
            "at the earliest": columns["onset"].min(),
            "at the latest": columns["onset"].max(),
            "seeds": len(each),
            "onset · (1 − S)": columns["onset"].median() * (1 - runs["sparsity"].iloc[0]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("way")


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Whether the highest test loss of each way differs from that of the base."""
    rows = [{"way": way, **of_seed(runs)} for way, each in table.groupby("way") for _, runs in each.groupby("seed")]
    return compare(pd.DataFrame(rows), "way", ["highest"], control="base")


def by_size(table: pd.DataFrame) -> pd.DataFrame:
    """Test loss by way and number of examples over the seeds, and how far any seed is at most from that with eps 1e-5."""
    each = table.set_index(["way", "examples", "seed"])["test_relative"]
    other = table.loc[table["way"] == "eps 1e-5"].set_index(["examples", "seed"])["test_relative"]
    cells = pd.DataFrame(
        {"test_relative": each, "away": (each - other.reindex(each.index.droplevel("way")).to_numpy()).abs()}
    )
    by = cells.groupby(level=["way", "examples"], sort=False)
    loss = by["test_relative"]
    return pd.DataFrame(
        {"lowest": loss.min(), "median": loss.median(), "highest": loss.max(), "from eps 1e-5": by["away"].max()}
    )


def of_seed(rows: pd.DataFrame) -> dict[str, float]:
    """The hump of one seed: of sets of at least 50 examples, below which the test loss has another, smaller one."""
    names = ("examples", "test_relative", "weight_norm", "bias_norm", "regime")
    columns = rows.sort_values(by="examples")[list(names)].to_numpy(dtype=float).T
    examples, test, weight_norm, bias_norm, regime = columns
    stays = np.logical_and.accumulate((regime == REGIMES.index("generalising"))[::-1])[::-1]
    return {
        "highest": float(test.max()),
        "at": float(examples[test.argmax()]),
        "weight_norm": float(weight_norm.max()),
        "bias_norm": float(bias_norm.max()),
        "onset": float(examples[stays].min(initial=np.inf)) if stays.any() else np.nan,
    }


def repeated(runs: Mapping[str, Run]) -> pd.DataFrame:
    """By number of copies: what dimensionality the repeated example has, its place among all, and what is left for features."""
    rows = []
    for run in runs.values():
        found = interp.measure(run.select(last=1), "superposition").isel(step=0)
        each = found["example_dimensionality"].fillna(0).to_numpy()
        features = found["feature_dimensionality"].fillna(0).to_numpy()
        copies = task_of(run).copies
        others = each[copies:]
        rows.append(
            {
                "copies": copies,
                "D of all copies": each[:copies].sum(),
                "largest D of another": others.max(),
                "share of others with less": float((others < each[0]).mean()),
                "features with D > .2": float((features > 0.2).sum()),
                "fifth largest D of a feature": float(np.sort(features)[-5]),
            }
        )
    by_copies = pd.DataFrame(rows).groupby("copies")
    return by_copies.median().assign(seeds=by_copies.size())


def draw_ways(table: pd.DataFrame) -> go.Figure:
    """Test loss over the number of examples, a panel for each group of ways, with the base in all."""
    groups = {
        "weight decay and steps": ["weight decay 0.1", "weight decay 1", "a quarter of the steps"],
        "hidden numbers": ["m = 4", "m = 8"],
        "Adam's eps, and the mean over features": ["eps 1e-5", "eps 1e-4", "mean loss"],
    }
    there = set(table["way"])
    groups = {title: ways for title, ways in groups.items() if there & set(ways)}
    figure = figures.panels(list(groups), heights=[4] * len(groups), title="What moves the hump", over_steps=False)
    for row, ways in enumerate(groups.values(), start=1):
        curves(figure, table, ["base", *(way for way in ways if way in there)], "examples", row)
        figures.level(figure, 1, row)
    figure.update_xaxes(title_text="training examples T", row=len(groups))
    return figure


def draw_sparsities(table: pd.DataFrame) -> go.Figure:
    """Test loss over the number of examples, and over how often each feature is seen in them."""
    table = table.assign(**{DENSE_ENOUGH: table["examples"] * (1 - table["sparsity"])})
    figure = figures.panels(
        ["over training examples T", "over how often each feature is seen, T · (1 − S)"],
        heights=[4, 4],
        title="Sparsity moves the hump",
        over_steps=False,
    )
    for row, across in enumerate(("examples", DENSE_ENOUGH), start=1):
        curves(figure, table, list(dict.fromkeys(table["way"])), across, row)
        figures.level(figure, 1, row)
    return figure


def curves(figure: go.Figure, table: pd.DataFrame, ways: Iterable[str], across: str, row: int) -> None:
    """The median over seeds of each way, and every seed."""
    for way, colour in zip(ways, (figures.INK, *figures.PALETTE), strict=False):
        rows = table.loc[table["way"] == way].sort_values(by=across)
        medians = rows.groupby(across)["test_relative"].median()
        here: Any = {"legend": figures.legend_of(row), "legendgroup": f"{row} {way}", "row": row, "col": 1}
        line = {"color": colour, "dash": "dot" if way == "mean loss" else "solid"}  # it lies on another
        figure.add_scatter(x=medians.index, y=medians, name=way, mode="lines", line=line, **here)
        marker = {"color": colour, "symbol": "circle-open", "size": 6}
        figure.add_scatter(
            x=rows[across], y=rows["test_relative"], mode="markers", marker=marker, showlegend=False, **here
        )
    at: Any = {"type": "log", "row": row}
    figure.update_xaxes(tickvals=ROUND, ticktext=[f"{number:,g}" for number in ROUND], **at)
    figure.update_yaxes(
        title_text="test loss ÷ zero's", tickvals=ROUND, ticktext=[f"{number:g}" for number in ROUND], **at
    )


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
