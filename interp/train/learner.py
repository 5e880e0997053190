"""The state that training changes, and one update of it: several runs side by side, each as if it were alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.config import RunConfig
from interp.maths.compiled import first_derivatives
from interp.models.network import effective, initial_weights
from interp.objective import Objective, evaluate, in_parts, objective
from interp.recipe import LOGGED, NORMS
from interp.store.history import Row
from interp.store.tensors import Tensors
from interp.tasks import Examples
from interp.train.capture import captured
from interp.train.methods import METHODS, Method, Side, asked
from interp.train.methods.method import Stacks, norms
from interp.train.optimise import make_optimizer, optimizer_tensors, restore_optimizer, set_learning_rate
from interp.train.schedule import batch_rows, learning_rate

Item = TypeVar("Item")


def together(config: RunConfig) -> str:
    """A key that is equal for runs that can train together: models of one shape, and the same steps with the same events.

    Such runs may differ in seeds, operation, train fraction, initial weights and their scale, and in all numbers of the
    optimiser. They may differ in how much noise, dropout or another method they have, if all have it. Without methods they may
    differ in sizes that can be filled up. With buffers they have as many examples, since padding would count in statistics.
    """
    task, model, train = config.task, config.model.unstarted, config.train
    if not asked(train) and train.optimizer != "muon":  # whose steps depend on a matrix's size
        model = config.model.filled_up
    events = (
        train.log_every,
        train.checkpoint_every,
        train.checkpoints_per_decade,
        train.checkpoint_steps,
        train.columns,
    )
    methods = [method.shared(train) for method in METHODS]
    loss = (train.loss, train.label_smoothing, train.loss_precision, train.loss_reduction, train.precision)
    # Shorter sets of vectors are filled up with nothing, to twice their size at most.
    size = task.n_train.bit_length() if task.shape.inputs.kind == "vectors" and train.batch_size == "full" else 0
    if model.buffers(task.shape):
        size = task.n_train
    return repr(
        (task.kind, task.shape, task.augments, model, train.steps, train.batch_size, events, methods, loss, size)
    )


def same_examples(config: RunConfig) -> str:
    """A key that is equal for runs that learn from the same examples, batch by batch."""
    seeds = config.seeds
    return repr((config.task, config.corruption, seeds.split, seeds.labels, seeds.order))


def beside(items: Iterable[Item], config: Callable[[Item], RunConfig]) -> list[Item]:
    """The items, with those whose runs learn from the same examples side by side, so that these are read once."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(same_examples(config(item)), []).append(item)
    return [item for same in found.values() for item in same]


@dataclass
class Learner:
    """Parameters, optimisers and data of runs that train side by side, and the update that changes them.

    The parameters of all runs are stacked, so that one forward and one backward pass serves all. Each run has its own
    optimiser, which sees views of them.
    """

    configs: tuple[RunConfig, ...]
    weights: dict[str, Tensor]
    """Parameters [runs, …] by HookedTransformer's name; those that learn require a gradient. Smaller ones are filled up with
    zeros, which stay (`Family.filled_up`)."""
    optimizers: list[torch.optim.Optimizer]
    examples: list[Examples]
    """Training set of each run; runs that have the same share one."""
    whole: Objective | None
    """Whole training set on the device; None if updates are on mini-batches."""
    train: list[Objective]
    test: list[Objective]
    """Test set in parts. The training set has parts too: evaluation needs no gradient, and the test set may be much larger."""
    side: Side
    """The runs as methods see them."""
    methods: list[Method]
    """Methods of the runs, in the order of an update."""

    @staticmethod
    def make(
        configs: Sequence[RunConfig], device: str | torch.device, starts: Sequence[Tensors | None] = ()
    ) -> "Learner":
        """A learner before its first step; `starts` has the weights of runs that do not begin with initial ones."""
        assert len({together(config) for config in configs}) == 1
        configs, model, device = tuple(configs), configs[0].model, torch.device(device)
        first = [
            start or initial_weights(config.model, config.task.shape, config.seeds.model)
            for config, start in zip(configs, starts or [None] * len(configs), strict=True)
        ]
        dtype = torch.float64 if configs[0].train.precision == "float64" else torch.float32
        weights = {name: stacked([each[name] for each in first]).to(device, dtype) for name in first[0]}
        learned = model.learned(configs[0].task.shape)
        for name in learned:
            weights[name].requires_grad_().grad = torch.zeros_like(weights[name])
        optimizers = [
            make_optimizer(
                config.train, learned_views(weights, run), config.moved_by_muon, config.lr_factors, config.decays
            )
            for run, config in enumerate(configs)
        ]
        keys = [same_examples(config) for config in configs]
        sets = {key: config.split() for key, config in dict(zip(keys, configs, strict=True)).items()}
        splits = [sets[key] for key in keys]
        train, test = [split.train for split in splits], [split.test for split in splits]
        parts = in_parts(train, configs, device)
        side = Side(
            configs, {name: weights[name].detach() for name in learned}, torch.zeros(len(configs)).to(device, dtype)
        )
        # The last first: a constraint scales the initial weights, to which another may decay.
        methods = [method(side) for method in reversed(asked(configs[0].train))][::-1]
        apart = configs[0].train.dropout > 0
        full = configs[0].train.batch_size == "full" and not configs[0].task.augments
        whole = None
        if full:
            whole = parts[0] if len(parts) == 1 and not apart else objective(train, configs, device, apart)
        return Learner(
            configs, weights, optimizers, train, whole, parts, in_parts(test, configs, device), side, methods
        )

    @cached_property
    def learned(self) -> list[str]:
        """Names of the parameters that training moves, in the optimiser's order."""
        return [name for name, stack in self.weights.items() if stack.requires_grad]

    @cached_property
    def sizes(self) -> list[dict[str, tuple[int, ...]]]:
        """Size of every parameter of each run."""
        return [config.model.tensor_shapes(config.task.shape) for config in self.configs]

    def parameters(self, run: int) -> dict[str, Tensor]:
        """Parameters of one run, as views."""
        return {name: self.own(run, name, stack.detach()[run]) for name, stack in self.weights.items()}

    def own(self, run: int, name: str, tensor: Tensor) -> Tensor:
        """The part of a tensor of a parameter's filled-up size that is the run's own, as a view; another tensor as it is."""
        if tensor.shape != self.weights[name].shape[1:]:
            return tensor
        return tensor[tuple(slice(n) for n in self.sizes[run][name])]

    def network(self, run: int) -> dict[str, Tensor]:
        """Weights that the network of one run computes with: its parameters, or what counts of them."""
        norms = self.configs[0].model.fixed_norms(self.configs[0].task.shape)
        one = {name: tensor[None] for name, tensor in self.parameters(run).items()}
        return {name: tensor[0] for name, tensor in effective(one, norms).items()}

    def update(self, step: int) -> None:
        """Take one optimiser update of every run, the one after `step` others."""
        rates = [learning_rate(step, config.train) for config in self.configs]
        for rate, optimizer in zip(rates, self.optimizers, strict=True):
            set_learning_rate(optimizer, rate)
        self.side.rates.copy_(torch.tensor(rates))
        if self.whole is None or any(method.varies for method in self.methods):
            self.descend(self.batch(step) if self.whole is None else self.whole, step)
        else:
            self.descend_on_all()

    @cached_property
    def descend_on_all(self) -> Callable[[], None]:
        """The update on the whole training set without random numbers; on a GPU one graph, captured at first use."""

        whole = self.whole
        assert whole is not None

        def descend() -> None:
            self.descend(whole)

        # Muon's rates are numbers, which a graph would keep as they were when it was captured.
        plain = not any(config.moved_by_muon for config in self.configs)
        return captured(descend, self.moving) if self.side.rates.is_cuda and plain else descend

    def moving(self) -> list[Tensor]:
        """All tensors that an update on the whole training set changes and the next one reads."""
        kept = [optimizer_tensors(optimizer, self.learned).values() for optimizer in self.optimizers]
        buffers = [self.weights[name] for name in self.configs[0].model.buffers(self.configs[0].task.shape)]
        own = [self.weights[name].detach() for name in self.learned]
        return [*own, *buffers, *(tensor for each in kept for tensor in each)]

    def descend(self, examples: Objective, step: int = 0) -> None:
        """Take gradients of every run's mean loss, change them by the methods, and take each optimiser's step."""
        gradients = {name: self.gradient(name) for name in self.learned}
        for method in self.methods:
            method.begin(step)
        drawn = (method.factors(step, examples.n, examples.places, examples.width) for method in self.methods)
        factors = next((each for each in drawn if each is not None), None)
        moved = {name: added for method in self.methods for name, added in method.moved().items()}
        # Of the first pass alone: a method that takes a second one (SAM) moves no buffer twice.
        for name, values in self.differentiate(examples, factors, moved).items():
            self.weights[name].copy_(values)
        if self.logs_norms:
            self.effective_gradients.copy_(norms(gradients) * norms(self.side.weights))
        for method in self.methods:
            further = method.again(gradients)
            if further is not None:
                both = {name: further[name] + moved.get(name, 0) for name in further}
                self.differentiate(examples, factors, both)
        for method in self.methods:
            method.change(gradients, step)
        for method in self.methods:
            method.before()
        for optimizer in self.optimizers:
            optimizer.step()
        for method in self.methods:
            method.after()

    @property
    def logs_norms(self) -> bool:
        """Whether norms are logged beside losses."""
        return len(self.configs[0].train.columns) > len(LOGGED)

    @cached_property
    def effective_gradients(self) -> Float[Tensor, " runs"]:
        """Norm of each run's last gradient, times that of the weights at which it was taken; NaN before the first update."""
        return torch.full_like(self.side.rates, torch.nan)

    def differentiate(self, examples: Objective, factors: Tensor | None, moved: Stacks) -> Stacks:
        """Set the gradients of every run's mean loss at the weights plus `moved`; returns the buffers after this pass."""
        for name in self.learned:
            self.gradient(name).zero_()
        # Each run's loss has a gradient by its own parameters alone: their sum gives every run its own.
        there = {name: self.weights[name] + more for name, more in moved.items()}
        with first_derivatives():
            losses, buffers = examples.learning({**self.weights, **there}, factors)
            losses.sum().backward()
        return buffers

    def gradient(self, name: str) -> Tensor:
        """Gradient of the parameter `name`, [runs, …]."""
        gradient = self.weights[name].grad
        assert gradient is not None
        return gradient

    def batch(self, step: int) -> Objective:
        """Mini-batch of each run for the update after `step` others."""
        sets = {id(train): (config, train) for config, train in zip(self.configs, self.examples, strict=True)}
        drawn = {key: batch(config, train, step) for key, (config, train) in sets.items()}
        each = [drawn[id(train)] for train in self.examples]
        return objective(each, self.configs, self.side.rates.device, apart=self.configs[0].train.dropout > 0)

    def rows(self, step: int) -> list[Row]:
        """Rows of the history at a step, one a run: loss (nats) and accuracy over the whole training and test set."""
        (train_loss, train_accuracy), (test_loss, test_accuracy) = (
            evaluate(parts, self.weights) for parts in (self.train, self.test)
        )
        losses = train_loss, test_loss, train_accuracy, test_accuracy
        rows: list[Row] = [dict(zip(LOGGED, (step, *each), strict=True)) for each in zip(*losses, strict=True)]
        return [row | norms_of for row, norms_of in zip(rows, self.logged_norms(step), strict=True)]

    def logged_norms(self, step: int) -> list[Row]:
        """Norm of what learns, effective rate of the next update and effective gradient of the last, of each run; if logged."""
        if not self.logs_norms:
            return [{} for _ in self.configs]
        lengths = norms(self.side.weights).double()
        rates = lengths.new_tensor([learning_rate(step, config.train) for config in self.configs])
        each = torch.stack([lengths, rates / lengths.square(), self.effective_gradients.double()])
        return [dict(zip(NORMS, values, strict=True)) for values in each.T.tolist()]

    def state(self, run: int) -> dict[str, Tensor]:
        """State of one run that its next step depends on: copies of its parameters, and of the optimiser's tensors for each."""
        weights = {f"model/{name}": tensor for name, tensor in self.parameters(run).items()}
        kept = {
            key: self.own(run, key.split("/", 1)[1], tensor)
            for key, tensor in optimizer_tensors(self.optimizers[run], self.learned).items()
        }
        kept |= {key: tensor for method in self.methods for key, tensor in method.state(run).items()}
        state = weights | {f"optimizer/{key}": tensor for key, tensor in kept.items()}
        return {key: tensor.clone() for key, tensor in state.items()}

    @torch.no_grad()
    def restore(self, run: int, state: dict[str, Tensor]) -> None:
        """Restore the state of one run, as `state` gave it."""
        for name, parameter in self.parameters(run).items():
            parameter.copy_(state[f"model/{name}"])
        kept = {key.removeprefix("optimizer/"): tensor for key, tensor in state.items() if key.startswith("optimizer/")}
        for method in self.methods:
            for key, tensor in method.state(run).items():
                tensor.copy_(kept.pop(key))
        for key, tensor in kept.items():
            name = key.split("/", 1)[1]
            if tensor.shape == self.sizes[run][name]:
                kept[key] = filled(tensor, self.weights[name].shape[1:])
        restore_optimizer(self.optimizers[run], self.learned, kept)


def stacked(tensors: Sequence[Tensor]) -> Float[Tensor, "runs ..."]:
    """The tensors along a new first axis, smaller ones filled up with zeros to the largest size along each axis."""
    size = torch.Size(map(max, zip(*(tensor.shape for tensor in tensors), strict=True)))
    return torch.stack([filled(tensor, size) for tensor in tensors])


def filled(tensor: Tensor, size: torch.Size) -> Tensor:
    """A tensor filled up with zeros to a size."""
    if tensor.shape == size:
        return tensor
    whole = tensor.new_zeros(size)
    whole[tuple(slice(n) for n in tensor.shape)] = tensor
    return whole


def batch(config: RunConfig, train: Examples, step: int) -> Examples:
    """Examples of a run's update after `step` others."""
    size = config.train.batch_size
    if config.task.endless:
        assert size != "full"
        return config.fresh(step, size)
    rows = batch_rows(step, len(train), len(train) if size == "full" else size, config.seeds.order)
    return config.task.augmented(train[rows], step, config.seeds.order) if config.task.augments else train[rows]


def learned_views(weights: dict[str, Tensor], run: int) -> dict[str, nn.Parameter]:
    """Parameters of one run that learn, as parameters in the same memory as `weights`, gradients too."""
    views = {}
    for name, stack in weights.items():
        if stack.grad is not None:
            views[name] = nn.Parameter(stack.detach()[run])
            views[name].grad = stack.grad[run]
    return views
