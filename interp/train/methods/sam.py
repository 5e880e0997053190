"""Sharpness-aware minimisation: the gradient is taken where the loss is largest nearby (Foret et al. 2021, arXiv 2010.01412)."""

from torch import Tensor

from interp.recipe import TrainConfig
from interp.train.methods.method import Method, Numbers, Stacks, norms, of_each


class Sam(Method):
    """A second gradient an update, taken at w + ρ·g/‖g‖, for the optimiser to use."""

    differ = ("sam",)

    @classmethod
    def asked(cls, train: TrainConfig) -> bool:
        """Whether the radius is above 0."""
        return train.sam > 0

    def again(self, gradients: Stacks) -> Stacks:
        """The step ρ·g/‖g‖."""
        return ascent(gradients, self.of_run["sam"])


def ascent(gradients: Stacks, radius: Numbers) -> dict[str, Tensor]:
    """SAM's step ρ·g/‖g‖ to the largest loss within ρ, to first order (Foret et al. 2021, eq. 2); g over a run's parameters."""
    scale = radius / norms(gradients).clamp(min=1e-12)
    return {name: of_each(scale, gradient) * gradient for name, gradient in gradients.items()}
