"""Chance in an update: Gaussian noise and dropout, from a run's noise seed and the step alone.

Power et al. (2022, arXiv 2201.02177, figure 2) train with both. No generator lives from one update to the next, so a run
that was resumed draws as one that never stopped, and a run in a batch as it does alone. The processor draws, so that a
GPU gets the same numbers.

Where this is not the code of that paper (openai/grok): there the noise of Adam's updates is also divided by 1 − β₁ᵗ, ten
times as much at the first update and as much after some fifty; and dropout leaves what attention adds alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.config import RunConfig
from interp.models import TransformerSpec
from interp.train.schedule import learning_rate

NOISE, DROPOUT = 0, 1
"""What a stream of numbers is for: those of one seed and step are independent."""


@dataclass(frozen=True)
class Drawn:
    """What chance has in one update of runs that learn side by side."""

    kind: str = "none"
    """What the noise is added to: `TrainConfig.noise`, of all runs."""
    noise: Mapping[str, Float[Tensor, "runs ..."]] = field(default_factory=dict)
    """By parameter: what is added to it, to its gradient, or to its update (in weights' units, the learning rate in it)."""
    factors: Float[Tensor, "runs n places d_model"] | None = None
    """Of dropout, on what is added at each place of each prompt (`SharedForward.places`)."""

    def on(self, kind: Literal["weights", "gradients", "updates"]) -> Mapping[str, Tensor]:
        """The noise, if that is what it is added to."""
        return self.noise if kind == self.kind else {}


NOTHING = Drawn()


def is_random(config: RunConfig) -> bool:
    """Whether something is drawn for the updates of this run."""
    return config.train.noise != "none" or config.train.dropout > 0


def draw(
    configs: Sequence[RunConfig], step: int, parameters: Mapping[str, Float[Tensor, "runs ..."]], n: int, places: int
) -> Drawn:
    """For the update that follows `step` others, of runs that all have the same noise, and all dropout or none.

    `parameters` are those that learn, `n` the prompts of a run.
    """
    kind, device = configs[0].train.noise, next(iter(parameters.values())).device
    noise = {} if kind == "none" else gaussian(configs, step, parameters)
    factors = dropout(configs, step, n, places).to(device) if configs[0].train.dropout else None
    return Drawn(kind, noise, factors)


def gaussian(
    configs: Sequence[RunConfig], step: int, parameters: Mapping[str, Float[Tensor, "runs ..."]]
) -> dict[str, Float[Tensor, "runs ..."]]:
    """σ·N(0, 1) for every number of these parameters, times the learning rate where it is added to updates."""
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
    """Standard deviation of what is added in the update that follows `step` others."""
    rate = learning_rate(step, config.train) if config.train.noise == "updates" else 1.0
    return rate * config.train.noise_scale


def dropout(configs: Sequence[RunConfig], step: int, n: int, places: int) -> Float[Tensor, "runs n places d_model"]:
    """1/(1 − p) with probability 1 − p and else 0, for every number that is added to the residual stream of a prompt.

    The first prompts get the same whatever n is: a run in a batch is filled up to the prompts of the longest.
    """
    factors = []
    for config in configs:
        assert isinstance(config.model, TransformerSpec)  # toy models have none
        numbers = stream(config.seeds.noise, DROPOUT, step).random((n, places, config.model.d_model), dtype=np.float32)
        factors.append(torch.from_numpy(numbers >= config.train.dropout) * (1 / (1 - config.train.dropout)))
    return torch.stack(factors)


def stream(seed: int, purpose: int, step: int) -> np.random.Generator:
    """The numbers of that seed for the update that follows `step` others."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, step)))
