"""Learning coefficient: how degenerate is the loss around each checkpoint, and can the number be trusted?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from interp.base import once
from interp.maths.chains import effective_draws, split_r_hat
from interp.maths.lanczos import extremes
from interp.maths.sampling import generator
from interp.maths.sgld import Langevin
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.tasks import Examples
from interp.views.landscape import Landscape, Part, Surface, Width
from interp.views.walk import beforehand, each_checkpoint, evenly

ALONE = "takes minutes"
"""Why `all` leaves it out."""

WORDS = ("fine", "negative", "not converged", "diverged")
"""What a number can be, by `state`."""

CONVERGED = 1.1
"""Largest R̂ at which chains count as agreeing."""

SHARES = tuple(4.0**-power for power in range(5, 1, -1))
"""Step sizes that are tried, in the largest one at which a step along the sharpest direction of the checkpoint still shrinks.
Chains meet sharper ones."""


class Options(AnalysisOptions):
    """How chains are run, and how their step is found."""

    over: Part = "train"
    """Examples over which the loss is a mean."""
    chains: int = Field(default=4, ge=2, le=256)
    """Chains for each checkpoint, side by side."""
    draws: int = Field(default=200, ge=20, le=1_000_000)
    """Draws of each chain that are kept."""
    burn_in: int = Field(default=100, ge=0, le=1_000_000)
    """Draws before them that are not."""
    epsilon: float = Field(default=0, ge=0)
    """Step size ε of every checkpoint; 0: that of the plateau at the last one."""
    n_beta: float = Field(default=0, ge=0)
    """Inverse temperature nβ of the mean loss; 0: n ÷ ln n, with n the number of examples."""
    gamma: float = Field(default=100.0, gt=0)
    """Localisation γ: chains are drawn back by γ/2·‖w − w*‖². They forget where they began in some 2/(εγ) draws."""
    preconditioned: bool = False
    """Divide each weight's step by the root of its mean squared gradient."""
    batch_size: int = Field(default=0, ge=0)
    """Examples for the gradient of each draw, the same for all chains; 0: all of them."""
    precision: Width = "float32"
    """Precision of network and chains. Losses are computed in float64 in any case."""
    checkpoints: int = Field(default=8, ge=1)
    """Checkpoints at most, evenly spread, the last one among them."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the noise and of the batches, which are equal at all checkpoints."""


VARIABLES: Variables = {
    "llc": Var("step", "local learning coefficient λ̂"),
    "llc_error": Var("step", "standard error of λ̂, from the effective draws"),
    "llc_chain": Var("step chain", "λ̂ of one chain"),
    "r_hat": Var("step", "R̂ of the losses over half chains", "1"),
    "effective": Var("step", "effective draws of all chains"),
    "state": Var("step", "0: fine; 1: λ̂ is negative; 2: R̂ is above 1.1; 3: a chain diverged"),
    "trace": Var("step chain draw", "nβ·(loss − loss at the checkpoint), burn-in included"),
    "sweep": Var("setting share", "λ̂ at the last checkpoint by step size"),
    "sweep_error": Var("setting share", "standard error of λ̂ in the sweep"),
    "sweep_r_hat": Var("setting share", "R̂ in the sweep", "1"),
}


def measure(seen: Landscape, options: Options) -> xr.Dataset:
    """λ̂ = nβ·(E L − L(w*)) by Langevin dynamics around each checkpoint, with R̂, effective draws, and the sweep behind its step.

    The figure is a property of the network only as far as it does not hang on ε and γ: see the sweep. Chains that do not agree,
    that found a lower loss than the checkpoint's, or that diverged are flagged, not left out.
    """
    run = evenly(seen.run.with_checkpoints(), options.checkpoints)
    chains = Chains(replace(seen, run=run), options, seen.examples(options.over))
    swept = {} if options.epsilon else beforehand(partial(chains.sweep, run.final.weights))
    epsilon = options.epsilon or float(swept["epsilon"][0, swept["chosen"]])
    told = "ε as given" if options.epsilon else STEP.format("is" if swept["flat"] else "is no")
    found = each_checkpoint(run, partial(chains.measures, epsilon=epsilon), needs=chains.bytes)
    return dataset(
        run,
        options,
        {**found, **{name: values.numpy() for name, values in swept.items() if name in VARIABLES}},
        VARIABLES,
        coords={"chain": np.arange(options.chains), "draw": np.arange(-options.burn_in, options.draws)}
        | (chains.swept_coordinates(swept["epsilon"]) if swept else {}),
        definition=f"λ̂ = nβ·(mean of L over kept draws and chains − L(w*)), L the logged mean loss over the examples of split "
        f"{options.over} without weight decay, nβ = {chains.n_beta:.6g}, γ = {options.gamma:g}, ε = {epsilon:.3g}; draws: w ← w "
        "− ε/2·(nβ·∇L + γ·(w − w*)) + N(0, ε)"
        f"{', preconditioned' * options.preconditioned}; {told}; "
        "standard error: nβ·sd(L)/√effective draws; R̂ over half chains",
        source="Lau et al. 2023 (arXiv 2308.12108), Watanabe 2013 for nβ = n/ln n; R̂ and effective draws: Vehtari et al. 2021 "
        "(arXiv 1903.08008)",
    ).assign_attrs(epsilon=epsilon, plateau=int(swept["flat"]) if swept else 0)


STEP = (
    "ε: of those tried at the last checkpoint with R̂ ≤ 1.1 the one to whose neighbours λ̂ changes least, which {} plateau (25 %); "
    "shares are of 4/(nβ·λmax + γ)"
)
"""How the step size was found, in words."""


@dataclass(frozen=True)
class Chains:
    """Chains around the checkpoints of a run."""

    seen: Landscape
    options: Options
    examples: Examples

    @property
    def n_beta(self) -> float:
        """Inverse temperature of the mean loss."""
        n = max(len(self.examples), 3)
        return self.options.n_beta or n / math.log(n)

    @property
    def settings(self) -> list[tuple[float, float]]:
        """Factors on nβ and γ that are tried beside those asked for: how much λ̂ hangs on them."""
        return [(1.0, 1.0), (0.5, 1.0), (1.0, 0.5), (1.0, 2.0)]

    @property
    def settings_in_words(self) -> list[str]:
        """nβ and γ of each setting."""
        return [f"nβ {b * self.n_beta:.4g}, γ {g * self.options.gamma:g}" for b, g in self.settings]

    def swept_coordinates(self, epsilon: Float[Tensor, "setting share"]) -> dict[str, Any]:
        """Coordinates of the sweep."""
        return {
            "setting": self.settings_in_words,
            "share": list(SHARES),
            "swept_epsilon": (("setting", "share"), epsilon.numpy()),
        }

    @property
    def bytes(self) -> int:
        """Bytes that a checkpoint takes: its chains, with the states of a draw."""
        wide = 8 if self.options.precision == "float64" else 4
        each = self.seen.bytes(self.examples[: self.batch], self.options.chains, self.options.precision, graph=2)
        return each + 8 * wide * self.options.chains * self.seen.n_weights

    @property
    def batch(self) -> int:
        """Examples for a draw."""
        return min(self.options.batch_size, len(self.examples)) or len(self.examples)

    def batches(self, copies: int) -> list[Surface]:
        """The loss over each batch of one shuffled pass through the examples, of so many networks."""
        n = len(self.examples)
        order = np.random.default_rng([self.options.seed, 0]).permutation(n) if self.batch < n else np.arange(n)
        each = [np.sort(order[begin : begin + self.batch]) for begin in range(0, n - self.batch + 1, self.batch)]
        return [self.seen.over(self.examples[rows], copies, self.options.precision) for rows in each]

    @once
    def of_chains(self) -> list[Surface]:
        """The loss over each batch, of the chains of a checkpoint."""
        return self.batches(self.options.chains)

    @once
    def whole(self) -> Surface:
        """The loss over all examples."""
        return self.seen.over(self.examples, precision=self.options.precision)

    def losses(
        self, weights: Weights, surfaces: Sequence[Surface], settings: Langevin, draws: int
    ) -> Float[Tensor, "chain draw"]:
        """nβ·(loss − loss at the checkpoint) of every draw."""
        flat = self.seen.flat(weights, self.options.precision)
        at = self.whole.losses(flat[None], weights).detach()
        start = flat.clone().expand(len(settings.epsilon), -1)
        found = settings.sample(
            lambda here, draw: surfaces[draw % len(surfaces)].sloped(here, weights),
            start,
            draws,
            generator(self.options.seed, 1),
        )
        return settings.n_beta.double()[:, None] * (found - at)

    def measures(self, weights: Weights, epsilon: float) -> dict[str, Tensor]:
        """λ̂ at one checkpoint, with what tells whether to trust it."""
        options = self.options
        each = (torch.full((options.chains,), float(value)) for value in (epsilon, self.n_beta, options.gamma))
        settings = Langevin(*each, preconditioned=options.preconditioned)
        trace = self.losses(weights, self.of_chains, settings, options.burn_in + options.draws)
        kept = trace[:, options.burn_in :]
        return {**judged(kept), "llc_chain": kept.mean(dim=1), "trace": trace}

    def sweep(self, weights: Weights) -> dict[str, Tensor]:
        """λ̂ by step size and setting at one checkpoint [setting, share], and which share lies on the plateau of the first."""
        options = self.options
        betas, gammas = (torch.tensor(values) for values in zip(*self.settings, strict=True))
        n_beta, gamma = betas * self.n_beta, gammas * options.gamma
        limit = 4 / (n_beta * self.sharpest(weights) + gamma)
        epsilon = limit[:, None] * torch.tensor(SHARES)
        # two chains of each, since R̂ compares them
        each = tuple(values[:, None].expand(-1, 2).flatten() for values in (n_beta, gamma))
        found: list[list[dict[str, Tensor]]] = []
        surfaces = self.batches(2 * len(self.settings))
        for column in epsilon.T:
            pairs = column[:, None].expand(-1, 2).flatten()
            settings = Langevin(pairs, *each, preconditioned=options.preconditioned)
            trace = self.losses(weights, surfaces, settings, options.burn_in + options.draws)[:, options.burn_in :]
            found.append([judged(pair) for pair in trace.unflatten(0, (-1, 2))])
        tables = {
            into: torch.stack([torch.stack([cell[name] for cell in column]) for column in found], dim=1)
            for into, name in (("sweep", "llc"), ("sweep_error", "llc_error"), ("sweep_r_hat", "r_hat"))
        }
        chosen, flat = plateau(tables["sweep"][0], tables["sweep_r_hat"][0])
        return {**tables, "epsilon": epsilon.double(), "chosen": torch.tensor(chosen), "flat": torch.tensor(flat)}

    def sharpest(self, weights: Weights) -> float:
        """Largest eigenvalue of the Hessian, roughly."""
        flat = self.seen.flat(weights, self.options.precision)
        product, drawn = self.whole.hessian(flat[None], weights), generator(self.options.seed, 2)
        start = torch.randn(len(flat), generator=drawn, dtype=torch.float64).to(flat)
        found = extremes(lambda vector: product(vector[None])[0], start, 1, 0.05, 24, drawn)
        return max(float(found.values[0]), 1e-12)


def judged(kept: Float[Tensor, "chain draw"]) -> dict[str, Tensor]:
    """λ̂ of these draws, its standard error, R̂, effective draws, and what to think of it."""
    estimate, r_hat, effective = kept.mean(), split_r_hat(kept), effective_draws(kept)
    finite = bool(kept.isfinite().all())
    state = 3 if not finite else 2 if not r_hat <= CONVERGED else 1 if estimate < 0 else 0
    return {
        "llc": estimate,
        "llc_error": kept.std() / effective.sqrt(),
        "r_hat": r_hat,
        "effective": effective,
        "state": torch.tensor(state),
    }


FLAT = 0.25
"""Largest change of λ̂ from one step size to the next, relative to itself, that still makes a plateau."""


def plateau(estimates: Float[Tensor, " share"], r_hat: Float[Tensor, " share"]) -> tuple[int, bool]:
    """Index of the step size at which λ̂ changes least from neighbour to neighbour, and whether that is a plateau.

    Those count that converged to a positive λ̂. If none did, it is the one with the smallest finite R̂, or the smallest step.
    """
    steps = range(len(estimates))
    good = [i for i in steps if r_hat[i] <= CONVERGED and estimates[i] > 0]

    def change(i: int) -> float:
        """Largest relative change to a neighbour that converged too; of one alone infinite."""
        beside = [abs(float(estimates[j] / estimates[i]) - 1) for j in (i - 1, i + 1) if j in good]
        return max(beside, default=math.inf)

    if good:
        best = min(good, key=lambda i: (change(i), -i))
        return best, change(best) <= FLAT
    finite = [i for i in steps if r_hat[i].isfinite()]
    return min(finite, key=lambda i: float(r_hat[i]), default=0), False


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above λ̂ with its standard error and what is flagged, R̂, effective draws, the sweep, and the last trace."""
    figure = figures.panels(
        [
            "loss",
            f"local learning coefficient λ̂ (band: standard error; ε {found.attrs['epsilon']:.2g})",
            "R̂ over half chains (dotted: 1.1)",
            "effective draws of all chains",
            f"λ̂ at the last checkpoint, by ε ÷ 4/(nβ·λmax + γ){': a plateau' * found.attrs['plateau']}",
            "nβ·(loss − loss at the checkpoint) by draw, burn-in below 0, in chains of the last checkpoint",
        ],
        heights=[3, 4, 2.4, 2.4, 3.6, 3.6],
        title="How degenerate is the loss around the weights?",
        gap=70,
    )
    figures.losses(figure, found, row=1)
    figures.line(figure, found["llc"], "λ̂", figures.PALETTE[0], row=2)
    figures.error_band(figure, found["llc"], found["llc_error"], figures.PALETTE[0], row=2)
    for state, symbol in ((1, "triangle-down"), (2, "x"), (3, "diamond")):
        here = found["llc"].where(found["state"] == state).fillna(0).where(found["state"] == state)
        if (found["state"] == state).any():
            look = {"color": figures.TEST, "symbol": symbol, "size": 10}
            figure.add_scatter(
                x=here["step"].values, y=here.values, mode="markers", marker=look, name=WORDS[state], legend="legend2",
                row=2, col=1,
            )  # fmt: skip
    figures.line(figure, found["r_hat"], "R̂", figures.PALETTE[1], row=3)
    figures.level(figure, CONVERGED, row=3)
    figures.line(figure, found["effective"], "effective draws", figures.PALETTE[1], row=4)
    sweep_and_trace(figure, found)
    for row, text in ((2, "λ̂"), (3, "R̂"), (4, "draws"), (5, "λ̂"), (6, "nβ·ΔL")):
        figure.update_yaxes(title_text=text, row=row)
    return figures.mark_transition(figure, found, rows=4)


def sweep_and_trace(figure: go.Figure, found: xr.Dataset) -> None:
    """Draw the sweep and the last trace, whose horizontal axes are not steps."""
    settings = found["setting"].values if "setting" in found.coords else []
    for setting, colour in zip(settings, figures.PALETTE, strict=False):
        here = found.sel(setting=setting)
        figure.add_scatter(
            x=here["share"].values, y=here["sweep"].values, error_y={"array": here["sweep_error"].values},
            mode="lines+markers", line={"color": colour}, name=str(setting), legend="legend5", row=5, col=1,
        )  # fmt: skip
    last = found["trace"].isel(step=-1)
    for chain, colour in zip(found["chain"].values[:4], figures.PALETTE, strict=False):
        figure.add_scatter(
            x=found["draw"].values, y=last.sel(chain=chain).values, mode="lines", line={"color": colour, "width": 1},
            name=f"chain {chain}", legend="legend6", row=6, col=1,
        )  # fmt: skip
    figures.own_axes(figure, {5: "ε ÷ 4/(nβ·λmax + γ)", 6: "draw"})
    figure.update_xaxes(type="log", row=5)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """λ̂ with its standard error, R̂, effective draws, and whether it is fine, at each step; and the step size of the chains."""
    table = by_step(found)
    table["λ̂"], table["± λ̂"] = found["llc"].values, found["llc_error"].values
    table["R̂"], table["effective draws"] = found["r_hat"].values, found["effective"].values
    table["ε"], table["on a plateau"] = found.attrs["epsilon"], ("no", "yes")[found.attrs["plateau"]]
    table["is"] = [WORDS[int(state)] for state in found["state"].values]
    return table
