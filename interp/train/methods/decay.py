"""Decay to the initial weights, in place of the optimisers' decay to the origin (Power et al. 2022, figure 2)."""

from interp.recipe import TrainConfig
from interp.train.methods.method import Method, Numbers, Side, Stacks, of_each


class DecayToInitial(Method):
    """A pull to where the weights began: coupled for adam and sgd, decoupled for adamw, as their own decay is."""

    agree = ("decay_to",)

    def __init__(self, side: Side):
        super().__init__(side)
        self.initial = {name: stack.clone() for name, stack in side.weights.items()}
        decays = [(config.train.weight_decay, config.train.optimizer == "adamw") for config in side.configs]
        self.coupled = side.rates.new_tensor([decay * (not decoupled) for decay, decoupled in decays])
        self.decoupled = side.rates.new_tensor([decay * decoupled for decay, decoupled in decays])

    @classmethod
    def asked(cls, train: TrainConfig) -> bool:
        """Whether the decay leads to the initial weights."""
        return train.decay_to == "initial"

    def change(self, gradients: Stacks, step: int) -> None:
        """Add the coupled decay."""
        pull(gradients, self.side.weights, self.initial, self.coupled)

    def before(self) -> None:
        """Move a share of the way, as AdamW itself decays: before its step."""
        for name, start in self.initial.items():
            self.side.weights[name].lerp_(start, of_each(self.side.rates * self.decoupled, start))


def pull(gradients: Stacks, weights: Stacks, initial: Stacks, decay: Numbers) -> None:
    """Add the gradient of λ/2·‖w − w₀‖², in place: coupled decay to the initial weights."""
    for name, gradient in gradients.items():
        gradient.add_(of_each(decay, gradient) * (weights[name] - initial[name]))
