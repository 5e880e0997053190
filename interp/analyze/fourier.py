"""Fourier structure of the weights: when do the key frequencies appear, and which are they?"""

from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from torch import Tensor

from interp import figures
from interp.analyze._common import (
    AnalysisOptions,
    answer_rows,
    by_step,
    dataset,
    last_mlp,
    needs_mlp,
    needs_numbers,
    number_rows,
    over_checkpoints,
)
from interp.maths import fourier
from interp.store import Run

RULES = {
    "quarter_of_largest": fourier.above_quarter_of_largest,
    "largest_gap": fourier.above_largest_gap,
    "share_of_power": fourier.fewest_with_share,
}
"""Which frequencies are key, by name; the published rules differ, so all are reported."""


class Options(AnalysisOptions):
    """Which frequencies are named."""

    rule: Literal["quarter_of_largest", "largest_gap", "share_of_power"] = "largest_gap"
    """Whose key frequencies the summary and the figure name: norm above a quarter of the largest, power above the
    largest gap, or the fewest that hold 90 % of the power. The measurement has all three."""


def measure(run: Run, options: Options) -> xr.Dataset:
    """Power per frequency of W_E and W_L = W_out·W_U at each step, with its concentration and key frequencies."""
    task = needs_numbers(needs_mlp(run, "fourier"), "fourier")

    def spectra(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of a stack of checkpoints: [step, matrix, …]."""
        matrices = [number_rows(weights["embed.W_E"], task), answer_rows(last_mlp(weights, run), task)]
        components = torch.stack([fourier.component_norms(matrix) for matrix in matrices], dim=1)
        norms = fourier.by_frequency(components)
        power = fourier.power_shares(norms)
        return {
            "power": power,
            "norm": norms,
            "gini": fourier.gini(components),
            "ipr": fourier.inverse_participation_ratio(power),
            "key": torch.stack([rule(norms) for rule in RULES.values()], dim=2),
        }

    needed = ("embed.W_E", "unembed.W_U", "ln_final.w", f"blocks.{run.transformer.n_layers - 1}.mlp.W_out")
    waves = 8 * task.shape.d_vocab_out * (run.transformer.d_model + run.transformer.d_mlp)
    found = over_checkpoints(run, spectra, each=3 * waves, names=lambda name: name in needed)
    per_matrix = ("step", "matrix")
    return dataset(
        run,
        options,
        {
            "power": ((*per_matrix, "freq"), found["power"], {"long_name": "share of power", "units": "1"}),
            "norm": ((*per_matrix, "freq"), found["norm"], {"long_name": "norm of the cosine and sine components"}),
            "gini": (per_matrix, found["gini"], {"long_name": "Gini coefficient of the component norms", "units": "1"}),
            "ipr": (per_matrix, found["ipr"], {"long_name": "inverse participation ratio of the power", "units": "1"}),
            "key": ((*per_matrix, "rule", "freq"), found["key"], {"long_name": "is a key frequency by the rule"}),
        },
        coords={
            "matrix": ["W_E", "W_L"],
            "freq": (
                "freq",
                np.arange(1, found["power"].shape[-1] + 1),
                {"units": f"cycles per {len(task.residues())} residues"},
            ),
            "rule": list(RULES),
        },
        definition="real Fourier basis over the residues, constant left out; W_L = W_out·W_U of the last layer",
        source="Nanda et al. 2023 (arXiv 2301.05217), sections 4.1 and 5.1; Gini: Hurley & Rickard 2009",
    )


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above the power of W_E and W_L at every frequency, above the Gini coefficients."""
    figure = figures.panels(
        ["loss", "power of W_E by frequency", "power of W_L = W_out·W_U by frequency", "concentration (Gini)"],
        heights=[3, 4, 4, 3],
        title="When the key frequencies appear",
    )
    figures.losses(figure, found, row=1)
    figures.heatmap(figure, found["power"].sel(matrix="W_E"), row=2, colorbar="share of power")
    figures.heatmap(figure, found["power"].sel(matrix="W_L"), row=3)
    for matrix, colour in zip(found["matrix"].values, figures.PALETTE, strict=False):
        figures.line(figure, found["gini"].sel(matrix=matrix), name=f"Gini {matrix}", colour=colour, row=4)
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
        table[f"IPR {matrix}"] = here["ipr"].values
        key = here["key"].sel(rule=rule).values
        table[f"key k {matrix}"] = [" ".join(map(str, found["freq"].values[row])) for row in key]
    return table
