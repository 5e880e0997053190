"""Methods of training: each one stage of an update, in a file of its own.

An update of runs that train side by side takes the gradient of each run's mean loss, has every method change it in the order of
`METHODS` (interp/train/methods/__init__.py), and takes the optimisers' steps. The first axis of every tensor is runs, which do
not mix. A method's fields stand in interp/recipe.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from interp.config import RunConfig
from interp.recipe import TrainConfig

Stacks = Mapping[str, Float[Tensor, "runs ..."]]
"""Tensors of all runs, by name of the parameter."""

Numbers = Float[Tensor, " runs"]
"""One number for each run."""

NOTHING: Stacks = {}


@dataclass(frozen=True)
class Side:
    """Runs that train side by side, as a method sees them."""

    configs: tuple[RunConfig, ...]
    weights: Stacks
    """Parameters that learn, detached from the graph of gradients; an update changes them in place."""
    rates: Numbers
    """Learning rate of each run's next update; changed in place."""

    @property
    def train(self) -> TrainConfig:
        """Training configuration of one of the runs, for what all have in common."""
        return self.configs[0].train

    def numbers(self, field: str) -> Numbers:
        """Values of a field of the training configuration, one for each run."""
        return self.rates.new_tensor([getattr(config.train, field) for config in self.configs])


class Method:
    """A stage of an update. Each kind overrides what it does, and says which fields runs have to agree in."""

    agree: ClassVar[tuple[str, ...]] = ()
    """Fields of TrainConfig that must be equal in all runs that train side by side, if they have the method."""
    differ: ClassVar[tuple[str, ...]] = ()
    """Fields of which each run may have its own number: `self.of_run[field]`."""
    varies: ClassVar[bool] = False
    """Whether updates differ from one another, so that one cannot be captured once and replayed."""

    def __init__(self, side: Side):
        self.side = side
        self.of_run = {field: side.numbers(field) for field in self.differ}

    @classmethod
    def asked(cls, train: TrainConfig) -> bool:
        """Whether a run has the method."""
        raise NotImplementedError

    @classmethod
    def shared(cls, train: TrainConfig) -> tuple[Any, ...]:
        """A key that is equal for runs that can train side by side, as far as the method goes."""
        return (cls.__name__, *(getattr(train, field) for field in cls.agree)) if cls.asked(train) else ()

    def begin(self, step: int) -> None:
        """Prepare the update after `step` others."""

    def factors(self, step: int, n: int, places: int, width: int) -> Float[Tensor, "runs n places width"] | None:
        """Factors on what is added to the residual stream of each of a run's n examples; None if there are none."""
        return None

    def moved(self) -> Stacks:
        """Shift of each weight where the gradient is taken, by name; empty if there is none."""
        return NOTHING

    def again(self, gradients: Stacks) -> Stacks | None:
        """Shift of each weight where the gradient is taken a second time; None if it is taken once."""
        return None

    def change(self, gradients: Stacks, step: int) -> None:
        """Change the gradients in place, in the update after `step` others."""

    def before(self) -> None:
        """Change the weights in place, before the optimisers' steps."""

    def after(self) -> None:
        """Change the weights in place, after the optimisers' steps."""

    def state(self, run: int) -> dict[str, Tensor]:
        """State of a run that its next update depends on, as `{"kind/embed.W_E": …}`: views, which a resumed run copies into."""
        return {}


def of_each(numbers: Numbers, stack: Float[Tensor, "runs ..."]) -> Float[Tensor, "runs ..."]:
    """One number for each run, in a shape that broadcasts against a stack."""
    return numbers.view(-1, *[1] * (stack.ndim - 1))


def norms(stacks: Stacks) -> Numbers:
    """Norm of each run, over all these parameters or their gradients together."""
    squares = torch.stack([stack.flatten(1).square().sum(dim=1) for stack in stacks.values()])
    return squares.sum(dim=0).sqrt()
