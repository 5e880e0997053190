"""Gaussian noise on weights, gradients or updates (Power et al. 2022, arXiv 2201.02177, figure 2).

A difference to the code of that paper (openai/grok): there the noise of Adam's updates is also divided by 1 − β₁ᵗ, ten
times as large at the first update, equally large after some fifty.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from interp.config import RunConfig
from interp.recipe import TrainConfig
from interp.train.methods.chance import NOISE, stream
from interp.train.methods.method import NOTHING, Method, Side, Stacks
from interp.train.schedule import learning_rate


class Noise(Method):
    """Noise σ·N(0, 1) for every number that learns, new at each update."""

    agree = ("noise",)
    varies = True

    def __init__(self, side: Side):
        super().__init__(side)
        self.drawn: Stacks = NOTHING

    @classmethod
    def asked(cls, train: TrainConfig) -> bool:
        """Whether there is noise."""
        return train.noise != "none"

    def begin(self, step: int) -> None:
        """Draw the noise of this update."""
        self.drawn = gaussian(self.side.configs, step, self.side.weights)

    def on(self, kind: str) -> Stacks:
        """Noise by parameter if it is added to `kind`; otherwise empty."""
        return self.drawn if self.side.train.noise == kind else NOTHING

    def moved(self) -> Stacks:
        """The noise on the weights where the gradient is taken; the optimiser steps from the weights as they were."""
        return self.on("weights")

    def change(self, gradients: Stacks, step: int) -> None:
        """Add the noise on gradients."""
        for name, added in self.on("gradients").items():
            gradients[name].add_(added)

    def after(self) -> None:
        """Subtract the noise on updates from the weights."""
        for name, added in self.on("updates").items():
            self.side.weights[name].sub_(added)


def gaussian(configs: Sequence[RunConfig], step: int, parameters: Stacks) -> dict[str, Tensor]:
    """Gaussian noise σ·N(0, 1) for every number of these parameters; times the learning rate if it is added to updates."""
    sizes = [stack[0].numel() for stack in parameters.values()]
    each = [
        scale(config, step) * stream(config.seeds.noise, NOISE, step).standard_normal(sum(sizes), dtype=np.float32)
        for config in configs
    ]
    parts = torch.from_numpy(np.stack(each)).split(sizes, dim=1)
    return {
        name: part.to(stack.device).unflatten(1, stack.shape[1:])
        for (name, stack), part in zip(parameters.items(), parts, strict=True)
    }


def scale(config: RunConfig, step: int) -> float:
    """Standard deviation of the noise in the update after `step` others: σ, or lr·σ if it is added to updates."""
    rate = learning_rate(step, config.train) if config.train.noise == "updates" else 1.0
    return rate * config.train.noise_scale
