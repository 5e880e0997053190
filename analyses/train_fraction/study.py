"""How many steps does generalisation take, against the share of the table that is trained on?

    python analyses/train_fraction/study.py            # three seeds at four shares of x + y mod 113
    python analyses/train_fraction/study.py --small    # two seeds at three shares of x + y mod 53

With INTERP_REFERENCE_DIR set, the curves that Nanda et al. (2023) released are drawn beside it.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths.curves import first_below
from interp.store import Run
from interp.study import script, spread, trend

STEPS = {0.25: 25_000, 0.4: 4_500, 0.5: 2_000, 0.7: 800}
"""By share."""
PRESET = Path(__file__).parents[1] / "progress_measures/results"
"""The nanda preset itself, 30 %, five seeds: not trained once more. Losses there are those of checkpoints, 400 steps apart."""
PUBLISHED = "progress-measures/mod_addition_frac_train_sweep.pth"
FRACTION = "task.train_fraction"
LOSS = 0.01
"""Test loss in nats that counts as generalised here, as in the published sweep; accuracy is told beside it."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each share and seed."""
    base = interp.preset("quick" if small else "nanda").config
    found: dict[str, RunConfig] = {}
    for fraction, steps in {0.4: 1600, 0.6: 600, 0.8: 400}.items() if small else STEPS.items():
        train = base.train.but(steps=steps, checkpoint_every=1000)
        found |= interp.grid(base.but(train=train), seeds=2 if small else 3, vary={FRACTION: [fraction]})
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """Steps to each of three marks, by share, beside the published ones."""
    rows = []
    for run in runs.values():
        found = interp.measure(run, "curves", loss_threshold=LOSS)
        rows.append(
            {
                FRACTION: run.config.model_dump()["task"]["train_fraction"],
                "seed": run.config.seeds.model,
                **{name: found.attrs[name] for name in ("memorised", "generalised", "test_loss_below")},
                "largest_test_loss": float(found["test_loss"].max()),
                "final_test_accuracy": float(found["test_accuracy"][-1]),
                "last_step": int(found["step"][-1]),
            }
        )
    table = pd.DataFrame(rows)
    whole = all(run.config.model == interp.preset("nanda").config.model for run in runs.values())
    if whole:
        table = pd.concat([of_preset(), table], ignore_index=True)
    steps = ("memorised", "generalised", "test_loss_below")
    cells = spread(table.drop(columns="seed"), by=[FRACTION], steps=steps)
    theirs = published() if "INTERP_REFERENCE_DIR" in os.environ else kept() if whole else pd.DataFrame()
    return script.Report(
        {
            "spread": cells,
            "runs": table.set_index([FRACTION, "seed"]),
            "trend": trend(table, FRACTION, steps[1:], steps=steps),
            "ratios": ratios(table, cells, theirs),
            **({"published": theirs} if len(theirs) else {}),
        },
        {"train_fraction": draw(cells, table, theirs)},
    )


def of_preset() -> pd.DataFrame:
    """The same of the runs of progress_measures."""
    seeds, curves = (pd.read_csv(PRESET / f"{name}.csv") for name in ("seeds", "curves"))
    found = []
    for seed, curve in curves.groupby("seed"):
        steps, loss = curve["step"].to_numpy(), curve["test_loss"].to_numpy()
        reached = seeds.set_index("seed").loc[seed, ["memorised", "generalised"]]
        found.append(
            {
                FRACTION: 0.3,
                "seed": seed,
                **reached.to_dict(),
                "test_loss_below": first_below(steps, loss, LOSS),
                "largest_test_loss": loss.max(),
                "final_test_accuracy": curve["test_accuracy"].iloc[-1],
                "last_step": steps[-1],
            }
        )
    return pd.DataFrame(found)


def ratios(table: pd.DataFrame, cells: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """By share: slowest ÷ fastest seed, published ÷ slowest, and medians here and there ÷ those of the largest share trained."""
    here = cells.xs("test_loss_below", level="what")
    there = theirs["test_loss_below"].reindex(here.index) if len(theirs) else pd.Series(np.nan, here.index)
    most = here.index.max()
    return pd.DataFrame(
        {
            "slowest ÷ fastest": here["highest"] / here["lowest"],
            "published ÷ slowest": there / here["highest"],
            "median ÷ that of the largest share": here["median"] / here.loc[most, "median"],
            "published ÷ that of the largest share": there / there[most],
        }
    )


def kept() -> pd.DataFrame:
    """What was read of the released sweep before, for the full size; empty where it was not."""
    file = Path(__file__).parent / "results/published.csv"
    return pd.read_csv(file, index_col=0) if file.exists() else pd.DataFrame()


def published() -> pd.DataFrame:
    """Steps of the released sweep to the same marks, and its largest test losses."""
    fractions, curves = torch.load(Path(os.environ["INTERP_REFERENCE_DIR"]) / PUBLISHED, weights_only=True)
    rows = {}
    for fraction, *losses in zip(fractions, curves[::2], curves[1::2], strict=True):
        # Logged every epoch, from the weights before the first update on.
        values = [np.array([float(value) for value in each]) for each in losses]
        names = ("train_loss_below", "test_loss_below")
        rows[fraction] = {
            name: first_below(np.arange(len(each)), each, LOSS) for name, each in zip(names, values, strict=True)
        }
        rows[fraction]["largest_test_loss"] = values[1].max()
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(FRACTION)


def draw(cells: pd.DataFrame, table: pd.DataFrame, theirs: pd.DataFrame) -> go.Figure:
    """Steps to memorise and to generalise on a logarithmic axis: every seed, their median, and the published run."""
    figure = figures.panels(
        ["steps until …"], heights=[7], title="Fewer examples, later understanding", over_steps=False
    )
    marks = {
        "memorised": ("train accuracy ≥ 99 %", figures.TRAIN),
        "test_loss_below": (f"test loss < {LOSS:g}", figures.TEST),
    }
    for name, (label, colour) in marks.items():
        medians = cells.xs(name, level="what")["median"]
        figure.add_scatter(x=medians.index, y=medians, name=f"{label}, median", line={"color": colour}, mode="lines")
        figure.add_scatter(
            x=table[FRACTION],
            y=table[name],
            name=f"{label}, every seed",
            mode="markers",
            marker={"color": colour, "symbol": "circle-open"},
        )
    if len(theirs):
        figure.add_scatter(
            x=theirs.index, y=theirs["test_loss_below"], name=f"published, test loss < {LOSS:g}", mode="lines+markers",
            line={"color": figures.INK, "dash": "dot"}, marker={"symbol": "x"},
        )  # fmt: skip
    figure.update_yaxes(type="log", title_text="step (optimiser updates)", exponentformat="none", dtick=1)
    return figure.update_xaxes(title_text="share of the table that is trained on", tickformat=".0%").update_layout(
        margin={"r": 250}
    )


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
