"""A run whose values are residues: the rows of its matrices in the order in which waves on them are looked for."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.maths.fourier import network_participation, neuron_participation
from interp.models.network import Hook, Matrix, Tail, Weights, has_tail, tail
from interp.tasks import Order
from interp.views.view import Checkpoints

FEWEST = 5
"""Residues from which frequencies can be told apart."""


@dataclass(frozen=True)
class Residues(Checkpoints):
    """A run on a table of residues, with the embedding of each and what points at each answer, in their order.

    Signs and tokens of the second operand are no residues: they have no row here, even where they have a logit.
    """

    def check(self) -> None:
        """Nothing; DoesNotApply when the task is no table of residues, or one of fewer than five."""
        if self.n < FEWEST:
            raise DoesNotApply(
                f"{self.run.path} has {self.n} residues in its order (p = {self.order.n_values}); {self.asked} needs at least "
                f"{FEWEST} to tell frequencies apart"
            )
        _ = self.embeds, self.unembeds
        super().check()

    @once
    def order(self) -> Order:
        """The residues in their order; DoesNotApply when the task has none."""
        found = self.run.task.order()
        if found is None:
            raise DoesNotApply(
                f'{self.run.path} was trained on "{self.run.task.kind}"; {self.asked} needs a modular task'
            )
        return found

    @property
    def unembeds(self) -> Matrix:
        """What points at the answers; DoesNotApply when the network has no such matrix."""
        return self.matrix(self.roles.unembedding, "a matrix that points at each answer")

    @property
    def n(self) -> int:
        """Residues in the order."""
        return len(self.order.values)

    @once
    def values(self) -> Int[Tensor, " n"]:
        """The residue at each place of the order."""
        return torch.from_numpy(self.order.values)

    def embedding(self, weights: Weights) -> Float[Tensor, "*step n d"]:
        """W_E, a row for each residue; that of the first operand, where the second has tokens of its own."""
        return self.embeds.of(weights)[..., self.values, :]

    def unembedding(self, weights: Weights) -> Float[Tensor, "*step n d"]:
        """W_U, a row for each answer."""
        return self.unembeds.of(weights).mT[..., self.values, :]


@dataclass(frozen=True)
class Spectrum(Residues):
    """Such a run with neurons: the waves of its embedding, and of what its neurons write on each answer."""

    def check(self) -> None:
        """Nothing; DoesNotApply when there are no neurons, or the task is not on residues."""
        _ = self.neurons, self.reads_out
        super().check()

    @property
    def neurons(self) -> Hook:
        """The last hidden layer; DoesNotApply when there is none."""
        if self.roles.neurons is None:
            about, remedy = self.run.config.model.about, self.run.config.model.remedy
            raise DoesNotApply(
                f"{self.run.path} is a model without neurons ({about}); {self.asked} needs an MLP{remedy}"
            )
        return self.roles.neurons

    @property
    def reads_out(self) -> Matrix:
        """What the neurons write on the answers; DoesNotApply when there is no such matrix."""
        return self.matrix(self.roles.readout, "a matrix by which neurons write on the answers")

    def readout(self, weights: Weights) -> Float[Tensor, "*step n neuron"]:
        """W_L = W_out·W_U, a row for each answer."""
        return self.reads_out.of(weights).mT[..., self.values, :]

    def matrices(self, weights: Weights) -> dict[str, Float[Tensor, "*step n d"]]:
        """W_E and W_L by name."""
        return {"W_E": self.embedding(weights), "W_L": self.readout(weights)}

    @property
    def neuron_matrices(self) -> tuple[str, ...]:
        """Which of both have a neuron in each column: W_L, and W_E where it is what neurons weigh one-hot inputs by."""
        return ("W_E", "W_L") if self.embeds.of_neurons else ("W_L",)

    def participations(
        self, directions: dict[str, Float[Tensor, "*step wave d"]]
    ) -> dict[str, Float[Tensor, "*step matrix"]]:
        """Inverse participation ratios of both by the network and by the neuron, from their wave directions.

        That by the neuron is NaN for a matrix whose columns are none.
        """
        network = [network_participation(each) for each in directions.values()]
        neuron = [
            neuron_participation(each) if name in self.neuron_matrices else torch.full_like(whole, torch.nan)
            for (name, each), whole in zip(directions.items(), network, strict=True)
        ]
        return {"ipr_network": torch.stack(network, dim=-1), "ipr_neuron": torch.stack(neuron, dim=-1)}

    def check_tail(self) -> None:
        """Nothing; DoesNotApply when the model does not tell what follows its neurons, or files of others leave it open."""
        if not has_tail(self.run.known_model):
            raise DoesNotApply(
                f"{self.run.path} is a model whose answers are not linear in its neurons ({self.run.known_model.about}), and "
                f"which does not tell what follows them (`tail` in its forward.py); {self.asked} needs that"
            )

    def tail(self, weights: Weights, answers: Int[Tensor, " answer"]) -> Tail:
        """What follows the neurons, for some answers."""
        return tail(self.run.known_model, weights, answers)

    @property
    def reads(self) -> tuple[str, ...]:
        """The weights of which both are made."""
        return (*self.embeds.reads, *self.reads_out.reads)

    @property
    def bytes_of_matrices(self) -> int:
        """Bytes of both in float64, with all answers that have a logit, for one checkpoint."""
        return 8 * self.run.task.shape.outputs.n * (self.embeds.width + self.neurons.width)
