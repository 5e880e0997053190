"""From which share of the table must a code be a line, and from which is it found?

    python analyses/phase_diagram/critical_fraction.py            # nine shares, ten splits each; by rank a thousand splits each
    python analyses/phase_diagram/critical_fraction.py --small    # two shares, two splits each

By rank: what the parallelograms of a training set force, without any training. By training: the toy model of study.py.
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy import stats
from study import EMBEDDING_RATE, HIGH, STEPS, SYMBOLS, base, recipe

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths.curves import reached
from interp.maths.parallelograms import Pairs, reach
from interp.maths.phases import kaplan_meier_median
from interp.store import Run
from interp.study import script

PAIRS = SYMBOLS * (SYMBOLS + 1) // 2
TRAINED = (11, 18, 21, 24, 27, 30, 34, 40, 46)
"""Pairs that are trained on, of 55."""
SEEDS, SPLITS = 10, 1_000
"""Splits that are trained, and those that are only looked at."""
RATE, DECAY = 1e-4, 5.0
"""Learning rate and weight decay of the decoder."""
SMALL_STEPS = 2_000


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each share and split; the seed of the initial weights goes with that of the split."""
    steps, found = SMALL_STEPS if small else STEPS, {}
    marks = tuple(sorted({0, *(round(step) for step in np.logspace(2, np.log10(steps), 30))}))
    for trained in (11, 46) if small else TRAINED:
        for seed in range(2 if small else SEEDS):
            one, name = base(trained=trained), f"{trained}+{seed}"
            how = recipe("squared_error", RATE, EMBEDDING_RATE, DECAY, steps).but(checkpoint_steps=marks)
            found[name] = one.but(name=name, train=how, seeds=one.seeds.but(split=seed, model=seed))
    return found


def by_rank(trained: int) -> dict[str, float]:
    """Share of splits whose parallelograms force a line, and their mean ideal accuracy."""
    x, y = np.triu_indices(SYMBOLS)
    found = []
    for seed in range(SPLITS):
        known = np.zeros(len(x), dtype=bool)
        known[np.random.default_rng(seed).permutation(len(x))[:trained]] = True
        found.append(reach(Pairs.of(x, y, x + y, known)))
    return {
        "linear": float(np.mean([each.free == 2 for each in found])),
        "ideal_accuracy": float(np.mean([each.ideal_accuracy for each in found])),
    }


def facts(run: Run) -> dict[str, float]:
    """When a run's codes are a line, what its training set allows, and what it reaches."""
    found = interp.measure(run, "parallelograms")
    return {
        "free": int(found["free"]),
        "ideal_accuracy": float(found["ideal_accuracy"]),
        "high_rqi_step": reached(found["step"].values, found["rqi"].values, HIGH, 1).step,
        "rqi": float(found["rqi"][-1]),
        "rqi_null": float(found["rqi_null"].mean()),
        "train_accuracy": float(run.history["train_accuracy"].iloc[-1]),
        "test_accuracy": float(run.history["test_accuracy"].iloc[-1]),
    }


def report(runs: Mapping[str, Run]) -> script.Report:
    """Shares of splits by rank and by training, every run, and how ideal and reached accuracy go together."""
    rows = []
    for name, run in runs.items():
        trained, seed = map(int, name.split("+"))
        rows.append({"trained": trained, "seed": seed} | facts(run))
    table: dict[int, dict[str, float]] = {}
    found: Any = pd.DataFrame(rows)
    for trained, here in found.groupby("trained"):
        steps = here["high_rqi_step"].to_numpy()
        last = np.full(int(np.isnan(steps).sum()), float(next(iter(runs.values())).steps[-1]))
        table[trained] = {
            "share": trained / PAIRS,
            **{f"by rank: {name}": value for name, value in by_rank(trained).items()},
            "runs": len(here),
            "trained: high RQI": int((here["rqi"] > HIGH).sum()),
            "forced to a line": int((here["free"] == 2).sum()),
            "forced, high RQI": int(((here["free"] == 2) & (here["rqi"] > HIGH)).sum()),
            "median step": kaplan_meier_median(steps[~np.isnan(steps)], last),
            "rqi_null": here["rqi_null"].mean(),
            "test_accuracy": here["test_accuracy"].mean(),
            "ideal_accuracy": here["ideal_accuracy"].mean(),
        }
    shares = pd.DataFrame.from_dict(table, orient="index").rename_axis("trained")
    return script.Report(
        {"fractions": shares, "ideal": together(found), "fraction_runs": found.set_index(["trained", "seed"])},
        {"critical_fraction": draw(shares, found)},
    )


def together(found: Any) -> pd.DataFrame:
    """Spearman's ρ of ideal and reached test accuracy: over all runs, and over those of one share, averaged."""
    within = [
        rho(here)
        for _, here in found.groupby("trained")
        if here["ideal_accuracy"].nunique() > 1 and here["test_accuracy"].nunique() > 1
    ]
    gap = (found["test_accuracy"] - found["ideal_accuracy"]).to_numpy()
    rows = {
        "rho over all runs": rho(found),
        "rho within a share, mean": np.mean(within) if within else np.nan,
        "shares with one": len(within),
        "mean gap, test less ideal": gap.mean(),
        "runs above their ideal accuracy": int((gap > 1e-9).sum()),
        "runs": len(found),
    }
    return pd.DataFrame({"value": rows}).rename_axis("what")


def rho(runs: Any) -> float:
    """Spearman's ρ of ideal and reached test accuracy."""
    ranks: Any = stats.spearmanr(runs["ideal_accuracy"], runs["test_accuracy"])
    return float(ranks.statistic)


def draw(shares: pd.DataFrame, found: pd.DataFrame) -> go.Figure:
    """Shares of splits by rank and by training above test accuracy beside the ideal one."""
    figure = figures.panels(
        ["share of splits with a line as code", "test accuracy, mean over splits"],
        heights=[5, 5], title="From which share of the table on", over_steps=False,
    )  # fmt: skip
    x, n = shares["share"].to_numpy(), shares["runs"].to_numpy()
    curves = (
        (1, "forced by the training set (rank)", shares["by rank: linear"], "solid"),
        (1, "found by training (RQI above .95)", shares["trained: high RQI"] / n, "dash"),
        (2, "ideal, by rank", shares["by rank: ideal_accuracy"], "solid"),
        (2, "reached by training", shares["test_accuracy"], "dash"),
    )
    for number, (row, name, y, dash) in enumerate(curves):
        line = {"color": figures.PALETTE[number % 2], "dash": dash}
        figure.add_scatter(
            x=x,
            y=y,
            name=name,
            mode="lines+markers",
            line=line,
            legend="legend" if row == 1 else "legend2",
            row=row,
            col=1,
        )
    figure.add_scatter(
        x=found["trained"] / PAIRS, y=found["test_accuracy"], mode="markers", name="a run", legend="legend2",
        marker={"color": figures.PALETTE[1], "symbol": "circle-open", "size": 5}, row=2, col=1,
    )  # fmt: skip
    figure.update_yaxes(range=[-0.03, 1.05])
    return figure.update_xaxes(title_text="share of the 55 pairs that is trained on", row=2)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
