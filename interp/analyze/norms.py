"""Norms and ranks: does the network shrink, which parts of it, and how many directions does each matrix use?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from einops import rearrange
from torch import Tensor

from interp import figures
from interp.analyze._common import AnalysisOptions, Variables, by_step, bytes_read, dataset, over_checkpoints
from interp.maths import norms
from interp.models.transformer import is_bias
from interp.store import Run

GROUPS = {
    "embed": ("embed.",),
    "pos": ("pos_embed.",),
    "attn QK": ("attn.W_Q", "attn.W_K", "attn.b_Q", "attn.b_K"),
    "attn OV": ("attn.W_V", "attn.W_O", "attn.b_V", "attn.b_O"),
    "mlp": ("mlp.W_", "mlp.b_"),
    "layer norm": ("ln1.", "ln2.", "ln_final.", "mlp.ln."),
    "unembed": ("unembed.",),
    "in": ("W",),
    "out": ("W_out",),
    "toy layer norm": ("ln.",),
    "bias": ("b",),
}
"""Parts of a model, by how the names of their tensors begin after the layer's prefix; the last four are of toy models."""

RANKS = {
    "spectral_norm": lambda singular: singular.amax(dim=-1),
    "stable_rank": norms.stable_rank,
    "effective_rank": norms.effective_rank,
    "participation_ratio": norms.participation_ratio,
}
"""The largest singular value, and how many directions a matrix uses, by name."""


class Options(AnalysisOptions):
    """There is nothing to choose."""


KINDS = ("weights", "biases")


def measure(run: Run, options: Options) -> xr.Dataset:
    """L2, L∞ and RMS of every tensor, L2 of groups and of the whole, weights and biases apart; ranks of matrices."""
    parts = Parts.of(run)
    found = over_checkpoints(run, parts.sizes, each=4 * bytes_read(run))
    first = parts.sizes({name: tensor[None] for name, tensor in run.first.weights.items()})["sum_of_squares"].numpy()
    return dataset(
        run,
        options,
        {**of_tensors(found, first), **of_all(found, first, parts)},
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

    tensors: list[str]
    groups: list[str]
    kinds: list[str]
    matrices: list[str]
    """Those that have ranks: no biases, and no vectors."""

    @staticmethod
    def of(run: Run) -> "Parts":
        """The parts of the run's model."""
        tensors = list(run.tensor_shapes)
        kinds = ["biases" if is_bias(name) else "weights" for name in tensors]
        matrices = [name for name in tensors if not is_bias(name) and len(run.tensor_shapes[name]) > 1]
        return Parts(tensors, [group_of(name) for name in tensors], kinds, matrices)

    @property
    def present(self) -> list[str]:
        """The groups that the model has, in the order of GROUPS."""
        return [group for group in GROUPS if group in self.groups]

    def sizes(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Sizes and ranks of a stack of checkpoints: [step, tensor], and [step, weight matrix]."""
        flat = [weights[name].flatten(1) for name in self.tensors]
        squares = torch.stack([each.double().square().sum(dim=1) for each in flat], dim=1)
        entries = torch.tensor([each.shape[1] for each in flat])
        singular = [norms.singular_values(as_matrix(name, weights[name])) for name in self.matrices]
        return {
            "sum_of_squares": squares,
            "linf": torch.stack([each.abs().amax(dim=1).double() for each in flat], dim=1),
            "rms": (squares / entries).sqrt(),
            **{name: torch.stack([rank(values) for values in singular], dim=1) for name, rank in RANKS.items()},
        }

    def members(self, kind: str, group: str | None = None) -> np.ndarray:
        """Which tensors are of a kind, and of a group where one is named: a mask over `tensors`."""
        return np.array([k == kind and group in (None, g) for k, g in zip(self.kinds, self.groups, strict=True)])

    def by_kind(self, values: np.ndarray, group: str | None = None) -> np.ndarray:
        """Sums over the tensors of each kind: [step, kind]."""
        return np.stack([values[:, self.members(kind, group)].sum(axis=1) for kind in KINDS], axis=1)


def of_tensors(found: dict[str, np.ndarray], first: np.ndarray) -> Variables:
    """What is known of each tensor."""
    squares, each = found["sum_of_squares"], ("step", "tensor")
    return {
        "l2": (each, np.sqrt(squares), {"long_name": "L2 norm of a tensor"}),
        "l2_ratio": (each, ratio(squares, first), {"long_name": "L2 norm of a tensor ÷ that of the first checkpoint"}),
        "sum_of_squares": (each, squares, {"long_name": "Σw² of a tensor"}),
        "linf": (each, found["linf"], {"long_name": "largest absolute entry of a tensor"}),
        "rms": (each, found["rms"], {"long_name": "root mean square of a tensor"}),
        **{name: (("step", "weight_matrix"), found[name], {"long_name": name.replace("_", " ")}) for name in RANKS},
    }


def of_all(found: dict[str, np.ndarray], first: np.ndarray, parts: Parts) -> Variables:
    """What is known of groups and of the whole, weights and biases apart."""
    squares, by_kind = found["sum_of_squares"], ("step", "kind")
    groups = np.stack([parts.by_kind(squares, group) for group in parts.present], axis=1)
    largest = np.stack([found["linf"][:, parts.members(kind)].max(axis=1) for kind in KINDS], axis=1)
    total, total_first = parts.by_kind(squares), parts.by_kind(first)
    return {
        "group_l2": (("step", "group", "kind"), np.sqrt(groups), {"long_name": "L2 norm of a group"}),
        "total_l2": (by_kind, np.sqrt(total), {"long_name": "L2 norm of all"}),
        "total_l2_ratio": (
            by_kind,
            ratio(total, total_first),
            {"long_name": "L2 norm of all ÷ that of the first checkpoint"},
        ),
        "total_linf": (by_kind, largest, {"long_name": "largest absolute entry of all"}),
        "total_sum_of_squares": (("step",), squares.sum(axis=1), {"long_name": "Σw² of all parameters"}),
    }


def ratio(squares: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Norms ÷ those of the first checkpoint; NaN where those are 0, as of biases that start there."""
    return np.sqrt(squares / np.where(first > 0, first, np.nan))


def group_of(name: str) -> str:
    """The part of the transformer to which a tensor belongs."""
    within_block = name.split(".", 2)[2] if name.startswith("blocks.") else name
    return next(group for group, beginnings in GROUPS.items() if within_block.startswith(beginnings))


def as_matrix(name: str, stack: Tensor) -> Tensor:
    """A stack of weights as matrices: the heads of W_Q, W_K, W_V side by side, those of W_O one above the other."""
    if stack.ndim == 3:
        return stack
    if name.endswith("W_O"):
        return rearrange(stack, "step head d_head d_model -> step (head d_head) d_model")
    return rearrange(stack, "step head d_model d_head -> step d_model (head d_head)")


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
