"""Is the published loss at a norm the least there, and what makes it differ from the one at a clamp?

python analyses/omnigrok/their_step.py            # four other updates beside the clamp of study.py, eleven norms, three seeds
python analyses/omnigrok/their_step.py --small    # five norms, two seeds, 2,000 updates

The published code rescales weights between a loss and its gradient, and counts the first matrix twice in their norm. Adam under
a clamp, theirs and ours, stops where its own step points outwards, which is not where the gradient does: an update on the
gradient's tangential part alone shows what that costs. Where targets are by chance nothing can be learned.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from jaxtyping import Float
from study import CLAMPED, PRINTED, PUBLISHED, TEACHER, of_teacher
from study import configs as trained
from torch import Tensor

from interp import figures
from interp.config import RunConfig
from interp.models.network import initial_weights
from interp.store import Run
from interp.study import script

SEEDS = 3
FIRST = "layers.0.W"
SMALL = (0.251, 0.398)
"""Norms at which updates differ."""
Stack = dict[str, Tensor]
"""Parameters of all runs by name, [runs, …]."""


class Arm(NamedTuple):
    """How an update differs from the clamp's."""

    label: str
    twice: bool = False
    """Whether the norm counts the first matrix twice."""
    before: bool = False
    """Whether weights are scaled before the optimiser's step, by a gradient at the weights that were not yet."""
    tangent: bool = False
    """Whether the optimiser is given the gradient without its part along the weights."""
    by_chance: bool = False
    """Whether the training targets are dealt to the inputs by chance."""


ARMS = (
    Arm("published step", twice=True, before=True),
    Arm("published step, norm counted once", before=True),
    Arm("clamp, tangential gradient", tangent=True),
    Arm("clamp, targets by chance", by_chance=True),
)


def configs(small: bool) -> Mapping[str, RunConfig]:
    """The clamped runs of the teacher's task of these seeds."""
    found = trained(small).items()
    return {n: each for n, each in found if n.startswith(f"{TEACHER}+{CLAMPED}+") and each.seeds.model < SEEDS}


def report(runs: Mapping[str, Run]) -> script.Report:
    """Losses after each update at every norm, and their ratios to those of the clamp on the same seed."""
    rows = [{"arm": "clamp", **of_teacher(run)} for run in runs.values()]
    for arm in ARMS:
        rows += losses(arm, [run.config for run in runs.values()])
    table: Any = pd.DataFrame(rows)[["arm", "alpha", "seed", "train_loss", "test_loss"]]
    beside = ratios(table)
    return script.Report(
        {
            "their_step": beside,
            "their_step_told": told(beside),
            "their_step_runs": table.set_index(["arm", "alpha", "seed"]),
        },
        {"their_step": draw(table)},
    )


def losses(arm: Arm, configs: Sequence[RunConfig]) -> list[dict[str, Any]]:
    """Mean squared errors of every run after an arm's updates, as many as the published figures had."""
    weights, x, y = start(configs)
    if arm.by_chance:
        dealt = [np.random.default_rng([config.seeds.split, 1]).permutation(y.shape[1]) for config in configs]
        y = torch.stack([each[torch.from_numpy(order)] for each, order in zip(y, dealt, strict=True)])
    train = configs[0].train
    descend(arm, weights, x, y, train.lr, train.betas, min(train.steps, PRINTED))
    splits = [config.split() for config in configs]
    with torch.no_grad():
        ended = errors(weights, x, y)
        tested = errors(weights, *(torch.stack(each) for each in zip(*(tensors(s.test) for s in splits), strict=True)))
    return [
        {"arm": arm.label, "alpha": config.train.constraint_scale, "seed": config.seeds.model}
        | {"train_loss": float(a), "test_loss": float(b)}
        for config, a, b in zip(configs, ended, tested, strict=True)
    ]


def start(configs: Sequence[RunConfig], dtype: torch.dtype = torch.float32) -> tuple[Stack, Tensor, Tensor]:
    """Weights of all runs at their norms, and their training inputs and targets."""
    each = [initial_weights(config.model, config.task.shape, config.seeds.model) for config in configs]
    alphas = [config.train.constraint_scale for config in configs]
    weights = {
        name: torch.stack([a * w[name].to(dtype) for a, w in zip(alphas, each, strict=True)]) for name in each[0]
    }
    x, y = (
        torch.stack(both).to(dtype) for both in zip(*(tensors(config.split().train) for config in configs), strict=True)
    )
    return weights, x, y


def tensors(examples: Any) -> tuple[Tensor, Tensor]:
    """Inputs and targets of examples."""
    return torch.from_numpy(examples.inputs), torch.from_numpy(examples.targets)


def errors(weights: Stack, x: Float[Tensor, "run n input"], y: Float[Tensor, "run n output"]) -> Float[Tensor, " run"]:
    """Mean squared error of every run's network."""
    for layer in range(2):
        x = torch.baddbmm(weights[f"layers.{layer}.b"][:, None], x, weights[f"layers.{layer}.W"]).tanh()
    outputs = torch.baddbmm(weights["unembed.b_U"][:, None], x, weights["unembed.W_U"])
    return (outputs - y).square().mean(dim=(1, 2))


def descend(arm: Arm, weights: Stack, x: Tensor, y: Tensor, lr: float, betas: tuple[float, float], steps: int) -> None:
    """Take so many updates of Adam on the whole training set, in place; after the last of `before` weights are not scaled."""
    for tensor in weights.values():
        tensor.requires_grad_().grad = torch.zeros_like(tensor)
    optimizer = torch.optim.Adam(list(weights.values()), lr=lr, betas=betas)
    kept = squares(weights, arm.twice)
    for _ in range(steps):
        found = torch.autograd.grad(errors(weights, x, y).sum(), list(weights.values()))
        gradients = dict(zip(weights, found, strict=True))
        if arm.before:
            rescale(weights, kept, arm.twice)
        with torch.no_grad():
            if arm.tangent:
                gradients = tangential(gradients, weights)
            for name, tensor in weights.items():
                tensor.grad = gradients[name]
        optimizer.step()
        if not arm.before:
            rescale(weights, kept, arm.twice)


@torch.no_grad()
def squares(weights: Stack, twice: bool = False) -> Float[Tensor, " run"]:
    """Σw² of every run, the first matrix counted twice if so."""
    parts = {name: tensor.square().flatten(1).sum(dim=1) for name, tensor in weights.items()}
    return torch.stack(list(parts.values())).sum(dim=0) + (parts[FIRST] if twice else 0)


@torch.no_grad()
def rescale(weights: Stack, kept: Float[Tensor, " run"], twice: bool) -> None:
    """Bring Σw² of every run back to what is kept, in place."""
    factor = (kept / squares(weights, twice)).sqrt()
    for tensor in weights.values():
        tensor.mul_(along(factor, tensor))


@torch.no_grad()
def tangential(gradients: Stack, weights: Stack) -> Stack:
    """The gradients of every run without their part along its weights."""
    products = [(gradients[name] * tensor).flatten(1).sum(dim=1) for name, tensor in weights.items()]
    share = torch.stack(products).sum(dim=0) / squares(weights)
    return {name: each - along(share, each) * weights[name] for name, each in gradients.items()}


def along(values: Tensor, stack: Tensor) -> Tensor:
    """A number for each run in a shape that broadcasts against a stack."""
    return values.reshape(-1, *(1,) * (stack.dim() - 1))


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each arm and norm: median losses, the median over seeds of each ÷ that of the clamp on the same seed, and ÷ the
    published one.
    """
    names, key = ["train_loss", "test_loss"], ["alpha", "seed"]
    clamped = table[table["arm"] == "clamp"].set_index(key)[names]
    keys: Any = table[key]
    beside = table[names].to_numpy() / clamped.reindex(pd.MultiIndex.from_frame(keys)).to_numpy()
    whole = table.assign(**{f"{name} ÷ clamp": beside[:, place] for place, name in enumerate(names)})
    found: Any = whole.drop(columns="seed").groupby(["arm", "alpha"], sort=False).median()
    theirs = pd.read_csv(PUBLISHED, index_col="alpha")
    told = found.join(theirs.add_prefix("published "), on="alpha")
    return told.assign(**{"test_loss ÷ published": (told["test_loss"] / told["published test_loss"]).round(4)})


def told(beside: pd.DataFrame) -> pd.DataFrame:
    """What the README tells: test losses of the published step at every norm, and of all arms at the norms SMALL."""
    names = ["test_loss", "test_loss ÷ clamp", "test_loss ÷ published"]
    rows = [arm == ARMS[0].label or alpha in SMALL for arm, alpha in beside.index]
    return beside.loc[rows, names]


def draw(table: pd.DataFrame) -> go.Figure:
    """Median losses after each update against the norm, beside the published ones."""
    figure = figures.panels(
        ["train", "test"], heights=[6], columns=2, title="The loss at a norm by five updates", over_steps=False
    )
    theirs = pd.read_csv(PUBLISHED)
    for column, split in enumerate(("train", "test"), start=1):
        name = f"{split}_loss"
        for colour, (arm, cell) in zip(figures.PALETTE, table.groupby("arm", sort=False), strict=False):
            medians: Any = cell.groupby("alpha")[name].median()
            figure.add_scatter(
                x=medians.index, y=np.maximum(medians, 1e-9), name=str(arm), legendgroup=str(arm), line_color=colour,
                line_dash="dot" if "chance" in str(arm) else "solid", showlegend=column == 1, row=1, col=column,
            )  # fmt: skip
        known = theirs[theirs[name] > 0]
        figure.add_scatter(
            x=known["alpha"], y=known[name], name="published", mode="markers", legendgroup="published",
            marker={"symbol": "x", "size": 9, "color": figures.INK}, showlegend=column == 1, row=1, col=column,
        )  # fmt: skip
    figure.update_xaxes(type="log", title_text="norm ÷ initial norm, α", tickvals=[0.1, 0.3, 1, 3, 10])
    figure.update_yaxes(type="log", dtick=1, exponentformat="power").update_yaxes(
        title_text="mean squared error", col=1
    )
    return figure.update_layout(margin={"r": 260}, width=1_250)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
