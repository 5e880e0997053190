"""For which widths do more examples hurt?

    python analyses/sample_wise/study.py            # 784-h-10 from 250 to 4,000 images of MNIST, ten widths, 20 % wrong labels
    python analyses/sample_wise/study.py --small    # 64-h-10 from 100 to 800 digits, three widths

Beside it the same without wrong labels, and the null: 90 % wrong labels of ten classes, so that a label says nothing about its
image.
"""

import sys
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

import interp
from interp import figures
from interp.config import RunConfig
from interp.store import Run
from interp.study import ends, means, peaks, script

EXAMPLES = (250, 500, 1_000, 1_500, 2_000, 3_000, 4_000)
WIDTHS = (2, 4, 6, 8, 10, 14, 20, 30, 60, 100)
NOISE, NULL = 0.2, 0.9
"""Shares of wrong labels: of the question, and that at which each of ten classes is equally likely."""
CRITICAL = (8, 10, 14, 20)
"""Widths whose threshold lies among these sizes under 20 % wrong labels; they have twice as many seeds there."""
SEEDS = 3
BESIDE = (4, 14, 60)
"""Widths that are trained without wrong labels and under the null as well: too narrow, critical and wide for most sizes."""
MEASURES = {
    "test_error": "test error, as many updates",
    "test_error_as_many_passes": "test error, as many passes",
    "best_test_error": "test error at the best step",
    "test_loss": "test loss, nats",
}
CELL = ["noise", "width"]


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each number of examples, width, share of wrong labels and seed, all of as many updates."""
    base = interp.preset("digits-width" if small else "mnist-width").config
    steps, batch, tested = (1_600, 100, 500) if small else (16_000, 250, 1_000)
    examples, widths = ((100, 200, 400, 800), BESIDE) if small else (EXAMPLES, WIDTHS)
    task = base.task.but(test_examples=tested)
    train = base.train.but(steps=steps, batch_size=batch, checkpoint_every=steps, checkpoints_per_decade=1)
    found: dict[str, RunConfig] = {}
    for width in widths:
        for n in examples:
            of_size = base.but(
                name=f"width={width}+n={n}", task=task.but(examples=n), model=base.model.but(width=width), train=train
            )
            shares = (0.0, NOISE, NULL) if width in BESIDE else (NOISE,)
            for share in shares:
                seeds = 2 if small else 2 * SEEDS if width in CRITICAL and share == NOISE else SEEDS
                grid = interp.grid(of_size, seeds, {"corruption.share": [share]})
                found |= {config.name: config for config in grid.values()}
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """Test error by number of examples for each width: where it rises, and where the training set is no longer fitted."""
    most = max(examples_of(run) for run in runs.values())
    table = pd.DataFrame([told(run) | as_many_passes(run, most) for run in runs.values()])
    by_size = means(table.drop(columns="seed"), [*CELL, "examples"])
    return script.Report(
        {
            "harm": peaks(table, "examples", list(MEASURES), each=CELL),
            "thresholds": thresholds(table),
            "by_size": by_size,
            "runs": table.set_index([*CELL, "examples", "seed"]),
        },
        {"sample_wise": draw(by_size)},
    )


def examples_of(run: Run) -> int:
    """Number of examples that a run is trained on."""
    return run.config.task.model_dump()["examples"]


def told(run: Run) -> dict[str, Any]:
    """What a run is, and how it ended."""
    return {
        "noise": run.config.corruption.share,
        "width": run.config.model.model_dump()["width"],
        "examples": examples_of(run),
        "seed": run.config.seeds.model,
        **ends(run),
    }


def as_many_passes(run: Run, most: int) -> dict[str, float]:
    """Errors of a run after as many passes over its examples as a set of `most` has in all updates."""
    then: Any = run.history.loc[round(run.config.train.steps * examples_of(run) / most)]
    return {f"{part}_error_as_many_passes": 1 - float(then[f"{part}_accuracy"]) for part in ("train", "test")}


def thresholds(table: pd.DataFrame) -> pd.DataFrame:
    """For each share and width, the most examples that its median run fits but for 1 %, and the fewest that it does not."""
    errors: Any = table.groupby([*CELL, "examples"])["train_error"].median()
    rows = {}
    for key, cell in errors.groupby(CELL):
        sizes = cell.droplevel(CELL)
        missed = sizes.index[sizes >= 0.01]
        fitted = sizes.index[sizes.index < min(missed, default=float("inf"))]
        rows[key] = {"fits": max(fitted, default=float("nan")), "does not fit": min(missed, default=float("nan"))}
    return pd.DataFrame(rows).T.rename_axis(CELL)


def draw(by_size: pd.DataFrame) -> go.Figure:
    """Test error and loss against the number of examples, a curve for each width; thin: beside, without and only wrong labels."""
    figure = figures.panels(
        list(MEASURES.values()), heights=[5, 5], columns=2, title="Do more examples hurt?", over_steps=False
    )
    widths: Any = sorted(by_size.index.get_level_values("width").unique())
    for place, width in enumerate(widths):
        (colour,) = sample_colorscale("Viridis", 0.9 * place / max(1, len(widths) - 1))
        for noise, look in {NOISE: {}, 0.0: {"dash": "dash", "width": 1}, NULL: {"dash": "dot", "width": 1}}.items():
            if (noise, width) not in by_size.index.droplevel("examples"):
                continue
            cell = by_size.loc[(noise, width)]
            beside = {0.0: ", no label wrong", NULL: ", labels by chance"}.get(noise, "")
            for panel, measure in enumerate(MEASURES):
                if noise == NULL and measure == "test_loss":
                    continue  # so large that the others would lie on the axis
                figure.add_scatter(
                    x=cell.index, y=cell[measure], error_y={"array": cell[f"{measure} ±"], "width": 2, "color": colour},
                    name=f"width {width}{beside}", line={"color": colour, **look}, legendgroup=f"{width} {noise}",
                    showlegend=not panel, row=1 + panel // 2, col=1 + panel % 2,
                )  # fmt: skip
    figure.update_xaxes(type="log", tickvals=EXAMPLES, tickformat=",")
    for column in (1, 2):
        figure.update_xaxes(title_text="training images", row=2, col=column)
    return figure.update_layout(margin={"r": 220}, width=1_200)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
