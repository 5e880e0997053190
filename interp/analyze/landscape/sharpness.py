"""Sharpness: how far does the loss rise near each checkpoint, at most and on average?"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.base import once
from interp.maths import sharpness
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.tasks import Examples
from interp.views.landscape import Landscape, Part, Surface, Width
from interp.views.walk import each_checkpoint, evenly

SCALES = ("absolute", "relative")
"""Boxes and balls by what their size is measured in: as given, or in sizes of the weights."""

AT_ONCE = 4
"""Networks whose losses are computed side by side."""


class Options(AnalysisOptions):
    """Sizes of boxes and balls, and how they are searched."""

    over: Part = "train"
    """Examples over which the loss is a mean."""
    epsilons: tuple[float, ...] = (1e-3,)
    """Sizes ε of the box of φ: |y| ≤ ε·(|θ| + 1) for each weight, or ε·|θ| relative. Keskar et al. take .001 and .0005."""
    subspaces: int = Field(default=2, ge=0, le=64)
    """Random subspaces in which φ is searched too; 0: none."""
    dimensions: int = Field(default=100, ge=1, le=10_000)
    """Dimensions of each; as many as there are weights, at most."""
    iterations: int = Field(default=5, ge=1, le=1000)
    """Iterations of L-BFGS-B for each box."""
    rho: float = Field(default=0.05, gt=0)
    """Radius of SAM's step, in units of the weights. ASAM's is ten times it, in sizes of the weights, as its authors take."""
    radii: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1)
    """Radii of the balls on which the mean rise is taken, as shares of ‖θ‖."""
    draws: int = Field(default=8, ge=2, le=1024)
    """Random directions for each ball."""
    precision: Width = "float32"
    """Precision of the network. Losses are computed in float64 in any case."""
    checkpoints: int = Field(default=8, ge=1)
    """Checkpoints at most, evenly spread, the last one among them."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of starts, subspaces and directions, which are equal at all checkpoints."""


VARIABLES: Variables = {
    "phi": Var("step scale epsilon", "sharpness φ in the full space", "%"),
    "phi_subspace": Var("step epsilon", "sharpness φ in random subspaces, mean", "%"),
    "phi_subspace_error": Var("step epsilon", "standard error of that mean over subspaces", "%"),
    "sam": Var("step", "rise of the loss at SAM's step", "{loss_units}"),
    "asam": Var("step", "rise of the loss at ASAM's step", "{loss_units}"),
    "rise": Var("step scale radius", "mean rise of the loss at a distance", "{loss_units}"),
    "rise_error": Var("step scale radius", "standard error of the mean rise over directions", "{loss_units}"),
    "gap": Var("step", "test loss − training loss", "{loss_units}"),
}


def measure(seen: Landscape, options: Options) -> xr.Dataset:
    """φ of Keskar et al., the steps of SAM and ASAM, and the mean rise at a distance, beside the gap of the losses.

    φ, SAM and the absolute balls change when weights are scaled, even where the network is the same function. ASAM, relative
    boxes and relative balls do not, where each weight (or each tensor) is scaled by a factor of its own.
    """
    run = evenly(seen.run.with_checkpoints(), options.checkpoints)
    near = Near(replace(seen, run=run), options, seen.examples(options.over))
    found = each_checkpoint(run, near.measures, needs=near.bytes)
    logged = run.history.reindex(run.steps)
    found["gap"] = (logged["test_loss"] - logged["train_loss"]).to_numpy()
    return dataset(
        run,
        options,
        found,
        VARIABLES,
        coords={"scale": list(SCALES), "epsilon": list(near.epsilons), "radius": list(options.radii)},
        definition="φ = 100·(max − loss)/(1 + loss) over the box |y| ≤ ε·(|θ| + 1), relative: ε·|θ|; the maximum is the largest "
        "value that L-BFGS-B met, from a random start, then from the maximum of the next smaller box: a lower bound; a subspace "
        "has orthonormal columns A and the box |z| ≤ ε·(|Aᵀθ| + 1); SAM: ρ·g/‖g‖; ASAM: ρ·θ²g/‖θg‖ with ten times the ρ; mean "
        "rise: at random directions of length r·‖θ‖, relative: each tensor by r of its own norm; losses are the logged mean over "
        f"the examples of split {options.over}, in {options.precision}, without weight decay",
        source="φ: Keskar et al. 2017 (arXiv 1609.04836), metric 2.1; SAM: Foret et al. 2021 (arXiv 2010.01412); ASAM: Kwon et "
        "al. 2021 (arXiv 2102.11600); φ of grokking: Power et al. 2022 (arXiv 2201.02177), appendix",
    ).assign_attrs(over=options.over)


@dataclass(frozen=True)
class Near:
    """Measures of the loss near one checkpoint."""

    seen: Landscape
    options: Options
    examples: Examples

    @property
    def epsilons(self) -> tuple[float, ...]:
        """Sizes of the boxes, ascending: each search begins where that of the smaller one ended."""
        return tuple(sorted(self.options.epsilons))

    @property
    def bytes(self) -> int:
        """Bytes that a checkpoint takes: losses side by side, L-BFGS-B's memory, and a subspace."""
        n, options = self.seen.n_weights, self.options
        columns = min(options.dimensions, n) * (options.subspaces > 0)
        beside = self.seen.bytes(self.examples, AT_ONCE, options.precision, graph=1)
        slope = self.seen.bytes(self.examples, 1, options.precision, graph=2)
        return beside + slope + 8 * n * (30 + 2 * columns)

    @once
    def surface(self) -> Surface:
        """The loss of one network."""
        return self.seen.over(self.examples, precision=self.options.precision)

    @once
    def surfaces(self) -> Surface:
        """The losses of several networks side by side."""
        return self.seen.over(self.examples, AT_ONCE, self.options.precision)

    def generator(self, *of: int) -> np.random.Generator:
        """Random numbers for one purpose, equal at all checkpoints."""
        return np.random.default_rng([self.options.seed, *of])

    def measures(self, weights: Weights) -> dict[str, Tensor | float]:
        """Every measure at one checkpoint."""
        flat, options = self.seen.flat(weights, self.options.precision), self.options
        loss, slope = self.sloped(flat, weights)
        sizes = flat.double().abs()
        own = {"absolute": sizes + 1, "relative": sizes}
        boxes = [self.phis(flat, weights, loss, own[scale].numpy(), self.generator(0)) for scale in SCALES]
        there = [sharpness.ascent(slope, options.rho), sharpness.ascent(slope, 10 * options.rho, sizes)]
        sam, asam = (self.sloped(flat.double() + step, weights)[0] - loss for step in there)
        rises = self.rises(flat, weights, loss)
        return {
            "phi": torch.tensor(np.stack(boxes)),
            **self.of_subspaces(flat, weights, loss),
            "sam": sam,
            "asam": asam,
            "rise": rises.mean(dim=-1),
            "rise_error": rises.std(dim=-1) / options.draws**0.5,
        }

    def sloped(self, flat: Float[Tensor, " n"], weights: Weights) -> tuple[float, Float[Tensor, " n"]]:
        """Loss and its gradient at some weights, float64."""
        kind = torch.float64 if self.options.precision == "float64" else torch.float32
        loss, slope = self.surface.sloped(flat.to(kind)[None], weights)
        return loss.item(), slope[0].double()

    def phis(
        self,
        flat: Float[Tensor, " n"],
        weights: Weights,
        loss: float,
        sizes: Float[np.ndarray, " k"],
        generator: np.random.Generator,
        along: Callable[[Float[Tensor, " k"]], Float[Tensor, " n"]] = lambda z: z,
        back: Callable[[Float[Tensor, " n"]], Float[Tensor, " k"]] = lambda slope: slope,
    ) -> Float[np.ndarray, " epsilon"]:
        """φ for each ε over the box |z| ≤ ε·sizes, where `along` leads to weights and `back` brings gradients."""
        where, found = generator.uniform(-0.1, 0.1, len(sizes)), []
        for index, epsilon in enumerate(self.epsilons):
            # the maximum of the next smaller box is a point of this one
            start = where * (self.epsilons[index - 1] / epsilon if index else 1)

            def at(inside: Float[np.ndarray, " k"], epsilon: float = epsilon) -> tuple[float, Float[np.ndarray, " k"]]:
                """Loss and gradient at a point of the box, in its half widths."""
                moved = along(torch.from_numpy(epsilon * sizes * inside))
                value, slope = self.sloped(flat.double() + moved, weights)
                return value, epsilon * sizes * back(slope).numpy()

            largest, where = sharpness.highest(at, start, self.options.iterations)
            found.append(max(0.0, sharpness.phi(largest, loss)))
        return np.array(found)

    def of_subspaces(self, flat: Float[Tensor, " n"], weights: Weights, loss: float) -> dict[str, Tensor]:
        """φ in random subspaces, mean and standard error; nothing where none are asked for."""
        n, found = len(flat), []
        for index in range(self.options.subspaces):
            generator = self.generator(1, index)
            drawn = torch.from_numpy(generator.standard_normal((n, min(self.options.dimensions, n)), dtype=np.float32))
            A, _ = torch.linalg.qr(drawn)
            sizes = (A.T @ flat.float()).abs().double().numpy() + 1
            along, back = (lambda z, A=A: (A @ z.float()).double(), lambda slope, A=A: (A.T @ slope.float()).double())
            found.append(self.phis(flat, weights, loss, sizes, generator, along, back))
        if not found:
            return {}
        each = torch.tensor(np.stack(found))
        error = each.std(dim=0) / len(found) ** 0.5 if len(found) > 1 else torch.full_like(each[0], torch.nan)
        return {"phi_subspace": each.mean(dim=0), "phi_subspace_error": error}

    def rises(self, flat: Float[Tensor, " n"], weights: Weights, loss: float) -> Float[Tensor, "scale radius draw"]:
        """Rise of the loss at random directions of each length."""
        options = self.options
        drawn = self.generator(2).standard_normal((options.draws, len(flat)), dtype=np.float32)
        directions = torch.from_numpy(drawn).to(flat)
        absolute = directions * (flat.norm() / directions.norm(dim=1, keepdim=True))
        relative = torch.empty_like(directions)
        for place in self.seen.slices.values():
            part = directions[:, place]
            relative[:, place] = part * (flat[place].norm() / part.norm(dim=1, keepdim=True))
        points = [flat + radius * each for each in (absolute, relative) for radius in options.radii]
        losses = self.losses(torch.cat(points), weights)
        return (losses - loss).view(len(SCALES), len(options.radii), options.draws)

    def losses(self, flats: Float[Tensor, "many n"], weights: Weights) -> Float[Tensor, " many"]:
        """Loss of each of many networks, some of them side by side."""
        found = []
        for part in flats.split(AT_ONCE):
            filled = torch.cat([part, part[-1:].expand(AT_ONCE - len(part), -1)])
            found.append(self.surfaces.losses(filled, weights)[: len(part)])
        return torch.cat(found)


def draw(found: xr.Dataset) -> go.Figure:
    """Losses and their gap above φ by ε, SAM and ASAM, and the mean rise by radius."""
    over = found.attrs["over"]
    figure = figures.panels(
        [
            "loss",
            "test loss − training loss",
            f"φ over the training box, split {over} (dotted: relative box)" if over == "train" else f"φ, split {over}",
            "rise of the loss at the step of SAM and of ASAM",
            "mean rise of the loss at a distance of r·‖θ‖ (band: standard error)",
            "the same, each tensor by r of its own norm",
        ],
        heights=[3, 2.4, 4, 3, 3.4, 3.4],
        title="How far does the loss rise near the weights?",
    )
    figures.losses(figure, found, row=1)
    figures.line(figure, found["gap"], "gap", figures.INK, row=2)
    for epsilon, colour in zip(found["epsilon"].values, figures.PALETTE, strict=False):
        for scale, dash in zip(SCALES, ("solid", "dot"), strict=True):
            told = f"ε {epsilon:g}" + (", relative" if scale == "relative" else "")
            figures.line(figure, found["phi"].sel(epsilon=epsilon, scale=scale), told, colour, row=3, dash=dash)
        if "phi_subspace" in found:
            here = found["phi_subspace"].sel(epsilon=epsilon)
            figures.line(figure, here, f"ε {epsilon:g}, subspace", colour, row=3, dash="dash")
    figures.line(figure, found["sam"], "SAM", figures.PALETTE[0], row=4)
    figures.line(figure, found["asam"], "ASAM", figures.PALETTE[1], row=4)
    for scale, row in zip(SCALES, (5, 6), strict=True):
        for radius, colour in zip(found["radius"].values, figures.PALETTE, strict=False):
            here = found.sel(scale=scale, radius=radius)
            figures.line(figure, here["rise"], f"r {radius:g}", colour, row=row)
            figures.error_band(figure, here["rise"], here["rise_error"], colour, row=row)
    units = found["sam"].attrs["units"]
    figure.update_yaxes(title_text=f"gap ({units})", row=2)
    figure.update_yaxes(title_text="φ (%)", type="log", exponentformat="power", row=3)
    for row in (4, 5, 6):
        figure.update_yaxes(title_text=f"rise ({units})", row=row)
    for row in (4, 5, 6):
        figure.update_yaxes(type="log", exponentformat="power", row=row)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """φ at the largest ε, SAM, ASAM, the mean rise at the largest radius, and the gap, at each step."""
    table, largest = by_step(found), found.isel(epsilon=-1)
    epsilon = f"ε {largest['epsilon'].item():g}"
    for scale in SCALES:
        table[f"φ {scale}, {epsilon}"] = largest["phi"].sel(scale=scale).values
    if "phi_subspace" in found:
        table[f"φ subspace, {epsilon}"] = largest["phi_subspace"].values
    table["SAM"], table["ASAM"] = found["sam"].values, found["asam"].values
    far = found.isel(radius=-1)
    for scale in SCALES:
        here = far.sel(scale=scale)
        table[f"rise {scale}, r {far['radius'].item():g}"] = here["rise"].values
        table[f"± rise {scale}"] = here["rise_error"].values
    table["gap"] = found["gap"].values
    return table
