"""What training moves, and one update of it: several runs side by side, each as if it were alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from interp.config import RunConfig
from interp.store.history import Row
from interp.tasks import Examples
from interp.train.batch import Given, given, in_parts
from interp.train.capture import captured
from interp.train.gradients import SlowGradients, ascent, clip, of_each, orthogonalise, penalise, pull
from interp.train.noise import NOTHING, Drawn, draw, is_random
from interp.train.optimise import make_optimizer, optimizer_tensors, restore_optimizer, set_learning_rate
from interp.train.schedule import batch_rows, learning_rate


def together(config: RunConfig) -> str:
    """What runs that learn together have in common: models of one shape, and the same steps with the same events.

    They may differ in seeds, operation, fraction, initial weights and their scale, in everything of the optimiser, and in
    how much noise, dropout or another regulariser they have where they have it alike.
    """
    task, model, train = config.task, config.model.whatever_its_start, config.train
    events = (train.log_every, train.checkpoint_every, train.checkpoints_per_decade)
    chance = (train.noise, train.dropout > 0)
    gradient = (train.sam > 0, train.l1 > 0, train.decay_to, train.orthogonal_gradients, train.max_gradient_norm > 0)
    slow = (train.grokfast, train.grokfast_window if train.grokfast == "ma" else 0)
    loss = (train.loss, train.label_smoothing, train.loss_precision, train.loss_reduction, train.precision)
    # Shorter sets of vectors are filled up with nothing, to twice their size at most.
    size = task.n_train.bit_length() if task.shape.kind == "vectors" and train.batch_size == "full" else 0
    return repr(
        (task.kind, task.shape, model, train.steps, train.batch_size, events, chance, gradient, slow, loss, size)
    )


@dataclass
class Learner:
    """Parameters, their optimisers and their data: the state that training moves, and the work that moves it.

    The parameters of all runs lie side by side, so that one forward and one backward pass serves them; each run's
    optimiser is its own and sees views of them.
    """

    configs: tuple[RunConfig, ...]
    weights: dict[str, Tensor]
    """By HookedTransformer's name, [runs, …]; those that learn require a gradient."""
    optimizers: list[torch.optim.Optimizer]
    examples: list[Examples]
    """The training set of each run."""
    whole: Given | None
    """The training set, where every update is on all of it."""
    train: list[Given]
    test: list[Given]
    """Both in parts, to evaluate: that needs no gradient, and the test set may be much larger."""
    initial: dict[str, Tensor]
    """The weights that learn, as they were at first, where the decay leads to them."""
    rates: Tensor
    """The learning rate of each run's next update, [runs]."""

    @staticmethod
    def make(configs: Sequence[RunConfig], device: str | torch.device) -> "Learner":
        """A learner before its first step."""
        assert len({together(config) for config in configs}) == 1
        configs, model, device = tuple(configs), configs[0].model, torch.device(device)
        first = [config.model.initial_weights(config.task.shape, config.seeds.model) for config in configs]
        dtype = torch.float64 if configs[0].train.precision == "float64" else torch.float32
        weights = {name: torch.stack([each[name] for each in first]).to(device, dtype) for name in first[0]}
        for name, stack in weights.items():
            if model.learns(name):
                stack.requires_grad_().grad = torch.zeros_like(stack)
        optimizers = [make_optimizer(config.train, learned_views(weights, run)) for run, config in enumerate(configs)]
        splits = [config.split() for config in configs]
        train, test = [split.train for split in splits], [split.test for split in splits]
        parts = in_parts(train, configs, device)
        whole, apart = None, configs[0].train.dropout > 0
        if configs[0].train.batch_size == "full":
            whole = parts[0] if len(parts) == 1 and not apart else given(train, configs, device, apart)
        to_initial = configs[0].train.decay_to == "initial"
        initial = {name: weights[name].detach().clone() for name in weights if to_initial and model.learns(name)}
        rates = torch.zeros(len(configs), device=device, dtype=dtype)
        test_parts = in_parts(test, configs, device)
        return Learner(configs, weights, optimizers, train, whole, parts, test_parts, initial, rates)

    @cached_property
    def learned(self) -> list[str]:
        """Names of the parameters that training moves, in the optimiser's order."""
        return [name for name, stack in self.weights.items() if stack.requires_grad]

    def parameters(self, run: int) -> dict[str, Tensor]:
        """The parameters of one run, as views."""
        return {name: stack.detach()[run] for name, stack in self.weights.items()}

    def update(self, step: int) -> None:
        """One optimiser update of every run: the one that follows `step` others."""
        rates = [learning_rate(step, config.train) for config in self.configs]
        for rate, optimizer in zip(rates, self.optimizers, strict=True):
            set_learning_rate(optimizer, rate)
        self.rates.copy_(torch.tensor(rates))
        if self.whole is None or is_random(self.configs[0]) or self.slow is not None:
            prompts = self.batch(step) if self.whole is None else self.whole
            self.descend(prompts, self.drawn(step, prompts), step)
        else:
            self.descend_on_all()

    @cached_property
    def slow(self) -> SlowGradients | None:
        """What amplifies the slow part of the gradient, if anything does."""
        train = self.configs[0].train
        if train.grokfast == "none":
            return None
        gain, momentum = self.numbers["grokfast_gain"], self.numbers["grokfast_momentum"]
        return SlowGradients.make(train.grokfast, gain, momentum, train.grokfast_window, self.learning())

    def learning(self) -> dict[str, Tensor]:
        """The parameters that learn, without their history."""
        return {name: self.weights[name].detach() for name in self.learned}

    @cached_property
    def numbers(self) -> dict[str, Tensor]:
        """What may differ from run to run, each [runs]; made once, since a captured step cannot make it."""
        each = [config.train for config in self.configs]
        fields = ("sam", "l1", "grokfast_gain", "grokfast_momentum", "max_gradient_norm")
        numbers = {field: [getattr(train, field) for train in each] for field in fields}
        numbers["coupled decay"] = [train.weight_decay * (train.optimizer != "adamw") for train in each]
        numbers["decoupled decay"] = [train.weight_decay * (train.optimizer == "adamw") for train in each]
        return {name: self.rates.new_tensor(values) for name, values in numbers.items()}

    @cached_property
    def descend_on_all(self) -> Callable[[], None]:
        """The update on the whole training set, nothing drawn; on a GPU one graph, captured when it is first asked for."""

        whole = self.whole
        assert whole is not None

        def descend() -> None:
            self.descend(whole)

        return captured(descend, self.moving) if self.rates.is_cuda else descend

    def moving(self) -> list[Tensor]:
        """All that an update on the whole training set changes and the next one reads."""
        kept = [optimizer_tensors(optimizer, self.learned).values() for optimizer in self.optimizers]
        return [*(self.weights[name].detach() for name in self.learned), *(tensor for each in kept for tensor in each)]

    def drawn(self, step: int, prompts: Given) -> Drawn:
        """What chance has in the update that follows `step` others, on these prompts."""
        learned = {name: self.weights[name] for name in self.learned}
        return draw(self.configs, step, learned, prompts.n, prompts.places)

    def descend(self, prompts: Given, drawn: Drawn = NOTHING, step: int = 0) -> None:
        """Gradients of every run's mean loss, what is done to them, and its optimiser's step along them."""
        train, weights = self.configs[0].train, self.learning()
        gradients = {name: self.gradient(name) for name in self.learned}
        noise = drawn.on("weights")
        self.differentiate(prompts, drawn, noise)
        if train.sam:
            above = ascent(gradients, self.numbers["sam"])
            self.differentiate(prompts, drawn, {name: above[name] + noise.get(name, 0) for name in above})
        if train.l1:
            penalise(gradients, weights, self.numbers["l1"])
        if self.initial:
            pull(gradients, weights, self.initial, self.numbers["coupled decay"])
        if train.orthogonal_gradients:
            orthogonalise(gradients, weights)
        if self.slow is not None:
            self.slow.amplify(gradients, step)
        for name, added in drawn.on("gradients").items():
            gradients[name].add_(added)
        if train.max_gradient_norm:
            clip(gradients, self.numbers["max_gradient_norm"])
        for name, start in self.initial.items():  # as AdamW itself decays: a share of the way, and then its step
            weights[name].lerp_(start, of_each(self.rates * self.numbers["decoupled decay"], start))
        for optimizer in self.optimizers:
            optimizer.step()
        for name, added in drawn.on("updates").items():
            weights[name].sub_(added)

    def differentiate(self, prompts: Given, drawn: Drawn, added: Mapping[str, Tensor]) -> None:
        """Gradients of every run's mean loss, at weights with what is added to them."""
        for name in self.learned:
            self.gradient(name).zero_()
        # Each run's loss has a gradient by its own parameters alone: their sum gives every run its own.
        self.losses(prompts, drawn, added).sum().backward()

    def gradient(self, name: str) -> Tensor:
        """By a parameter that learns, [runs, …]."""
        gradient = self.weights[name].grad
        assert gradient is not None
        return gradient

    def losses(self, prompts: Given, drawn: Drawn, added: Mapping[str, Tensor] = {}) -> Tensor:
        """What each run minimises, the mean over its answers, [runs], at weights with what is added to them."""
        moved = {name: self.weights[name] + more for name, more in added.items()}
        return prompts.objective({**self.weights, **moved}, drawn.factors)

    def batch(self, step: int) -> Given:
        """The mini-batch of the update that follows `step` others."""
        size = self.configs[0].train.batch_size
        assert size != "full"
        each = [
            config.fresh(step, size)
            if config.endless
            else train[batch_rows(step, len(train), size, config.seeds.order)]
            for train, config in zip(self.examples, self.configs, strict=True)
        ]
        return given(each, self.configs, self.rates.device, apart=self.configs[0].train.dropout > 0)

    def rows(self, step: int) -> list[Row]:
        """Loss (nats) and accuracy over the whole training and test set, for each run."""
        (train_loss, train_accuracy), (test_loss, test_accuracy) = self.evaluate(self.train), self.evaluate(self.test)
        return [
            {
                "step": step,
                "train_loss": train_loss[run],
                "test_loss": test_loss[run],
                "train_accuracy": train_accuracy[run],
                "test_accuracy": test_accuracy[run],
            }
            for run in range(len(self.configs))
        ]

    @torch.no_grad()
    def evaluate(self, parts: list[Given]) -> tuple[list[float], list[float]]:
        """Mean loss (nats) and accuracy of each run over these prompts."""
        sums = []
        for part in parts:
            sums.append(
                torch.where(part.counted > 0, part.means(self.weights) * part.counted, 0)
            )  # it may have none of a run
        loss, accuracy = (torch.stack(sums).sum(dim=0) / sum(part.counted for part in parts)).tolist()
        return loss, accuracy

    def state(self, run: int) -> dict[str, Tensor]:
        """All that the next step of one run depends on: its parameters, and what the optimiser keeps of each."""
        weights = {f"model/{name}": tensor for name, tensor in self.parameters(run).items()}
        kept = optimizer_tensors(self.optimizers[run], self.learned)
        kept |= self.slow.state(run) if self.slow else {}
        return weights | {f"optimizer/{key}": tensor for key, tensor in kept.items()}

    @torch.no_grad()
    def restore(self, run: int, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        for name, parameter in self.parameters(run).items():
            parameter.copy_(state[f"model/{name}"])
        kept = {key.removeprefix("optimizer/"): tensor for key, tensor in state.items() if key.startswith("optimizer/")}
        for key, tensor in (self.slow.state(run) if self.slow else {}).items():
            tensor.copy_(kept.pop(key))
        restore_optimizer(self.optimizers[run], self.learned, kept)


def learned_views(weights: dict[str, Tensor], run: int) -> dict[str, nn.Parameter]:
    """One run's share of the parameters that learn, as parameters in the same memory, gradients too."""
    views = {}
    for name, stack in weights.items():
        if stack.grad is not None:
            views[name] = nn.Parameter(stack.detach()[run])
            views[name].grad = stack.grad[run]
    return views
