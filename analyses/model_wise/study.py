"""Where does test error peak as a network is widened, and does it fall below where it was before?

    python analyses/model_wise/study.py            # 784-h-10 on 4,000 images of MNIST, 18 widths, three shares of wrong labels
    python analyses/model_wise/study.py --small    # 64-h-10 on 300 digits, five widths, two shares

Each with its null: 90 % wrong labels of ten classes, so that a label says nothing about its image.

Beside it a public table of the same recipe, one network a width (published.csv: J. A. Ruiz, Deep-Double-Descent, thesis, 2026).
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

import interp
from interp import figures
from interp.config import RunConfig
from interp.store import Run
from interp.study import ends, means, peaks, script

WIDTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 24, 30, 40, 60, 100)
AROUND = range(10, 25)
"""Widths around the threshold, which have more seeds."""
NOISE = (0.0, 0.2, 0.4)
NULL = 0.9
"""Share of wrong labels at which each of ten classes is equally likely."""
WRONG = "corruption.share"
KINDS = ("train clean", "train corrupted", "train recovered")
"""Training examples with the right label; with a wrong one, answered as trained; and these, answered rightly all the same."""
TOLD, TOLD_OF = (4, 10, 12, 18, 20, 24), ("test_error", "test_error ±", "train_recovered_accuracy")
"""Widths and columns of the table that README tells from."""
MEASURES = {
    "test_error": "test error",
    "best_test_error": "test error at the best step",
    "test_loss": "test loss, nats",
}


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each width, share of wrong labels and seed."""
    base = interp.preset("digits-width" if small else "mnist-width").config
    if small:
        # So few that the widest of five fits 40 % wrong labels within a minute.
        base = base.but(task=base.task.but(examples=300), train=base.train.but(steps=1_500, batch_size=100))
    train = base.train.but(checkpoint_every=base.train.steps, checkpoints_per_decade=4)
    found: dict[str, RunConfig] = {}
    for width in (2, 4, 8, 16, 64) if small else WIDTHS:
        of_width = base.but(name=f"width={width}", model=base.model.but(width=width), train=train)
        seeds = 2 if small else 5 if width in AROUND else 3
        shares = (0.0, 0.4) if small else NOISE
        grid = interp.grid(of_width, seeds, {WRONG: shares}) | interp.grid(of_width, min(seeds, 3), {WRONG: [NULL]})
        found |= {config.name: config for config in grid.values()}
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """Errors by width, with threshold and peak of each share of wrong labels, beside the public table."""
    table = pd.DataFrame([told(run) for run in runs.values()])
    by_width = means(table.drop(columns="seed"), ["noise", "width"])
    medians: Any = table.groupby(["noise", "width"])[["train_error", "test_error"]].median()
    found = peaks(table, "width", list(MEASURES), each=["noise"], fits="train_error")
    whole = all(run.config.task == interp.preset("mnist-width").config.task for run in runs.values())
    theirs = pd.read_csv(Path(__file__).parent / "published.csv", index_col="noise") if whole else None
    return script.Report(
        {
            "peaks": found
            if theirs is None
            else found.join(theirs[["threshold"]].add_prefix("published "), on="noise"),
            **({"beside": beside(table, theirs)} if theirs is not None else {}),
            "told": by_width.loc[by_width.index.isin(TOLD, level="width"), [*TOLD_OF]],
            "by_width": by_width.join(medians.add_prefix("median ")),
            "runs": table.set_index(["noise", "width", "seed"]),
        },
        {"model_wise": draw(by_width, theirs)},
    )


def told(run: Run) -> dict[str, Any]:
    """What a run is, and how it ended."""
    fitted = {}
    if run.config.corruption:
        last: Any = interp.measure(run.select(last=1), "breakdown")["accuracy"].isel(step=0, operation=0)
        fitted = {f"{kind.replace(' ', '_')}_accuracy": float(last.sel(examples=kind)) for kind in KINDS}
    return {
        "noise": run.config.corruption.share,
        "width": run.config.model.model_dump()["width"],
        "seed": run.config.seeds.model,
        **ends(run),
        **fitted,
    }


def beside(table: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """The public figures beside ours at the same width: mean and deviation over seeds, and how many of those theirs is away.

    Theirs are of one network a width, and ours of five seeds or fewer: by chance alone one is two standard deviations away at
    least once in seven times (Student's t).
    """
    rows = []
    for noise, published in theirs.iterrows():
        cell = table[table["noise"] == noise]
        for what in ("valley", "peak", "end", "test_loss_peak"):
            width = published.get(f"{what}_width", WIDTHS[-1])
            ours = cell.loc[cell["width"] == width, "test_loss" if "loss" in what else "test_error"]
            if len(ours):
                rows.append(
                    {
                        "noise": noise,
                        "what": what,
                        "width": width,
                        "mean": ours.mean(),
                        "sd": ours.std(),
                        "published": published[what],
                        "sd away": (published[what] - ours.mean()) / ours.std(),
                    }
                )
    return pd.DataFrame(rows).set_index(["noise", "what"])


def named(noise: float) -> str:
    """Words for a share of wrong labels."""
    return "labels by chance" if noise == NULL else f"{100 * noise:g} % wrong labels"


def draw(by_width: pd.DataFrame, theirs: pd.DataFrame | None) -> go.Figure:
    """Test error at the end and at the best step, and test loss, against the width: means with their standard errors."""
    figure = figures.panels(
        list(MEASURES.values()), heights=[7], columns=3, title="Wider, worse, better", over_steps=False
    )
    shares: Any = by_width.index.get_level_values("noise").unique()
    for colour, noise in zip(figures.PALETTE, shares, strict=False):
        name, cell = named(noise), by_width.xs(noise)
        for column, measure in enumerate(MEASURES, start=1):
            figure.add_scatter(
                x=cell.index, y=cell[measure], error_y={"array": cell[f"{measure} ±"], "width": 2},
                name=name, line={"color": colour, "dash": "dot" if noise == NULL else "solid"}, legendgroup=name,
                showlegend=column == 1, row=1, col=column,
            )  # fmt: skip
        if theirs is not None and noise in theirs.index:
            published: Any = theirs.loc[noise]
            marks = {
                1: [(published["valley_width"], published["valley"]), (published["peak_width"], published["peak"])],
                3: [(published["test_loss_peak_width"], published["test_loss_peak"])],
            }
            for column, points in marks.items():
                figure.add_scatter(
                    x=[x for x, _ in points], y=[y for _, y in points], mode="markers", name="published: valley, peak",
                    marker={"symbol": "x", "size": 9, "color": colour}, legendgroup="published",
                    showlegend=column == 1 and noise == max(theirs.index), row=1, col=column,
                )  # fmt: skip
    figure.update_xaxes(type="log", title_text="width", tickvals=[1, 2, 5, 10, 20, 50, 100])
    return figure.update_layout(margin={"r": 200}, width=1_250)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
