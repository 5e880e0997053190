"""What is taken out of a network, and what is drawn in its place: by number other parts, by energy random functions of (a, b)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import once
from interp.maths.ablation import roots
from interp.models.network import Change
from interp.views.ablatable import Ablatable

LITTLE = 32
"""That part of the run's memory may be taken beside what measuring takes at work."""

Added = Callable[[slice], Tensor]
"""Type of a function: what is added at some rows of the square."""

PAIRS, FUNCTIONS = 1, 2
"""Purposes of draws that are not of neurons; those of functions of one operand's residues follow."""


@dataclass(frozen=True)
class Chosen:
    """What is taken out at every checkpoint, and what is drawn in its place."""

    seen: Ablatable
    key: tuple[int, ...]
    """The key frequencies."""
    keys_are: str
    """Where those come from."""
    clustered: Mapping[int, Int[Tensor, " neurons"]]
    """Neurons of each key frequency."""
    repeats: int
    """Draws by number."""
    draws: int
    """Draws by energy, and of other pairs."""
    seed: int
    drawn_neurons: dict[tuple[int, int], Int[Tensor, " neurons"]] = field(default_factory=dict, repr=False)
    """Neurons of each draw for each purpose, which are the same at every checkpoint."""
    directions: dict[int, Float[Tensor, "n*n width"]] = field(default_factory=dict, repr=False)
    """Directions of the draws, where all of them are little beside the run's memory."""
    functions: dict[tuple[int, int], Float[Tensor, "place function"]] = field(default_factory=dict, repr=False)
    """Random functions of the draws for each purpose, which are the same at every checkpoint."""

    def cluster(self, k: int) -> Int[Tensor, " neurons"]:
        """Neurons of a frequency; none where it is not key."""
        return self.clustered.get(k, torch.tensor([], dtype=torch.long))

    @once
    def all_clustered(self) -> Int[Tensor, " neurons"]:
        """Neurons of every key frequency."""
        return torch.cat([self.cluster(k) for k in self.key]).sort().values

    def generator(self, *purpose: int) -> np.random.Generator:
        """The generator of one draw for one purpose, whatever else is drawn."""
        return np.random.default_rng([self.seed, *purpose])

    @once
    def drawn(self) -> list[tuple[int, ...]]:
        """For each repeat as many frequencies as are key."""
        every = np.arange(1, self.seen.n // 2 + 1)
        pool = outside(every, np.array(self.key))
        draws = [self.generator(repeat).permutation(pool) for repeat in range(self.repeats)]
        return [tuple(order[: len(self.key)].tolist()) for order in draws]

    def neurons(self, own: Int[Tensor, " neurons"], draw: int, purpose: int) -> Int[Tensor, " neurons"]:
        """As many neurons outside these."""
        if not len(own):
            return own
        if (draw, purpose) not in self.drawn_neurons:
            pool = outside(np.arange(self.seen.neurons.width), own.numpy())
            drawn = np.sort(self.generator(draw, purpose).permutation(pool)[: len(own)])
            self.drawn_neurons[draw, purpose] = torch.from_numpy(drawn)
        return self.drawn_neurons[draw, purpose]

    @once
    def drawn_clustered(self) -> float:
        """Share of the neurons drawn in place of all clusters that are in a cluster themselves; 0 when enough others remain.

        Where most of the layer is in clusters, a draw cannot avoid them.
        """
        drawn = [self.neurons(self.all_clustered, draw, 0) for draw in range(self.repeats)]
        shares = [float(torch.isin(each, self.all_clustered).double().mean()) for each in drawn if len(each)]
        return float(np.mean(shares)) if shares else 0.0

    def direction(self, draw: int) -> Float[Tensor, "n*n width"]:
        """For each prompt a direction among the numbers that pass on a way, uniform on the sphere."""
        if draw in self.directions:
            return self.directions[draw]
        seed = int(self.generator(draw, 0, 0).integers(2**63))
        (width,) = {route.width for route in self.seen.roles.routes.values()}
        free = torch.randn(self.seen.n**2, width, generator=torch.Generator().manual_seed(seed))
        found = free / free.norm(dim=1, keepdim=True)
        if self.repeats * self.seen.bytes(width) <= self.seen.run.memory // LITTLE:
            self.directions[draw] = found
        return found

    def pairs(self, draw: int) -> Int[Tensor, " n*n"]:
        """Another pair for each pair: a random order of all."""
        return torch.from_numpy(self.generator(draw, 0, 0, PAIRS).permutation(self.seen.n**2))

    def functions_of_pairs(self, draw: int) -> Float[Tensor, "n*n function"]:
        """Random functions of the pairs, as many as there are dimensions in which something is added."""
        ways = [route.width for route in self.seen.roles.routes.values()]
        return self.random_functions(draw, FUNCTIONS, self.seen.n**2, max(self.seen.n, *ways, 0))

    def functions_of_residues(self, draw: int, operand: int) -> Float[Tensor, "n function"]:
        """Random functions of the residues of one operand."""
        return self.random_functions(draw, FUNCTIONS + 1 + operand, self.seen.n, self.seen.n - 1)

    def random_functions(self, draw: int, purpose: int, places: int, number: int) -> Float[Tensor, "place function"]:
        """Orthonormal functions of so many places with mean 0, uniform among all such; not more than there are."""
        if (draw, purpose) not in self.functions:
            number = min(number, places - 1)
            free = torch.from_numpy(self.generator(draw, 0, 0, purpose).standard_normal((number, places))).T
            self.functions[draw, purpose] = torch.linalg.qr(free - free.mean(dim=0)).Q.float()
        return self.functions[draw, purpose]

    @once
    def own(self) -> "Own":
        """The key frequencies and the clusters themselves."""
        return Own(self)

    @once
    def by_number(self) -> "list[ByNumber]":
        """As many other frequencies and neurons, for each repeat."""
        return [ByNumber(self, draw) for draw in range(self.repeats)]

    @once
    def by_energy(self) -> "list[ByEnergy]":
        """Random functions of the same energy, for each draw."""
        return [ByEnergy(self, draw) for draw in range(self.draws)]


def outside(every: np.ndarray, these: np.ndarray) -> np.ndarray:
    """All but these, where at least as many remain; otherwise all."""
    others = np.setdiff1d(every, these)
    return others if len(others) >= len(these) else every


class Summand:
    """A part of the sum that reaches the answers, in pieces, as a function of the pairs."""

    def __init__(self, slices: Sequence[slice], *pieces: Added):
        self.slices, self.pieces = slices, pieces

    @once
    def moments(self) -> tuple[Float[Tensor, " width"], Float[Tensor, "function width"]]:
        """Its mean, and a root of its scatter (`roots`)."""
        return roots(torch.stack([piece(rows) for piece in self.pieces]).sum(dim=0) for rows in self.slices)


@dataclass(frozen=True)
class Own:
    """The key frequencies and the neurons of their clusters themselves."""

    chosen: Chosen
    draw: int = -1

    @property
    def which(self) -> int:
        """Number of the draw that says which frequencies and neurons; −1 for the key ones."""
        return -1

    @property
    def frequencies(self) -> tuple[int, ...]:
        """The frequencies."""
        return self.chosen.key

    def neurons(self, own: Int[Tensor, " neurons"], purpose: int) -> Int[Tensor, " neurons"]:
        """The neurons, for those of some clusters."""
        return own

    def of_pairs(self, part: Summand) -> Sequence[Added]:
        """A part of the sum that reaches the answers, as a function of the pairs, in pieces."""
        return part.pieces

    def of_residues(self, part: Float[Tensor, "n width"], operand: int) -> Float[Tensor, "n width"]:
        """A part of an embedding, as a function of the residues of one operand."""
        return part


class ByNumber(Own):
    """As many other frequencies and neurons."""

    @property
    def which(self) -> int:
        """Number of the draw."""
        return self.draw

    @property
    def frequencies(self) -> tuple[int, ...]:
        """As many other frequencies."""
        return self.chosen.drawn[self.draw]

    def neurons(self, own: Int[Tensor, " neurons"], purpose: int) -> Int[Tensor, " neurons"]:
        """As many other neurons."""
        return self.chosen.neurons(own, self.draw, purpose)


class ByEnergy(Own):
    """Parts with random functions of the pairs in place of their own, in their directions and of their energy.

    A part is F·M: orthonormal functions F of (a, b), with mean 0, times the directions M, and a mean. F is drawn anew, uniform
    among all such. With any given function its overlap is 0 in expectation, and 1 / (n² − 1) squared.
    """

    def of_pairs(self, part: Summand) -> Sequence[Added]:
        """A part of the sum that reaches the answers, with random functions of the pairs."""
        if not part.pieces:
            return []
        (mean, root), functions = part.moments, self.chosen.functions_of_pairs(self.draw)
        mean, root = mean.float(), root.float()
        return [lambda rows: functions[rows, : len(root)] @ root + mean]

    def of_residues(self, part: Float[Tensor, "n width"], operand: int) -> Float[Tensor, "n width"]:
        """A part of an embedding, with random functions of the residues of one operand."""
        mean, root = roots([part])
        return self.chosen.functions_of_residues(self.draw, operand)[:, : len(root)].double() @ root + mean


# What is put in a part's place


def to_mean(values: Float[Tensor, "n*n width"], rows: slice) -> Float[Tensor, "part width"]:
    """The change by mean ablation: every pair gets the mean over all pairs."""
    return values.mean(dim=0) - values[rows]


def to_other_pairs(order: Int[Tensor, " n*n"]) -> Change:
    """The change by resample ablation: every pair gets the values of the pair that stands in its place in this order."""
    return lambda values, rows: values.index_select(0, order[rows]) - values[rows]
