"""Which regimes of training are there on the sphere, and does SGD without decay generalise near the top of convergence?

    python analyses/sphere/study.py            # x + y mod 31 and mod 43, twelve effective rates, controls, null, five seeds
    python analyses/sphere/study.py --small    # mod 31 for fewer updates, five rates, two seeds

The network is the same function whatever the scale of its weights, which are kept on a sphere, so that the rate of plain SGD is
the effective rate of Kodryan et al. (2022). They find convergence, chaotic equilibrium and divergence, on images.
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
from interp.study import compare, script, spread, trend
from interp.train.null import null_twin

MODULI = (31, 43)
RATES = (1e-5, 1e-4, 1e-3, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2, 2e-2, 4e-2, 1e-1, 1.0)
"""Effective rates: on the sphere of radius 1 the learning rate is one."""
TOP = 5e-3
"""Rate near the top of convergence at which controls are made."""
SLOW = 1e-3
"""Rate of the control of matched rate × updates."""
FULL = (5e-3, 1e-2)
"""Rates of the control with full batches, whose top may lie higher."""
OF_NULL = (5e-3, 7e-3)
SEEDS = 5
STEPS = 10_000
CONVERGED = 0.02
"""Mean train loss at the end, in nats, below which a run has converged."""
DIVERGED = 0.95
"""Mean train loss at the end, as a share of ln p, from which a run has diverged: it answers by chance."""
END = 0.1
"""Share of the logged rows that is a run's end."""
NEAR = 3.0
"""Largest ratio of the top of convergence to a rate that is near it."""
LEARNED = 0.8
"""Median test accuracy that counts as generalising at a rate."""
BATCHES, FULL_BATCH, MATCHED, CHANCE = "batches of 128", "full batch", "matched rate × updates", "a table by chance"
CONVERGENCE, UNFINISHED, CHAOS, DIVERGENCE = (
    "convergence",
    "convergence, unfinished",
    "chaotic equilibrium",
    "divergence",
)
REGIMES = (CONVERGENCE, UNFINISHED, CHAOS, DIVERGENCE)
CELL = ["p", "arm", "rate"]


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each modulus, arm, rate and seed."""
    found: dict[str, RunConfig] = {}
    for p in MODULI[:1] if small else MODULI:
        preset = interp.preset("sphere").config
        steps = 1_500 if small else STEPS
        base = preset.but(
            task=preset.task.but(p=p),
            train=preset.train.but(steps=steps, log_every=max(10, steps // 200), checkpoint_steps=(steps,)),
        )
        full = base.but(train=base.train.but(batch_size="full"))
        times = round(TOP / SLOW)
        matched = base.but(
            train=base.train.but(
                steps=times * steps, log_every=times * base.train.log_every, checkpoint_steps=(times * steps,)
            )
        )
        arms = {
            BATCHES: (base, (1e-4, 1e-3, 5e-3, 2e-2, 1.0) if small else RATES),
            FULL_BATCH: (full, FULL[:1] if small else FULL),
            MATCHED: (matched, () if small else (SLOW,)),
            CHANCE: (null_twin(base, "answers"), OF_NULL[:1] if small else OF_NULL),
        }
        for arm, (config, rates) in arms.items():
            for rate in rates:
                name = f"p={p}+{arm.replace(' ', '-').replace('×', 'x')}+rate={rate:g}"
                of_rate = config.but(name=name, train=config.train.but(lr=rate))
                found |= {each.name: each for each in interp.grid(of_rate, 2 if small else SEEDS).values()}
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """Regimes by rate, whether and where SGD generalises, controls beside it, and the phase diagram's points."""
    table: Any = pd.DataFrame([told(run) for run in runs.values()])
    cells = by_rate(table)
    batches: Any = table[table["arm"] == BATCHES]
    converging: Any = batches[batches["regime"] == CONVERGENCE]
    near: Any = table[
        ((table["rate"] == TOP) & table["arm"].isin([BATCHES, FULL_BATCH, CHANCE])) | (table["arm"] == MATCHED)
    ]
    rises = converging.groupby("p").filter(lambda cell: cell["rate"].nunique() > 1)
    return script.Report(
        {
            "generalises": generalises(cells),
            "by_rate": cells,
            "controls": compare(near, "arm", ["test_accuracy"], each=["p"], control=BATCHES, steps=()),
            **({"trend": trend(rises, "rate", ["test_accuracy"], each=["p"], steps=())} if len(rises) else {}),
            "spread": spread(table.drop(columns=["seed", "regime"]), CELL, steps=["memorised", "generalised"]),
            "runs": table.set_index([*CELL, "seed"]),
            "phase_diagram": pd.concat([windows(run) for run in runs.values()]).set_index([*CELL, "seed"]),
        },
        {"sphere": draw(runs, table, cells)},
    )


def arm_of(config: RunConfig) -> str:
    """Words for what is done to a run."""
    if config.task.model_dump()["operation"] == "random":
        return CHANCE
    if config.train.batch_size == "full":
        return FULL_BATCH
    return MATCHED if config.train.steps > STEPS else BATCHES


def key_of(run: Run) -> dict[str, Any]:
    """The cell of a run, and its seed."""
    config = run.config
    p = config.task.model_dump()["p"]
    return {"p": p, "arm": arm_of(config), "rate": config.train.lr, "seed": config.seeds.model}


def told(run: Run) -> dict[str, Any]:
    """What a run came to: its regime, its losses and accuracies at the end and at the start, and its effective gradient."""
    key, history = key_of(run), run.history
    rows = max(3, round(END * len(history)))
    last, first = history.iloc[-rows:], history.iloc[1 : rows + 1]
    found = interp.measure(run, "curves").attrs
    loss: Any = last["train_loss"]
    return key | {
        "regime": regime(history["train_loss"].to_numpy(), math.log(key["p"])),
        "first_loss": float(first["train_loss"].mean()),
        "train_loss": float(loss.mean()),
        "loss_sd": float(loss.std()),
        "test_loss": float(last["test_loss"].mean()),
        "train_accuracy": float(last["train_accuracy"].mean()),
        "test_accuracy": float(last["test_accuracy"].mean()),
        "effective_gradient": float(last["effective_gradient"].mean()),
        "power": power(history["train_loss"].to_numpy(), history["effective_gradient"].to_numpy()),
        **{name: found[name] for name in ("memorised", "memorised_until", "generalised", "generalised_until")},
        "last_step": int(history.index[-1]),
    }


def regime(loss: Float[np.ndarray, " row"], chance: float) -> str:
    """The regime of a run from its train loss at evenly spaced steps; `chance` is the loss of answering by chance.

    Divergence: the mean over the last tenth of the rows is at least 95 % of that of chance. Convergence: it is below .02 nats.
    Between them, over the last fifth a line is fitted to the logarithm of the loss: where it falls by more than twice the
    standard deviation beside it, the run is still converging; otherwise it is in chaotic equilibrium.
    """
    end = loss[-max(3, round(END * len(loss))) :].mean()
    if end >= DIVERGED * chance:
        return DIVERGENCE
    if end < CONVERGED:
        return CONVERGENCE
    last = np.log(loss[-max(4, round(2 * END * len(loss))) :])
    place = np.arange(len(last))
    slope, level = np.polyfit(place, last, 1)
    beside = (last - slope * place - level).std(ddof=2)
    return UNFINISHED if -slope * (len(last) - 1) > 2 * beside else CHAOS


def power(loss: Float[np.ndarray, " row"], gradient: Float[np.ndarray, " row"]) -> float:
    """Slope of log effective gradient over log loss, over the rows with a loss below one nat; NaN of fewer than five.

    It is 1 where the gradient falls in proportion to the loss, as on the straight lines of the published phase diagram.
    """
    known = (loss < 1) & (loss > 0) & (gradient > 0)
    if known.sum() < 5:
        return math.nan
    return float(np.polyfit(np.log(loss[known]), np.log(gradient[known]), 1)[0])


def windows(run: Run) -> pd.DataFrame:
    """Means of train loss and effective gradient over twelve stretches of steps, each a constant factor longer than the last."""
    history: Any = run.history.iloc[1:]
    edges = np.geomspace(history.index[0], history.index[-1] + 1, 13)
    parts = history.groupby(np.digitize(history.index, edges))
    means = parts[["train_loss", "test_accuracy", "effective_gradient"]].mean().assign(rows=parts.size())
    return means.assign(step=[part.index[-1] for _, part in parts], **key_of(run))


def by_rate(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each modulus, arm and rate: number of seeds in each regime, and medians of what was found at the end."""
    cells: Any = table.groupby(CELL)
    counts = {name: (table["regime"] == name).groupby([table[each] for each in CELL]).sum() for name in REGIMES}
    medians = ["train_loss", "loss_sd", "effective_gradient", "power", "test_accuracy", "train_accuracy", "first_loss"]
    return pd.DataFrame(
        {"seeds": cells.size(), **counts}
        | {name: cells[name].median() for name in medians}
        | {"test_lowest": cells["test_accuracy"].min(), "test_highest": cells["test_accuracy"].max()}
    )


def generalises(cells: pd.DataFrame) -> pd.DataFrame:
    """A row for each modulus: the top of convergence, the rates that generalise, and whether they are the ones near it.

    `top` is the largest rate up to which all lower ones, from the first that converges on, have most seeds in convergence;
    `best` the rate with the most accurate median. `near the top` is 1 if `best` is at least a third of `top`, its median is 80 %
    or more, and no rate below a third of `top` has as much.
    """
    rows = {}
    by_modulus: Any = cells.xs(BATCHES, level="arm").groupby(level="p")
    for p, each in by_modulus:
        cell = each.droplevel("p").sort_index()
        converges = (cell[CONVERGENCE] > cell["seeds"] / 2).to_numpy()
        rates, accuracy = cell.index.to_numpy(dtype=float), cell["test_accuracy"].to_numpy()
        known = np.flatnonzero(converges)
        if not len(known):
            rows[p] = {"top": np.nan}
            continue
        beyond = np.flatnonzero(~converges[known[0] :])
        top = rates[known[0] + (beyond[0] if len(beyond) else len(converges) - known[0]) - 1]
        best, lower = int(accuracy.argmax()), accuracy[rates < top / NEAR]
        far = lower.max() if len(lower) else np.nan
        rows[p] = {
            "lowest that converges": rates[known[0]], "top": top, "best": rates[best], "best accuracy": accuracy[best],
            "best accuracy far below": far, "by chance": 1 / float(p),
            "near the top": float(rates[best] >= top / NEAR and accuracy[best] >= LEARNED and not far >= LEARNED),
        }  # fmt: skip
    return pd.DataFrame(rows).T.rename_axis("p")


def draw(runs: Mapping[str, Run], table: pd.DataFrame, cells: pd.DataFrame) -> go.Figure:
    """The phase diagram, a line a rate from its star on; and test accuracy, loss and effective gradient by rate."""
    moduli: list[Any] = list(cells.index.get_level_values("p").unique())
    titles = [
        f"p = {p}: {title}" for p in moduli for title in ("phase diagram", "at the end, by rate", "test accuracy")
    ]
    figure = figures.panels(
        titles,
        heights=[5.5] * len(moduli),
        columns=3,
        title="On the sphere: from slow to fast",
        over_steps=False,
        gap=105,
    )
    rates = sorted(table.loc[table["arm"] == BATCHES, "rate"].unique())
    shade = {
        rate: f"hsl({260 - 260 * place / max(1, len(rates) - 1):.0f}, 70%, 45%)" for place, rate in enumerate(rates)
    }
    for row, p in enumerate(moduli, start=1):
        here: dict[str, Any] = {"row": row, "legend": figures.legend_of(row)}
        for run in runs.values():
            key = key_of(run)
            if key["p"] == p and key["arm"] == BATCHES and key["seed"] == 0:
                part, colour = windows(run), shade[key["rate"]]
                figure.add_scatter(
                    x=part["train_loss"], y=part["effective_gradient"], name=f"rate {key['rate']:g}", line_color=colour,
                    mode="lines+markers", col=1, **here,
                    marker={"symbol": ["star"] + ["circle"] * (len(part) - 1), "size": [11] + [4] * (len(part) - 1)},
                )  # fmt: skip
        cell = cells.loc[(p, BATCHES)]
        for name, colour in (("train_loss", figures.TRAIN), ("effective_gradient", figures.PALETTE[0])):
            figure.add_scatter(
                x=cell.index, y=cell[name], name=name.replace("_", " "), line_color=colour, col=2, **here
            )
        for colour, arm in zip((figures.TEST, *figures.PALETTE), (BATCHES, FULL_BATCH, MATCHED, CHANCE), strict=False):
            mine: Any = table[(table["p"] == p) & (table["arm"] == arm)]
            if arm == BATCHES:
                figure.add_scatter(
                    x=cell.index, y=cell["test_accuracy"], name="median", line_color=colour, col=3, **here
                )
            figure.add_scatter(
                x=mine["rate"], y=mine["test_accuracy"], name=arm, mode="markers", col=3, **here,
                marker={"color": colour, "symbol": "circle-open" if arm == BATCHES else "x", "size": 8},
            )  # fmt: skip
        for column in (1, 2):
            figure.update_yaxes(type="log", dtick=1, exponentformat="power", row=row, col=column)
        figure.update_yaxes(title_text="effective gradient ‖g‖·‖w‖, nats", row=row, col=1)
        figure.update_yaxes(tickformat=".0%", range=[-0.02, 1.02], row=row, col=3)
    figure.update_xaxes(type="log", dtick=1, exponentformat="power", title_text="effective rate")
    figure.update_xaxes(title_text="train loss, nats", col=1)
    return figure.update_layout(margin={"r": 200}, width=1_450)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
