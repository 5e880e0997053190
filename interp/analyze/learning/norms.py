"""Norms and ranks: does the network shrink, which parts of it, and how many directions does each matrix use?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from interp import figures
from interp.maths import norms
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.family import TensorSpec
from interp.models.network import Weights
from interp.store import Run
from interp.views.matrices import as_matrix, matrices_of
from interp.views.view import Checkpoints
from interp.views.walk import bytes_read, over_checkpoints

RANKS = {
    "spectral_norm": lambda singular: singular.amax(dim=-1),
    "stable_rank": norms.stable_rank,
    "effective_rank": norms.effective_rank,
    "participation_ratio": norms.participation_ratio,
}
"""The largest singular value, and how many directions a matrix uses, by name."""

BY_CHECKPOINT = True


class Options(AnalysisOptions):
    """There is nothing to choose."""


KINDS = ("weights", "biases")

VARIABLES: Variables = {
    "l2": Var("step tensor", "L2 norm of a tensor"),
    "l2_ratio": Var("step tensor", "L2 norm of a tensor ÷ that of the first checkpoint"),
    "sum_of_squares": Var("step tensor", "Σw² of a tensor"),
    "linf": Var("step tensor", "largest absolute entry of a tensor"),
    "rms": Var("step tensor", "root mean square of a tensor"),
    **{name: Var("step weight_matrix", name.replace("_", " ")) for name in RANKS},
    "group_l2": Var("step group kind", "L2 norm of a group"),
    "total_l2": Var("step kind", "L2 norm of all"),
    "total_l2_ratio": Var("step kind", "L2 norm of all ÷ that of the first checkpoint"),
    "total_linf": Var("step kind", "largest absolute entry of all"),
    "total_sum_of_squares": Var("step", "Σw² of all parameters"),
}


def measure(seen: Checkpoints, options: Options) -> xr.Dataset:
    """L2, L∞ and RMS of every tensor, L2 of groups and of the whole, weights and biases apart; ranks of matrices."""
    run, parts = seen.run, Parts.of(seen.run)
    names = parts.table.__contains__
    found = over_checkpoints(run, parts.sizes, each=4 * bytes_read(run, names), names=names)
    first = parts.squares({name: tensor[None] for name, tensor in run.first.weights.items()}).numpy()
    return dataset(
        run,
        options,
        {**of_tensors(found, first), **of_all(found, first, parts)},
        VARIABLES,
        coords={
            "tensor": parts.tensors,
            "group_of_tensor": ("tensor", parts.groups),
            "kind_of_tensor": ("tensor", parts.kinds),
            "group": parts.present,
            "kind": list(KINDS),
            "weight_matrix": parts.matrices,
        },
        definition="every tensor counts once; heads of one layer are side by side in one matrix; stable rank ‖W‖_F²/σ₁², "
        "effective rank exp H(σ/Σσ), participation ratio (Σσ²)²/Σσ⁴; ratios are to the run's first checkpoint, NaN where "
        "that is 0",
        source="Σw²: Nanda et al. 2023; ‖w‖: Liu et al. 2023 (Omnigrok); effective rank: Roy & Vetterli 2007",
    )


@dataclass(frozen=True)
class Parts:
    """Every tensor of a run's model, with the group and the kind that it belongs to."""

    table: Mapping[str, TensorSpec]
    tensors: list[str]
    groups: list[str]
    kinds: list[str]
    matrices: list[str]
    """Those that have ranks: no biases, and no vectors."""
    present: list[str]
    """The groups that the model has, in the order in which its family tells them."""

    @staticmethod
    def of(run: Run) -> "Parts":
        """The parts of the run's model, from its family's table of tensors. Buffers are no weights, and left out."""
        table = {name: tensor for name, tensor in run.tensors.items() if tensor.role != "buffer"}
        groups = [tensor.part for tensor in table.values()]
        return Parts(
            table,
            tensors=list(table),
            groups=groups,
            kinds=["biases" if tensor.role == "bias" else "weights" for tensor in table.values()],
            matrices=matrices_of(run),
            present=[group for group in dict.fromkeys((*run.config.model.parts, *groups)) if group in groups],
        )

    def sizes(self, weights: Weights) -> dict[str, Tensor]:
        """Sizes and ranks of a stack of checkpoints: [step, tensor], and [step, weight matrix]."""
        flat, squares = [weights[name].flatten(1) for name in self.tensors], self.squares(weights)
        entries = torch.tensor([each.shape[1] for each in flat])
        singular = [norms.singular_values(as_matrix(self.table[name], weights[name])) for name in self.matrices]
        none = squares[:, :0]  # of a model without matrices
        return {
            "sum_of_squares": squares,
            "linf": torch.stack([each.abs().amax(dim=1).double() for each in flat], dim=1),
            "rms": (squares / entries).sqrt(),
            **{
                name: torch.stack([rank(values) for values in singular], dim=1) if singular else none
                for name, rank in RANKS.items()
            },
        }

    def squares(self, weights: Weights) -> Float[Tensor, "step tensor"]:
        """Σw² of every tensor, in float64. By its root, which torch computes without a copy of the weights in float64."""
        flat = (weights[name].flatten(1) for name in self.tensors)
        roots = [torch.linalg.vector_norm(each, dim=1, dtype=torch.float64) for each in flat]
        return torch.stack(roots, dim=1).square()

    def members(self, kind: str, group: str | None = None) -> np.ndarray:
        """Which tensors are of a kind, and of a group where one is named: a mask over `tensors`."""
        return np.array([k == kind and group in (None, g) for k, g in zip(self.kinds, self.groups, strict=True)])

    def by_kind(self, values: np.ndarray, group: str | None = None) -> np.ndarray:
        """Sums over the tensors of each kind: [step, kind]."""
        return np.stack([values[:, self.members(kind, group)].sum(axis=1) for kind in KINDS], axis=1)


def of_tensors(found: Mapping[str, np.ndarray], first: np.ndarray) -> dict[str, np.ndarray]:
    """What is known of each tensor, and of each matrix."""
    squares = found["sum_of_squares"]
    return {**found, "l2": np.sqrt(squares), "l2_ratio": ratio(squares, first)}


def of_all(found: Mapping[str, np.ndarray], first: np.ndarray, parts: Parts) -> dict[str, np.ndarray]:
    """What is known of groups and of the whole, weights and biases apart."""
    squares, linf = found["sum_of_squares"], found["linf"]
    groups = np.stack([parts.by_kind(squares, group) for group in parts.present], axis=1)
    total = parts.by_kind(squares)
    return {
        "group_l2": np.sqrt(groups),
        "total_l2": np.sqrt(total),
        "total_l2_ratio": ratio(total, parts.by_kind(first)),
        "total_linf": np.stack([linf[:, parts.members(kind)].max(axis=1, initial=0) for kind in KINDS], axis=1),
        "total_sum_of_squares": squares.sum(axis=1),
    }


def ratio(squares: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Norms ÷ those of the first checkpoint; NaN where those are 0, as of biases that start there."""
    return np.sqrt(squares / np.where(first > 0, first, np.nan))


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above the norm of all, of each group, and the stable ranks."""
    figure = figures.panels(
        ["loss", "L2 norm of all parameters", "L2 norm of the weights by group", "stable rank of the weight matrices"],
        heights=[3, 3, 4, 4],
        title="Norms and ranks",
    )
    figures.losses(figure, found, row=1)
    for kind, colour in zip(KINDS, figures.PALETTE, strict=False):
        figures.line(figure, found["total_l2"].sel(kind=kind), f"all {kind}", colour, row=2)
    for group, colour in zip(found["group"].values, figures.PALETTE, strict=False):
        figures.line(figure, found["group_l2"].sel(kind="weights", group=group), f"{group}", colour, row=3)
    for number, matrix in enumerate(found["weight_matrix"].values):
        colour = figures.PALETTE[number % len(figures.PALETTE)]
        dash = ("solid", "dash", "dot")[number // len(figures.PALETTE) % 3]
        figures.line(figure, found["stable_rank"].sel(weight_matrix=matrix), matrix, colour, row=4, dash=dash)
    for row in (2, 3):
        figure.update_yaxes(title_text="L2 norm", rangemode="tozero", row=row)
    figure.update_yaxes(title_text="‖W‖²/σ₁²", rangemode="tozero", row=4)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Norm of all weights and of all biases, Σw² of both, and the largest entry, at each step."""
    table = by_step(found)
    for kind in KINDS:
        table[f"L2 {kind}"] = found["total_l2"].sel(kind=kind).values
    table["Σw²"] = found["total_sum_of_squares"].values
    table["L∞"] = found["linf"].max("tensor").values
    table["L2 weights ÷ first"] = found["total_l2_ratio"].sel(kind="weights").values
    return table
