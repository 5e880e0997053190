"""A run as a fit: its logged losses, its hidden layer over examples, and how well each kind of training example is fitted."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.models.network import Hook, Weights
from interp.views.halves import Halves
from interp.views.prompts import Prompts

AT_MOST = 1_000
"""Test examples of which the hidden layer is computed, at most: its rank costs the cube of the smaller side."""


@dataclass(frozen=True)
class Fits(Halves):
    """A run with logged losses, and known examples to train on and to test on, of any family and task."""

    def check(self) -> None:
        """Nothing; DoesNotApply when no loss was logged, or the examples are not known."""
        super().check()
        if not self.run.history["test_loss"].notna().to_numpy().any():
            raise DoesNotApply(f"{self.run.path} has no test loss in its history; {self.asked} needs logged losses")

    @property
    def hidden(self) -> Hook | None:
        """The last hidden layer: neurons, or the hidden numbers of a model that has no neurons; None if there is neither."""
        return self.roles.neurons or self.roles.hidden

    @once
    def shown(self) -> Prompts:
        """The network over the test examples of which the hidden layer is computed, evenly chosen."""
        inputs = torch.from_numpy(self.parts["test"].inputs)
        rows = torch.linspace(0, len(inputs) - 1, min(AT_MOST, len(inputs))).round().long()
        return Prompts(self.run, inputs[rows])

    def activations(self, hook: Hook, weights: Weights) -> Float[Tensor, "answer width"]:
        """Activations of the hidden layer where answers are read, a row for each answer of those test examples."""
        return self.shown.cache(weights, hook.name.__eq__)[hook.name].flatten(0, -2)

    @once
    def kinds(self) -> Mapping[str, Bool[Tensor, " n_train"]]:
        """Training examples with the right label and those with a wrong one; nothing where no label is wrong."""
        if not self.run.config.corruption or not self.has_answers:
            return {}
        wrong = torch.from_numpy(self.run.split.corrupted)
        return {"clean": ~wrong, "corrupted": wrong}

    def fitted(self, weights: Weights) -> dict[str, Float[Tensor, ""]]:
        """Share of each kind of training example that is answered as it is trained, over all of its answers."""
        counted = self.known["train"]
        right = self.outputs("train", weights)[0, counted].argmax(dim=1) == self.targets["train"][counted]
        example = counted // (len(self.targets["train"]) // len(self.parts["train"]))
        return {name: right[kind[example]].double().mean() for name, kind in self.kinds.items()}

    @property
    def bytes_at_work(self) -> int:
        """Bytes that a checkpoint takes at work."""
        width = self.hidden.width if self.hidden else 0
        return self.bytes_of_outputs + self.shown.bytes + 8 * 6 * len(self.shown) * max(len(self.shown), width)
