"""A run whose loss goes down somewhere: what it minimises over its training examples, and the gradient of that."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import IGNORED, DoesNotApply, once
from interp.models.network import Weights
from interp.objective import Objective, objective
from interp.tasks import Examples
from interp.views.answers import Answers
from interp.views.prompts import Prompts
from interp.views.walk import bytes_read


@dataclass(frozen=True)
class Descent(Answers):
    """A run on right answers, with the gradient of its mean loss by the weights that learn."""

    def check(self) -> None:
        """Nothing; DoesNotApply when there are no answers, or files of others leave the examples or the network open."""
        self.run.with_checkpoints()
        _ = self.classes, self.run.known_model, self.examples

    @once
    def examples(self) -> Examples:
        """Every example with the answer that it is trained on; of a task that draws them, those to train and then to test on."""
        try:
            return self.run.table
        except DoesNotApply:
            split = self.run.split
            return Examples(
                np.concatenate([split.train.inputs, split.test.inputs]),
                np.concatenate([split.train.targets, split.test.targets]),
            )

    @once
    def prompts(self) -> Prompts:
        """The network over every example."""
        return Prompts(self.run, torch.from_numpy(self.examples.inputs))

    @once
    def targets(self) -> Int[Tensor, " answer"]:
        """Every answer of every example in order; IGNORED where there is none."""
        return torch.from_numpy(self.examples.targets).flatten()

    def logits(self, weights: Weights) -> Float[Tensor, "answer n"]:
        """What comes out for each of these answers."""
        return self.prompts.outputs(weights).flatten(0, -2)

    @once
    def answered(self) -> dict[str, Int[Tensor, " answer"]]:
        """Which of these answers belong to each part, those that cannot be known left out."""
        place = torch.arange(len(self.targets)).view(len(self.examples), -1)
        of_parts = {name: place[rows].flatten() for name, rows in self.parts.items()}
        return {name: places[self.targets[places] != IGNORED] for name, places in of_parts.items()}

    @once
    def parts(self) -> dict[str, Int[Tensor, " example"]]:
        """Rows of the examples that were trained on, that are tested, and all; all alone where files of others do not tell."""
        everything = torch.arange(len(self.examples))
        try:
            train = torch.from_numpy(self.run.split.train_index)
        except DoesNotApply:
            return {"all": everything}
        return {"train": train, "test": everything[~torch.isin(everything, train)], "all": everything}

    @property
    def trained(self) -> str:
        """The part over which the gradient is: train, or all where files of others do not tell."""
        return next(iter(self.parts))

    @once
    def learned(self) -> list[str]:
        """Names of the weights that learn."""
        return self.run.config.model.learned(self.run.task.shape)

    @once
    def objective(self) -> Objective:
        """What is logged over the part that is trained on, in float32 as the weights are saved."""
        config = self.run.config.but(train=self.run.config.train.but(precision="float32"))
        return objective([self.examples[self.parts[self.trained].numpy()]], [config], "cpu")

    def gradients(self, weights: Weights) -> dict[str, Tensor]:
        """The gradient of the logged mean loss, without weight decay, noise and what only helps training, by name."""
        # Checkpoints are walked in inference mode, whose tensors autograd refuses; that goes for what the forward pass
        # keeps, too, so that this one is never called in it.
        with torch.inference_mode(False), torch.enable_grad():
            copies = {name: tensor.clone()[None] for name, tensor in weights.items()}
            moved = [copies[name].requires_grad_() for name in self.learned]
            loss, _ = self.objective.logged(copies)
            found = torch.autograd.grad(loss.sum(), moved)
        return {name: gradient[0] for name, gradient in zip(self.learned, found, strict=True)}

    @property
    def bytes(self) -> int:
        """Bytes that one checkpoint takes at most: the network over all examples, or over one part with its gradient."""
        cost, n = self.run.config.model.cost(self.run.task.shape), len(self.examples)
        # in float64 too, some of them at a time
        logits = 40 * len(self.classes.positions) * self.classes.n
        n_trained = len(self.parts[self.trained])
        return max(cost.bytes(n) + n * logits, 2 * cost.bytes(n_trained) + n_trained * logits) + 3 * bytes_read(
            self.run
        )
