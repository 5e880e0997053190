"""The bend of a curve between two networks, trained so that the loss along the whole curve is small."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from interp.base import UserError
from interp.maths.compiled import first_derivatives
from interp.maths.paths import CURVES, at, drawn
from interp.models.network import Weights
from interp.store.between import Curve
from interp.train.watching import Watcher

Loss = Callable[[Weights], Tensor]
"""Type of a loss: of several networks side by side, [copies], from their weights [copies, …]."""


def rate(step: int, curve: Curve) -> float:
    """Learning rate of an update: constant for half of them, from there linear to a hundredth at nine tenths (Garipov et al.)."""
    done = step / curve.steps
    return curve.lr * (1 - 0.99 * min(max((done - 0.5) / 0.4, 0.0), 1.0))


def trained_bend(
    A: Weights,
    B: Weights,
    loss: Loss,
    learned: list[str],
    curve: Curve,
    watching: "AbstractContextManager[Watcher]",
) -> dict[str, Tensor]:
    """The bend θ that minimises the mean loss over t ~ U[0, 1], by Adam from the midpoint; A and B stay.

    Args:
        A: weights at t = 0.
        B: weights at t = 1.
        loss: loss of `curve.draws` networks.
        learned: names of the weights that are trained; the others stay at the midpoint.
        curve: which curve, and how its bend is trained.
        watching: what shows progress.

    Raises:
        UserError: the loss is no longer a number.
    """
    generator = torch.Generator().manual_seed(curve.seed)
    bend = {name: (A[name] + B[name]) / 2 for name in A}
    with torch.inference_mode(False), torch.enable_grad(), watching as watcher:
        moved = {name: bend[name].clone().requires_grad_() for name in learned}
        adam = torch.optim.Adam(moved.values(), lr=curve.lr, fused=True)
        for step in range(curve.steps):
            for group in adam.param_groups:
                group["lr"] = rate(step, curve)
            parts = CURVES[curve.curve](drawn(curve.draws, generator))
            with first_derivatives():
                mean = loss(points(parts, A, {**bend, **moved}, B)).mean()
            if not math.isfinite(mean.item()):
                raise UserError(
                    f"training the bend diverged: the loss is {mean.item()} at update {step:,}; take a smaller --lr than "
                    f"{curve.lr:g}"
                )
            adam.zero_grad()
            mean.backward()
            adam.step()
            watcher.rows([{"step": step + 1, "loss": mean.item()}])
            watcher.step(step + 1)
    return {**bend, **{name: tensor.detach() for name, tensor in moved.items()}}


def points(parts: Tensor, A: Weights, bend: Mapping[str, Any], B: Weights) -> dict[str, Tensor]:
    """Weights of the networks at some points of a curve, each [t, …]."""
    return {name: at(parts, A[name], bend[name], B[name]) for name in A}
