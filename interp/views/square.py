"""A task's table as a square of prompts in the order of its residues; for a sum, i and j are answered by i + j modulo n."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.base import DoesNotApply, UserError, once
from interp.models.network import Hook, Weights
from interp.tasks import Examples
from interp.views.prompts import Prompts
from interp.views.residues import Residues, Spectrum


@dataclass(frozen=True)
class Square(Residues):
    """The prompts of a run over all pairs of places (i, j) in the order of its residues, where the task is a sum there.

    a and b are counted in the order in which the operation is a sum: by value for x + y, b backwards for x − y, by discrete
    logarithm for products and quotients. Prompts outside that order (those with 0, for products) are left out, and so are the
    logits of what is no residue of that order.
    """

    def check(self) -> None:
        """Nothing; DoesNotApply where the table is not what the view needs, or files of others leave the network open."""
        super().check()
        self.check_table()
        _ = self.run.known_model

    def check_table(self) -> None:
        """Nothing; DoesNotApply where the table is a sum in no order of its residues."""
        if self.places_of_b is None:
            raise DoesNotApply(
                f"{self.run.path} was trained on {self.order.formula}, which is a sum in no order of its residues; "
                f"{self.asked} needs x + y, x − y, or with prime p x · y, x / y"
            )

    @once
    def places_of_b(self) -> Int[np.ndarray, " n"] | None:
        """The place in the order at which the b of each column stands: forwards or backwards; None where neither is a sum."""
        place = np.arange(self.n)
        for places in (place, -place % self.n):
            rows = self.rows_with(places)
            if (rows >= 0).all() and (self.answered(rows) == (place[:, None] + place).ravel() % self.n).all():
                return places
        return None

    def rows_with(self, places_of_b: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n*n"]:
        """The row in the task's table of every pair, given where the b of each column stands; −1 for one without an answer."""
        values = self.order.values
        return self.order.rows[np.ix_(values, values[places_of_b])].flatten()

    def answered(self, rows: Int[np.ndarray, " n*n"]) -> Int[np.ndarray, " n*n"]:
        """The place in the order of the answers in these rows of the table."""
        return self.places_of(self.run.task.table(), torch.from_numpy(rows)).numpy()

    def places_of(self, table: Examples, rows: Int[Tensor, " n*n"]) -> Int[Tensor, " n*n"]:
        """The place in the order of the targets in these rows of a table; −1 for a target that has none."""
        targets = torch.from_numpy(table.targets)[rows]
        place = torch.full((int(max(targets.max(), self.values.max())) + 1,), -1)
        place[self.values] = torch.arange(self.n)
        return place[targets]

    @once
    def columns(self) -> Int[np.ndarray, " n"]:
        """The place in the order at which the b of each column stands; forwards where the table is no sum."""
        return np.arange(self.n) if self.places_of_b is None else self.places_of_b

    @once
    def rows(self) -> Int[Tensor, " n*n"]:
        """For each pair (i, j) in lexicographic order, its row in the task's table."""
        return torch.from_numpy(self.rows_with(self.columns))

    @once
    def answers(self) -> Int[Tensor, " n*n"]:
        """The answer to each pair, as a place in the order; i + j modulo n for a sum."""
        return self.places_of(self.run.task.table(), self.rows)

    @once
    def labels(self) -> Int[Tensor, " n*n"]:
        """The answers as they are trained: with the wrong ones where labels were corrupted. Where there is none, 0."""
        return self.places_of(self.run.table, self.rows).clamp(min=0)

    @once
    def labelled(self) -> Bool[Tensor, " n*n"]:
        """Whether a pair's label has a place in the order; a wrong one may be the 0 of products, which has none."""
        return self.places_of(self.run.table, self.rows) >= 0

    @once
    def prompts(self) -> Prompts:
        """The network over all pairs."""
        return Prompts(self.run, torch.from_numpy(self.run.task.table().inputs)[self.rows])

    @once
    def splits(self) -> dict[str, Bool[Tensor, " n*n"]]:
        """Which pairs were trained on, which tested, and all, as far as they are labelled; all alone where files of others do
        not tell."""
        everything = {"all": self.labelled}
        try:
            train_index = torch.from_numpy(self.run.split.train_index)
        except DoesNotApply:
            return everything
        train = torch.isin(self.rows, train_index)
        return {"train": train & self.labelled, "test": ~train, **everything}

    def logits(self, weights: Weights) -> Float[Tensor, "n*n n"]:
        """Logits of every pair, of the residues in their order."""
        return self.prompts.outputs(weights).index_select(1, self.values)

    def cache(self, weights: Weights, *hooks: str) -> list[Float[Tensor, "n*n ..."]]:
        """Activations of every pair where the answer is read, by hook name; that of `logits` are the logits in the order."""
        logits = self.known_roles.logits
        names = [logits if hook == "logits" else hook for hook in hooks]
        found = self.prompts.cache(weights, names.__contains__)
        return [found[name].index_select(1, self.values) if name == logits else found[name] for name in names]

    def losses(self, logits: Float[Tensor, "*sets n*n n"]) -> Float[Tensor, "*sets split"]:
        """Mean loss over the pairs of each split, from logits in the order."""
        return self.means(self.losses_and_right(logits, self.labels)[0])

    def accuracies(self, logits: Float[Tensor, "*sets n*n n"]) -> Float[Tensor, "*sets split"]:
        """Share of each split's pairs that are answered rightly."""
        return self.means((logits.argmax(dim=-1) == self.labels).double())

    def means(self, values: Float[Tensor, "*sets n*n"]) -> Float[Tensor, "*sets split"]:
        """The mean over the pairs of each split, in float64."""
        return torch.stack(
            [values.index_select(-1, pairs).double().mean(dim=-1) for pairs in self.pairs_of_splits], dim=-1
        )

    @once
    def pairs_of_splits(self) -> list[Int[Tensor, " pair"]]:
        """Where the pairs of each split are: selecting by them takes half the time of selecting by a mask."""
        return [mask.nonzero()[:, 0] for mask in self.splits.values()]

    def bytes(self, widths: float) -> int:
        """Bytes that so many float32 numbers a pair take."""
        return int(4 * self.n**2 * widths)

    @property
    def forward_bytes(self) -> int:
        """Bytes that the forward pass over all pairs takes at most."""
        return self.prompts.bytes

    def frequencies(self, chosen: tuple[int, ...], option: str = "--frequencies") -> list[int]:
        """The frequencies that were asked for, checked; UserError when the task has none of that number."""
        for k in chosen:
            if not 1 <= k <= self.n // 2:
                raise UserError(f"{option} has {k}; {self.run.path} has frequencies 1 to {self.n // 2}")
        return sorted(set(chosen))


@dataclass(frozen=True)
class NeuronSquare(Spectrum, Square):
    """Such a square of a network with neurons."""

    def posts(self, weights: Weights) -> Float[Tensor, "n*n neuron"]:
        """The neurons' activations at every pair."""
        (post,) = self.cache(weights, self.neurons.name)
        return post


@dataclass(frozen=True)
class NeuronTable(NeuronSquare):
    """The square of a network with neurons on any table without gaps: where that is no sum, as it stands, i by j."""

    def check_table(self) -> None:
        """Nothing; DoesNotApply where a pair has no answer."""
        if (self.rows < 0).any():
            raise DoesNotApply(
                f"{self.run.path} was trained on {self.order.formula}, where some pairs have no answer; {self.asked} needs a "
                "table without gaps"
            )

    @property
    def adds(self) -> bool:
        """Whether i and j are answered by i + j."""
        return self.places_of_b is not None


@dataclass(frozen=True)
class AttentionSquare(Square):
    """Such a square of a network whose last layer attends to a and b."""

    def check(self) -> None:
        """Nothing; DoesNotApply where there is no attention, or the table is no sum."""
        super().check()
        _ = self.attention

    @property
    def attention(self) -> Hook:
        """The last layer's pattern; DoesNotApply when there is none."""
        if self.roles.attention is None:
            about = self.run.config.model.about
            raise DoesNotApply(
                f"{self.run.path} is a model without attention ({about}); {self.asked} needs attention heads"
            )
        return self.roles.attention

    def pattern(self, weights: Weights) -> Float[Tensor, "n*n head position"]:
        """The last layer's attention from the position where the answer is read, at every pair."""
        (found,) = self.cache(weights, self.attention.name)
        return found

    @property
    def positions(self) -> list[str]:
        """What stands at each position of the prompts `a ∘ b =`, as far as they have it."""
        order, n_ctx = self.order, self.run.task.shape.tokens.n_ctx
        signs = ["∘" if place < order.position_of_b else "=" for place in range(n_ctx)]
        numbers = {order.position_of_a: "a", order.position_of_b: "b"}
        return [numbers.get(place, sign) for place, sign in enumerate(signs)]


@dataclass(frozen=True)
class EmbeddedSquare(AttentionSquare):
    """Such a square of a network that begins with a row of one matrix for each token, so that other rows can be put there."""

    def check(self) -> None:
        """Nothing; DoesNotApply where the network begins with something else."""
        super().check()
        _ = self.table

    @property
    def table(self) -> str:
        """The weights that are this matrix; DoesNotApply when it is made of several, or is part of one."""
        first, *others = self.embeds.reads
        if others or self.run.tensor_shapes.get(first) != (self.run.task.shape.tokens.d_vocab, self.embeds.width):
            raise DoesNotApply(
                f"{self.run.path} is a model without a table of embeddings ({self.run.config.model.about}); {self.asked} "
                "replaces the rows of one"
            )
        return first

    @once
    def operands(self) -> list[Int[Tensor, " n"]]:
        """Tokens of the residues in their order: for a, and for b where b has tokens of its own."""
        return [self.values, self.values + self.order.first_b] if self.order.separate else [self.values]

    def embedded(self, weights: Weights, table: Float[Tensor, "token d"]) -> Weights:
        """The weights with other embeddings; a table with more tokens has rows for prompts of more tokens."""
        return {**weights, self.table: table}
