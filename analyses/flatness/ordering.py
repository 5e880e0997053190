"""At equal train loss, which measures of flatness order runs by test accuracy, and which only by their norm?

    python analyses/flatness/ordering.py            # seven decays of four seeds, 24 seeds of one decay; two losses
    python analyses/flatness/ordering.py --small    # three decays of two seeds, six seeds of one decay; cross-entropy

Each run is measured at the first checkpoint at which its train loss is down to one level. Spearman's rank correlation with test
accuracy, with a bootstrap interval over runs, and the partial one given the norm.
"""

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float
from scipy.stats import rankdata
from study import LOSSES, MEASURES, base, measured

import interp
from interp import figures
from interp.config import RunConfig
from interp.store import Run
from interp.study import script

LEVEL = {"cross_entropy": 1e-4, "squared_error": 0.13}
"""Train loss at which runs are compared."""
DECAYS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5)
ONE_DECAY = 1.5
"""Decay of the runs that differ in seeds alone."""
SEEDS_OF_DECAY, SEEDS = 4, 24
STEPS, EVERY = 2_400, 25
DRAWS = 2_000
"""Bootstrap samples of the runs."""
BY_DECAY, BY_SEED = "decays", "seeds"
"""Sets of runs: of several decays, with a few seeds each; and of one decay."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Runs of several decays and seeds, with and without more seeds of one decay, under both losses."""
    start, found = base(), {}
    losses, decays, few, many = (["cross_entropy"], (0.0, ONE_DECAY, 2.5), 2, 6) if small else (
        list(LOSSES), DECAYS, SEEDS_OF_DECAY, SEEDS,
    )  # fmt: skip
    for loss, decay in itertools.product(losses, decays):
        train = start.train.but(steps=STEPS, checkpoint_every=EVERY, loss=loss, weight_decay=decay)
        named = start.but(name=f"{loss}+decay={decay:g}", train=train)
        grid = interp.grid(named, many if decay == ONE_DECAY else few)
        found |= {config.name: config for config in grid.values()}
    return found


def at_level(losses: pd.Series, level: float) -> int | None:
    """The first step at which a loss is down to a level, or the one before if nearer by ratio; None if it never is."""
    reached = np.flatnonzero(losses.to_numpy() <= level)
    if not len(reached):
        return None
    place = int(reached[0])
    beside = losses.iloc[max(place - 1, 0) : place + 1]
    return int(np.log(beside / level).abs().idxmin())


def report(runs: Mapping[str, Run]) -> script.Report:
    """Rank correlations of every measure with test accuracy in each set of runs, and what is left of them given the norm."""
    rows, missing = [], []
    for run in runs.values():
        train, seed = run.config.train, run.config.seeds.model
        key = {"loss": train.loss, "decay": train.weight_decay, "seed": seed}
        step = at_level(run.history.loc[list(run.steps), "train_loss"], LEVEL[train.loss])
        if step is None:
            missing.append(key | {"last_train_loss": float(run.history["train_loss"].iloc[-1])})
        else:
            rows.append({**key, "step": step, **measured(run, [step]).iloc[0]})
    table: Any = pd.DataFrame(rows)
    few = SEEDS_OF_DECAY if len(LOSSES) == table["loss"].nunique() else 2
    found = {}
    for loss, cell in table.groupby("loss", sort=False):
        sets = {BY_DECAY: cell[cell["seed"] < few], BY_SEED: cell[cell["decay"] == ONE_DECAY]}
        found |= {(loss, name): correlations(runs_of) for name, runs_of in sets.items()}
    ordered = pd.concat(found, names=["loss", "runs"])
    return script.Report(
        {
            "ordering": ordered,
            "ordering_told": ordering_told(ordered),
            "at_level": table.set_index(["loss", "decay", "seed"]),
            "not_down_to_level": pd.DataFrame(missing, columns=["loss", "decay", "seed", "last_train_loss"]),
        },
        {"ordering": draw(ordered)},
    )


def correlations(runs: pd.DataFrame, draws: int = DRAWS) -> pd.DataFrame:
    """For each measure Spearman's rho with test accuracy, and partial rho given norm, and given norm and train loss.

    Each with the 2.5 and 97.5 % quantiles over bootstrap samples of the runs, the same samples for all measures.
    """
    accuracy, norm = runs["test_accuracy"].to_numpy(float), runs["norm"].to_numpy(float)
    loss, rows = runs["train_loss"].to_numpy(float), {}
    for name, measure in MEASURES.items():
        values = runs[name].to_numpy(float)
        known = np.isfinite(values)
        x, y = values[known], accuracy[known]
        both = np.stack([norm, loss])[:, known]
        given = {"rho": both[:0], "given_norm": both[:1], "given_loss": both[1:], "given_both": both}
        row: dict[str, Any] = {"runs_known": int(known.sum()), "better": measure.better}
        for what, others in given.items():
            if name != "norm" or what in ("rho", "given_loss"):
                low, high = interval(x, y, others, draws)
                row |= {what: float(partial(x, y, others)), f"{what} low": low, f"{what} high": high}
        rows[measure.label] = row | {"says": verdict(row)}
    return pd.DataFrame(rows).T.rename_axis("measure").infer_objects()


def partial(
    x: Float[np.ndarray, "*draw run"], y: Float[np.ndarray, "*draw run"], given: Float[np.ndarray, "other *draw run"]
) -> Float[np.ndarray, "*draw"]:
    """Spearman's rank correlation of x and y, given others: of what is left of their ranks by least squares on those ranks.

    NaN if nothing is left of x or of y.
    """
    basis = np.stack([np.ones(x.shape), *(rankdata(other, axis=-1) for other in given)], axis=-1)
    projection, left = basis @ np.linalg.pinv(basis), []
    for values in (x, y):
        ranks = rankdata(values, axis=-1)
        rest = ranks - np.einsum("...ij,...j->...i", projection, ranks)
        length = np.linalg.norm(rest, axis=-1, keepdims=True)
        nothing = length <= 1e-9 * np.linalg.norm(ranks, axis=-1, keepdims=True)
        left.append(rest / np.where(nothing, math.nan, length))
    return (left[0] * left[1]).sum(axis=-1)


def interval(
    x: Float[np.ndarray, " run"], y: Float[np.ndarray, " run"], given: Float[np.ndarray, "other run"],
    draws: int, seed: int = 0,
) -> tuple[float, float]:  # fmt: skip
    """The 2.5 and 97.5 % quantiles of the partial rank correlation over bootstrap samples of the runs in which it is known.

    NaN if it is known in fewer than half of them, as with few runs that the norm orders wholly.
    """
    places = np.random.default_rng(seed).integers(0, len(x), (draws, len(x)))
    found = partial(x[places], y[places], given[:, places])
    found = found[np.isfinite(found)]
    if 2 * len(found) < draws:
        return math.nan, math.nan
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def verdict(row: Mapping[str, float]) -> str:
    """What the intervals say: does the measure order runs, in the direction that is claimed, and beyond what the norm does?"""
    alone, beyond = (side(row, what) for what in ("rho", "given_norm"))
    if not alone:
        return "no order is shown" if not beyond else f"orders given the norm alone, {WORDS[beyond]}"
    order = f"orders {WORDS[alone]}"
    if "given_norm low" not in row:
        return order
    return f"{order}, also given the norm" if beyond == alone else f"{order}, not shown given the norm"


WORDS = {1: "as claimed", -1: "against what is claimed"}


def side(row: Mapping[str, float], what: str) -> int:
    """1 if a correlation is of the claimed sign with its whole interval, −1 if of the other, 0 if the interval has 0."""
    low, high = (row.get(f"{what} {end}", math.nan) for end in ("low", "high"))
    if low > 0 or high < 0:
        return int(np.sign(low) * row["better"])
    return 0


def ordering_told(ordered: pd.DataFrame) -> pd.DataFrame:
    """What the README tells: a row for each measure with its ρ in each set of runs; of φ over seeds with its interval."""
    cells: Any = ordered["rho"].unstack(["loss", "runs"])
    cells.columns = [f"{LOSSES[loss]}, {runs}" for loss, runs in cells.columns]
    told = cells.reindex(ordered.index.get_level_values("measure").unique())
    sets: Any = ordered.groupby(level=["loss", "runs"], sort=False)
    for (loss, runs), cell in sets:
        if runs == BY_SEED:
            name, phi = f"{LOSSES[loss]}, {runs}", cell.xs("φ, %", level="measure")
            told.loc["φ, %", [f"{name}, low", f"{name}, high"]] = phi[["rho low", "rho high"]].to_numpy()[0]
    return told


def draw(ordered: pd.DataFrame) -> go.Figure:
    """Rank correlations with their intervals: a panel for each loss and set of runs, a row for each measure."""
    cells: Sequence[Any] = list(ordered.groupby(level=["loss", "runs"], sort=False))
    titles = [f"{LOSSES[loss]}: {runs}" for (loss, runs), _ in cells]
    title = "Rank correlation with test accuracy at equal train loss"
    figure = figures.panels(titles, [8] * (len(cells) // 2), title, columns=2, over_steps=False)
    looks = {"rho": ("alone", figures.PALETTE[0]), "given_norm": ("given the norm", figures.PALETTE[1])}
    for place, (_, cell) in enumerate(cells):
        row, column = divmod(place, 2)
        names = list(cell.index.get_level_values("measure"))
        for shift, (what, (label, colour)) in zip((0.14, -0.14), looks.items(), strict=True):
            values, low, high = (cell[name].to_numpy(float) for name in (what, f"{what} low", f"{what} high"))
            figure.add_scatter(
                x=values, y=np.arange(len(names))[::-1] + shift, mode="markers", name=label, marker={"color": colour},
                error_x={"array": high - values, "arrayminus": values - low, "width": 3},
                legendgroup=label, showlegend=place == 0, row=row + 1, col=column + 1,
            )  # fmt: skip
        ticks = {"tickvals": list(range(len(names)))[::-1], "ticktext": names if column == 0 else [""] * len(names)}
        figure.update_yaxes(**ticks, row=row + 1, col=column + 1)
        figure.add_vline(x=0, line={"color": figures.INK, "width": 1}, row=row + 1, col=column + 1)  # pyright: ignore
    figure.update_xaxes(range=[-1.05, 1.05]).update_xaxes(title_text="Spearman's ρ, 95 % interval", row=len(cells) // 2)
    return figure.update_layout(margin={"l": 170, "r": 160}, width=1_100)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
