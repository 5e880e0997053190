"""Constraints on the norms of weights: a clamp, a ceiling, a sphere (Liu et al. 2023, arXiv 2210.01117; Kodryan et al. 2022,
arXiv 2209.03695).

Weights are scaled before the first step and after every one, so that every gradient is taken where the constraint holds.
"""

from interp.recipe import TrainConfig
from interp.train.methods.method import Method, Side, norms, of_each


class Constraint(Method):
    """Norms of groups of weights, kept at a multiple of what they were at step 0, at a radius, or below it."""

    agree = ("constraint", "constraint_over", "constraint_parts")
    differ = ("constraint_scale", "constraint_radius")

    def __init__(self, side: Side):
        super().__init__(side)
        scale, radius = self.of_run["constraint_scale"], self.of_run["constraint_radius"]
        self.groups = [{name: side.weights[name] for name in group} for group in groups(side)]
        self.kept = [radius.where(radius > 0, scale * norms(group)) for group in self.groups]
        self.after()

    @classmethod
    def asked(cls, train: TrainConfig) -> bool:
        """Whether there is a constraint."""
        return train.constraint != "none"

    def after(self) -> None:
        """Scale every group to its norm; under a ceiling, only down to it."""
        for group, kept in zip(self.groups, self.kept, strict=True):
            factor = kept / norms(group).clamp(min=1e-30)
            if self.side.train.constraint == "ceiling":
                factor = factor.clamp(max=1)
            for stack in group.values():
                stack.mul_(of_each(factor, stack))


def groups(side: Side) -> list[list[str]]:
    """Names of the weights that share a norm: all that learn, or each tensor of weights for itself."""
    config = side.configs[0]
    tensors = config.model.tensors(config.task.shape)
    parts = config.train.constraint_parts or config.model.parts
    under = [name for name in side.weights if tensors[name].part in parts]
    if config.train.constraint_over == "joint":
        return [under]
    return [[name] for name in under if tensors[name].role == "weight"]
