"""A run's network over some of its examples: the one place where views and analyses compute it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from interp.base import once
from interp.models.network import Forward, Weights, over
from interp.store import Run


@dataclass(frozen=True)
class Prompts:
    """A run's network over these inputs, whole or in parts of so many."""

    run: Run
    inputs: Tensor
    part: int | None = None

    @once
    def forward(self) -> Forward:
        """The network over all of them at once."""
        return over(self.run.known_model, self.run.task.shape, self.inputs)

    @once
    def parts(self) -> list[Forward]:
        """The network over each part, in order."""
        if self.part is None:
            return [self.forward]
        shape, spec = self.run.task.shape, self.run.known_model
        return [over(spec, shape, some) for some in self.inputs.split(self.part)]

    def __len__(self) -> int:
        return len(self.inputs)

    def outputs(self, weights: Weights) -> Tensor:
        """What comes out for all of them, [n, …]."""
        return self.forward(weights)

    def each(self, weights: Weights, *beside: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """What comes out for each part, with the same part of the tensors beside."""
        size = self.part or len(self)
        yield from zip((part(weights) for part in self.parts), *(each.split(size) for each in beside), strict=True)

    def caches(
        self, weights: Weights, names: Callable[[str], bool]
    ) -> Iterator[tuple[slice, dict[str, Float[Tensor, "part ..."]]]]:
        """Activations of each part where answers are read, by hook name, with the rows of the inputs that the part has."""
        begin = 0
        for part, some in zip(self.parts, self.inputs.split(self.part or len(self)), strict=True):
            yield slice(begin, begin + len(some)), part.cache(weights, names)
            begin += len(some)

    def cache(self, weights: Weights, names: Callable[[str], bool]) -> dict[str, Float[Tensor, "n ..."]]:
        """Activations of all of them where answers are read, by hook name."""
        return self.forward.cache(weights, names)

    @property
    def bytes(self) -> int:
        """Bytes that computing them for one checkpoint takes at most."""
        return self.run.config.model.cost(self.run.task.shape).bytes(len(self), self.part)
