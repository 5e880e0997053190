"""With decay in place of the sphere, does training destabilise and begin again, over and over?

python analyses/sphere/periodic.py            # x + y mod 31, four rates, two decays and none, a table by chance, five seeds
python analyses/sphere/periodic.py --small    # one rate, the larger decay and none, two seeds
"""

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float

import interp
from interp import figures
from interp.config import RunConfig
from interp.store import Run
from interp.study import compare, means, script
from interp.train.null import null_twin

RADIUS = 10.0
"""Norm of the initial weights, but for chance."""
LR, DECAY, MORE = 0.3, 1e-3, 1e-2
OTHER_RATES = (0.03, 0.1, 1.0)
STEPS, ROWS = 30_000, 1_500
SEEDS = 5
DROP = 3.0
"""Factor by which the effective rate falls from its last peak in a jump, at least, and rises again before another."""
DEEP = 50.0
"""Factor by which it falls if training begins again."""
QUIET = 0.05
"""Train loss in nats below which the gradient should hardly move the norm."""
FREE = "no decay"


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each learning rate, decay and seed."""
    preset = interp.preset("sphere").config
    tensors = preset.model.tensors(preset.task.shape).values()
    expected = math.sqrt(sum(math.prod(each.size) * each.std**2 for each in tensors if each.learns))
    steps, decay = (3_000, MORE) if small else (STEPS, DECAY)
    train = preset.train.but(
        constraint="none", constraint_radius=0.0, lr=LR, weight_decay=decay, steps=steps, log_every=steps // ROWS,
        checkpoint_steps=(steps,), log_norms=True,
    )  # fmt: skip
    base = preset.but(model=preset.model.but(init_scale=RADIUS / expected), train=train)
    more = base.but(train=train.but(weight_decay=MORE))
    arms = {
        f"lr={LR:g}": base,
        "free": base.but(train=train.but(weight_decay=0.0)),
        **({} if small else {f"lr={lr:g}": base.but(train=train.but(lr=lr)) for lr in OTHER_RATES}),
        **({} if small else {f"decay={MORE:g}": more, "by-chance": null_twin(more, "answers")}),
    }
    grids = (interp.grid(config.but(name=f"periodic+{word}"), 2 if small else SEEDS) for word, config in arms.items())
    return {config.name: config for grid in grids for config in grid.values()}


def report(runs: Mapping[str, Run]) -> script.Report:
    """Jumps of the effective rate in each arm, how deep they are, and how the rate climbs between them."""
    table = pd.DataFrame(
        [{"arm": arm_of(run.config), "seed": run.config.seeds.model, **told(run)} for run in runs.values()]
    )
    arms = means(table.drop(columns="seed"), ["arm"])
    return script.Report(
        {
            "periodic": arms,
            "periodic_told": arms.filter(["jumps", "after ÷ peak", "climb", "best_test_accuracy"]),
            "periodic_comparisons": compare(table, "arm", ["jumps"], control=FREE, steps=()),
            "periodic_runs": table.set_index(["arm", "seed"]),
        },
        {"periodic": draw(runs)},
    )


def arm_of(config: RunConfig) -> str:
    """Words for the arm of a run."""
    if config.task.model_dump()["operation"] == "random":
        return "a table by chance"
    return f"decay {config.train.weight_decay:g}, rate {config.train.lr:g}" if config.train.weight_decay else FREE


def told(run: Run) -> dict[str, float]:
    """Jumps of a run, the rate at its peaks and after them, how fast it climbs, and the best test accuracy.

    `climb` is the median growth of the effective rate between rows of little loss, as a share of what decay alone gives,
    −2·ln(1 − lr·decay) a step.
    """
    history: Any = run.history
    rate, loss = history["effective_rate"].to_numpy(), history["train_loss"].to_numpy()
    found = jumps(rate)
    steps = np.diff(history.index.to_numpy(dtype=float))
    calm = (loss[1:] < QUIET) & (loss[:-1] < QUIET)
    growth = np.diff(np.log(rate))[calm] / steps[calm]
    alone = -2 * math.log1p(-run.config.train.lr * run.config.train.weight_decay)
    deep = [after / peak for peak, after in found]
    return {
        "jumps": float(len(found)),
        "peak": float(np.median([peak for peak, _ in found])) if found else np.nan,
        "after": float(np.median([after for _, after in found])) if found else np.nan,
        "after ÷ peak": float(np.median(deep)) if found else np.nan,
        "begins again": float(len(found) >= 2 and np.median(deep) <= 1 / DEEP),
        "climb": float(np.median(growth) / alone) if alone and len(growth) else np.nan,
        "highest_rate": float(rate.max()),
        "least_train_loss": float(loss.min()),
        "best_test_accuracy": float(history["test_accuracy"].max()),
    }


def jumps(rate: Float[np.ndarray, " row"]) -> list[tuple[float, float]]:
    """Peaks of an effective rate from which it falls to a third or less, each with the lowest before it is threefold again."""
    found: list[tuple[float, float]] = []
    climbs, peak, low = True, float(rate[0]), float(rate[0])
    for each in map(float, rate):
        if climbs:
            peak = max(peak, each)
            if each <= peak / DROP:
                climbs, low = False, each
                found.append((peak, low))
        else:
            low = min(low, each)
            found[-1] = (peak, low)
            if each >= low * DROP:
                climbs, peak = True, each
    return found


def draw(runs: Mapping[str, Run]) -> go.Figure:
    """Effective rate, train loss and test accuracy over steps of one seed of every arm."""
    titles = {"effective_rate": "effective rate", "train_loss": "train loss, nats", "test_accuracy": "test accuracy"}
    figure = figures.panels(
        list(titles.values()), heights=[3.5, 3.5, 2.5], title="Decay, and no sphere: seed 0", over_steps=True
    )
    first = [run for run in runs.values() if run.config.seeds.model == 0]
    for colour, run in zip(figures.PALETTE, first, strict=False):
        history: Any = run.history.iloc[1:]
        label = arm_of(run.config)
        for row, name in enumerate(titles, start=1):
            figure.add_scatter(
                x=history.index, y=history[name], name=label, legendgroup=label, showlegend=row == 1, mode="lines",
                line={"color": colour, "width": 1.2, "dash": "dot" if "chance" in label else "solid"}, row=row, col=1,
            )  # fmt: skip
    for row in (1, 2):
        figure.update_yaxes(type="log", dtick=1, exponentformat="power", row=row)
    figure.update_yaxes(tickformat=".0%", row=3)
    return figure.update_layout(margin={"r": 190})


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
