"""Gradient clipping by the norm over all parameters of a run (Pascanu et al. 2013, arXiv 1211.5063)."""

from interp.recipe import TrainConfig
from interp.train.methods.method import Method, Numbers, Stacks, norms, of_each


class Clipping(Method):
    """Gradients with a norm of at most `max_gradient_norm`."""

    differ = ("max_gradient_norm",)

    @classmethod
    def asked(cls, train: TrainConfig) -> bool:
        """Whether there is a largest norm."""
        return train.max_gradient_norm > 0

    def change(self, gradients: Stacks, step: int) -> None:
        """Scale down gradients with a larger norm."""
        clip(gradients, self.of_run["max_gradient_norm"])


def clip(gradients: Stacks, longest: Numbers) -> None:
    """Scale g, over all parameters of a run, down to `longest` if it is longer, in place (Pascanu et al. 2013, algorithm 1)."""
    scale = (longest / norms(gradients).clamp(min=1e-30)).clamp(max=1)
    for gradient in gradients.values():
        gradient.mul_(of_each(scale, gradient))
