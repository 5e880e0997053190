"""Neurons: which frequency does each compute with, how much of it that explains, and do the phases of its waves add up?"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.maths.neurons import cluster_sizes, neuron_frequency, waves_at, wrapped
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset, frequency_axis
from interp.store.tensors import Tensors
from interp.views.keys import neuron_bytes, neuron_parts
from interp.views.square import NeuronTable
from interp.views.walk import each_checkpoint

BINS = 20
"""Of the figure's histogram of shares."""

BY_CHECKPOINT = True


class Options(AnalysisOptions):
    """What counts as a neuron of one frequency."""

    threshold: float = Field(default=0.85, ge=0.5, lt=1)
    """Share of a neuron's variance above which it is in a frequency's cluster; from 0.5 up, so that it is in one at most."""


VARIABLES: Variables = {
    "frequency": Var("step neuron", "frequency of the largest share; 0: never varies"),
    "share": Var("step neuron", "share of the variance at that frequency", "1"),
    "linear_share": Var(
        "step neuron", "share of the variance that is linear in waves of a and of b at that frequency", "1"
    ),
    "quadratic_share": Var(
        "step neuron", "share of the variance in products of a wave of a with one of b at that frequency", "1"
    ),
    "input_phase": Var("step operand neuron", "phase of the wave of a, of b, in the activation", "radians"),
    "output_phase": Var("step neuron", "phase of the wave in W_L", "radians"),
    "cluster_size": Var("step freq", "neurons with {cluster}"),
    "neurons_of": Var("step freq", "neurons whose largest share is there"),
    "clustered": Var("step", "share of neurons with {cluster}", "1"),
    "median_share": Var("step", "median of the neurons' shares", "1"),
    "phase_agreement": Var(
        "step", "mean cos(φ_a + φ_b − φ_out) of the neurons, weighted; NaN for a task that is no sum", "1"
    ),
}

DEFINITION = (
    "last MLP at the answer position, over all pairs; a and b by their places in the task's order, b backwards for x − y; "
    "share: variance in {1, cos, sin}(wa) × {1, cos, sin}(wb) of the best frequency, constant left out; phases: φ of "
    "cos(wa − φ_a) in the mean activation by a, the same by b, and of cos(wc − φ_out) in W_L = W_out·W_U; a neuron that makes "
    "cos(w(a+b−c)) has φ_out = φ_a + φ_b, and counts by its activation's deviation there times the wave that it writes"
)


def measure(seen: NeuronTable, options: Options) -> xr.Dataset:
    """For every neuron of the last MLP its frequency, the share of its variance there, and the phases of its waves.

    A neuron that never varies has frequency 0, shares NaN, phases NaN.
    """
    n, width = seen.n, seen.neurons.width

    def measures(weights: Tensors) -> dict[str, Tensor | float]:
        """Every variable at one checkpoint."""
        post = seen.posts(weights)
        linear, quadratic = neuron_parts(seen, post)
        shares = linear + quadratic
        frequency = neuron_frequency(shares)
        place = (frequency - 1).clamp(min=0)[:, None]
        of_both = post.unflatten(0, (n, n))
        by_operand = [waves_at(of_both.mean(dim=dim), frequency) for dim in (1, 0)]
        written, output_phase = waves_at(seen.readout(weights), frequency)
        input_phase = torch.stack([phase for _, phase in by_operand])
        agreement = torch.cos(wrapped(input_phase.sum(dim=0) - output_phase))
        share = shares.gather(-1, place)[:, 0]
        contribution = (post.double().var(dim=0, correction=0) * share.nan_to_num()).sqrt() * written
        together = (contribution * agreement.nan_to_num()).sum() / contribution.sum()
        return {
            "frequency": frequency,
            "share": share,
            "linear_share": linear.gather(-1, place)[:, 0],
            "quadratic_share": quadratic.gather(-1, place)[:, 0],
            "input_phase": input_phase,
            "output_phase": output_phase,
            "cluster_size": cluster_sizes(shares, options.threshold),
            "neurons_of": torch.bincount(frequency, minlength=n // 2 + 1)[1:],
            "clustered": (shares.amax(dim=-1) > options.threshold).double().mean(),
            "median_share": shares.amax(dim=-1).nanmedian(),
            "phase_agreement": together if seen.adds else torch.nan,
        }

    waves = 8 * width * n * 12
    return dataset(
        seen.run,
        options,
        each_checkpoint(seen.run, measures, needs=seen.forward_bytes + neuron_bytes(seen) + waves + seen.bytes(width)),
        VARIABLES,
        coords={"neuron": np.arange(width), "freq": frequency_axis(n), "operand": ["a", "b"]},
        definition=DEFINITION,
        source="Nanda et al. 2023 (arXiv 2301.05217), section 4 and their code; phases: Gromov 2023 (arXiv 2301.02679)",
        words={"cluster": f"more than {options.threshold:.0%} of their variance at the frequency"},
    )


def draw(found: xr.Dataset) -> go.Figure:
    """Accuracy; how the neurons' shares are spread; which frequencies have clusters; whether phases add up."""
    figure = figures.panels(
        [
            "accuracy",
            "neurons by the share of their variance at one frequency",
            "size of each frequency's cluster",
            "share of neurons in a cluster; agreement of phases, weighted mean cos(φ_a + φ_b − φ_out)",
        ],
        heights=[3, 4, 4, 3],
        title="Neurons come to compute with one frequency",
    )
    figures.accuracies(figure, found, row=1)
    figures.heatmap(figure, histogram(found["share"]), row=2, colorbar="neurons")
    clusters = found["freq"].values[found["cluster_size"].values[-1] > 0].tolist()
    figures.heatmap(figure, found["cluster_size"], row=3, colorbar="neurons", named=clusters)
    figures.line(figure, found["clustered"], "in a cluster", figures.PALETTE[0], row=4)
    figures.line(figure, found["phase_agreement"], "phases agree", figures.PALETTE[1], row=4)
    figure.update_yaxes(title_text="share", tickformat=".0%", row=2).update_yaxes(title_text="frequency k", row=3)
    figure.update_yaxes(title_text="share", range=[-0.1, 1.04], row=4)
    return figures.mark_transition(figure, found)


def histogram(shares: xr.DataArray) -> xr.DataArray:
    """How many neurons have a share in each of `BINS` bins, by step."""
    edges = np.linspace(0, 1, BINS + 1)
    counts = [np.histogram(row[~np.isnan(row)], edges)[0] for row in np.clip(shares.values, 0, 1)]
    middles = (edges[1:] + edges[:-1]) / 2
    return xr.DataArray(np.array(counts), dims=("step", "share"), coords={"step": shares["step"], "share": middles})


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """How many neurons are in clusters, which, and how well their phases agree, at each step."""
    table = by_step(found)
    table["in a cluster"] = [f"{share:.1%}" for share in found["clustered"].values]
    table["median share"] = found["median_share"].values
    table["phases agree"] = found["phase_agreement"].values
    table["clusters k:neurons"] = [as_clusters(found["freq"].values, sizes) for sizes in found["cluster_size"].values]
    return table


def as_clusters(frequencies: np.ndarray, sizes: np.ndarray) -> str:
    """`6:47 23:31`, or their number where they are many."""
    words = [f"{k}:{size}" for k, size in zip(frequencies, sizes, strict=True) if size]
    return " ".join(words) if len(words) <= 8 else f"{len(words)} of them"
