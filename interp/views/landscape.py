"""A run as a landscape: its logged loss, and derivatives of it, as functions of the weights that learn."""

import math
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from interp.base import DoesNotApply, once
from interp.maths.compiled import first_derivatives
from interp.maths.lanczos import Product
from interp.models.network import Weights
from interp.objective import Objective, objective
from interp.tasks import Examples
from interp.views.view import Checkpoints

Part = Literal["train", "test", "all"]
"""Which examples a loss is over."""

Width = Literal["float32", "float64"]
"""Precision of the network; losses are in float64 in any case."""

Flat = Float[Tensor, "copies n"]
"""Type of weights that learn, of several networks, as one vector each."""

GRAPH = 4
"""Memory of a loss whose derivative can be derived again ÷ that of its forward pass, at most. Measured: one layer 3.7, an MLP
3.2, two layers 2.1."""


@contextmanager
def differentiable() -> Generator[None]:
    """A context in which derivatives are taken, whatever the thread does otherwise: checkpoints are walked without them."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


class _PlainAttention:
    """A context in which attention is computed in the one way that has a second derivative on a CPU.

    torch keeps the choice for the whole process: the first thread to enter makes it, and the last to leave takes it back.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._choice = threading.Lock(), 0, None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._choice = sdpa_kernel(SDPBackend.MATH)
                self._choice.__enter__()
            self._inside += 1

    def __exit__(self, *raised: Any) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._choice is not None:
                self._choice.__exit__(None, None, None)


PLAIN_ATTENTION = _PlainAttention()


@dataclass(frozen=True)
class Landscape(Checkpoints):
    """A run whose loss is known, as a function of the weights that learn."""

    def check(self) -> None:
        """Nothing; DoesNotApply when files of others leave open the network, its loss, or all examples."""
        super().check()
        self.run.needs("train.loss", "the loss that was minimised", "--train.loss")
        _ = self.run.known_model, self.parts

    @once
    def parts(self) -> Mapping[str, Examples]:
        """Examples to train on, to test on, and both; all alone where files of others do not tell which are which.

        Training examples have the answers that they are trained on.
        """
        try:
            split = self.run.split
        except DoesNotApply:
            return {"all": self.run.task.table()}
        return {"train": split.train, "test": split.test, "all": joined(split.train, split.test)}

    def examples(self, part: Part) -> Examples:
        """The examples of a part; DoesNotApply where files of others do not tell which they are, or there are none."""
        if part not in self.parts:
            raise DoesNotApply(
                f'{self.run.path} was converted from files that do not tell which prompts were trained on; "{part}" is not '
                "known, take --over all"
            )
        if not len(self.parts[part]):
            raise DoesNotApply(f"{self.run.path} has no examples to {part} on; take --over all")
        return self.parts[part]

    @once
    def learned(self) -> list[str]:
        """Names of the weights that learn."""
        return self.run.config.model.learned(self.run.task.shape)

    @once
    def sizes(self) -> list[int]:
        """Number of entries of each of them."""
        return [math.prod(self.run.tensor_shapes[name]) for name in self.learned]

    @property
    def n_weights(self) -> int:
        """Number of weights that learn."""
        return sum(self.sizes)

    @once
    def slices(self) -> Mapping[str, slice]:
        """Place of each tensor that learns in the vector of all."""
        ends = np.cumsum([0, *self.sizes]).tolist()
        return {name: slice(*ends[i : i + 2]) for i, name in enumerate(self.learned)}

    @once
    def invariant(self) -> list[str]:
        """Names of the tensors to whose scale alone the network is invariant."""
        return [name for name in self.learned if self.run.tensors[name].invariant]

    def over(self, examples: Examples, copies: int = 1, precision: Width = "float32") -> "Surface":
        """The loss over these examples, of so many networks at a time."""
        config = self.run.config.but(train=self.run.config.train.but(precision=precision))
        with torch.inference_mode(False):
            return Surface(self, objective([examples] * copies, [config] * copies, "cpu"), copies, precision)

    def flat(self, weights: Weights, precision: Width = "float32") -> Float[Tensor, "*copies n"]:
        """The weights that learn as one vector."""
        lead = weights[self.learned[0]].ndim - len(self.run.tensor_shapes[self.learned[0]])
        kind = torch.float64 if precision == "float64" else torch.float32
        return torch.cat([weights[name].flatten(lead) for name in self.learned], dim=lead).to(kind)

    def weights(self, flat: Float[Tensor, "*copies n"], others: Weights) -> dict[str, Tensor]:
        """Weights by name from the vector of those that learn; those that do not are taken from one network, `others`."""
        lead, shapes = flat.shape[:-1], self.run.tensor_shapes
        moved = zip(self.learned, flat.split(self.sizes, dim=-1), strict=True)
        # clones, since autograd takes no tensor of a walk over checkpoints
        fixed = {n: t.clone().to(flat.dtype).expand(*lead, *t.shape) for n, t in others.items() if n not in self.slices}
        return {name: part.unflatten(-1, shapes[name]) for name, part in moved} | fixed

    def bytes(self, examples: Examples, copies: int = 1, precision: Width = "float32", graph: int = GRAPH) -> int:
        """Bytes that so many losses over these examples take at most, with what derivatives need: `graph` times the forward
        pass, 1 without any."""
        logits = 8 * 4 * self.run.task.shape.outputs.n * len(examples)
        one = graph * self.run.config.model.cost(self.run.task.shape).bytes(len(examples)) + logits
        return copies * (1 + (precision == "float64")) * (one + 4 * 4 * self.n_weights)


@dataclass(frozen=True)
class Surface:
    """Logged loss of several networks over the same examples, as a function of their weights as vectors [copies, n]."""

    seen: Landscape
    objective: Objective
    copies: int
    precision: Width

    def outputs(self, flat: Flat, others: Weights) -> Float[Tensor, "copies ..."]:
        """What comes out for every example."""
        # What the forward pass keeps must be of use to autograd, whoever asks first.
        with torch.inference_mode(False), PLAIN_ATTENTION:
            return self.objective.outputs(self.seen.weights(flat, others))

    def logged(self, flat: Flat, others: Weights) -> Float[Tensor, "2 copies"]:
        """Mean loss and accuracy (NaN of vectors), float64, without what only helps training."""
        return self.objective.of_outputs(self.outputs(flat, others))

    def losses(self, flat: Flat, others: Weights) -> Float[Tensor, " copies"]:
        """Mean loss, float64."""
        loss, _ = self.logged(flat, others)
        return loss

    def sloped(self, flat: Flat, others: Weights) -> tuple[Float[Tensor, " copies"], Flat]:
        """Loss of each network, float64, and its gradient by the weights."""
        with differentiable(), first_derivatives():
            here = flat.detach().clone().requires_grad_()
            losses = self.losses(here, others)
            (gradient,) = torch.autograd.grad(losses.sum(), here)
        return losses.detach(), gradient

    def hessian(self, flat: Flat, others: Weights) -> Product:
        """The product of vectors [copies, n] with each Hessian. The gradient's graph is kept: a product is one pass back."""
        with differentiable():
            here = flat.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self.losses(here, others).sum(), here, create_graph=True)

        def product(vectors: Flat) -> Flat:
            with differentiable():
                (image,) = torch.autograd.grad(gradient, here, vectors.detach().clone(), retain_graph=True)
            return image

        return product

    def tangent(self, flat: Flat, others: Weights) -> tuple[Tensor, Product]:
        """Outputs with the graph of their gradients; and as a function their derivative along directions [copies, n]: J·v.

        Not by torch.func.jvp, whose levels threads share. A gradient is linear in what it is taken of, and its derivative is J.
        """
        with differentiable():
            here = flat if flat.requires_grad else flat.detach().clone().requires_grad_()
            outputs = self.outputs(here, others)
            beside = torch.zeros_like(outputs, requires_grad=True)
            (back,) = torch.autograd.grad(outputs, here, beside, create_graph=True)

        def along(directions: Flat) -> Tensor:
            with differentiable():
                return torch.autograd.grad(back, beside, directions.detach().clone(), retain_graph=True)[0]

        return outputs, along

    def gauss_newton(self, flat: Flat, others: Weights) -> Product:
        """The product with each Gauss–Newton matrix Jᵀ·H·J: J of the outputs by the weights, H of the loss by the outputs."""
        with differentiable():
            here = flat.detach().clone().requires_grad_()
            outputs, along = self.tangent(here, others)
            there = outputs.detach().clone().requires_grad_()
            (by_outputs,) = torch.autograd.grad(self.objective.of_outputs(there)[0].sum(), there, create_graph=True)

        def product(vectors: Flat) -> Flat:
            with differentiable():
                (curved,) = torch.autograd.grad(by_outputs, there, along(vectors), retain_graph=True)
                (image,) = torch.autograd.grad(outputs, here, curved, retain_graph=True)
            return image

        return product


def joined(one: Examples, other: Examples) -> Examples:
    """Examples of both, in order."""
    inputs = np.concatenate([one.inputs, other.inputs])
    same = one.targets is one.inputs and other.targets is other.inputs
    return Examples(inputs, inputs if same else np.concatenate([one.targets, other.targets]))
