"""A run whose network keeps the numbers of a vector in fewer hidden ones: where features and training examples lie there."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.measurement import Var, Variables
from interp.models.network import Hook, Matrix, Weights, over
from interp.views.view import Checkpoints

SOURCE = "Elhage et al. 2022, Toy Models of Superposition; Henighan et al. 2023, Superposition, Memorization, and Double Descent"

RELATIVE: Variables = {
    "train_relative": Var("step", "train loss ÷ that of answering 0", "1"),
    "test_relative": Var("step", "test loss ÷ that of answering 0", "1"),
}
"""Losses beside that of answering 0."""


@dataclass(frozen=True)
class Features(Checkpoints):
    """A run of a model that gives vectors back from fewer hidden numbers, where every feature points in a direction."""

    def check(self) -> None:
        """Nothing; DoesNotApply when features point nowhere in the model."""
        _ = self.features, self.hides
        super().check()

    @property
    def features(self) -> Matrix:
        """Where each feature points; DoesNotApply when the model has no such directions."""
        if self.roles.features is None:
            raise DoesNotApply(
                f'{self.run.path} was trained on "{self.run.task.kind}"; {self.asked} needs a toy model of sparse features'
            )
        return self.roles.features

    @property
    def hides(self) -> Hook:
        """The hidden numbers; DoesNotApply when the model has none."""
        if self.roles.hidden is None:
            raise DoesNotApply(f"{self.run.path} is a model without hidden numbers; {self.asked} needs some")
        return self.roles.hidden

    @property
    def n_features(self) -> int:
        """Numbers in a vector."""
        return self.run.task.shape.vectors.width

    @property
    def d_hidden(self) -> int:
        """Hidden numbers."""
        return self.hides.width

    @property
    def n_examples(self) -> int:
        """Training examples; none of an endless stream, whose examples are trained on once."""
        return 0 if self.run.task.endless else self.run.task.n_train

    @once
    def examples(self) -> Float[Tensor, "n feature"]:
        """The training examples."""
        return torch.from_numpy(self.run.split.train.inputs[: self.n_examples])

    def hidden(
        self, weights: Weights, vectors: Float[Tensor, "n feature"] | None = None
    ) -> Float[Tensor, "step n d_hidden"]:
        """What the model keeps of each of these vectors, of the training examples where none are given."""
        vectors = self.examples if vectors is None else vectors
        steps = len(next(iter(weights.values())))
        forward = over(self.run.known_model, self.run.task.shape, vectors.expand(steps, -1, -1))
        return forward.cache(weights, self.hides.name.__eq__)[self.hides.name]

    def directions(self, weights: Weights) -> dict[str, Float[Tensor, "step n d_hidden"]]:
        """Where features and examples point, and where an untied model reads each feature, in float64."""
        found = {"features": self.features.of(weights)}
        if self.roles.features_out is not None:
            found["features out"] = self.roles.features_out.of(weights)
        if self.n_examples:
            found["examples"] = self.hidden(weights)
        return {name: V.double() for name, V in found.items()}

    @property
    def passed_by(self) -> tuple[str, ...]:
        """Names of the weights that features pass, on the way in and on the way out."""
        out = self.roles.features_out
        return (*self.features.reads, *(out.reads if out else ()))

    @property
    def shifted_by(self) -> tuple[str, ...]:
        """Names of what is added at the end."""
        return tuple(name for name, tensor in self.run.tensors.items() if tensor.part == "bias")

    def norm(self, weights: Weights, names: tuple[str, ...]) -> Float[Tensor, " step"]:
        """‖·‖ of these weights together, in float64; 0 of none."""
        flat = [weights[name].double().flatten(1) for name in names]
        return torch.cat(flat, dim=1).norm(dim=1) if flat else torch.zeros(len(next(iter(weights.values())))).double()

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """How many there are of each of these, in how many dimensions."""
        n, d = self.n_features, self.d_hidden
        shapes = {"features": (n, d)} | ({} if self.roles.features_out is None else {"features out": (n, d)})
        return shapes | ({"examples": (self.n_examples, d)} if self.n_examples else {})

    @property
    def bytes(self) -> int:
        """Bytes of all these directions in float64, for one checkpoint."""
        return 8 * sum(n * d for n, d in self.shapes.values())

    @property
    def beside(self) -> int:
        """Bytes of the training examples."""
        return 4 * self.n_examples * self.n_features

    def relative(self) -> dict[str, Float[np.ndarray, " step"]]:
        """Train and test loss at the checkpoints, ÷ that of answering 0 to the same examples; NaN where files of others do not
        tell the examples.
        """
        history, task = self.run.history.reindex(self.run.steps), self.run.task
        try:
            split = self.run.split
        except DoesNotApply:
            return {name: np.full(len(history), np.nan) for name in RELATIVE}
        zero = {"train": task.of_zero(split.train.targets), "test": task.of_zero(split.test.targets)}
        return {f"{name}_relative": history[f"{name}_loss"].to_numpy() / loss for name, loss in zero.items()}
