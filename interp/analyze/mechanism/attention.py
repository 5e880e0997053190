"""Attention of the last layer's heads at the answer: which frequency does each read, and how much of its pattern is that?"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from torch import Tensor

from interp import figures
from interp.maths.attention import difference_shares, read_frequency
from interp.maths.neurons import block_shares
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset, frequency_axis
from interp.store.tensors import Tensors
from interp.views.square import AttentionSquare
from interp.views.walk import each_checkpoint

HEADS_DRAWN = 16
"""Heads that have curves of their own in the figure, at most: more would be a thicket."""

BY_CHECKPOINT = True


class Options(AnalysisOptions):
    """Nothing to choose."""


VARIABLES: Variables = {
    "weight": Var("step head position", "mean attention to the position", "1"),
    "weight_deviation": Var("step head position", "standard deviation of the attention to the position", "1"),
    "explained": Var("step head freq", "variance of the attention to a that waves of k explain", "1"),
    "best_explained": Var("step head", "variance of the attention to a that waves of the best k explain", "1"),
    "all_explained": Var("step head", "variance of the attention to a that waves of all k together explain", "1"),
    "frequency": Var("step head", "best k; 0 where attention never varies"),
    "block_share": Var("step head", "variance of the attention to a in the 3×3 block of the best k", "1"),
}

DEFINITION = (
    "weights of the last layer's attention from the last position, over all pairs, as the network uses them "
    "(rate·softmax + 1 − rate). explained: share of the variance of the weight on a by least squares of a constant + "
    "α(cos w_k a − cos w_k b) + β(sin w_k a − sin w_k b), a and b by the places of their tokens in the order of the task's "
    "group; block_share: in {1, cos, sin}(w_k a) ⊗ {1, cos, sin}(w_k b), the constant left out, at the k that explains most"
)


def measure(seen: AttentionSquare, options: Options) -> xr.Dataset:
    """Mean weight of each position, and for the weight of a the fit by waves of one frequency, for each head and step.

    Attention that is the same at every prompt (an attention rate of 0) has no shares: NaN, and frequency 0.
    """
    n, heads = seen.n, seen.attention.width
    # The token b stands elsewhere in the order than the column where b is counted backwards, as for x − y.
    column = torch.from_numpy(seen.columns).argsort()

    def measures(weights: Tensors) -> dict[str, Tensor]:
        """Every variable at one checkpoint, [head, …]."""
        pattern = seen.pattern(weights)
        on_a = pattern[..., seen.order.position_of_a].T.unflatten(1, (n, n))[..., column]
        shares = difference_shares(on_a)
        block = block_shares(on_a.movedim(0, -1))
        k = read_frequency(shares)
        best = (k - 1).clamp(min=0)[:, None]  # NaN everywhere where k is 0
        return {
            "weight": pattern.mean(dim=0, dtype=torch.float64),
            "weight_deviation": pattern.double().std(dim=0, correction=0),
            "explained": shares,
            "best_explained": shares.gather(1, best)[:, 0],
            "all_explained": shares.sum(dim=-1),
            "frequency": k,
            "block_share": block.gather(1, best)[:, 0],
        }

    needs = seen.forward_bytes + seen.bytes((16 + 4 * len(seen.positions)) * heads)
    return dataset(
        seen.run,
        options,
        each_checkpoint(seen.run, measures, needs=needs),
        VARIABLES,
        coords={"head": np.arange(heads), "position": seen.positions, "freq": frequency_axis(n)},
        definition=DEFINITION,
        source="Nanda et al. 2023 (arXiv 2301.05217), section 4",
    )


def draw(found: xr.Dataset) -> go.Figure:
    """Accuracy above what one frequency explains of each head, above all frequencies, above where attention goes."""
    heads = found["head"].values[:HEADS_DRAWN]
    shown = f", first {len(heads)} of {found.sizes['head']} heads" if len(heads) < found.sizes["head"] else ""
    figure = figures.panels(
        [
            "accuracy",
            f"variance of the attention to a explained by waves of one frequency, each head{shown}",
            "the same by frequency, the largest over the heads",
            "mean attention from the answer position, over the heads (dotted: smallest and largest)",
        ],
        heights=[3, 4, 4, 4],
        title="Which frequency each head reads",
    )
    figures.accuracies(figure, found, row=1)
    for number, head in enumerate(heads):
        here, colour = found.sel(head=head), figures.PALETTE[number % len(figures.PALETTE)]
        k = int(here["frequency"].values[-1])
        name = f"head {head}, k = {k} at last" if k else f"head {head}, constant"
        dash = ("solid", "dash", "dot")[number // len(figures.PALETTE)]
        figures.line(figure, here["best_explained"], name, colour, row=2, dash=dash)
    figures.line(figure, found["all_explained"].mean("head"), "all k, mean of heads", figures.QUIET, row=2)
    read = sorted({int(k) for k in found["frequency"].values[-1] if k})
    figures.heatmap(figure, found["explained"].max("head"), row=3, colorbar="explained", named=read)
    for position, colour in zip(found["position"].values, figures.PALETTE, strict=False):
        here = found["weight"].sel(position=position)
        name = f"to {position}"
        figures.line(figure, here.mean("head"), name, colour, row=4, legendgroup=name)
        for edge in (here.min("head"), here.max("head")):
            figures.line(figure, edge, name, colour, row=4, dash="dot", legendgroup=name, showlegend=False)
    figure.update_yaxes(title_text="explained", range=[-0.02, 1.04], row=2)
    figure.update_yaxes(title_text="frequency k", row=3)
    figure.update_yaxes(title_text="weight", rangemode="tozero", row=4)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Each head's frequency with what it explains, and where attention goes, at each step."""
    table = by_step(found)
    for head in found["head"].values:
        here = found.sel(head=head)
        k = here["frequency"].values
        table[f"k of head {head}"] = np.where(k > 0, k, np.nan)  # attention that never varies reads none
        table[f"explained {head}"] = here["best_explained"].values
    table["all k, mean"] = found["all_explained"].mean("head").values
    for position in found["position"].values:
        table[f"to {position}"] = found["weight"].sel(position=position).mean("head").values
    return table
