"""Superposition: how many features does the network represent, in how many dimensions, before and after it groks?"""

import functools
import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.maths import superposition
from interp.maths.sampling import standard_error
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.views.directions import FeatureDirections
from interp.views.features import RELATIVE
from interp.views.walk import over_checkpoints

SHOWN = 12
"""Features that are drawn one by one: those with the largest dimensionality at the end."""

BY_CHECKPOINT = True


class Options(AnalysisOptions):
    """What counts as represented, and what is compared with."""

    represented_above: float = Field(default=0.1, gt=0, lt=1)
    """Feature dimensionality D from which a feature counts as represented."""
    random_draws: int = Field(default=8, ge=1, le=1000)
    """Gaussian matrices of the same shape that are averaged for comparison."""
    random_seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of those matrices."""


VARIABLES: Variables = {
    "ratio": Var("step features", "superposition ratio (entropy)"),
    "features_represented": Var("step features", "effective number of features, exp H(s)"),
    "dimensions_used": Var("step features", "effective number of dimensions, exp H(λ)"),
    "ratio_order_2": Var("step features", "superposition ratio (participation ratios)"),
    "ratio_phase_free": Var(
        "step features", "superposition ratio (entropy), a frequency's mass even over its two waves"
    ),
    "features_per_dimension": Var("step features", "features per dimension, ‖V‖²/d"),
    "effective_features_per_dimension": Var("step features", "effective number of features per dimension, exp H(s)/d"),
    "represented_count": Var("step features", "features with D above the threshold"),
    "represented_share": Var("step features", "features with D above the threshold, per dimension"),
    "heavy_share": Var("step features", "features with ‖v‖² > 0.5, per dimension"),
    "mean_dimensionality": Var("step features", "mean feature dimensionality D"),
    "total_dimensionality": Var("step features", "sum of feature dimensionalities, ΣD"),
    "mean_interference": Var("step features", "mean interference Σ_{{j≠i}}(v̂_i·v_j)²"),
    "ratio_of_random": Var(
        "step features", "superposition ratio of a Gaussian matrix of the same shape, mean of draws"
    ),
    "ratio_of_random_error": Var("step features", "standard error of that mean over the draws"),
    "feature_dimensionality": Var("step feature", "dimensionality D of each feature"),
    "feature_norm": Var("step feature", "length of each feature's column of W"),
    "example_dimensionality": Var("step example", "dimensionality D of each training example"),
    "example_leverage": Var("step example", "leverage hᵀ(HᵀH)⁺h of each training example"),
    **RELATIVE,
}


def measure(seen: FeatureDirections, options: Options) -> xr.Dataset:
    """The superposition ratio with its two parts, and every other definition of it, for each kind of feature.

    Of a modular run there are four kinds; of a toy model its features and its training examples, each with its own
    dimensionality as well. A Gaussian matrix of the same shape is measured the same way, for comparison; the run's own step 0
    is another.
    """

    def measures(weights: Weights) -> dict[str, Tensor]:
        """Every variable for a stack of checkpoints: [step, features], and [step, feature] or [step, example] of each."""
        directions = seen.directions(weights)
        each = {name: directions[kind] for name, kind in seen.one_by_one.items() if kind in directions}
        found = ratios_of_all(directions, options)
        if seen.waves:
            found["ratio_phase_free"] = phase_free(directions, seen.waves) / found["dimensions_used"]
        return found | of_each(each)

    found = over_checkpoints(seen.run, measures, each=seen.each, beside=seen.beside)
    draws = options.random_draws, options.random_seed
    random = [random_ratio(shape, name in seen.centred, *draws) for name, shape in seen.shapes.items()]
    of_random, error = (np.tile(each, (len(seen.run), 1)) for each in zip(*random, strict=True))
    n, d = zip(*seen.shapes.values(), strict=True)
    return dataset(
        seen.run,
        options,
        {**found, "ratio_of_random": of_random, "ratio_of_random_error": error, **seen.relative()},
        VARIABLES,
        coords={
            "features": list(seen.kinds),
            "n_features": ("features", list(n)),
            "n_dimensions": ("features", list(d)),
            **{name: np.arange(seen.shapes.get(kind, (0, 0))[0]) for name, kind in seen.one_by_one.items()},
        },
        definition="superposition ratio exp H(s) / exp H(λ): s_i = ‖v_i‖²/Σ‖v‖², λ the eigenvalues of VᵀV over their sum; "
        "phase-free: s of a frequency even over its cosine and sine, for waves alone; "
        + "; ".join(f"{name}: {what}" for name, what in seen.kinds.items()),
        source="feature dimensionality, interference, features per dimension: Elhage et al. 2022, Toy Models of Superposition; "
        "example dimensionality and leverage: Henighan et al. 2023, Superposition, Memorization, and Double Descent; "
        "effective features per dimension: Bereska et al. 2025 (arXiv 2512.13568), there of a sparse autoencoder; the ratio of "
        "effective numbers is defined here",
    )


def phase_free(
    directions: Mapping[str, Float[Tensor, "step n d"]], waves: tuple[str, ...]
) -> Float[Tensor, "step features"]:
    """Effective number of waves with each frequency's mass even over its two, for all kinds of feature; NaN for other kinds."""
    shares = {name: superposition.feature_shares(V) for name, V in directions.items()}
    found = {name: superposition.exp_entropy(superposition.phase_free_shares(s)) for name, s in shares.items()}
    return torch.stack([each if name in waves else each * torch.nan for name, each in found.items()], dim=1)


def of_each(directions: Mapping[str, Float[Tensor, "step n d"]]) -> dict[str, Float[Tensor, "step n"]]:
    """What is told of every single feature and every single example."""
    found = {f"{name}_dimensionality": superposition.feature_dimensionality(V) for name, V in directions.items()}
    if "feature" in directions:
        found["feature_norm"] = directions["feature"].norm(dim=-1)
    if "example" in directions:
        found["example_leverage"] = superposition.leverage(directions["example"])
    return found


def ratios_of_all(
    directions: Mapping[str, Float[Tensor, "step n d"]], options: Options
) -> dict[str, Float[Tensor, "step features"]]:
    """Every definition of the ratio, for all kinds of feature."""
    each = [ratios(V, options) for V in directions.values()]
    return {name: torch.stack([one[name] for one in each], dim=1) for name in each[0]}


def ratios(V: Float[Tensor, "step n d"], options: Options) -> dict[str, Float[Tensor, " step"]]:
    """Every definition of the ratio, for one kind of feature."""
    gram = superposition.smaller_gram(V)
    mass, overlaps = V.square().sum(dim=-1), superposition.overlaps(V, gram)
    D, disturbance = mass / overlaps, overlaps - mass
    s, eigenvalues = superposition.feature_shares(V), superposition.dimension_shares(V, gram)
    features, dimensions = superposition.exp_entropy(s), superposition.exp_entropy(eigenvalues)
    represented = (options.represented_above < D).sum(dim=-1).double()
    return {
        "ratio": features / dimensions,
        "features_represented": features,
        "dimensions_used": dimensions,
        "ratio_order_2": superposition.participation(s) / superposition.participation(eigenvalues),
        "features_per_dimension": superposition.features_per_dimension(V),
        "effective_features_per_dimension": superposition.effective_features_per_dimension(V),
        "represented_count": represented,
        "represented_share": represented / V.shape[-1],
        "heavy_share": (mass > 0.5).sum(dim=-1) / V.shape[-1],
        "mean_dimensionality": D.nanmean(dim=-1),
        "total_dimensionality": D.nansum(dim=-1),
        "mean_interference": disturbance.nanmean(dim=-1),
    }


@functools.cache
def random_ratio(shape: tuple[int, int], centred: bool, draws: int, seed: int) -> tuple[float, float]:
    """Mean superposition ratio of Gaussian matrices that are centred where the features are, and its standard error."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(draws):  # one at a time, which takes the memory of one
        V = torch.randn(*shape, generator=generator, dtype=torch.float64)
        if centred:
            V -= V.mean(dim=-2, keepdim=True)
        drawn.append(superposition.superposition_ratio(V).item())
    return sum(drawn) / len(drawn), standard_error(torch.tensor(drawn, dtype=torch.float64)).item()


def draw(found: xr.Dataset) -> go.Figure:
    """What was learned above the ratio and its two parts; of a toy model, D of features and examples below."""
    toy = "test_relative" in found
    panels = {
        "loss ÷ that of answering 0" if toy else "accuracy": 3,
        "superposition ratio (dashed: whatever the phases; dotted: a random matrix of the same shape, ± standard error)"
        if "ratio_phase_free" in found
        else "superposition ratio (dotted: a random matrix of the same shape, ± standard error)": 5,
        "features represented, exp H(s)": 4,
        "dimensions used, exp H(λ)": 4,
    }
    if toy:
        panels |= {f"dimensionality D of the {SHOWN} features with most at the end": 4}
    if "example_dimensionality" in found:
        panels |= {"dimensionality D of the training examples: median, and 10 to 90 %": 4}
    figure = figures.panels(list(panels), heights=list(panels.values()), title="Superposition across training")
    if toy:
        figures.relative_losses(figure, found)
    else:
        figures.accuracies(figure, found, row=1)
    for name, colour in zip(found["features"].values, figures.PALETTE, strict=False):
        here = found.sel(features=name)
        together = {"legendgroup": name}
        figures.line(figure, here["ratio"], name, colour, row=2, **together)
        figures.line(figure, here["ratio_of_random"], name, colour, row=2, dash="dot", showlegend=False, **together)
        figures.error_band(figure, here["ratio_of_random"], here["ratio_of_random_error"], colour, row=2, **together)
        if "ratio_phase_free" in found and here["ratio_phase_free"].notnull().any():
            figures.line(
                figure, here["ratio_phase_free"], name, colour, row=2, dash="dash", showlegend=False, **together
            )
        figures.line(figure, here["features_represented"], name, colour, row=3, showlegend=False, **together)
        figures.line(figure, here["dimensions_used"], name, colour, row=4, showlegend=False, **together)
    figure.update_yaxes(title_text="ratio", row=2)
    figure.update_yaxes(title_text="features", rangemode="tozero", row=3)
    figure.update_yaxes(title_text="dimensions", rangemode="tozero", row=4)
    if toy:
        dimensionalities(figure, found)
    return figures.mark_transition(figure, found)


def dimensionalities(figure: go.Figure, found: xr.Dataset) -> None:
    """D of single features, and how that of the examples is spread."""
    D = found["feature_dimensionality"]
    for feature in D.isel(step=-1).fillna(0).argsort().values[::-1][:SHOWN]:
        figures.line(
            figure,
            D.isel(feature=feature),
            f"feature {feature}",
            figures.PALETTE[0],
            row=5,
            opacity=0.6,
            showlegend=False,
        )
    figure.update_yaxes(title_text="D", rangemode="tozero", row=5)
    if "example_dimensionality" not in found:
        return
    quantiles = found["example_dimensionality"].quantile([0.1, 0.5, 0.9], dim="example", skipna=True)
    for quantile, dash in zip(quantiles["quantile"].values, ("dot", "solid", "dot"), strict=True):
        name = "median" if quantile == 0.5 else f"{quantile:.0%}"
        figures.line(figure, quantiles.sel(quantile=quantile), name, figures.PALETTE[2], row=6, dash=dash)
    figure.update_yaxes(title_text="D", rangemode="tozero", row=6)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """The ratio, and features in dimensions, for each kind of feature at each step."""
    table = by_step(found)
    for name in found["features"].values:
        here = found.sel(features=name)
        table[name] = here["ratio"].values
        if "ratio_phase_free" in found and here["ratio_phase_free"].notnull().any():
            table[f"{name} phase-free"] = here["ratio_phase_free"].values
        pairs = zip(here["features_represented"].values, here["dimensions_used"].values, strict=True)
        table[f"{name} n/d"] = [f"{features:.0f} in {dimensions:.0f}" for features, dimensions in pairs]
        if "test_relative" in found:
            table[f"{name} ΣD"] = here["total_dimensionality"].values
            table[f"{name} D > {json.loads(found.attrs['options'])['represented_above']:g}"] = here[
                "represented_count"
            ].values
    if "test_relative" in found:
        table["test ÷ zero"] = found["test_relative"].values
    return table
