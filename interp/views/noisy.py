"""A run with wrong labels: its last hidden layer over clean and corrupted examples, and its answers without some neurons."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.models.network import Hook, Tail, Weights, has_tail, tail
from interp.views.answers import Answers
from interp.views.prompts import Prompts

AT_MOST = 4_000
"""Examples to train on, and to test on, that are looked at, at most, evenly chosen."""
FEWEST = 4
"""Corrupted examples that are needed: they are split in two halves."""


@dataclass(frozen=True)
class Noisy(Answers):
    """A run with wrong labels in a fixed training set, one answer a prompt, and neurons whose output is known."""

    def check(self) -> None:
        """Nothing; DoesNotApply when no label is wrong, or the network does not tell what follows its neurons."""
        if not self.run.config.corruption:
            raise DoesNotApply(
                f"{self.run.path} was trained without wrong labels; {self.asked} needs some, by --corruption.share 0.2"
            )
        super().check()
        if self.run.task.endless or self.run.split.test.targets.ndim > 1:
            raise DoesNotApply(
                f'{self.run.path} was trained on "{self.run.task.kind}"; {self.asked} needs a fixed training set with one '
                "answer a prompt"
            )
        if int(self.corrupted.sum()) < FEWEST or int((~self.corrupted).sum()) < FEWEST:
            raise DoesNotApply(
                f"{self.run.path} has {int(self.corrupted.sum())} wrong labels of {len(self.corrupted)} that are looked at; "
                f"{self.asked} needs {FEWEST} of each kind"
            )
        if self.roles.neurons is None or not has_tail(self.run.known_model):
            raise DoesNotApply(
                f"{self.run.path} is a model without neurons, or one that does not tell what follows them "
                f"({self.run.config.model.about}); {self.asked} needs both"
            )

    @property
    def neurons(self) -> Hook:
        """The last hidden layer."""
        assert self.roles.neurons is not None
        return self.roles.neurons

    @once
    def rows(self) -> Int[np.ndarray, " n"]:
        """Training examples that are looked at."""
        return chosen(len(self.run.split.train))

    @once
    def corrupted(self) -> Bool[np.ndarray, " n"]:
        """Which of these have a wrong label."""
        return self.run.split.corrupted[self.rows]

    @once
    def truth(self) -> Int[np.ndarray, " n"]:
        """Their right answers."""
        return self.run.split.true_targets[self.rows]

    @once
    def prompts(self) -> Prompts:
        """The network over the training and then the test examples that are looked at."""
        split = self.run.split
        inputs = [split.train.inputs[self.rows], split.test.inputs[chosen(len(split.test))]]
        return Prompts(self.run, torch.from_numpy(np.concatenate(inputs)))

    @once
    def labels(self) -> Int[Tensor, " both"]:
        """Answers of the same examples, those to train on as they are trained."""
        split = self.run.split
        labels = [split.train.targets[self.rows], split.test.targets[chosen(len(split.test))]]
        return torch.from_numpy(np.concatenate(labels))

    def layer(self, weights: Weights) -> "NeuronLayer":
        """The hidden layer of one checkpoint over these examples, and what follows it."""
        after = tail(self.run.known_model, weights, torch.arange(self.run.task.shape.outputs.n))
        cache = self.prompts.cache(weights, {*after.hooks, self.neurons.name}.__contains__)
        return NeuronLayer(after, cache[self.neurons.name], after.beside(cache), self.labels, len(self.rows))

    @property
    def bytes(self) -> int:
        """Bytes that a checkpoint takes at work."""
        return self.prompts.bytes + 8 * len(self.labels) * (4 * self.neurons.width + 6 * self.run.task.shape.outputs.n)


@dataclass(frozen=True)
class NeuronLayer:
    """A hidden layer over training and then test examples, and what follows it."""

    tail: Tail
    post: Float[Tensor, "both neuron"]
    beside: Float[Tensor, "both width"]
    labels: Int[Tensor, " both"]
    n_train: int

    @once
    def mean(self) -> Float[Tensor, " neuron"]:
        """Mean activation over the training examples."""
        return self.post[: self.n_train].mean(dim=0)

    @once
    def energies(self) -> Float[np.ndarray, " neuron"]:
        """Variance of each activation over the training examples."""
        return self.post[: self.n_train].double().var(dim=0, correction=0).numpy()

    @once
    def whole(self) -> Float[Tensor, "both width"]:
        """What reaches the answers."""
        return self.beside + self.tail.through(self.post)

    def scores_without(self, neurons: Int[np.ndarray, " taken"]) -> Float[np.ndarray, "2 both"]:
        """Two scores of each example if these neurons have their mean activation: answered as labelled or not, and how likely.

        The first is 1 or 0, the second the log-probability of the label by a softmax, nats.
        """
        taken = torch.from_numpy(neurons)
        change = (self.post[:, taken] - self.mean[taken]) @ self.tail.written[taken]
        logits, labels = self.tail.answer(self.whole - change).double(), self.labels[:, None]
        right = (logits.argmax(dim=1, keepdim=True) == labels).double()
        return torch.cat([right, logits.log_softmax(dim=1).gather(1, labels.long())], dim=1).T.numpy()


def chosen(n: int) -> Int[np.ndarray, " some"]:
    """So many of n rows as are looked at, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, AT_MOST)).round().astype(int))
