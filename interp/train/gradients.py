"""What is done to a gradient before the optimiser has it. Every tensor has the axis of the runs first, each run for itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Stacks = Mapping[str, Float[Tensor, "runs ..."]]
"""By the parameter's name."""

Numbers = Float[Tensor, " runs"]
"""One for each run."""


def of_each(numbers: Numbers, stack: Float[Tensor, "runs ..."]) -> Float[Tensor, "runs ..."]:
    """The numbers in a shape that broadcasts against a stack."""
    return numbers.view(-1, *[1] * (stack.ndim - 1))


def norms(gradients: Stacks) -> Numbers:
    """‖g‖, g over all parameters of a run."""
    squares = torch.stack([gradient.flatten(1).square().sum(dim=1) for gradient in gradients.values()])
    return squares.sum(dim=0).sqrt()


def ascent(gradients: Stacks, radius: Numbers) -> dict[str, Tensor]:
    """ρ·g/‖g‖, g over all parameters of a run: where the loss is largest nearby, to first order (Foret et al. 2021, eq. 2)."""
    scale = radius / norms(gradients).clamp(min=1e-12)
    return {name: of_each(scale, gradient) * gradient for name, gradient in gradients.items()}


def penalise(gradients: Stacks, weights: Stacks, l1: Numbers) -> None:
    """Add the subgradient of λ·Σ|w|, in place; 0 at 0."""
    for name, gradient in gradients.items():
        gradient.add_(of_each(l1, gradient) * weights[name].sign())


def pull(gradients: Stacks, weights: Stacks, initial: Stacks, decay: Numbers) -> None:
    """Add the gradient of λ/2·‖w − w₀‖², in place: coupled decay to the initial weights."""
    for name, gradient in gradients.items():
        gradient.add_(of_each(decay, gradient) * (weights[name] - initial[name]))


def orthogonalise(gradients: Stacks, weights: Stacks) -> None:
    """⊥Grad, in place: g − (w·g / w·w)·w for each parameter, at the length of g (Prieto et al. 2025, section 5.2).

    What is left by rounding of a gradient along its parameter, as of every single number, becomes 0.
    """
    for name, gradient in gradients.items():
        w, g = weights[name].flatten(1), gradient.flatten(1)
        along = (w * g).sum(dim=1, keepdim=True) / w.square().sum(dim=1, keepdim=True).clamp(min=1e-30)
        across, length = g - along * w, g.norm(dim=1, keepdim=True)
        left = across.norm(dim=1, keepdim=True)
        rounding = 4 * torch.finfo(g.dtype).eps * length
        scale = torch.where(left > rounding, length / left.clamp(min=1e-30), 0.0)
        gradient.copy_((scale * across).view_as(gradient))


def clip(gradients: Stacks, longest: Numbers) -> None:
    """Scale g, over all parameters of a run, down to `longest` if it is longer, in place (Pascanu et al. 2013, algorithm 1)."""
    scale = (longest / norms(gradients).clamp(min=1e-30)).clamp(max=1)
    for gradient in gradients.values():
        gradient.mul_(of_each(scale, gradient))


@dataclass(frozen=True)
class SlowGradients:
    """Grokfast: a moving average of the gradients, added to them (Lee et al. 2024, algorithms 1 and 2)."""

    kind: Literal["ma", "ema"]
    gain: Numbers
    momentum: Numbers
    """α of ema."""
    averages: dict[str, Tensor]
    """The exponential average; of ma the sum over the window."""
    window: dict[str, Float[Tensor, "runs window ..."]]
    """Of ma the latest gradients, that of step s at s modulo their number; without it (ema) empty."""

    @staticmethod
    def make(
        kind: Literal["ma", "ema"], gain: Numbers, momentum: Numbers, size: int, weights: Stacks
    ) -> "SlowGradients":
        """Before the first update; `size` is that of the window."""
        zeros = {name: torch.zeros_like(stack) for name, stack in weights.items()}
        window = {name: stack.new_zeros(len(stack), size, *stack.shape[1:]) for name, stack in weights.items()}
        return SlowGradients(kind, gain, momentum, zeros, window if kind == "ma" else {})

    def amplify(self, gradients: Stacks, step: int) -> None:
        """Take the gradients of the update after `step` others into the average, and add λ of it to them, in place."""
        for name, gradient in gradients.items():
            if self.kind == "ema":
                # The average starts at the first gradient.
                share = 1 - self.momentum if step else torch.ones_like(self.momentum)
                self.averages[name].lerp_(gradient, of_each(share, gradient))
                gradient.add_(of_each(self.gain, gradient) * self.averages[name])
                continue
            window, total = self.window[name], self.averages[name]
            size = window.shape[1]
            total.add_(gradient - window[:, step % size])
            window[:, step % size] = gradient
            if step % size == size - 1:  # anew, now and then: rounding would add up
                total.copy_(window.sum(dim=1))
            if step >= size - 1:
                gradient.add_(of_each(self.gain / size, gradient) * total)

    def state(self, run: int) -> dict[str, Tensor]:
        """What the next update depends on, as `{"grokfast_average/embed.W_E": …}`."""
        kinds = {"grokfast_average": self.averages, "grokfast_window": self.window}
        return {f"{kind}/{name}": stack[run] for kind, stacks in kinds.items() for name, stack in stacks.items()}
