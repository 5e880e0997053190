"""Norms and ranks: does the network shrink, which parts of it, and how many directions does each matrix use?"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from einops import rearrange
from torch import Tensor

from interp import figures
from interp.analyze._common import AnalysisOptions, by_step, dataset, over_checkpoints
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
}
"""Parts of a transformer, by how the names of their tensors begin after the layer's prefix."""

RANKS = {
    "spectral_norm": lambda singular: singular.amax(dim=-1),
    "stable_rank": norms.stable_rank,
    "effective_rank": norms.effective_rank,
    "participation_ratio": norms.participation_ratio,
}
"""The largest singular value, and how many directions a matrix uses, by name."""


class Options(AnalysisOptions):
    """There is nothing to choose."""


def measure(run: Run, options: Options) -> xr.Dataset:
    """L2, L∞ and RMS of every tensor, L2 of groups and of the whole, weights and biases apart; ranks of matrices."""
    tensors = list(run.tensor_shapes)
    matrices = [name for name in tensors if not is_bias(name) and len(run.tensor_shapes[name]) > 1]

    def sizes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of a stack of checkpoints: [step, tensor]."""
        flat = [weights[name].double().flatten(1) for name in tensors]
        singular = [norms.singular_values(as_matrix(name, weights[name])) for name in matrices]
        return {
            "sum_of_squares": torch.stack([values.square().sum(dim=1) for values in flat], dim=1),
            "linf": torch.stack([values.abs().amax(dim=1) for values in flat], dim=1),
            "rms": torch.stack([values.square().mean(dim=1).sqrt() for values in flat], dim=1),
            **{name: torch.stack([rank(values) for values in singular], dim=1) for name, rank in RANKS.items()},
        }

    found = over_checkpoints(run, sizes)
    squares = found["sum_of_squares"]
    groups = [group_of(name) for name in tensors]
    kinds = ["biases" if is_bias(name) else "weights" for name in tensors]
    present = [group for group in GROUPS if group in groups]
    members = np.array(
        [
            [[g == group and k == kind for g, k in zip(groups, kinds, strict=True)] for kind in KINDS]
            for group in present
        ]
    )
    by_group = np.einsum("st,gkt->sgk", squares, members)
    return dataset(
        run,
        options,
        {
            "l2": (("step", "tensor"), np.sqrt(squares), {"long_name": "L2 norm of a tensor"}),
            "sum_of_squares": (("step", "tensor"), squares, {"long_name": "Σw² of a tensor"}),
            "linf": (("step", "tensor"), found["linf"], {"long_name": "largest absolute entry of a tensor"}),
            "rms": (("step", "tensor"), found["rms"], {"long_name": "root mean square of a tensor"}),
            "group_l2": (("step", "group", "kind"), np.sqrt(by_group), {"long_name": "L2 norm of a group"}),
            "l2_ratio": (
                ("step", "tensor"),
                np.sqrt(squares) / first_l2(run),
                {"long_name": "L2 norm ÷ that of the run's first checkpoint"},
            ),
            "total_l2": (("step", "kind"), np.sqrt(by_group.sum(axis=1)), {"long_name": "L2 norm of all"}),
            "total_l2_ratio": (
                ("step", "kind"),
                np.sqrt(by_group.sum(axis=1)) / first_by_kind(run, kinds),
                {"long_name": "L2 norm of all ÷ that of the run's first checkpoint"},
            ),
            "total_linf": (
                ("step", "kind"),
                np.stack([found["linf"][:, [k == kind for k in kinds]].max(axis=1) for kind in KINDS], axis=1),
                {"long_name": "largest absolute entry of all"},
            ),
            "total_sum_of_squares": (("step",), squares.sum(axis=1), {"long_name": "Σw² of all parameters"}),
            **{name: (("step", "weight_matrix"), found[name], {"long_name": name.replace("_", " ")}) for name in RANKS},
        },
        coords={
            "tensor": tensors,
            "group_of_tensor": ("tensor", groups),
            "kind_of_tensor": ("tensor", kinds),
            "group": present,
            "kind": list(KINDS),
            "weight_matrix": matrices,
        },
        definition="every tensor counts once; heads of one layer are side by side in one matrix; stable rank ‖W‖_F²/σ₁², "
        "effective rank exp H(σ/Σσ), participation ratio (Σσ²)²/Σσ⁴",
        source="Σw²: Nanda et al. 2023; ‖w‖: Liu et al. 2023 (Omnigrok); effective rank: Roy & Vetterli 2007",
    )


KINDS = ("weights", "biases")


def first_l2(run: Run) -> np.ndarray:
    """L2 of every tensor at the run's first checkpoint, step 0 if it has one, whether in view or not; NaN for 0."""
    weights = run.first.weights
    l2 = np.array([weights[name].double().norm().item() for name in run.tensor_shapes])
    return np.where(l2 > 0, l2, np.nan)


def first_by_kind(run: Run, kinds: list[str]) -> np.ndarray:
    """L2 of all weights and of all biases at the run's first checkpoint; NaN for 0."""
    squares = np.nan_to_num(first_l2(run)) ** 2
    totals = np.sqrt([sum(squares[[k == kind for k in kinds]]) for kind in KINDS])
    return np.where(totals > 0, totals, np.nan)


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
