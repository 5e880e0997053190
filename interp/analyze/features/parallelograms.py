"""Parallelograms: do sums of the symbols' codes tell the answers, and does the training set force them to?"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.maths.curves import IN_A_ROW, reached
from interp.maths.parallelograms import effective_loss, quality, reach
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.store.tensors import Tensors
from interp.views.comparison import for_each_setting, over_runs
from interp.views.sums import Sums
from interp.views.walk import each_checkpoint

HIGH = 0.95
"""Quality that counts as a structured representation."""

BY_CHECKPOINT = True


class Options(AnalysisOptions):
    """What counts as a parallelogram, and the null."""

    tolerance: float = Field(default=0.01, gt=0)
    """Squared difference of two sums of standardised codes, averaged over dimensions, below which they count as equal."""
    shuffles: int = Field(default=20, ge=1, le=1000)
    """Shuffles of the codes over the symbols, whose mean quality is the null."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the shuffles."""


VARIABLES: Variables = {
    "rqi": Var("step", "representation quality index: share of the parallelograms that hold", "1"),
    "rqi_null": Var("step", "the same for codes shuffled over the symbols, mean", "1"),
    "effective_loss": Var("step", "squared gaps of the trained parallelograms per squared length of the codes", "1"),
    "ideal_accuracy": Var("", "share of the untrained pairs that the trained parallelograms reach", "1"),
    "free": Var("", "dimensions of a code that the trained parallelograms leave free; 2: it must be linear"),
    "possible": Var("", "parallelograms"),
}


def measure(seen: Sums, options: Options) -> xr.Dataset:
    """Quality of the embedding at every checkpoint with its null, and what the training set alone implies."""
    pairs, numbers = seen.pairs, np.random.default_rng(options.seed)
    symbols = pairs.symbols
    orders = [symbols[numbers.permutation(len(symbols))] for _ in range(options.shuffles)]

    def shuffled(codes: Tensor, order: np.ndarray) -> Tensor:
        """The codes with those of the symbols that occur in another order."""
        found = codes.clone()
        found[symbols] = codes[order]
        return found

    def measures(weights: Tensors) -> dict[str, float]:
        """Every variable at one checkpoint."""
        codes = seen.codes(weights).double()
        null = [quality(shuffled(codes, order), pairs, options.tolerance) for order in orders]
        return {
            "rqi": quality(codes, pairs, options.tolerance),
            "rqi_null": float(np.mean(null)),
            "effective_loss": effective_loss(codes, pairs),
        }

    most = max(map(len, pairs.alike))
    found, implied = each_checkpoint(seen.run, measures, needs=8 * (4 * most**2 + 4 * len(pairs.i))), reach(pairs)
    alone = {"ideal_accuracy": implied.ideal_accuracy, "free": implied.free, "possible": pairs.possible}
    return dataset(
        seen.run,
        options,
        found | alone,
        VARIABLES,
        definition="parallelogram: two unordered pairs with one answer; it holds if their sums of codes, standardised over the "
        f"symbols in every dimension, differ by less than {options.tolerance:g} squared, mean over dimensions. effective loss: "
        "Σ|E_i + E_j − E_m − E_n|² over couples of trained pairs, ÷ Σ|E_k|². ideal accuracy: share of the untrained pairs whose "
        "sum equals that of a trained pair with the same answer in every code that satisfies all trained parallelograms",
        source="Liu et al. 2022 (arXiv 2205.10343), section 3",
    )


def draw(found: xr.Dataset) -> go.Figure:
    """Accuracy above the quality with its null, above the effective loss."""
    names = ["accuracy", "parallelograms that hold (dotted: codes shuffled over the symbols)", "effective loss"]
    figure = figures.panels(names, heights=[4, 4, 4], title="Parallelograms of the embedding")
    figures.accuracies(figure, found, row=1)
    ideal = float(found["ideal_accuracy"])
    if not np.isnan(ideal):
        figures.line(
            figure, xr.full_like(found["rqi"], ideal), "ideal test accuracy", figures.QUIET, row=1, dash="dash"
        )
    figures.line(figure, found["rqi"], "parallelograms", figures.PALETTE[0], row=2)
    figures.line(figure, found["rqi_null"], "shuffled", figures.PALETTE[0], row=2, dash="dot")
    figures.line(figure, found["effective_loss"], "effective loss", figures.PALETTE[1], row=3)
    figure.update_yaxes(title_text="share", range=[-0.02, 1.04], row=2)
    figure.update_yaxes(title_text="effective loss", row=3)
    positive = found["effective_loss"].where(found["effective_loss"] > 0)
    if bool(positive.notnull().any()):
        figure.update_yaxes(type="log", exponentformat="power", row=3)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Quality, its null and the effective loss at each step, and the accuracy that the training set allows."""
    table = by_step(found)
    for name in ("rqi", "rqi_null", "effective_loss"):
        table[name] = found[name].values
    table["test_accuracy"] = found["test_accuracy"].values
    table["ideal_accuracy"] = float(found["ideal_accuracy"])
    return table


@for_each_setting
def compare(found: list[xr.Dataset]) -> pd.DataFrame:
    """Over runs, the first checkpoint of three in a row with a high quality."""
    steps = [reached(each["step"].values, each["rqi"].values, HIGH, IN_A_ROW).step for each in found]
    return over_runs({f"parallelograms {HIGH:g}": (steps, [float(each["step"][-1]) for each in found])})
