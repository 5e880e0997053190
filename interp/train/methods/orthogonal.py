"""⊥Grad: a gradient without what only scales its parameter (Prieto et al. 2025, arXiv 2501.04697)."""

import torch

from interp.recipe import TrainConfig
from interp.train.methods.method import Method, Stacks


class OrthogonalGradients(Method):
    """Each parameter's gradient, orthogonal to the parameter."""

    agree = ("orthogonal_gradients",)

    @classmethod
    def asked(cls, train: TrainConfig) -> bool:
        """Whether gradients are made orthogonal."""
        return train.orthogonal_gradients

    def change(self, gradients: Stacks, step: int) -> None:
        """Take from each gradient what lies along its parameter."""
        orthogonalise(gradients, self.side.weights)


def orthogonalise(gradients: Stacks, weights: Stacks) -> None:
    """Apply ⊥Grad in place: g − (w·g / w·w)·w for each parameter, scaled to the norm of g (Prieto et al. 2025, section 5.2).

    A gradient that is parallel to its parameter, as for a parameter of one number, becomes 0, not rounding noise.
    """
    for name, gradient in gradients.items():
        w, g = weights[name].flatten(1), gradient.flatten(1)
        along = (w * g).sum(dim=1, keepdim=True) / w.square().sum(dim=1, keepdim=True).clamp(min=1e-30)
        across, length = g - along * w, g.norm(dim=1, keepdim=True)
        left = across.norm(dim=1, keepdim=True)
        rounding = 4 * torch.finfo(g.dtype).eps * length
        scale = torch.where(left > rounding, length / left.clamp(min=1e-30), 0.0)
        gradient.copy_((scale * across).view_as(gradient))
