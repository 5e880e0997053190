"""Someone's own module as a function of weights: its outputs and its neurons over examples of a task."""

import copy
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from interp.base import DoesNotApply, UserError, once
from interp.models.module.adapted import INPUT, Adapted
from interp.models.module.seen import tensors_of, unwrapped
from interp.models.module.spec import ModuleSpec
from interp.models.network import Matrix, Weights
from interp.shape import Shape

Turn = Callable[[Tensor], Tensor | None]
"""Type of a function: what takes the place of some activations; None leaves them."""

ROUNDING = 1e-3
"""Part of a change of outputs that may not come from the readout while answers count as linear in the neurons."""


class Seen(NamedTuple):
    """Answers and neurons of a module over some examples."""

    outputs: Float[Tensor, "n ... answer"]
    neurons: Float[Tensor, "n neuron"] | None
    """None where no submodule was told to have them."""


class Tried(NamedTuple):
    """What one pass over some examples tells of a module."""

    neurons: int
    """Number of neurons; 0 if none were told."""
    numbers: int
    """Numbers that its submodules give for one example."""


@dataclass(frozen=True)
class Code:
    """A module in eval mode over examples of one shape, with any weights. One thread at a time computes it."""

    given: Adapted
    spec: ModuleSpec
    shape: Shape
    kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What was found of it once."""

    @once
    def module(self) -> nn.Module:
        """Copy of the module on the CPU, without compiled parts; what was given stays as it was."""
        found = copied(self.given.module).cpu().eval().requires_grad_(False)
        for parent in list(found.modules()):
            for name, child in list(parent.named_children()):
                setattr(parent, name, unwrapped(child))
        return found

    @once
    def kinds(self) -> dict[str, torch.dtype]:
        """Number types of the tensors that are no fractions; others take the type of the weights that are given."""
        return {name: t.dtype for name, t in tensors_of(self.module).items() if not t.is_floating_point()}

    @once
    def unsaved(self) -> dict[str, Tensor]:
        """Buffers that no checkpoint has."""
        saved = tensors_of(self.module)
        return {n: t for n, t in self.module.named_buffers() if n not in saved}

    def run(self, weights: Weights, inputs: Tensor, turn: Turn = lambda neurons: None) -> Seen:
        """Outputs and neurons with these weights over examples [n, …], after neurons were turned into others.

        Raises:
            DoesNotApply: the module cannot take them, or gives something else than answers.
        """
        with self.given.lock:
            kind = next(t.dtype for name, t in weights.items() if name not in self.kinds)
            tensors = {name: t.to(self.kinds.get(name, kind)) for name, t in weights.items()}
            for name, t in self.unsaved.items():
                tensors[name] = t.to(inputs.device, kind if t.is_floating_point() else t.dtype)
            given = inputs.to(kind) if inputs.is_floating_point() else inputs
            found: list[Tensor] = []
            with self.caught(found, turn):
                try:
                    taken = given if self.given.inputs is None else self.given.inputs(given)
                    result = functional_call(self.module, tensors, *arguments(taken))
                    outputs = plain(result) if self.given.outputs is None else self.given.outputs(result)
                except DoesNotApply:
                    raise
                except Exception as error:  # whatever the module's code raises
                    raise DoesNotApply(
                        f"{self.name} raised {type(error).__name__} over examples {list(inputs.shape)} of {inputs.dtype} "
                        f"({' '.join(str(error).split())!s:.200}); give interp.adapt inputs=, a function of them to what it takes"
                    ) from error
        if len(found) > 1:
            raise DoesNotApply(
                f"{self.spec.neurons} is computed {len(found)} times a pass; name a submodule that is once"
            )
        if found and len(found[0]) != len(inputs):
            raise DoesNotApply(
                f"{self.spec.neurons} has {len(found[0])} rows for {len(inputs)} examples; neurons are [n, neuron], or [n, "
                "position, neuron]"
            )
        return Seen(self.answers(outputs, len(inputs)), found[0] if found else None)

    @property
    def name(self) -> str:
        """Name of the module's class."""
        return type(self.given.module).__name__

    def answers(self, outputs: Any, n: int) -> Float[Tensor, "n ... answer"]:
        """Outputs where answers are read; DoesNotApply if they are none of the task."""
        wanted, positions = self.shape.outputs.n, getattr(self.shape.outputs, "positions", (-1,))
        if isinstance(outputs, Tensor) and outputs.ndim == 3 and outputs.shape[1] > max(positions):
            outputs = outputs[:, positions[0]] if len(positions) == 1 else outputs[:, list(positions)]
        size = (n, wanted) if len(positions) == 1 else (n, len(positions), wanted)
        if not isinstance(outputs, Tensor) or tuple(outputs.shape) != size:
            what = list(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
            raise DoesNotApply(
                f"{self.name} gives {what} for {n} examples, and the task has {wanted:,} answers; give interp.adapt outputs=, a "
                f"function of it that gives {list(size)}"
            )
        return outputs

    @contextmanager
    def caught(self, found: list[Tensor], turn: Turn) -> Generator[None]:
        """Within, neurons of every pass are put into a list, as they are after their turn."""
        if not self.spec.neurons:
            yield
            return
        place = self.module.get_submodule(self.spec.neurons.removeprefix(INPUT))

        def turned(value: Any) -> Tensor:
            """The activations of all positions, after the turn of those at the last; which are kept."""
            if not isinstance(value, Tensor) or value.ndim not in (2, 3):
                what = list(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
                raise DoesNotApply(f"{self.spec.neurons} is {what}; neurons are [n, neuron] or [n, position, neuron]")
            last = value if value.ndim == 2 else value[:, -1]
            if (other := turn(last)) is None:
                found.append(last.clone())  # what follows may work in place
                return value
            found.append(other.clone())
            return other if value.ndim == 2 else torch.cat([value[:, :-1], other[:, None]], dim=1)

        if self.spec.neurons.startswith(INPUT):
            handle = place.register_forward_pre_hook(lambda _, given: (turned(given[0] if given else None), *given[1:]))
        else:
            handle = place.register_forward_hook(lambda _, given, value: turned(value))
        try:
            yield
        finally:
            handle.remove()

    @once
    def some(self) -> Tensor:
        """Some examples of the task's shape: of prompts one more than positions, so that the two axes are told apart."""
        if self.shape.inputs.kind == "tokens":
            tokens = self.shape.tokens
            every = torch.arange((tokens.n_ctx + 1) * tokens.n_ctx) % max(1, tokens.d_vocab)
            return every.view(tokens.n_ctx + 1, tokens.n_ctx)
        return torch.randn(3, self.shape.vectors.width, generator=torch.Generator().manual_seed(0))

    @once
    def own(self) -> dict[str, Tensor]:
        """The weights that the module was given with, in float32."""
        return {name: t.detach().float() for name, t in tensors_of(self.module).items()}

    @once
    def tried(self) -> Tried:
        """What one pass over some examples tells; DoesNotApply as `run`, or when the task is not known."""
        if not self.shape.outputs.n:
            raise DoesNotApply(
                f"the task of this run is not known, so neither is what {self.name} takes; record or convert it with its task"
            )
        numbers: list[int] = []

        def count(_: nn.Module, given: Any, value: Any) -> None:
            numbers.extend(each.numel() for each in (value, *given) if isinstance(each, Tensor))

        with self.given.lock, torch.no_grad():
            handles = [each.register_forward_hook(count) for each in self.module.modules()]
            try:
                seen = self.run(self.own, self.some)
            finally:
                for handle in handles:
                    handle.remove()
        if self.spec.neurons and seen.neurons is None:
            raise DoesNotApply(f"{self.spec.neurons} is not computed by {self.name}; name a submodule that is")
        return Tried(0 if seen.neurons is None else seen.neurons.shape[1], sum(numbers) // len(self.some))

    @once
    def fits(self) -> bool:
        """Whether the module takes examples of this shape."""
        try:
            return bool(self.tried)
        except DoesNotApply:  # which is told when the network is asked for
            return False

    @once
    def at_random(self) -> dict[str, Tensor]:
        """Weights at random around the module's own: what holds of them holds of the function, not of a start at zeros."""
        draw, learn = torch.Generator().manual_seed(0), dict(self.module.named_parameters())
        return {n: t + 0.1 * torch.randn(t.shape, generator=draw) * (n in learn) for n, t in self.own.items()}

    def is_of_neurons(self, table: Matrix) -> bool:
        """Whether a column of an embedding belongs to one neuron: moving it moves that neuron, and no other."""
        if table.put is None or table.width != self.tried.neurons:
            return False
        weights, moved = self.at_random, table.of(self.at_random).clone()
        moved[:, 0] += 1
        with torch.no_grad():
            before, after = (self.run(each, self.some).neurons for each in (weights, table.put(weights, moved)))
        assert before is not None and after is not None
        return bool((before != after).any(dim=0).nonzero().flatten().tolist() == [0])

    def is_linear(self, readout: Callable[[Weights], Tensor]) -> bool:
        """Whether a change of the neurons changes the answers by what the readout writes of it, and by nothing else."""
        draw, weights = torch.Generator().manual_seed(1), self.at_random
        with torch.no_grad():
            before = self.run(weights, self.some)
            assert before.neurons is not None
            moved = torch.randn(before.neurons.shape, generator=draw)
            after = self.run(weights, self.some, lambda neurons: neurons + moved)
            found, expected = after.outputs - before.outputs, moved @ readout(weights)
        return found.shape == expected.shape and bool((found - expected).norm() <= ROUNDING * expected.norm())


def copied(module: nn.Module) -> nn.Module:
    """A copy of a module; UserError if it cannot be copied."""
    try:
        return copy.deepcopy(module)
    except Exception as error:  # whatever the module holds
        raise UserError(f"{type(module).__name__} cannot be copied ({error!s:.200}); give a newly made one") from error


def arguments(taken: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a pass, by place and by name."""
    if isinstance(taken, Mapping):
        return (), dict(taken)
    return (taken if isinstance(taken, tuple) else (taken,)), {}


def plain(result: Any) -> Any:
    """Outputs in what a module returned: itself, its `logits`, or the first of several."""
    if hasattr(result, "logits"):
        return result.logits
    return result[0] if isinstance(result, tuple | list) and result else result
