"""Superposition: how many features does the network represent, in how many dimensions, before and after it groks?"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.analyze._common import (
    AnalysisOptions,
    NeuronSums,
    Variables,
    answer_rows,
    by_step,
    dataset,
    last_mlp,
    needs_mlp,
    needs_numbers,
    number_rows,
    over_checkpoints,
)
from interp.analyze._toy import RELATIVE, Toy, relative_losses
from interp.maths import superposition
from interp.maths.fourier import wave_directions
from interp.models import ToySpec
from interp.store import Run
from interp.tasks import ModularTask

FEATURES = {
    "W_E waves": "cosine and sine directions of every frequency in the embedding",
    "W_E tokens": "rows of the embedding, one a residue, centred",
    "neuron waves": "cosine and sine, of every frequency of the answer, in the neurons' activations",
    "W_L waves": "cosine and sine directions of every frequency in W_out·W_U",
}
"""What counts as a feature of a modular run, and in which space its direction lies."""

TOY_FEATURES = {
    "features": "columns of W, one a feature, among the hidden numbers",
    "features out": "columns of W_out, one a feature, among the hidden numbers",
    "examples": "what the model keeps of each training example",
}
"""The same of a toy model."""

SHOWN = 12
"""Features that are drawn one by one: those with the largest dimensionality at the end."""


class Options(AnalysisOptions):
    """What counts as represented, and what is compared with."""

    represented_above: float = Field(default=0.1, gt=0, lt=1)
    """Feature dimensionality D from which a feature counts as represented."""
    random_draws: int = Field(default=8, ge=1, le=1000)
    """Gaussian matrices of the same shape that are averaged for comparison."""
    random_seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of those matrices."""


def measure(run: Run, options: Options) -> xr.Dataset:
    """The superposition ratio with its two parts, and every other definition of it, for each kind of feature.

    Of a modular run there are four kinds; of a toy model its features and its training examples, each with its own
    dimensionality as well. A Gaussian matrix of the same shape is measured the same way, for comparison; the run's own step 0
    is another.
    """
    return of_toy(run, options) if isinstance(run.config.model, ToySpec) else of_modular(run, options)


def of_modular(run: Run, options: Options) -> xr.Dataset:
    """Waves and tokens of a transformer on a modular task."""
    task = needs_numbers(needs_mlp(run, "superposition"), "superposition")

    def measures(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of a stack of checkpoints: [step, features]."""
        return ratios_of_all(feature_directions(weights, neurons, run, task), options)

    neurons = neurons_over_table(run, task)
    shapes = feature_shapes(run, task)
    directions = 8 * sum(n * d for n, d in shapes.values())
    found = over_checkpoints(run, measures, each=3 * directions, beside=neurons.bytes)
    return labelled(run, options, found, shapes, FEATURES, {}, {})


def of_toy(run: Run, options: Options) -> xr.Dataset:
    """Features and training examples of a toy model."""
    toy = Toy.of(run)

    def measures(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of a stack of checkpoints: [step, features], and [step, feature] or [step, example] of each."""
        directions = toy.directions(weights)
        found = ratios_of_all(directions, options)
        found["feature_dimensionality"] = superposition.feature_dimensionality(directions["features"])
        found["feature_norm"] = directions["features"].norm(dim=-1)
        if toy.n_examples:
            found["example_dimensionality"] = superposition.feature_dimensionality(directions["examples"])
            found["example_leverage"] = superposition.leverage(directions["examples"])
        return found

    found = over_checkpoints(run, measures, each=6 * toy.bytes, beside=toy.beside)
    each = {
        name: (("step", name.split("_")[0]), found.pop(name), {"long_name": long_name})
        for name, long_name in OF_EACH.items()
        if name in found
    }
    relative = {name: (("step",), values, RELATIVE[name]) for name, values in toy.relative().items()}
    coords = {"feature": np.arange(toy.task.n_features), "example": np.arange(toy.n_examples)}
    kinds = {name: TOY_FEATURES[name] for name in toy.shapes}
    return labelled(run, options, found, toy.shapes, kinds, each | relative, coords)


def labelled(
    run: Run,
    options: Options,
    found: dict[str, np.ndarray],
    shapes: dict[str, tuple[int, int]],
    kinds: dict[str, str],
    more: Variables,
    coords: Mapping[str, Any],
) -> xr.Dataset:
    """What was found, beside random matrices of the same shapes."""
    random = [random_ratio(shape, options, centred=name == "W_E tokens") for name, shape in shapes.items()]
    return dataset(
        run,
        options,
        {
            **{name: (("step", "features"), values, {"long_name": LONG_NAMES[name]}) for name, values in found.items()},
            "ratio_of_random": (
                ("step", "features"),
                np.tile(random, (len(run), 1)),
                {"long_name": "superposition ratio of a Gaussian matrix of the same shape"},
            ),
            **more,
        },
        coords={
            "features": list(kinds),
            "n_features": ("features", [shape[0] for shape in shapes.values()]),
            "n_dimensions": ("features", [shape[1] for shape in shapes.values()]),
            **coords,
        },
        definition="superposition ratio exp H(s) / exp H(λ): s_i = ‖v_i‖²/Σ‖v‖², λ the eigenvalues of VᵀV over their sum; "
        + "; ".join(f"{name}: {what}" for name, what in kinds.items()),
        source="feature dimensionality, interference, features per dimension: Elhage et al. 2022, Toy Models of Superposition; "
        "example dimensionality and leverage: Henighan et al. 2023, Superposition, Memorization, and Double Descent; the "
        "ratio of effective numbers is defined here",
    )


OF_EACH = {
    "feature_dimensionality": "dimensionality D of each feature",
    "feature_norm": "length of each feature's column of W",
    "example_dimensionality": "dimensionality D of each training example",
    "example_leverage": "leverage hᵀ(HᵀH)⁺h of each training example",
}
"""Of a toy model."""

LONG_NAMES = {
    "ratio": "superposition ratio (entropy)",
    "features_represented": "effective number of features, exp H(s)",
    "dimensions_used": "effective number of dimensions, exp H(λ)",
    "ratio_order_2": "superposition ratio (participation ratios)",
    "features_per_dimension": "features per dimension, ‖V‖²/d",
    "represented_count": "features with D above the threshold",
    "represented_share": "features with D above the threshold, per dimension",
    "heavy_share": "features with ‖v‖² > 0.5, per dimension",
    "mean_dimensionality": "mean feature dimensionality D",
    "total_dimensionality": "sum of feature dimensionalities, ΣD",
    "mean_interference": "mean interference Σ_{j≠i}(v̂_i·v_j)²",
}


def feature_shapes(run: Run, task: ModularTask) -> dict[str, tuple[int, int]]:
    """How many features of each kind there are, in how many dimensions."""
    tokens, model = len(task.residues()), run.transformer
    dimensions = dict(zip(FEATURES, (model.d_model, model.d_model, model.d_mlp, model.d_mlp), strict=True))
    return {name: (tokens if name == "W_E tokens" else tokens - 1, d) for name, d in dimensions.items()}


def feature_directions(
    weights: dict[str, Tensor], neurons: NeuronSums, run: Run, task: ModularTask
) -> dict[str, Float[Tensor, "step n d"]]:
    """V of each kind of feature for a stack of checkpoints."""
    embedding = number_rows(weights["embed.W_E"], task).double()
    return {
        "W_E waves": wave_directions(embedding),
        "W_E tokens": embedding - embedding.mean(dim=-2, keepdim=True),
        "neuron waves": wave_directions(neurons_by_answer(weights, neurons, task)),
        "W_L waves": wave_directions(answer_rows(last_mlp(weights, run), task)),
    }


def neurons_over_table(run: Run, task: ModularTask) -> NeuronSums:
    """Activations of the last layer's neurons, by answer."""
    return NeuronSums(run, torch.from_numpy(task.table().targets), task.p)


def neurons_by_answer(
    weights: dict[str, Tensor], neurons: NeuronSums, task: ModularTask
) -> Float[Tensor, "step period d_mlp"]:
    """Mean activation of the last layer's neurons over all prompts with one answer, in the order of `residues`.

    An answer that the operation never gives stands at the mean of the others, where it is no wave.
    """
    prompts, means = torch.bincount(neurons.labels, minlength=task.p), neurons.sums(weights)
    means /= prompts.clamp(min=1)[:, None]
    means[:, prompts == 0] = means[:, prompts > 0].mean(dim=1, keepdim=True)
    return means[:, torch.from_numpy(task.residues())]


def ratios_of_all(
    directions: dict[str, Float[Tensor, "step n d"]], options: Options
) -> dict[str, Float[Tensor, "step features"]]:
    """The same for all kinds of feature."""
    each = [ratios(V, options) for V in directions.values()]
    return {name: torch.stack([one[name] for one in each], dim=1) for name in each[0]}


def ratios(V: Float[Tensor, "step n d"], options: Options) -> dict[str, Float[Tensor, " step"]]:
    """Every definition of the ratio, for one kind of feature."""
    mass, overlaps = V.square().sum(dim=-1), superposition.overlaps(V)
    D, disturbance = mass / overlaps, overlaps - mass
    s, eigenvalues = superposition.feature_shares(V), superposition.dimension_shares(V)
    features, dimensions = superposition.exp_entropy(s), superposition.exp_entropy(eigenvalues)
    represented = (options.represented_above < D).sum(dim=-1).double()
    return {
        "ratio": features / dimensions,
        "features_represented": features,
        "dimensions_used": dimensions,
        "ratio_order_2": superposition.participation(s) / superposition.participation(eigenvalues),
        "features_per_dimension": superposition.features_per_dimension(V),
        "represented_count": represented,
        "represented_share": represented / V.shape[-1],
        "heavy_share": (mass > 0.5).sum(dim=-1) / V.shape[-1],
        "mean_dimensionality": D.nanmean(dim=-1),
        "total_dimensionality": D.nansum(dim=-1),
        "mean_interference": disturbance.nanmean(dim=-1),
    }


def random_ratio(shape: tuple[int, int], options: Options, centred: bool) -> float:
    """Mean superposition ratio of Gaussian matrices that are centred where the features are."""
    generator = torch.Generator().manual_seed(options.random_seed)
    total = 0.0
    for _ in range(options.random_draws):  # one at a time, which takes the memory of one
        V = torch.randn(*shape, generator=generator, dtype=torch.float64)
        if centred:
            V -= V.mean(dim=-2, keepdim=True)
        total += superposition.superposition_ratio(V).item()
    return total / options.random_draws


def draw(found: xr.Dataset) -> go.Figure:
    """What was learned above the ratio and its two parts; of a toy model, D of features and examples below."""
    toy = "test_relative" in found
    panels = {
        "loss ÷ that of answering 0" if toy else "accuracy": 3,
        "superposition ratio (dotted: a random matrix of the same shape)": 5,
        "features represented, exp H(s)": 4,
        "dimensions used, exp H(λ)": 4,
    }
    if toy:
        panels |= {f"dimensionality D of the {SHOWN} features with most at the end": 4}
    if "example_dimensionality" in found:
        panels |= {"dimensionality D of the training examples: median, and 10 to 90 %": 4}
    figure = figures.panels(list(panels), heights=list(panels.values()), title="Superposition across training")
    if toy:
        relative_losses(figure, found)
    else:
        figures.accuracies(figure, found, row=1)
    for name, colour in zip(found["features"].values, figures.PALETTE, strict=False):
        here = found.sel(features=name)
        together = {"legendgroup": name}
        figures.line(figure, here["ratio"], name, colour, row=2, **together)
        figures.line(figure, here["ratio_of_random"], name, colour, row=2, dash="dot", showlegend=False, **together)
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
