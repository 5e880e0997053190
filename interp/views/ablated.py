"""A network with a part taken out: its answers over all pairs without some frequencies, neurons, heads or skips."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import once
from interp.maths import ablation
from interp.models.network import Change, Matrix, Outputs, Ways, Weights
from interp.views.ablatable import summed
from interp.views.draws import Added, ByNumber, Chosen, Own, Summand


class Taken(NamedTuple):
    """A network from which a part is taken out, or of which it is left alone."""

    outputs: Outputs
    """What comes out."""
    share: Tensor
    """Share of the variance in that part."""


NONE = torch.zeros((), dtype=torch.float64)
"""Share of the variance where nothing is taken out, or where it is not asked for."""


class Network:
    """One checkpoint over all pairs, and what it answers with a part taken out: itself, or what a draw has in its place."""

    def __init__(self, chosen: Chosen, weights: Weights):
        self.chosen, self.seen, self.weights = chosen, chosen.seen, weights
        self.tail = self.seen.tail(weights, self.seen.values)
        names = {*self.tail.hooks, *self.tail.hooks_of_ways}
        self.cache = self.seen.prompts.cache(weights, names.__contains__)
        self.post = self.cache[self.seen.neurons.name]
        self.added, self.beside = self.tail.through(self.post), self.tail.beside(self.cache)
        self.whole = self.beside + self.added
        self.last_drawn: dict[str, tuple[int, Part]] = {}

    def outcome(self, taken: Taken) -> Float[Tensor, " outcome"]:
        """Loss by split, accuracy by split, share of the variance in the part, and the answers' totals (`answer_totals`)."""
        found, sums = [], torch.zeros(self.seen.n, self.seen.n)
        for rows, bag in zip(self.seen.slices, self.seen.bags, strict=True):
            logits = taken.outputs(rows)
            found.append(torch.stack(self.seen.losses_and_right(logits, self.seen.labels[rows])))
            sums += summed(logits, bag)
        scores = self.seen.means(torch.cat(found, dim=1)).flatten()
        return torch.cat([scores, taken.share[None], ablation.answer_totals(sums)])

    @once
    def untouched(self) -> Float[Tensor, " outcome"]:
        """The outcome of the whole network."""
        return self.outcome(Taken(self.answered(lambda rows: self.whole[rows]), NONE))

    def scores(
        self, outcomes: Float[Tensor, "*sets outcome"], own: tuple[int, ...] = ()
    ) -> Float[Tensor, "*sets score"]:
        """Loss by split, accuracy by split, share of the variance, and of the answers' waves the share that is lost.

        The last are two: at these frequencies (the key ones, if none are given), and at all others.
        """
        frequencies = torch.arange(1, self.seen.n // 2 + 1)
        mine = torch.isin(frequencies, torch.tensor(own or self.chosen.key))
        n = self.seen.n
        lost = ablation.waves_lost(self.untouched[-n:], outcomes[..., -n:], mine)
        return torch.cat([outcomes[..., :-n], lost], dim=-1)

    def in_full(self, part: Added) -> Float[Tensor, "n*n width"]:
        """What a part adds at every row, computed as many at a time as are answered."""
        return torch.cat([part(rows) for rows in self.seen.slices])

    def answered(self, total: Outputs) -> Outputs:
        """The outputs, of all that reaches the answers."""
        return lambda rows: self.tail.answer(total(rows))

    # Frequencies

    def embedding(self, draw: Own, keep: bool) -> Taken:
        """With or without the waves of some frequencies in the embedding."""
        weights, energy, whole = self.weights, NONE, NONE
        for operand, (matrix, values, parts) in enumerate(self.embedding_parts):
            assert matrix.put is not None
            rows = matrix.of(weights).clone()
            table, own = rows[values].double(), parts[indices(draw.frequencies)].sum(dim=0)
            waves = draw.of_residues(own, operand)
            rows[values] = (table.mean(dim=0) + waves if keep else table - waves).float()
            weights = matrix.put(weights, rows)
            energy, whole = energy + waves.square().sum(), whole + ablation.variances(table).sum() * len(table)
        outputs = self.tail.outputs(self.seen.prompts.forward, weights)
        return Taken(lambda rows: outputs[rows], energy / whole)

    @once
    def embedding_parts(self) -> list[tuple[Matrix, Tensor, Tensor]]:
        """For each operand with tokens of its own what embeds them, their rows in order, and these at each frequency."""
        return [
            (matrix, values, ablation.at_frequencies(matrix.of(self.weights)[values]))
            for matrix, values in self.seen.operands
        ]

    def neurons(self, draw: Own, keep: bool) -> Taken:
        """With or without some waves of a + b in the activations.

        What neurons write is linear: its waves are those of the activations, written.
        """
        part, share = self.of_last_draw("neurons", draw, lambda: self.waves_of_neurons(draw.frequencies))
        rest = self.beside + self.added.mean(dim=0) if keep else self.whole
        return Taken(self.answered(plus_or_minus(rest, draw.of_pairs(part), keep)), share)

    def waves_of_neurons(self, ks: tuple[int, ...]) -> "Part":
        """What the waves of these frequencies in the activations write."""
        return self.by_answer(self.added_parts[indices(ks)].sum(dim=0)), self.neurons_at[indices(ks)].sum()

    def one_frequency(self, k: int) -> Taken:
        """Without the waves of one frequency in the activations."""
        part, share = self.waves_of_neurons((k,))
        return self.less(part.pieces, share)

    @once
    def added_parts(self) -> Float[Tensor, "freq n width"]:
        """What the waves of a + b in the activations write, by frequency and answer."""
        return self.of_answers(self.added)

    @once
    def neurons_at(self) -> Float[Tensor, " freq"]:
        """Share of the activations' variance in waves of a + b, by frequency."""
        return ablation.energies(self.seen.sums_by_answer(self.post) / self.seen.n) / self.seen.n / self.variance

    @once
    def neuron_variances(self) -> Float[Tensor, " neuron"]:
        """Variance of each neuron over the pairs."""
        return ablation.variances(self.post)

    @once
    def variance(self) -> Float[Tensor, ""]:
        """Variance of all neurons."""
        return self.neuron_variances.sum()

    def logits(self, draw: Own, keep: bool) -> Taken:
        """With or without some waves of a + b in the outputs themselves."""
        part, share = self.of_last_draw("logits", draw, lambda: self.waves_of_logits(draw.frequencies))
        logits = self.tail.answer(self.whole)
        rest = logits.mean(dim=0).expand_as(logits) if keep else logits
        return Taken(plus_or_minus(rest, draw.of_pairs(part), keep), share)

    def waves_of_logits(self, ks: tuple[int, ...]) -> "Part":
        """The waves of these frequencies in the logits."""
        return self.by_answer(self.logit_parts[indices(ks)].sum(dim=0)), self.logits_at[indices(ks)].sum()

    @once
    def logit_parts(self) -> Float[Tensor, "freq n n"]:
        """Waves of a + b in the logits, by frequency and answer."""
        return self.of_answers(self.tail.answer(self.whole))

    @once
    def logits_at(self) -> Float[Tensor, " freq"]:
        """Share of the logits' variance over the pairs in waves of a + b, by frequency."""
        energy = self.logit_parts.double().square().sum(dim=(1, 2)) / self.seen.n
        return energy / ablation.variances(self.tail.answer(self.whole)).sum()

    def of_answers(self, values: Float[Tensor, "n*n width"]) -> Float[Tensor, "freq n width"]:
        """Waves of a + b in a function of the pairs: all lie in its means by answer."""
        n, answers = self.seen.n, self.seen.answers
        sums = torch.zeros(n, values.shape[1], dtype=torch.float64).index_add_(0, answers, values.double())
        return ablation.at_frequencies(sums / n).float()  # every answer has n pairs

    def by_answer(self, waves: Float[Tensor, "n width"]) -> Summand:
        """A summand that depends on the answer alone."""
        answers = self.seen.answers
        return Summand(self.seen.slices, lambda rows: waves.index_select(0, answers[rows]))

    # Neurons

    def clusters(self, draw: Own, keep: bool) -> Taken:
        """Without the neurons of all clusters, or without all others."""
        neurons = draw.neurons(self.chosen.all_clustered, purpose=0)
        part, share = self.of_last_draw(
            "clusters", draw, lambda: (self.summand(self.in_full(self.written_by(neurons))), self.share_of(neurons))
        )
        return Taken(self.answered(plus_or_minus(self.rest(keep), draw.of_pairs(part), keep)), share)

    def rest(self, keep: bool) -> Float[Tensor, "n*n width"]:
        """To what a part of the neurons is added that is left alone, or from what it is subtracted."""
        return self.beside if keep else self.whole

    def summand(self, added: Float[Tensor, "n*n width"]) -> Summand:
        """What is added, as a summand."""
        return Summand(self.seen.slices, lambda rows: added[rows])

    def of_last_draw(self, name: str, draw: Own, part: Callable[[], "Part"]) -> "Part":
        """A part that is asked for in turn: to be kept alone, to be taken out, and with other functions of the pairs."""
        if name not in self.last_drawn or self.last_drawn[name][0] != draw.which:
            self.last_drawn[name] = draw.which, part()
        return self.last_drawn[name][1]

    def share_of(self, neurons: Int[Tensor, " neurons"]) -> Float[Tensor, ""]:
        """Share of the variance of all neurons in these."""
        return self.neuron_variances[neurons].sum() / self.variance

    def others(self, k: int, draw: ByNumber) -> Taken:
        """Without as many neurons outside the cluster of a frequency."""
        neurons = draw.neurons(self.chosen.cluster(k), purpose=k)
        return self.less([self.written_by(neurons)], self.share_of(neurons))

    def written_by(self, neurons: Int[Tensor, " neurons"]) -> Added:
        """What these neurons add."""
        written, post = self.tail.written[neurons], self.post
        # By index_select: [:, neurons] takes seven times as long, and longer than the product.
        return lambda rows: post[rows].index_select(1, neurons) @ written

    @once
    def of_own_clusters(self) -> Float[Tensor, "n*n width"]:
        """What the neurons of all clusters add."""
        return self.in_full(self.written_by(self.chosen.all_clustered))

    def blocks(self, draw: Own) -> Taken:
        """With each cluster's neurons as their part in a 3×3 block, of its own frequency or of a drawn one."""
        part, share = self.of_last_draw("blocks", draw, lambda: self.in_blocks(draw.frequencies))
        clusters, pieces = self.of_own_clusters, draw.of_pairs(part)

        def total(rows: slice) -> Tensor:
            """What reaches the answers of some rows."""
            changed = self.whole[rows] - clusters[rows]
            for piece in pieces:
                changed += piece(rows)
            return changed

        return Taken(self.answered(total), share)

    def in_blocks(self, ks: tuple[int, ...]) -> "Part":
        """What the parts of the clusters in the blocks of these frequencies add, one for each key frequency."""
        n, pieces, energy = self.seen.n, [], NONE
        for own, k in zip(self.chosen.key, ks, strict=True):
            neurons, block = self.chosen.cluster(own), ablation.block_waves(n, k).float()
            if len(neurons):
                coefficients = block @ self.post.index_select(1, neurons)
                energy = energy + coefficients[1:].double().square().sum()  # the first wave is the constant
                pieces.append(products(block.T, coefficients @ self.tail.written[neurons]))
        return Summand(self.seen.slices, *pieces), energy / n**2 / self.variance

    def directions(self, draw: Own, keep: bool) -> Taken:
        """With the neurons' part along some directions that W_L reads alone, or without it."""
        part, share = self.of_last_draw("directions", draw, lambda: self.along(draw.frequencies))
        return Taken(self.answered(plus_or_minus(self.rest(keep), draw.of_pairs(part), keep)), share)

    def along(self, ks: tuple[int, ...]) -> "Part":
        """What the neurons' part along the directions that read these frequencies adds."""
        plane = ablation.plane(self.tail.readout, ks).float()
        along, written = self.in_full(lambda rows: self.post[rows] @ plane), plane.T @ self.tail.written
        return self.summand(self.in_full(products(along, written))), ablation.variances(along).sum() / self.variance

    def less(self, pieces: Sequence[Added], share: Tensor) -> Taken:
        """Without these pieces."""
        return Taken(self.answered(plus_or_minus(self.whole, pieces, keep=False)), share)

    # What is put in a part's place

    def changed(self, part: Float[Tensor, "n*n width"]) -> Callable[[Change], Outputs]:
        """The outputs by the change of what some neurons add."""
        return lambda change: self.answered(lambda rows: self.whole[rows] + change(part, rows))

    @once
    def ways(self) -> Ways:
        """The ways that can be taken out."""
        return self.tail.ways(self.cache, self.beside, self.whole)

    def ways_by_energy(self, name: str) -> Iterator[Taken]:
        """For each draw, with a random function of the pairs of the energy of what passes on that way subtracted from it."""
        mean, root = ablation.roots(self.ways.passes(name).split(ablation.AT_ONCE))
        directions, share = torch.cat([mean[None], root]).float(), self.ways.share(name)
        for draw in range(self.chosen.draws):
            functions = self.chosen.functions_of_pairs(draw)[:, : len(root)]
            constant = functions.new_ones(len(functions), 1)
            with_constant = torch.cat([constant, functions], dim=1)
            yield Taken(self.ways.less(name, with_constant, directions), share)


Part = tuple[Summand, Float[Tensor, ""]]
"""What a part adds to the sum that reaches the answers, and its share of the variance."""


def plus_or_minus(rest: Float[Tensor, "n*n width"], pieces: Sequence[Added], keep: bool) -> Outputs:
    """A rest with these pieces added, or with them subtracted."""

    def total(rows: slice) -> Tensor:
        """The sum at some rows."""
        found = rest[rows]
        for piece in pieces:
            found = found + piece(rows) if keep else found - piece(rows)
        return found

    return total


def products(left: Float[Tensor, "n*n piece"], right: Float[Tensor, "piece width"]) -> Added:
    """Products of rows with a matrix."""
    return lambda rows: left[rows] @ right


def indices(ks: tuple[int, ...]) -> list[int]:
    """Places of frequencies in an axis that begins with 1."""
    return [k - 1 for k in ks]
