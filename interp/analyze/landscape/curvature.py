"""Curvature: how sharply does the loss curve around each checkpoint, and along which directions?"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.base import UserError, once
from interp.maths.lanczos import Extremes, Product, extremes, quadrature
from interp.maths.sampling import generator
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.tasks import Examples
from interp.views.landscape import Landscape, Part, Surface, Width
from interp.views.walk import evenly, over_checkpoints

Matrix = Literal["hessian", "gauss_newton"]


class Options(AnalysisOptions):
    """Which matrix is taken apart, over which examples, and how far."""

    over: Part = "train"
    """Examples over which the loss is a mean. Training examples have the answers that they are trained on."""
    matrices: tuple[Matrix, ...] = ("hessian",)
    """hessian: second derivatives of the loss. gauss_newton: Jᵀ·H·J, J of the outputs by the weights and H of the loss by the
    outputs, which has no negative eigenvalue if the loss is convex in the outputs."""
    eigenvalues: int = Field(default=4, ge=1, le=64)
    """Number of the largest eigenvalues."""
    tolerance: float = Field(default=1e-3, gt=0, lt=1)
    """Largest residual ‖Hv − λv‖ ÷ |λ|max at which eigenvalues count as found."""
    at_most: int = Field(default=200, ge=2, le=2000)
    """Dimensions of the Krylov space at most. Eigenvalues that are not found by then have residuals above the tolerance."""
    probes: int = Field(default=4, ge=2, le=256)
    """Random vectors for the trace and the density of eigenvalues."""
    density_steps: int = Field(default=8, ge=1, le=500)
    """Products for each of them: nodes of the density."""
    precision: Width = "float32"
    """Precision of the network's derivatives. Losses are computed in float64 in any case."""
    checkpoints: int = Field(default=12, ge=1)
    """Checkpoints at most, evenly spread, the last one among them."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the first vector and of the probes, which are equal at all checkpoints."""


VARIABLES: Variables = {
    "eigenvalue": Var("step matrix rank", "eigenvalue, the largest first", "{loss_units}"),
    "residual": Var("step matrix rank", "‖Hv − λv‖ of an eigenvalue and its vector", "{loss_units}"),
    "smallest": Var("step matrix", "smallest eigenvalue", "{loss_units}"),
    "smallest_residual": Var("step matrix", "‖Hv − λv‖ of the smallest eigenvalue", "{loss_units}"),
    "trace": Var("step matrix", "trace", "{loss_units}"),
    "trace_error": Var("step matrix", "standard error of the trace over probes", "{loss_units}"),
    "scaled_largest": Var("step matrix", "largest eigenvalue × ‖θ‖²", "{loss_units}"),
    "scaled_trace": Var("step matrix", "trace × ‖θ‖² ÷ number of weights", "{loss_units}"),
    "invariant_largest": Var(
        "step matrix invariant", "largest eigenvalue within weights whose scale is free", "{loss_units}"
    ),
    "invariant_scaled": Var("step matrix invariant", "that eigenvalue × ‖θ‖² of these weights", "{loss_units}"),
    "overlap_gradient": Var("step matrix", "|cosine| of the first eigenvector with the gradient", "1"),
    "overlap_movement": Var(
        "step matrix", "|cosine| of the first eigenvector with the way from the checkpoint before", "1"
    ),
    "overlap_before": Var("step matrix", "|cosine| of the first eigenvector with that of the checkpoint before", "1"),
    "node": Var("step matrix probe node", "eigenvalue at a node of the density", "{loss_units}"),
    "density": Var("step matrix probe node", "share of all eigenvalues at a node", "1"),
    "dimensions": Var("step matrix", "dimensions of the Krylov space"),
}


def measure(seen: Landscape, options: Options) -> xr.Dataset:
    """Largest and smallest eigenvalues, trace and density of the Hessian of the logged mean loss, at every checkpoint.

    Eigenvalues and trace change when weights are scaled, even where the network is the same function; the scaled ones do not,
    if all of the weights are free in scale together.
    """
    run = evenly(seen.run.with_checkpoints(), options.checkpoints)
    seen = replace(seen, run=run)
    if options.eigenvalues >= seen.n_weights:
        raise UserError(
            f"eigenvalues is {options.eigenvalues}, and {run.path} has {seen.n_weights} weights that learn; ask for fewer"
        )
    around = Around(seen, options, seen.examples(options.over))
    found = over_checkpoints(run, around.stacked, each=around.bytes, at_most=1)
    found |= along(seen, found.pop("vector"))
    return dataset(
        run,
        options,
        found,
        VARIABLES,
        coords={
            "matrix": list(options.matrices),
            "rank": np.arange(1, options.eigenvalues + 1),
            "invariant": around.groups,
            "probe": np.arange(options.probes),
            "node_of_probe": ("node", np.arange(found["node"].shape[-1])),
        },
        definition=f"of the logged mean loss over the examples of split {options.over}, in {options.precision}, without weight "
        "decay and what only helps training, by the weights that learn; eigenvalues by Lanczos with full reorthogonalisation, "
        "residuals computed anew; trace: exact in the Krylov space, by random signs on what is orthogonal to it; density: "
        "stochastic Lanczos quadrature; ‖θ‖² of the weights that learn, or of those named; weights whose scale is free: "
        "multiplying them by a positive number leaves the function",
        source="density: Ghorbani et al. 2019 (arXiv 1901.10159); scale: Dinh et al. 2017 (arXiv 1703.04933), Kodryan et al. "
        "2022 (arXiv 2209.03695); overlap: Gur-Ari et al. 2018 (arXiv 1812.04754)",
    ).assign_attrs(over=options.over)


@dataclass(frozen=True)
class Around:
    """Measures of the loss around one checkpoint."""

    seen: Landscape
    options: Options
    examples: Examples

    @once
    def surface(self) -> Surface:
        """The loss as a function of the weights."""
        return self.seen.over(self.examples, precision=self.options.precision)

    @property
    def groups(self) -> list[str]:
        """Weights whose scale is free: all of them together, and each tensor; none of most networks."""
        names = self.seen.invariant
        return ["together", *names] if names else []

    @property
    def bytes(self) -> int:
        """Bytes that a checkpoint takes: the graph of its gradient, and the vectors of two Krylov spaces."""
        wide = 8 if self.options.precision == "float64" else 4
        vectors = min(self.options.at_most, self.seen.n_weights) + self.options.density_steps + 8
        graphs = self.seen.bytes(self.examples, precision=self.options.precision)
        return graphs * len(self.options.matrices) + wide * self.seen.n_weights * vectors

    def stacked(self, weights: Weights) -> dict[str, Tensor]:
        """The measures at a chunk of one checkpoint, with a leading axis for it."""
        return {name: value[None] for name, value in self.measures({n: t[0] for n, t in weights.items()}).items()}

    def measures(self, weights: Weights) -> dict[str, Tensor]:
        """Every measure of each matrix, [matrix, …]."""
        flat = self.seen.flat(weights, self.options.precision)
        _, slopes = self.surface.sloped(flat[None], weights)
        each = [self.of_matrix(name, flat, slopes[0], weights) for name in self.options.matrices]
        return {name: torch.stack([found[name] for found in each]) for name in each[0]}

    def of_matrix(self, name: Matrix, flat: Tensor, gradient: Tensor, weights: Weights) -> dict[str, Tensor]:
        """Every measure of one matrix."""
        many: Product = getattr(self.surface, name)(flat[None], weights)
        options, drawn = self.options, generator(self.options.seed)

        def product(vector: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
            return many(vector[None])[0]

        found = self.ends(product, len(flat), drawn)
        density = quadrature(product, len(flat), options.probes, options.density_steps, found.krylov, drawn)
        squared, trace = flat.double().square().sum(), density.quadratic.mean()
        return {
            "eigenvalue": found.values,
            "residual": residuals(product, found.values, found.vectors[:-1]),
            "smallest": found.smallest,
            "smallest_residual": residuals(product, found.smallest[None], found.vectors[-1:])[0],
            "trace": trace,
            "trace_error": density.quadratic.std() / options.probes**0.5,
            "scaled_largest": found.values[0] * squared,
            "scaled_trace": trace * squared / len(flat),
            **self.of_invariant(product, flat),
            "overlap_gradient": overlap(found.vectors[0], gradient),
            "node": density.nodes,
            "density": density.weights,
            "dimensions": torch.tensor(len(found.krylov.alphas)),
            "vector": found.vectors[0].float(),
        }

    def ends(self, product: Product, n: int, drawn: torch.Generator, k: int | None = None) -> Extremes:
        """The ends of the spectrum of a matrix of n rows."""
        kind = torch.float64 if self.options.precision == "float64" else torch.float32
        start = torch.randn(n, generator=drawn, dtype=torch.float64).to(kind)
        options = self.options
        return extremes(product, start, k or options.eigenvalues, options.tolerance, options.at_most, drawn)

    def of_invariant(self, product: Product, flat: Float[Tensor, " n"]) -> dict[str, Tensor]:
        """Largest eigenvalue among the weights of each group whose scale is free, and × ‖θ‖² of them."""
        largest, scaled = [], []
        for group in self.groups:
            names = self.seen.invariant if group == "together" else [group]
            chosen = torch.cat([torch.arange(len(flat))[self.seen.slices[name]] for name in names])

            def within(vector: Tensor, chosen: Tensor = chosen) -> Tensor:
                """The product with the part of the matrix that belongs to the group."""
                return product(torch.zeros_like(flat).index_copy(0, chosen, vector))[chosen]

            largest.append(self.ends(within, len(chosen), generator(self.options.seed), k=1).values[0])
            scaled.append(largest[-1] * flat[chosen].double().square().sum())
        if not largest:
            return {}
        return {"invariant_largest": torch.stack(largest), "invariant_scaled": torch.stack(scaled)}


def residuals(product: Product, values: Float[Tensor, " k"], vectors: Float[Tensor, "k n"]) -> Float[Tensor, " k"]:
    """‖Hv − λv‖ of each value and its vector. That of the recursion hides the rounding of the products."""
    return torch.stack(
        [(product(v).double() - value * v.double()).norm() for value, v in zip(values, vectors, strict=True)]
    )


def overlap(one: Float[Tensor, " n"], other: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """|cosine| of two vectors, float64; NaN if one is 0."""
    one, other = one.double(), other.double()
    return (one @ other).abs() / (one.norm() * other.norm())


def along(seen: Landscape, vectors: Float[np.ndarray, "step matrix n"]) -> dict[str, np.ndarray]:
    """Overlaps of the first eigenvector with the way from the checkpoint before, and with its eigenvector; NaN at the first."""
    steps, matrices, _ = vectors.shape
    movement, before = np.full((steps, matrices), np.nan), np.full((steps, matrices), np.nan)
    flats = (seen.flat(checkpoint.mapped(), "float64") for checkpoint in seen.run)
    last = next(flats)
    for index, flat in enumerate(flats, start=1):
        for matrix in range(matrices):
            here, there = (torch.from_numpy(vectors[i, matrix]) for i in (index, index - 1))
            movement[index, matrix] = overlap(here, flat - last)
            before[index, matrix] = overlap(here, there)
        last = flat
    return {"overlap_movement": movement, "overlap_before": before}


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above the ends of the spectrum, trace, their scale-free twins, the density of the first matrix, and overlaps."""
    first = found.isel(matrix=0)
    figure = figures.panels(
        [
            "loss",
            f"largest eigenvalues, over split {found.attrs['over']}",
            "smallest eigenvalue",
            "trace (band: standard error)",
            "scale-free: largest eigenvalue × ‖θ‖² of the weights",
            f"where the eigenvalues lie: share in each half decade ({named(first)})",
            f"|cosine| of the first eigenvector ({named(first)})",
        ],
        heights=[3, 4, 2.4, 3, 3.4, 4, 3],
        title="How sharply does the loss curve?",
    )
    figures.losses(figure, found, row=1)
    for matrix, dash in zip(found["matrix"].values, ("solid", "dot"), strict=False):
        here = found.sel(matrix=matrix)
        told = f" ({named(here)})" if found.sizes["matrix"] > 1 else ""
        for rank, colour in zip(found["rank"].values[: 5 if dash == "solid" else 1], figures.PALETTE, strict=False):
            figures.line(figure, here["eigenvalue"].sel(rank=rank), f"λ{rank}{told}", colour, row=2, dash=dash)
        figures.line(figure, here["smallest"], f"λmin{told}", figures.PALETTE[0], row=3, dash=dash)
        figures.line(figure, here["trace"], f"trace{told}", figures.INK, row=4, dash=dash)
        figures.error_band(figure, here["trace"], here["trace_error"], figures.INK, row=4)
        figures.line(figure, here["scaled_largest"], f"all weights{told}", figures.PALETTE[0], row=5, dash=dash)
        for name, colour in zip(found["invariant"].values[:5], figures.PALETTE[1:], strict=False):
            figures.line(
                figure, here["invariant_scaled"].sel(invariant=name), f"{name}{told}", colour, row=5, dash=dash
            )
    figures.heatmap(figure, histogram(first), row=6, colorbar="log₁₀ share", zmin=None)
    for name, what, colour in OVERLAPS:
        figures.line(figure, first[name], what, colour, row=7)
    units = found["eigenvalue"].attrs["units"]
    for row, text in ((2, "λ"), (4, "trace"), (5, "λ·‖θ‖²")):
        figure.update_yaxes(title_text=f"{text} ({units})", type="log", exponentformat="power", row=row)
    figure.update_yaxes(title_text=f"λ ({units})", row=3)
    figure.update_yaxes(title_text="λ", row=6)
    figure.update_yaxes(title_text="|cosine|", range=[-0.02, 1.04], row=7)
    return figures.mark_transition(figure, found)


def histogram(found: xr.Dataset) -> xr.DataArray:
    """log₁₀ of the share of eigenvalues in each half decade below the largest |λ| of all steps, with their sign; [step, λ].

    What lies below 10⁻⁵ of it is one bin around 0.
    """
    nodes, shares = (found[name].values.reshape(found.sizes["step"], -1) for name in ("node", "density"))
    largest = max(float(np.abs(nodes).max()), np.finfo(float).tiny)
    decades = np.clip(np.log10(np.abs(nodes) / largest + 1e-9), -5.25, -1e-9)
    bins = np.where(decades < -5, 0, np.sign(nodes) * (11 + np.floor(2 * decades))).astype(int)
    counted = np.zeros((len(nodes), 21))
    for row, (where, share) in enumerate(zip(bins, shares, strict=True)):
        np.add.at(counted[row], where + 10, share)
    with np.errstate(divide="ignore"):
        logs = np.log10(counted / found.sizes["probe"])
    ends = [f"{largest * 10 ** ((size - 10) / 2):.1e}" for size in range(1, 11)]
    names = [*(f"−{end}" for end in reversed(ends)), "0", *ends]
    return xr.DataArray(np.where(np.isfinite(logs), logs, np.nan), {"step": found["step"], "λ": names}, ("step", "λ"))


OVERLAPS = (
    ("overlap_gradient", "with the gradient", figures.PALETTE[2]),
    ("overlap_movement", "with the way from the checkpoint before", figures.PALETTE[4]),
    ("overlap_before", "with that of the checkpoint before", figures.PALETTE[0]),
)
"""Overlaps that are drawn, with their names and colours."""


def named(found: xr.Dataset) -> str:
    """Name of a matrix, in words."""
    return {"hessian": "Hessian", "gauss_newton": "Gauss–Newton"}[str(found["matrix"].values)]


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Ends of the spectrum, trace with its error, and λ1·‖θ‖², at each step."""
    table = by_step(found)
    for matrix in found["matrix"].values:
        here = found.sel(matrix=matrix)
        told = f" {named(here)}" if found.sizes["matrix"] > 1 else ""
        table[f"λ1{told}"] = here["eigenvalue"].sel(rank=1).values
        table[f"residual{told}"] = here["residual"].sel(rank=1).values
        table[f"smallest{told}"] = here["smallest"].values
        table[f"trace{told}"] = here["trace"].values
        table[f"± trace{told}"] = here["trace_error"].values
        table[f"λ1·‖θ‖²{told}"] = here["scaled_largest"].values
    table["with gradient"] = found["overlap_gradient"].isel(matrix=0).values
    return table
