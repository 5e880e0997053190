"""Spectra: which singular values of each matrix leave those of random entries, how far, and how many directions does it use?"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.maths import noise_spectrum, norms
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.views.matrices import Matrices
from interp.views.walk import bytes_read, over_checkpoints


class Options(AnalysisOptions):
    """How much of each spectrum is kept."""

    largest: int = Field(default=128, ge=1)
    """Singular values of each matrix that are kept, largest first. Ranks and counts are of all."""


VARIABLES: Variables = {
    "singular_value": Var("step weight_matrix order", "singular value, largest first; NaN past the shorter side"),
    "edge": Var("step weight_matrix", "largest singular value of random entries of its size and variance"),
    "edge_ratio": Var("step weight_matrix", "largest singular value ÷ that of random entries", "1"),
    "beyond": Var("step weight_matrix", "singular values that the largest of random entries exceeds once in 100 draws"),
    "beyond_share": Var("step weight_matrix", "share of Σσ² in these", "1"),
    "stable_rank": Var("step weight_matrix", "stable rank"),
    "effective_rank": Var("step weight_matrix", "effective rank"),
    "random_stable_rank": Var("weight_matrix", "stable rank of random entries of its size"),
    "random_effective_rank": Var("weight_matrix", "effective rank of random entries of its size"),
}


def measure(seen: Matrices, options: Options) -> xr.Dataset:
    """Singular values, stable and effective rank of every weight matrix, beside a random matrix of its size and variance."""
    spectra, names = Spectra(seen, options.largest), seen.names.__contains__
    found = over_checkpoints(seen.run, spectra.at, each=6 * bytes_read(seen.run, names), names=names)
    noise = {
        "random_stable_rank": noise_spectrum.stable_rank_of_noise,
        "random_effective_rank": noise_spectrum.effective_rank_of_noise,
    }
    return dataset(
        seen.run,
        options,
        found | {name: np.array([rank(*seen.size(each)) for each in seen.names]) for name, rank in noise.items()},
        VARIABLES,
        coords={
            "weight_matrix": seen.names,
            "order": np.arange(1, spectra.kept + 1),
            "matrix_size": ("weight_matrix", ["×".join(map(str, seen.size(name))) for name in seen.names]),
        },
        definition="of an m×n matrix: edge s(√m + √n), the end of the law of Marchenko and Pastur, s the standard deviation of "
        "its entries about their mean; beyond: above s times the 99 % quantile of the largest singular value of normal entries; "
        "stable rank ‖W‖_F²/σ₁², of random entries mn/(√m + √n)²; effective rank exp H(σ/Σσ), of random entries by that law; "
        "heads of one layer are side by side in one matrix",
        source="Marchenko & Pastur 1967; Johnstone 2001; of networks' weights: Martin & Mahoney 2021 (arXiv 1810.01075); "
        "effective rank: Roy & Vetterli 2007",
    )


@dataclass(frozen=True)
class Spectra:
    """The spectra of every weight matrix of a run."""

    seen: Matrices
    largest: int

    @property
    def kept(self) -> int:
        """How many singular values are kept of the matrix that has most."""
        return min(self.largest, max(min(self.seen.size(name)) for name in self.seen.names))

    def at(self, weights: Weights) -> dict[str, Tensor]:
        """Every variable of a stack of checkpoints, [step, weight matrix, …]."""
        each = [self.of(name, self.seen.as_one(name, weights[name])) for name in self.seen.names]
        return {name: torch.stack([one[name] for one in each], dim=1) for name in each[0]}

    def of(self, name: str, matrices: Float[Tensor, "step row column"]) -> dict[str, Tensor]:
        """Every variable of one matrix, at some checkpoints."""
        singular, (rows, columns) = norms.singular_values(matrices), self.seen.size(name)
        deviation = matrices.double().flatten(1).std(dim=1, correction=0)
        edge = deviation * noise_spectrum.edge(rows, columns)
        beyond = singular > (deviation * noise_spectrum.rare_edge(rows, columns))[:, None]
        power, fill = singular.square(), partial(torch.nn.functional.pad, value=torch.nan)
        kept = singular[:, : self.kept]
        return {
            "singular_value": fill(kept, (0, self.kept - kept.shape[1])),
            "edge": edge,
            "edge_ratio": singular[:, 0] / edge.where(edge > 0, torch.nan),
            "beyond": beyond.sum(dim=1),
            "beyond_share": (power * beyond).sum(dim=1) / power.sum(dim=1),
            "stable_rank": norms.stable_rank(singular),
            "effective_rank": norms.effective_rank(singular),
        }


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above the largest singular value, those beyond random entries, both ranks ÷ random's, and one whole spectrum."""
    told = str(found["weight_matrix"].values[int(found["beyond"].values[-1].argmax())])
    rank_over = {name: found[name] / found[f"random_{name}"] for name in ("stable_rank", "effective_rank")}
    figure = figures.panels(
        [
            "loss",
            "largest singular value ÷ edge of random entries (Marchenko–Pastur)",
            "singular values beyond random entries",
            "stable rank ÷ that of random entries",
            "effective rank ÷ that of random entries",
            f"singular values ÷ edge: {told}, {found['matrix_size'].sel(weight_matrix=told).item()}",
        ],
        heights=[3, 4, 4, 4, 4, 4],
        title="Spectra of the weight matrices",
    )
    figures.losses(figure, found, row=1)
    curves = [found["edge_ratio"], found["beyond"], *rank_over.values()]
    for row, values in enumerate(curves, start=2):
        for number, matrix in enumerate(found["weight_matrix"].values):
            colour = figures.PALETTE[number % len(figures.PALETTE)]
            dash = ("solid", "dash", "dot")[number // len(figures.PALETTE) % 3]
            figures.line(figure, values.sel(weight_matrix=matrix), str(matrix), colour, row, dash)
    for row in (2, 4, 5):
        figures.level(figure, 1, row)
        figure.update_yaxes(title_text="÷ random", rangemode="tozero", row=row)
    figure.update_yaxes(title_text="singular values", rangemode="tozero", row=3)
    spectrum = (found["singular_value"] / found["edge"]).sel(weight_matrix=told).dropna("order", how="all")
    figures.heatmap(figure, spectrum, row=6, colorbar="σ ÷ edge")
    figure.update_yaxes(title_text="number, largest first", autorange="reversed", row=6)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Largest singular value ÷ the edge of random entries, and how many are beyond, of each matrix, at each step."""
    table = by_step(found)
    for matrix in found["weight_matrix"].values:
        here = found.sel(weight_matrix=matrix)
        table[f"{matrix} σ₁÷edge"] = here["edge_ratio"].values
        table[f"{matrix} beyond"] = here["beyond"].values
    return table
