"""Sums of neurons' activations over the table, for many checkpoints at once."""

import functools

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import once
from interp.maths.compiled import first_derivatives
from interp.models.network import Forward, Hook, Weights, over
from interp.store import Run

ACTIVATIONS = 1 << 21
"""Bytes of activations of several checkpoints at once, at most: larger ones leave the processor's cache and are no faster."""

TOGETHER = 16
"""Checkpoints whose activations are computed at once, at most: what calling torch costs is small by then."""

MANY = 1 << 22
"""Activations of a checkpoint from which on its sums are taken by compiled loops: for fewer their import takes longer than they
save on some tens of checkpoints. It goes by the network alone, so that a number does not depend on how many are measured."""


class NeuronSums:
    """Sums, over the prompts of the task's whole table with one label, of the last layer's neurons at the answer position.

    At p = 113 the activations take thirty times the memory of the weights. They are computed in parts that stay in the
    processor's cache: of many checkpoints at once while those are small, of some prompts when one is not.
    """

    def __init__(self, run: Run, neurons: Hook, labels: Int[Tensor, " prompt"], n_labels: int):
        self.run, self.neurons, self.labels, self.n_labels = run, neurons, labels, n_labels
        self.prompts = torch.from_numpy(run.task.table().inputs)
        self.together = min(TOGETHER, max(1, ACTIVATIONS // (4 * neurons.width * len(labels))))
        self.part = min(len(labels), max(1, ACTIVATIONS // (4 * neurons.width)))

    @property
    def bytes(self) -> int:
        """Bytes that it takes at work, whatever the number of checkpoints."""
        cost = self.run.config.model.cost(self.run.task.shape).bytes_of_last_layer(len(self.prompts), self.part)
        sums = 8 * self.n_labels * self.neurons.width
        return 3 * self.together * (cost + sums) // 2  # freed memory is kept, and not all of it fits what is next

    @once
    def forward(self) -> Forward:
        """The network over the table, for so many checkpoints at once."""
        prompts = self.prompts.expand(self.together, *self.prompts.shape)
        return over(self.run.known_model, self.run.task.shape, prompts)

    @once
    def bags(self) -> list[tuple[Int[Tensor, " prompt"], Int[Tensor, " label"]]]:
        """For each part, its prompts in the order of their labels, and where each label begins."""
        counts = [torch.bincount(labels, minlength=self.n_labels) for labels in self.labels.split(self.part)]
        order = [labels.argsort(stable=True) for labels in self.labels.split(self.part)]
        return [(prompts, count.cumsum(0) - count) for prompts, count in zip(order, counts, strict=True)]

    def sums(self, weights: Weights) -> Float[Tensor, "step label width"]:
        """The sums for a stack of checkpoints."""
        n, found = len(next(iter(weights.values()))), []
        for begin in range(0, n, self.together):
            # Always as many, the last ones repeated: rounding in a product depends on how many stand side by side.
            steps = torch.arange(begin, begin + self.together).clamp(max=n - 1)
            some: Weights = {name: w[steps] for name, w in weights.items()}
            found.append(self.of_some(some))
        return torch.cat(found)[:n]

    def of_some(self, weights: Weights) -> Float[Tensor, "step label width"]:
        """The sums for so many checkpoints as are computed at once."""
        if self.neurons.width * len(self.labels) >= MANY:
            with first_derivatives():  # none are taken here
                sums = self.forward.post_sums(weights, self.labels, self.n_labels)
            if sums is not None:
                return sums
        parts = self.forward.posts(weights, self.part)
        return functools.reduce(torch.add, map(self.by_label, parts, self.bags))

    def by_label(self, activation: Tensor, bag: tuple[Tensor, Tensor]) -> Float[Tensor, "step label width"]:
        """Sums over one part of the prompts; embedding_bag is four times as fast as index_add."""
        prompts, starts = (each + activation.shape[1] * torch.arange(len(activation))[:, None] for each in bag)
        sums = torch.nn.functional.embedding_bag(
            prompts.flatten(), activation.flatten(0, 1), starts.flatten(), mode="sum"
        )
        return sums.view(len(activation), self.n_labels, -1)
