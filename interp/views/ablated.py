"""A network with a part taken out: its answers over all pairs without some frequencies, neurons, heads or skips."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.maths import ablation
from interp.models.network import Matrix, Outputs, Ways, Weights
from interp.views.square import NeuronSquare

PART = 160_000
"""Logits computed at a time: they stay in the processor's cache until their loss is known."""

LITTLE = 32
"""That part of the run's memory may be taken beside what measuring takes at work."""


@dataclass(frozen=True)
class Ablatable(NeuronSquare):
    """The square of a network with neurons that tells what follows them, and whose embedding can be replaced."""

    def check(self) -> None:
        """Nothing; DoesNotApply when nothing is told of what follows the neurons, or the embedding cannot be replaced."""
        super().check()
        self.check_tail()
        if any(matrix.put is None for matrix, _ in self.operands):
            raise DoesNotApply(
                f"{self.run.path} is a model whose embedding is made of several weights ({self.run.config.model.about}); "
                f"{self.asked} needs one that can be replaced"
            )

    @once
    def operands(self) -> list[tuple[Matrix, Int[Tensor, " n"]]]:
        """For each operand with tokens of its own what embeds them, and the rows of its values in their order."""
        at, first = self.roles.embedding_at, (self.embeds, self.values)
        if at is None and not self.order.separate:
            return [first]
        of_b = self.embeds if at is None else at(self.order.position_of_b)
        return [first, (of_b, self.values + self.order.first_b)]


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
    seed: int
    drawn_neurons: dict[tuple[int, int], Int[Tensor, " neurons"]] = field(default_factory=dict, repr=False)
    """Neurons of each draw for each purpose, which are the same at every checkpoint."""
    directions: dict[int, Float[Tensor, "n*n width"]] = field(default_factory=dict, repr=False)
    """Directions of the draws, where all of them are little beside the run's memory."""

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

    def frequencies(self, draw: int | None) -> tuple[int, ...]:
        """The key frequencies, or those of a draw."""
        return self.key if draw is None else self.drawn[draw]

    def neurons(self, own: Int[Tensor, " neurons"], draw: int | None, purpose: int) -> Int[Tensor, " neurons"]:
        """These neurons, or as many others."""
        if draw is None or not len(own):
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


def outside(every: np.ndarray, these: np.ndarray) -> np.ndarray:
    """All but these, where at least as many remain; otherwise all."""
    others = np.setdiff1d(every, these)
    return others if len(others) >= len(these) else every


def rows_at_a_time(n: int) -> int:
    """Rows of n logits that are computed at a time."""
    return max(1, PART // n)


Added = Callable[[slice], Tensor]
"""What is added at some rows of the square to what reaches the answers."""


class Network:
    """One checkpoint over all pairs, and what it answers with a part taken out: `draw` None, or as much by that draw."""

    def __init__(self, chosen: Chosen, weights: Weights):
        self.chosen, self.seen, self.weights = chosen, chosen.seen, weights
        self.tail = self.seen.tail(weights, self.seen.values)
        names = {*self.tail.hooks, *self.tail.hooks_of_ways}
        self.cache = self.seen.prompts.cache(weights, names.__contains__)
        self.post = self.cache[self.seen.neurons.name]
        self.added, self.beside = self.tail.through(self.post), self.tail.beside(self.cache)
        self.whole = self.beside + self.added
        self.last_drawn: dict[str, tuple[int | None, Added]] = {}

    def outcome(self, outputs: Outputs) -> Float[Tensor, "2 split"]:
        """Loss and accuracy by split."""
        found, at_a_time = [], rows_at_a_time(self.seen.n)
        for begin in range(0, self.seen.n**2, at_a_time):
            rows = slice(begin, begin + at_a_time)
            found.append(torch.stack(self.seen.losses_and_right(outputs(rows), self.seen.labels[rows])))
        return self.seen.means(torch.cat(found, dim=1))

    def answered(self, total: Outputs) -> Outputs:
        """The outputs, of all that reaches the answers."""
        return lambda rows: self.tail.answer(total(rows))

    def untouched(self) -> Outputs:
        """The outputs of the whole network."""
        return self.answered(lambda rows: self.whole[rows])

    # Frequencies

    def embedding(self, draw: int | None, keep: bool) -> Outputs:
        """The outputs from an embedding with or without the waves of some frequencies."""
        weights = self.weights
        for matrix, values, parts in self.embedding_parts:
            assert matrix.put is not None
            rows = matrix.of(weights).clone()
            table, waves = rows[values].double(), self.sum_of(parts, draw)
            rows[values] = (table.mean(dim=0) + waves if keep else table - waves).float()
            weights = matrix.put(weights, rows)
        outputs = self.tail.outputs(self.seen.prompts.forward, weights)
        return lambda rows: outputs[rows]

    @once
    def embedding_parts(self) -> list[tuple[Matrix, Tensor, Tensor]]:
        """For each operand with tokens of its own what embeds them, their rows in order, and these at each frequency."""
        return [
            (matrix, values, ablation.at_frequencies(matrix.of(self.weights)[values]))
            for matrix, values in self.seen.operands
        ]

    def neurons(self, draw: int | None, keep: bool) -> Outputs:
        """The outputs with or without some waves of a + b in the activations."""
        return self.waves_of_neurons(self.chosen.frequencies(draw), keep)

    def waves_of_neurons(self, ks: tuple[int, ...], keep: bool) -> Outputs:
        """The outputs with or without the waves of these frequencies in the activations.

        What neurons write is linear: its waves are those of the activations, written.
        """
        waves = self.added_parts[indices(ks)].sum(dim=0)
        return self.answered(self.by_answer(waves, self.beside + self.added.mean(dim=0) if keep else self.whole, keep))

    @once
    def added_parts(self) -> Float[Tensor, "freq n width"]:
        """What the waves of a + b in the activations write, by frequency and answer."""
        return self.of_answers(self.added)

    def logits(self, draw: int | None, keep: bool) -> Outputs:
        """The outputs with or without some waves of a + b in the outputs themselves."""
        logits = self.tail.answer(self.whole)
        waves = self.sum_of(self.logit_parts, draw)
        return self.by_answer(waves, logits.mean(dim=0).expand_as(logits) if keep else logits, keep)

    @once
    def logit_parts(self) -> Float[Tensor, "freq n n"]:
        """Waves of a + b in the logits, by frequency and answer."""
        return self.of_answers(self.tail.answer(self.whole))

    def sum_of(self, parts: Tensor, draw: int | None) -> Tensor:
        """The sum of some parts over the key frequencies, or those of a draw."""
        return parts[indices(self.chosen.frequencies(draw))].sum(dim=0)

    def of_answers(self, values: Float[Tensor, "n*n width"]) -> Float[Tensor, "freq n width"]:
        """Waves of a + b in a function of the pairs: all lie in its means by answer."""
        n, answers = self.seen.n, self.seen.answers
        sums = torch.zeros(n, values.shape[1], dtype=torch.float64).index_add_(0, answers, values.double())
        return ablation.at_frequencies(sums / n).float()  # every answer has n pairs

    def by_answer(self, waves: Float[Tensor, "n width"], rest: Float[Tensor, "n*n width"], keep: bool) -> Outputs:
        """The outputs from a rest, with or without what depends on the answer alone."""
        answers, signed = self.seen.answers, waves if keep else -waves
        return lambda rows: rest[rows] + signed.index_select(0, answers[rows])

    # Neurons

    def clusters(self, draw: int | None, keep: bool) -> Outputs:
        """The outputs without the neurons of all clusters, or without all others."""
        return self.with_or_without(self.of_clusters(draw), keep)

    @once
    def of_own_clusters(self) -> Added:
        """What the neurons of all clusters add."""
        return kept(self.written_by(self.chosen.all_clustered))

    def of_clusters(self, draw: int | None) -> Added:
        """What the neurons of all clusters add, or as many others."""
        if draw is None:
            return self.of_own_clusters
        drawn = self.chosen.neurons(self.chosen.all_clustered, draw, purpose=0)
        return self.of_last_draw("clusters", draw, lambda: self.written_by(drawn))

    def of_last_draw(self, name: str, draw: int | None, part: Callable[[], Added]) -> Added:
        """A part that is asked for twice by each draw, once to be kept alone and once to be taken out."""
        if name not in self.last_drawn or self.last_drawn[name][0] != draw:
            self.last_drawn[name] = draw, kept(part())
        return self.last_drawn[name][1]

    def cluster(self, k: int, draw: int | None) -> Outputs:
        """The outputs without the neurons of one cluster."""
        own = self.chosen.neurons(self.chosen.cluster(k), draw, purpose=k)
        return self.with_or_without(self.written_by(own), keep=False)

    def written_by(self, neurons: Int[Tensor, " neurons"]) -> Added:
        """What these neurons add."""
        written, post = self.tail.written[neurons], self.post
        # By index_select: [:, neurons] takes seven times as long, and longer than the product.
        return lambda rows: post[rows].index_select(1, neurons) @ written

    def with_or_without(self, part: Added, keep: bool) -> Outputs:
        """The outputs with this part of what the neurons add and no other, or without it."""
        if keep:
            return self.answered(lambda rows: self.beside[rows] + part(rows))
        return self.answered(lambda rows: self.whole[rows] - part(rows))

    def blocks(self, draw: int | None) -> Outputs:
        """The outputs with each cluster's neurons as their part in a 3×3 block, of its own frequency or of a drawn one."""
        n, pieces, clusters = self.seen.n, [], self.of_own_clusters
        for own, k in zip(self.chosen.key, self.chosen.frequencies(draw), strict=True):
            neurons, block = self.chosen.cluster(own), ablation.block_waves(n, k).float()
            if len(neurons):
                pieces.append((block.T, (block @ self.post.index_select(1, neurons)) @ self.tail.written[neurons]))

        def total(rows: slice) -> Tensor:
            """What reaches the answers of some rows."""
            changed = self.whole[rows] - clusters(rows)
            for block, coefficients in pieces:
                changed += block[rows] @ coefficients
            return changed

        return self.answered(total)

    def directions(self, draw: int | None, keep: bool) -> Outputs:
        """The outputs with the neurons' part along some directions that W_L reads alone, or without it."""
        frequencies = self.chosen.frequencies(draw)
        return self.with_or_without(self.of_last_draw("directions", draw, lambda: self.along(frequencies)), keep)

    def along(self, frequencies: tuple[int, ...]) -> Added:
        """What the neurons' part along the directions that read these frequencies adds."""
        plane, post = ablation.plane(self.tail.readout, frequencies).float(), self.post
        written = plane.T @ self.tail.written
        return lambda rows: (post[rows] @ plane) @ written

    # Ways through the network

    @once
    def ways(self) -> Ways:
        """The ways that can be taken out."""
        return self.tail.ways(self.cache, self.beside, self.whole)

    # All of them

    def all_ablations(self, draw: int | None) -> list[Float[Tensor, "2 split"]]:
        """Outcomes in the order of `ablations`: without what is asked about, or without as much that was drawn."""
        found = [self.outcome(part.without(self, draw)) for part in PARTS.values()]
        if routes := self.seen.roles.routes:
            ways = self.ways if draw is None else self.ways.along(self.chosen.direction(draw))
            found += [self.outcome(ways.without(name)) for name in routes]
        return found


def kept(part: Added) -> Added:
    """The part, computed once for all that ask for the same rows."""
    found: dict[int, Tensor] = {}

    def rows_of(rows: slice) -> Tensor:
        """The part at these rows."""
        if rows.start not in found:
            found[rows.start] = part(rows)
        return found[rows.start]

    return rows_of


class Part(NamedTuple):
    """Frequencies or neurons that are taken out."""

    about: str
    """What is left, in words."""
    without: Callable[[Network, int | None], Outputs]
    """What comes out without it, or without as much by a draw."""


PARTS = {
    "embedding: keys kept": Part(
        "W_E's number rows are their mean and their waves of the key frequencies",
        lambda network, draw: network.embedding(draw, keep=True),
    ),
    "embedding: keys removed": Part(
        "those waves are subtracted", lambda network, draw: network.embedding(draw, keep=False)
    ),
    "neurons: keys kept": Part(
        "the last MLP's activations are their mean and their parts along cos and sin(w(a+b)) of the key frequencies; what "
        "passes beside the MLP stays",
        lambda network, draw: network.neurons(draw, keep=True),
    ),
    "neurons: keys removed": Part(
        "those parts are subtracted", lambda network, draw: network.neurons(draw, keep=False)
    ),
    "logits: keys kept": Part(
        "every logit is its mean over all pairs and its parts along cos and sin(w(a+b)) of the key frequencies",
        lambda network, draw: network.logits(draw, keep=True),
    ),
    "logits: keys removed": Part("those parts are subtracted", lambda network, draw: network.logits(draw, keep=False)),
    "clusters kept": Part(
        "neurons of no cluster of a key frequency are set to 0",
        lambda network, draw: network.clusters(draw, keep=True),
    ),
    "clusters removed": Part(
        "neurons of such a cluster are set to 0", lambda network, draw: network.clusters(draw, keep=False)
    ),
    "clusters as 3×3 blocks": Part(
        "those neurons are their parts in the block {1, cos, sin}(k·a) ⊗ {1, cos, sin}(k·b)", Network.blocks
    ),
    "W_L directions kept": Part(
        "activations are projected on u_k = W_L·cos_k and v_k = W_L·sin_k of the key frequencies, W_L = W_out·W_U, nothing "
        "else kept of them",
        lambda network, draw: network.directions(draw, keep=True),
    ),
    "W_L directions removed": Part(
        "that projection is subtracted", lambda network, draw: network.directions(draw, keep=False)
    ),
}
"""What is taken out of every network, by name."""


def ablations(seen: Ablatable) -> dict[str, str]:
    """Every ablation of that run's network, with what it means: its parts, then its ways."""
    routes = {name: route.about for name, route in seen.roles.routes.items()}
    return {**{name: part.about for name, part in PARTS.items()}, **routes}


def indices(ks: tuple[int, ...]) -> list[int]:
    """Places of frequencies in an axis that begins with 1."""
    return [k - 1 for k in ks]
