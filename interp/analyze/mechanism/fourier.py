"""Fourier structure of the weights: when do the key frequencies appear, and which are they?"""

from typing import Literal

import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from torch import Tensor

from interp import figures
from interp.figures.phases import LINES
from interp.maths import fourier
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset, frequency_axis
from interp.store.tensors import Tensors
from interp.views.residues import Spectrum
from interp.views.walk import over_checkpoints

RULES = {
    "quarter_of_largest": fourier.above_quarter_of_largest,
    "largest_gap": fourier.above_largest_gap,
    "share_of_power": fourier.fewest_with_share,
}
"""Which frequencies are key, by name; the published rules differ, so all are reported."""

BY_CHECKPOINT = True


class Options(AnalysisOptions):
    """Which frequencies are named."""

    rule: Literal["quarter_of_largest", "largest_gap", "share_of_power"] = "largest_gap"
    """Whose key frequencies the summary and the figure name: norm above a quarter of the largest, power above the
    largest gap, or the fewest that hold 90 % of the power. The measurement has all three."""


VARIABLES: Variables = {
    "power": Var("step matrix freq", "share of power", "1"),
    "norm": Var("step matrix freq", "norm of the cosine and sine components"),
    "gini": Var("step matrix", "Gini coefficient of the component norms", "1"),
    "ipr_network": Var("step matrix", "inverse participation ratio of the matrix's power by frequency", "1"),
    "ipr_neuron": Var("step matrix", "inverse participation ratio of a neuron's power by frequency, mean", "1"),
    "key": Var("step matrix rule freq", "is a key frequency by the rule"),
}


def measure(seen: Spectrum, options: Options) -> xr.Dataset:
    """Power per frequency of W_E and W_L = W_out·W_U at each step, with its concentration and key frequencies."""

    def spectra(weights: Tensors) -> dict[str, Tensor]:
        """Every variable for a stack of checkpoints: [step, matrix, …]."""
        directions = {name: fourier.wave_directions(each) for name, each in seen.matrices(weights).items()}
        components = torch.stack([each.norm(dim=-1) for each in directions.values()], dim=1)
        norms = fourier.by_frequency(components)
        return {
            "power": fourier.power_shares(norms),
            "norm": norms,
            "gini": fourier.gini(components),
            **seen.participations(directions),
            "key": torch.stack([rule(norms) for rule in RULES.values()], dim=2),
        }

    return dataset(
        seen.run,
        options,
        over_checkpoints(seen.run, spectra, each=6 * seen.bytes_of_matrices, names=seen.reads.__contains__),
        VARIABLES,
        coords={"matrix": ["W_E", "W_L"], "freq": frequency_axis(seen.n), "rule": list(RULES)},
        definition="real Fourier basis over the residues, constant left out; W_L = W_out·W_U of the last layer; inverse "
        "participation ratio Σ s² of the shares of power by frequency: of the whole matrix (network), and of each neuron's "
        "column, then the mean (neuron: of W_L, and of W_E in an MLP on one-hot inputs; NaN elsewhere)",
        source="Nanda et al. 2023 (arXiv 2301.05217), sections 4.1 and 5.1; Gini: Hurley & Rickard 2009; inverse participation "
        "ratio per neuron: Gromov 2023 (arXiv 2301.02679)",
    )


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above the power of W_E and W_L at every frequency, above the Gini coefficients."""
    figure = figures.panels(
        ["loss", "power of W_E by frequency", "power of W_L = W_out·W_U by frequency", "concentration (Gini)"],
        heights=[3, 4, 4, 3],
        title="When the key frequencies appear",
    )
    figures.losses(figure, found, row=1)
    rule, largest = Options.model_validate_json(found.attrs["options"]).rule, float(found["power"].max())
    for row, matrix in ((2, "W_E"), (3, "W_L")):
        keys = found["freq"].values[found["key"].sel(rule=rule, matrix=matrix).values[-1]].tolist()
        figures.heatmap(figure, found["power"].sel(matrix=matrix), row, "share of power", zmax=largest, named=keys)
    for matrix in found["matrix"].values:
        colour, dash = LINES[f"Gini {matrix}"]
        figures.line(figure, found["gini"].sel(matrix=matrix), f"Gini {matrix}", colour, row=4, dash=dash)
    figure.update_yaxes(title_text="frequency k", row=2).update_yaxes(title_text="frequency k", row=3)
    figure.update_yaxes(title_text="Gini", range=[0, 1], row=4)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Concentration and key frequencies at each step."""
    rule = Options.model_validate_json(found.attrs["options"]).rule
    table = by_step(found)
    for matrix in found["matrix"].values:
        here = found.sel(matrix=matrix)
        table[f"Gini {matrix}"] = here["gini"].values
        table[f"network IPR {matrix}"] = here["ipr_network"].values
        if here["ipr_neuron"].notnull().any():
            table[f"neuron IPR {matrix}"] = here["ipr_neuron"].values
        key = here["key"].sel(rule=rule).values
        table[f"key k {matrix}"] = [" ".join(map(str, found["freq"].values[row])) for row in key]
    return table
