"""Grokfast: the slow part of the gradient, amplified (Lee et al. 2024, arXiv 2405.20233, algorithms 1 and 2)."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.recipe import TrainConfig
from interp.train.methods.method import Method, Numbers, Side, Stacks, of_each


class Grokfast(Method):
    """A moving average of the gradients, over a window (ma) or exponential (ema), added to them."""

    agree = ("grokfast",)
    differ = ("grokfast_gain", "grokfast_momentum")
    varies = True

    def __init__(self, side: Side):
        super().__init__(side)
        kind = "ma" if side.train.grokfast == "ma" else "ema"
        gain, momentum = self.of_run["grokfast_gain"], self.of_run["grokfast_momentum"]
        self.slow = SlowGradients.make(kind, gain, momentum, side.train.grokfast_window, side.weights)

    @classmethod
    def asked(cls, train: TrainConfig) -> bool:
        """Whether gradients are averaged."""
        return train.grokfast != "none"

    @classmethod
    def shared(cls, train: TrainConfig) -> tuple[Any, ...]:
        """The kind of average, and the window where it has one."""
        return (*super().shared(train), train.grokfast_window if train.grokfast == "ma" else 0)

    def change(self, gradients: Stacks, step: int) -> None:
        """Add λ of the average."""
        self.slow.amplify(gradients, step)

    def state(self, run: int) -> dict[str, Tensor]:
        """The averages, and the gradients in the window."""
        return self.slow.state(run)


@dataclass(frozen=True)
class SlowGradients:
    """Grokfast: a moving average of the gradients, added to them (Lee et al. 2024, algorithms 1 and 2)."""

    kind: Literal["ma", "ema"]
    gain: Numbers
    momentum: Numbers
    """Share α of the exponential average that stays."""
    averages: dict[str, Tensor]
    """Averages by parameter: the exponential average for ema, the sum over the window for ma."""
    window: dict[str, Float[Tensor, "runs window ..."]]
    """Latest gradients by parameter, for ma; that of step s is at s modulo the size of the window. Empty for ema."""

    @staticmethod
    def make(
        kind: Literal["ma", "ema"], gain: Numbers, momentum: Numbers, size: int, weights: Stacks
    ) -> "SlowGradients":
        """State of the filter before the first update; `size` is that of the window."""
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
        """State of one run that its next update depends on, as `{"grokfast_average/embed.W_E": …}`."""
        kinds = {"grokfast_average": self.averages, "grokfast_window": self.window}
        return {f"{kind}/{name}": stack[run] for kind, stacks in kinds.items() for name, stack in stacks.items()}
