"""A run with right answers whose network has a representation before its readout."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.models.network import Hook, Weights
from interp.views.halves import Halves


@dataclass(frozen=True)
class Represented(Halves):
    """A run on answers among classes, with what its network makes of every example before it answers."""

    def check(self) -> None:
        """Nothing; DoesNotApply when there are no right answers, or the family has no hidden layer that it tells."""
        super().check()
        if not self.has_answers:
            raise DoesNotApply(
                f'{self.run.path} was trained on "{self.run.task.kind}", which has no right answers; {self.asked} needs some'
            )
        if len(self.run.split.test) < 2:
            raise DoesNotApply(
                f"{self.run.path} has one example to test on; {self.asked} needs two halves of a test set"
            )
        if not self.places:
            raise DoesNotApply(f"{self.run.path} has neither neurons nor a residual stream; {self.asked} needs either")

    @once
    def places(self) -> dict[str, Hook]:
        """Where a representation is read, by name: the last hidden layer, and the residual stream after the last layer."""
        known = {"neurons": self.known_roles.neurons, "stream": self.known_roles.stream}
        return {name: hook for name, hook in known.items() if hook is not None}

    def features(self, half: str, weights: Weights) -> dict[str, Float[Tensor, "answer width"]]:
        """The representation of every answer that counts, by place, float64."""
        names = {hook.name: name for name, hook in self.places.items()}
        stacked = {name: tensor[None] for name, tensor in weights.items()}
        found = self.objectives[half].forward.cache(stacked, names.__contains__)
        return {names[hook]: values[0].flatten(0, -2)[self.known[half]].double() for hook, values in found.items()}

    @property
    def bytes_of_features(self) -> int:
        """Bytes of the features of all examples at all places."""
        widths = sum(hook.width for hook in self.places.values())
        return 8 * widths * sum(len(targets) for targets in self.targets.values())

    def labels(self, half: str) -> Tensor:
        """The answers that count."""
        return self.targets[half][self.known[half]].to(torch.int64)
