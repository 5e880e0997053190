"""Stochastic gradient Langevin dynamics around given weights, of many chains side by side."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Sloped = Callable[[Float[Tensor, "chain n"], int], tuple[Float[Tensor, " chain"], Float[Tensor, "chain n"]]]
"""Type of a function: loss of each chain and its gradient, at weights and the number of a draw."""

AVERAGED = 0.99
"""Share of the mean square that a preconditioner keeps at each draw."""


@dataclass(frozen=True)
class Langevin:
    """Settings of each chain: p(w) ∝ exp(−nβ·L(w) − γ/2·‖w − w*‖²) is sampled in steps of size ε."""

    epsilon: Float[Tensor, " chain"]
    """Step size ε."""
    n_beta: Float[Tensor, " chain"]
    """Inverse temperature nβ of the mean loss."""
    gamma: Float[Tensor, " chain"]
    """Localisation γ: how strongly chains are drawn back to w*."""
    preconditioned: bool = False
    """Whether each weight's step is divided by the root of its mean squared gradient (Li et al. 2016)."""

    def sample(
        self, sloped: Sloped, start: Float[Tensor, "chain n"], draws: int, generator: torch.Generator
    ) -> Float[Tensor, "chain draw"]:
        """Loss at each draw, float64, the first at the start: w ← w − ε/2·(nβ·∇L + γ·(w − w*)) + N(0, ε).

        With a preconditioner G, ε is ε·G of each weight, scaled so that the mean of G is 1. A chain that diverges has losses that
        are not finite.
        """
        weights, squares, losses = start.clone(), None, []
        epsilon, n_beta, gamma = (each.to(start)[:, None] for each in (self.epsilon, self.n_beta, self.gamma))
        for draw in range(draws):
            loss, slope = sloped(weights, draw)
            losses.append(loss.double())
            drift, step = n_beta * slope + gamma * (weights - start), epsilon
            if self.preconditioned:
                squares = slope.square() if squares is None else AVERAGED * squares + (1 - AVERAGED) * slope.square()
                roots = squares.sqrt()
                # of a start with gradient 0 all are alike
                scale = 1 / (roots + roots.mean(dim=1, keepdim=True)).clamp(min=torch.finfo(roots.dtype).tiny ** 0.5)
                step = epsilon * scale / scale.mean(dim=1, keepdim=True)
            noise = torch.randn(weights.shape, generator=generator, dtype=weights.dtype)
            weights = weights - step / 2 * drift + step.sqrt() * noise
        return torch.stack(losses, dim=1)
