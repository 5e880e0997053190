"""Networks that specifications describe: as functions of weights, and as modules with hooks.

The types here say what a family has to offer; `forward.py` and `hooked.py` beside its specification offer it. They are looked
up when asked for: describing a run costs no torch, and only a module costs the seconds of transformer_lens.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.models.family import Family, TensorSpec
from interp.models.products import product
from interp.models.symmetry import Symmetry
from interp.recipe import Precision
from interp.shape import Shape

Weights = Mapping[str, Tensor]


ClosedError = Callable[[Weights], Float[Tensor, " runs"]]
"""Squared error of each run, summed over its examples, as a function of weights."""


class Forward:
    """A network over some examples: its outputs as a function of the weights.

    Over inputs [runs, n, …] every weight and everything that comes back has the leading axis `runs`; over [n, …] none has.
    Where a family shares inputs (`Family.shares_inputs`) they may be fewer sets than runs.
    """

    @property
    def places(self) -> int:
        """Number of additions to an example's residual stream, each of which dropout may scale; 0 if it has none."""
        return 0

    @property
    def width(self) -> int:
        """Numbers that are added at each of these places."""
        return 0

    def __call__(self, weights: Weights, factors: Tensor | None = None) -> Tensor:
        """Outputs, [*runs, n, …]. `factors` [*runs, n, places, d_model] multiply what is added at each place."""
        raise NotImplementedError

    def learning(self, weights: Weights, factors: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Outputs in an update of training, and the buffers as they are after it. Without buffers, what a call gives.

        A network that normalises does it with the statistics of these examples here, and with its buffers everywhere else.
        """
        return self(weights, factors), {}

    def cache(self, weights: Weights, names: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
        """Activations of every example where answers are read, [*runs, n, …], by hook name. Only those asked for are computed."""
        raise NotImplementedError

    def posts(self, weights: Weights, size: int) -> Iterator[Float[Tensor, "*runs part neuron"]]:
        """Activations of `Roles.neurons` in parts of `size` examples, in order."""
        raise NotImplementedError

    def post_sums(
        self, weights: Weights, labels: Int[Tensor, " n"], n_labels: int
    ) -> Float[Tensor, "*runs label neuron"] | None:
        """Sums of those activations over the examples with each label, by compiled loops; None where there are none for them."""
        return None

    def closed_error(self, targets: Tensor, counted: Tensor, importance: Tensor) -> ClosedError | None:
        """Squared error of vectors in closed form; None if the network has none that is faster.

        Targets are [runs, n, output], `counted` [runs, n] is 0 for padding, `importance` is [runs, output].
        """
        return None


@dataclass(frozen=True)
class Matrix:
    """A matrix that plays a role, made of some weights."""

    reads: tuple[str, ...]
    """Names of the weights that it is made of."""
    of: Callable[[Weights], Tensor]
    """The matrix, from weights with any leading axes."""
    width: int
    """Length of a row of an embedding, and of a column of an unembedding or readout."""
    put: Callable[[Weights, Tensor], Weights] | None = None
    """Weights with another matrix in its place; None if it is made of several weights, and cannot be put back."""
    of_neurons: bool = False
    """Whether an embedding's columns are neurons. Those of a residual stream are not: another basis gives other columns."""


@dataclass(frozen=True)
class Hook:
    """Activations that play a role."""

    name: str
    """Name of the hook, as in `Forward.cache`."""
    width: int
    """Number of activations at one example: neurons, or heads."""


class Route(NamedTuple):
    """A way through a network that passes by its neurons or leads to them, and that can be taken out (`Tail.ways`)."""

    about: str
    """Meaning of taking it out, in words."""
    width: int
    """Number of numbers that it carries for one example; equal on all routes."""


@dataclass(frozen=True)
class Layer:
    """The last layer with an activation function, as a function of what it reads."""

    reads: str
    """Hook of what it reads, as in `Forward.cache`."""
    pre: Callable[[Weights, Float[Tensor, "rows width"]], Float[Tensor, "rows neuron"]]
    """What its neurons receive, before their activation function, if it reads these rows."""
    axes: int = 1
    """Number of last axes of the hook that are one row: 2 where a prompt's tokens are read side by side."""


@dataclass(frozen=True)
class Roles:
    """Parts of a network by role: analyses ask for the embedding, not for `embed.W_E`. None: it has no such part."""

    logits: str = "unembed.hook_out"
    """Hook of the outputs."""
    embedding: Matrix | None = None
    """Embedding […, token, d]: what the network begins with for each token of the first operand."""
    embedding_at: Callable[[int], Matrix] | None = None
    """Embedding […, token, d] at a position of the prompt, if each has other weights; `embedding` is that of position 0."""
    unembedding: Matrix | None = None
    """Unembedding […, d, answer]: the direction of each answer."""
    neurons: Hook | None = None
    """Hook of the last hidden layer after its activation function."""
    stream: Hook | None = None
    """Hook of the residual stream after the last layer, which the unembedding reads, if by way of a LayerNorm."""
    readout: Matrix | None = None
    """Readout […, neuron, answer]: what these neurons write on the answers."""
    layer: Layer | None = None
    """The layer whose activation function is the last."""
    linear: bool = True
    """Whether answers are linear in these neurons, given what bypasses them: no LayerNorm between."""
    attention: Hook | None = None
    """Hook of the last layer's pattern from the position where the answer is read, [n, head, position]."""
    features: Matrix | None = None
    """Directions […, feature, d_hidden] of the numbers of an input vector among the hidden numbers."""
    features_out: Matrix | None = None
    """Directions […, feature, d_hidden] along which they are read again, if by other weights."""
    hidden: Hook | None = None
    """Hook of the hidden numbers."""
    routes: Mapping[str, Route] = field(default_factory=dict)
    """Routes through the network that can be taken out, by name: heads and skips. A network of layers alone has none."""


Outputs = Callable[[slice], Float[Tensor, "part answer"]]
"""Type of a function: outputs for some rows, of a network with something taken out."""


Change = Callable[[Float[Tensor, "rows width"], slice], Float[Tensor, "part width"]]
"""Type of a function: the change of some rows of a part, from all of its rows. It mixes rows and leaves columns apart, so that a
product with a matrix may come before or after it."""


class Ways:
    """Ways through a network over some rows, each of which can be taken out: gives the outputs without it."""

    def without(self, name: str) -> Outputs:
        """Outputs if nothing passes on the way of that name in `Roles.routes`."""
        raise NotImplementedError

    def changed(self, name: str) -> Callable[[Change], Outputs]:
        """Outputs by the change of what passes on that way. All changes share its products."""
        raise NotImplementedError

    def passes(self, name: str) -> Float[Tensor, "rows width"]:
        """What passes on that way."""
        raise NotImplementedError

    def less(
        self, name: str, functions: Float[Tensor, "rows function"], directions: Float[Tensor, "function width"]
    ) -> Outputs:
        """Outputs if functions·directions is subtracted from what passes on that way."""
        raise NotImplementedError

    def share(self, name: str) -> Float[Tensor, ""]:
        """Variance over the rows of what is taken out of that way, as a share of the variance of the sum that it joins."""
        raise NotImplementedError

    def along(self, directions: Float[Tensor, "rows width"]) -> "Ways":
        """Ways that carry less: what they carry along a direction of each row, of length 1, is taken out."""
        raise NotImplementedError


@dataclass(frozen=True)
class Tail:
    """What follows the neurons of one model, as functions of rows: to change a part and see some of the answers.

    >>> answers = tail.answer(tail.beside(cache) + tail.through(post))

    What reaches the answers is a sum: what bypasses the neurons, with all biases, and what each neuron writes. The sum is kept
    in one space, `width` numbers a row. To take a part out, subtract it there. This class is for answers that are linear in the
    neurons. A family with something else between them, or with ways that can be taken out, has a subclass, and in `forward.py` a
    function `tail` that makes it.
    """

    spec: Any
    weights: Weights
    answers: Int[Tensor, " answer"]
    """Answers that have outputs, in this order."""

    @once
    def roles(self) -> Roles:
        """Parts of the network by role."""
        return roles(self.spec)

    @property
    def hooks(self) -> tuple[str, ...]:
        """Names of the activations that `beside` needs, and the neurons."""
        assert self.roles.neurons is not None
        return self.roles.neurons.name, self.roles.logits

    @property
    def hooks_of_ways(self) -> tuple[str, ...]:
        """Names of the activations that `ways` needs."""
        return ()

    @once
    def readout(self) -> Float[Tensor, "neuron answer"]:
        """Readout W_L of the neurons: what each writes on the answers, whatever scale stands between."""
        assert self.roles.readout is not None
        return self.roles.readout.of(self.weights)[:, self.answers]

    @once
    def written(self) -> Float[Tensor, "neuron width"]:
        """Output of each neuron at activation 1, added to the sum."""
        return self.readout

    @property
    def unfolded(self) -> Self:
        """An equal tail whose sum is kept in the space into which the neurons themselves write."""
        return self

    def through(self, post: Float[Tensor, "rows neuron"]) -> Float[Tensor, "rows width"]:
        """Output of the neurons, from their activations, without biases."""
        return product(post[None], self.written[None])[0]

    def beside(self, cache: Weights) -> Float[Tensor, "rows width"]:
        """Contribution that bypasses the neurons, with all biases: what is left of the outputs without them."""
        neurons, outputs = (cache[name] for name in self.hooks)
        return outputs[:, self.answers] - self.through(neurons)

    def answer(self, total: Float[Tensor, "rows width"]) -> Float[Tensor, "rows answer"]:
        """Outputs, from the sum of all that reaches the answers."""
        return total

    def outputs(self, forward: Forward, weights: Weights) -> Float[Tensor, "rows answer"]:
        """Outputs of a network over some examples, with other weights before this tail."""
        return forward(weights)[:, self.answers]

    def ways(self, cache: Weights, beside: Tensor, whole: Tensor) -> Ways:
        """The ways of `Roles.routes` over the rows of a cache, given what bypasses the neurons and the whole sum."""
        raise NotImplementedError(f'model.kind "{self.spec.kind}" has no ways that can be taken out')


class Network(Protocol):
    """Type of a family's `forward.py`: what it offers."""

    def over(
        self, spec: Any, shape: Shape, inputs: Tensor, precision: Precision = "float32", apart: bool = False
    ) -> Forward:
        """The network over these inputs; with `apart` every example has states of its own, so that it can have factors."""
        ...

    def roles(self, spec: Any) -> Roles:
        """Parts of the network by role."""
        ...

    def tail(self, spec: Any, weights: Weights, answers: Int[Tensor, " answer"]) -> Tail:
        """The tail behind the neurons; needed if a family has `routes`, or answers that are not linear in its neurons."""
        ...


def beside(spec: Family, part: str) -> Any:
    """Module of that name in the family's folder."""
    return importlib.import_module(f"{type(spec).__module__.rpartition('.')[0]}.{part}")


def network(spec: Family) -> Network:
    """Arithmetic of a specification's family, its `forward.py`."""
    return cast(Network, beside(spec, "forward"))


def over(spec: Family, shape: Shape, inputs: Tensor, precision: Precision = "float32", apart: bool = False) -> Forward:
    """The network over these inputs [*runs, n, …]; with `apart` every example has states of its own, for `factors`."""
    return network(spec).over(spec, shape, inputs, precision, apart)


def roles(spec: Family) -> Roles:
    """Parts of the specification's network by role: embedding, neurons, readout, …"""
    return network(spec).roles(spec)


def tail(spec: Family, weights: Weights, answers: Int[Tensor, " answer"]) -> Tail:
    """The tail behind the neurons of one model: the family's own, or `Tail` itself if answers are linear in them."""
    return getattr(network(spec), "tail", Tail)(spec, weights, answers)


def has_tail(spec: Family) -> bool:
    """Whether the model has a `tail`: the family makes one, or answers are linear in the neurons."""
    return hasattr(network(spec), "tail") or roles(spec).linear


def symmetries(spec: Family, shape: Shape) -> list[Symmetry]:
    """Changes of the weights that leave the function as it is; DoesNotApply if the family names none."""
    try:
        return beside(spec, "symmetries").symmetries(spec, shape)
    except ModuleNotFoundError as error:
        raise DoesNotApply(
            f'model.kind "{spec.kind}" names no symmetries by which one network is brought to another; leave out --align'
        ) from error


def effective(weights: Weights, norms: Mapping[str, float]) -> Weights:
    """Weights [runs, …] that a network computes with: g·V/‖V‖ for those V that have a norm g here, the others as they are.

    Applied again it changes nothing.
    """
    if not norms:
        return weights
    scaled = {}
    for name, norm in norms.items():
        stack = weights[name]
        lengths = stack.flatten(1).norm(dim=1).view(-1, *[1] * (stack.ndim - 1))
        scaled[name] = stack * (norm / lengths)
    return {**weights, **scaled}


def initial_weights(spec: Family, shape: Shape, seed: int) -> dict[str, Tensor]:
    """Initial value of every parameter by name, float32, drawn from `seed` alone in the order of `tensors`."""
    generator = torch.Generator().manual_seed(seed)
    return {name: initial_tensor(tensor, generator) for name, tensor in spec.tensors(shape).items()}


def initial_tensor(tensor: TensorSpec, generator: torch.Generator) -> Float[Tensor, "..."]:
    """Initial value of one parameter, times its factor: 0 for a bias, 1 for a scale, normal for a weight; or uniform. A buffer
    begins with its number."""
    if tensor.role == "buffer":
        return torch.full(tensor.size, tensor.begins)
    values = torch.full(tensor.size, float(tensor.role == "scale"))
    if tensor.bound:
        values.uniform_(-tensor.bound, tensor.bound, generator=generator)
    elif tensor.role == "weight":
        values.normal_(std=tensor.std, generator=generator)
    return tensor.factor * (tensor.norm * values / values.norm() if tensor.norm else values)


def load(spec: Family, shape: Shape, weights: dict[str, Tensor]) -> Any:
    """The model with TransformerLens' hooks, on the CPU in eval mode, with exactly these weights.

    Raises:
        RuntimeError: a weight is missing, unknown or misshapen.
    """
    return beside(spec, "hooked").load(spec, shape, weights).eval()


def build(spec: Family, shape: Shape, seed: int) -> Any:
    """A newly initialised model with TransformerLens' hooks in train mode, from `seed` alone.

    Parameters that do not learn require no gradient.
    """
    model = load(spec, shape, initial_weights(spec, shape, seed)).train()
    learned = set(spec.learned(shape))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learned)
    return model
