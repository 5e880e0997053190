"""The network of someone's own module, where it was given; and the roles that were told of its parts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.base import DoesNotApply, UserError
from interp.models.family import Sizes
from interp.models.module.adapted import MatrixOf
from interp.models.module.code import Code, Seen
from interp.models.module.spec import ModuleSpec, no_code
from interp.models.module.words import Factor, factors, size
from interp.models.network import Forward, Hook, Matrix, Roles, Weights
from interp.recipe import Precision
from interp.shape import Shape

OUTPUTS, NEURONS = "outputs", "neurons"
"""Names of the activations of somebody else's network: its answers, and the neurons that were told."""


@dataclass(frozen=True)
class ModuleForward(Forward):
    """What comes out for some examples, as a function of the weights, each [*runs, …]; one run after the other."""

    code: Code
    inputs: Tensor

    def each(self, weights: Weights, inputs: Tensor) -> list[Seen]:
        """Outputs and neurons of each run."""
        if inputs.ndim == 2:
            return [self.code.run(weights, inputs)]
        apart = {name: stack.unbind() for name, stack in weights.items()}
        return [
            self.code.run({name: of_runs[run] for name, of_runs in apart.items()}, some)
            for run, some in enumerate(inputs)
        ]

    def joined(self, each: list[Tensor]) -> Tensor:
        """What there is of each run, with the inputs' leading axes."""
        return each[0] if self.inputs.ndim == 2 else torch.stack(each)

    def __call__(self, weights: Weights, factors: Tensor | None = None) -> Float[Tensor, "*runs n answer"]:
        """Outputs; DoesNotApply for factors, since nothing tells what is added to what in the module."""
        if factors is not None:
            raise DoesNotApply(f"{self.code.name} is someone's own module, of which no residual stream is known")
        return self.joined([seen.outputs for seen in self.each(weights, self.inputs)])

    def cache(self, weights: Weights, names: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
        """Outputs and neurons by name, as far as they are asked for."""
        seen = self.each(weights, self.inputs)
        found = {OUTPUTS: [each.outputs for each in seen]}
        neurons = [each.neurons for each in seen if each.neurons is not None]
        if neurons:
            found[NEURONS] = neurons
        return {name: self.joined(each) for name, each in found.items() if names(name)}

    def posts(self, weights: Weights, size: int) -> Iterator[Float[Tensor, "*runs part neuron"]]:
        """The neurons in parts of so many examples, in order."""
        for part in self.inputs.split(size, dim=-2):
            yield ModuleForward(self.code, part).cache(weights, NEURONS.__eq__)[NEURONS]


def over(
    spec: ModuleSpec, shape: Shape, inputs: Tensor, precision: Precision = "float32", apart: bool = False
) -> Forward:
    """The module over these examples; DoesNotApply where its code is not known."""
    if spec.code is None:
        raise no_code(spec)
    return ModuleForward(spec.code, inputs)


def roles(spec: ModuleSpec) -> Roles:
    """Parts by role, as they were told. What needs the module itself is there if it was given and takes the task's examples."""
    if spec.code is None:
        return found_roles(spec)
    if "roles" not in spec.code.kept:  # passes are tried for them, and tails ask for them at every checkpoint
        spec.code.kept["roles"] = found_roles(spec)
    return spec.code.kept["roles"]


def found_roles(spec: ModuleSpec) -> Roles:
    """Roles from what was told, and from passes of the module if there is one."""
    tables = [spoken(said, spec.sizes, "row") for said in spec.embedding]
    readout = spoken(spec.readout, spec.sizes, "column") if spec.readout else None
    points = spec.unembedding or spec.readout.rpartition("@")[2]
    unembedding = spoken(points, spec.sizes, "column") if points else None
    width, linear = 0 if readout is None else readout.width, False
    if spec.code is not None:
        found = {role: computed(role, function, spec) for role, function in spec.code.given.functions.items()}
        tables = [found["embedding"]] if "embedding" in found else tables
        readout, unembedding = found.get("readout", readout), found.get("unembedding", unembedding)
        if spec.neurons and spec.code.fits:
            width = spec.code.tried.neurons
            linear = readout is not None and readout.width == width and spec.code.is_linear(readout.of)
            tables = [replace(each, of_neurons=spec.code.is_of_neurons(each)) for each in tables]
    return Roles(
        logits=OUTPUTS,
        embedding=tables[0] if tables else None,
        embedding_at=partial(at, spec, tables) if len(tables) > 1 else None,
        unembedding=unembedding,
        neurons=Hook(NEURONS, width) if spec.neurons and width else None,
        readout=readout,
        linear=linear,
    )


def at(spec: ModuleSpec, tables: list[Matrix], position: int) -> Matrix:
    """The embedding at a position of the prompt; DoesNotApply if none was told for it."""
    if position >= len(tables):
        raise DoesNotApply(
            f"{spec.about} has embeddings told for {len(tables)} positions, and none for position {position}; tell it by "
            "interp.adapt"
        )
    return tables[position]


Width = Literal["row", "column"]
"""What the width of a matrix is: the length of its rows, of an embedding; or of its columns."""


def spoken(said: str, sizes: Sizes, width: Width) -> Matrix:
    """The matrix that was told in words. One of a single tensor can be put back."""
    each, (rows, columns) = factors(said), size(said, sizes)

    def of(weights: Weights) -> Float[Tensor, "*steps row column"]:
        """The product of these weights."""
        return reduce(torch.matmul, (of_factor(factor, weights) for factor in each))

    def put(weights: Weights, value: Float[Tensor, "*steps row column"]) -> Weights:
        """The weights with another matrix in the place of the only factor."""
        (factor,) = each
        changed = weights[factor.name].clone()
        (changed.mT if factor.turned else changed)[..., factor.begin : factor.end, :] = value
        return {**weights, factor.name: changed}

    reads = tuple(dict.fromkeys(factor.name for factor in each))
    return Matrix(reads, of, columns if width == "row" else rows, put if len(each) == 1 else None)


def of_factor(factor: Factor, weights: Weights) -> Float[Tensor, "*steps row column"]:
    """The matrix of one factor."""
    whole = weights[factor.name].mT if factor.turned else weights[factor.name]
    return whole[..., factor.begin : factor.end, :]


def computed(role: str, function: MatrixOf, spec: ModuleSpec) -> Matrix:
    """The matrix that a function of the weights gives.

    Raises:
        UserError: it gives none, or one that does not fit the task.
    """
    first = next(iter(spec.sizes))

    def of(weights: Weights) -> Tensor:
        """The matrix, from weights with any leading axes."""
        lead = weights[first].shape[: weights[first].ndim - len(spec.sizes[first])]
        if not lead:
            return function(weights)
        flat = {name: each.flatten(0, len(lead) - 1) for name, each in weights.items()}
        stack = [function({name: each[run] for name, each in flat.items()}) for run in range(len(flat[first]))]
        return torch.stack(stack).unflatten(0, lead)

    try:
        found: Any = of(spec.code.own)
    except Exception as error:  # whatever the function raises
        raise UserError(
            f"{role} raised {type(error).__name__} ({error!s:.200}); give a function of the weights by name"
        ) from error
    if not isinstance(found, Tensor) or found.ndim != 2:
        what = list(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise UserError(f"{role} gave {what}; give a function of the weights that gives a matrix")
    rows, columns = found.shape
    spec.refuse_size(role, "a function", rows, columns, spec.code.shape.outputs.n)
    return Matrix(tuple(spec.sizes), of, columns if role == "embedding" else rows)
