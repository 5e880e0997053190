"""The L1 penalty: λ·Σ|w| over every number that learns."""

from interp.recipe import TrainConfig
from interp.train.methods.method import Method, Numbers, Stacks, of_each


class L1(Method):
    """The penalty's subgradient, added to the gradient."""

    differ = ("l1",)

    @classmethod
    def asked(cls, train: TrainConfig) -> bool:
        """Whether λ is above 0."""
        return train.l1 > 0

    def change(self, gradients: Stacks, step: int) -> None:
        """Add the subgradient."""
        penalise(gradients, self.side.weights, self.of_run["l1"])


def penalise(gradients: Stacks, weights: Stacks, l1: Numbers) -> None:
    """Add the subgradient of λ·Σ|w|, in place; 0 at 0."""
    for name, gradient in gradients.items():
        gradient.add_(of_each(l1, gradient) * weights[name].sign())
