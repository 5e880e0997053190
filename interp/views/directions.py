"""A run whose features point in directions: waves and tokens of a table of residues, or the numbers of a vector."""

from dataclasses import dataclass
from typing import Self, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.maths.fourier import wave_directions
from interp.models.network import Weights
from interp.store import Run
from interp.views.features import Features
from interp.views.neurons import NeuronSums
from interp.views.residues import Spectrum
from interp.views.view import View

WORDS = {
    "W_E waves": "cosine and sine directions of every frequency in the embedding",
    "W_E tokens": "rows of the embedding, one a residue, centred",
    "neuron waves": "cosine and sine, of every frequency of the answer, in the neurons' activations",
    "W_L waves": "cosine and sine directions of every frequency in W_out·W_U",
    "features": "columns of W, one a feature, among the hidden numbers",
    "features out": "columns of W_out, one a feature, among the hidden numbers",
    "examples": "what the model keeps of each training example",
}
"""What counts as a feature, by kind, and in which space its direction lies."""


@dataclass(frozen=True)
class FeatureDirections(View):
    """A run in which several kinds of feature each have directions: V [step, n, d] by kind."""

    @classmethod
    def of(cls, run: Run, asked: str = "what was asked for") -> Self:
        """The run as the first of its kinds that it is; DoesNotApply, naming what either needs, when it is none."""
        if cls is not FeatureDirections:
            return super().of(run, asked)
        run.with_checkpoints()
        try:
            found = OfResidues.of(run, asked)
        except DoesNotApply as residues:
            try:
                found = OfVectors.of(run, asked)
            except DoesNotApply:
                raise DoesNotApply(f"{residues}, or a toy model of sparse features") from None
        _ = run.known_model
        return cast(Self, found)

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """How many features of each kind there are, in how many dimensions."""
        raise NotImplementedError

    def directions(self, weights: Weights) -> dict[str, Float[Tensor, "step n d"]]:
        """Where the features of each kind point, in float64, for a stack of checkpoints."""
        raise NotImplementedError

    @property
    def kinds(self) -> dict[str, str]:
        """Every kind of feature with what it is."""
        return {name: WORDS[name] for name in self.shapes}

    @property
    def centred(self) -> tuple[str, ...]:
        """Kinds whose directions have their mean taken off."""
        return ()

    @property
    def waves(self) -> tuple[str, ...]:
        """Kinds whose features are waves: cosine and sine of each frequency in turn."""
        return ()

    @property
    def one_by_one(self) -> dict[str, str]:
        """Kinds whose features are also told of one by one: the kind by the name of the dimension."""
        return {}

    def relative(self) -> dict[str, Float[np.ndarray, " step"]]:
        """Losses at the checkpoints beside that of answering 0, where a loss is held against it."""
        return {}

    @property
    def each(self) -> int:
        """Bytes that the directions of a checkpoint and what is computed of them take."""
        return (3 + 3 * bool(self.one_by_one)) * 8 * sum(n * d for n, d in self.shapes.values())

    @property
    def beside(self) -> int:
        """Bytes that are taken besides, whatever the number of checkpoints."""
        return 0


@dataclass(frozen=True)
class OfResidues(Spectrum, FeatureDirections):
    """Waves and tokens of a network with neurons on a table of residues."""

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """How many waves and tokens there are, in how many dimensions."""
        n, d_model, d_mlp = self.n, self.embeds.width, self.neurons.width
        return {
            "W_E waves": (n - 1, d_model),
            "W_E tokens": (n, d_model),
            "neuron waves": (n - 1, d_mlp),
            "W_L waves": (n - 1, d_mlp),
        }

    def directions(self, weights: Weights) -> dict[str, Float[Tensor, "step n d"]]:
        """Where waves and tokens point."""
        embedding = self.embedding(weights).double()
        return {
            "W_E waves": wave_directions(embedding),
            "W_E tokens": embedding - embedding.mean(dim=-2, keepdim=True),
            "neuron waves": wave_directions(neurons_by_answer(self, self.sums, weights)),
            "W_L waves": wave_directions(self.readout(weights)),
        }

    @property
    def centred(self) -> tuple[str, ...]:
        """The tokens."""
        return ("W_E tokens",)

    @property
    def waves(self) -> tuple[str, ...]:
        """All kinds but the tokens."""
        return ("W_E waves", "neuron waves", "W_L waves")

    @once
    def sums(self) -> NeuronSums:
        """The neurons' activations by answer."""
        return neurons_over_table(self)

    @property
    def beside(self) -> int:
        """Bytes that computing the neurons takes."""
        return self.sums.bytes


@dataclass(frozen=True)
class OfVectors(Features, FeatureDirections):
    """Features and training examples of a model that gives vectors back from fewer hidden numbers."""

    @property
    def one_by_one(self) -> dict[str, str]:
        """The features, and the examples, of which an endless stream has none."""
        return {"feature": "features", "example": "examples"}


def neurons_over_table(seen: Spectrum) -> NeuronSums:
    """Activations of the last layer's neurons over the whole table, by answer."""
    return NeuronSums(seen.run, seen.neurons, torch.from_numpy(seen.run.task.table().targets), seen.order.n_values)


def neurons_by_answer(seen: Spectrum, neurons: NeuronSums, weights: Weights) -> Float[Tensor, "step n neuron"]:
    """Mean activation of the last layer's neurons over all prompts with one answer, in the order of the residues.

    An answer that the operation never gives stands at the mean of the others, where it is no wave.
    """
    prompts, means = torch.bincount(neurons.labels, minlength=neurons.n_labels), neurons.sums(weights)
    means /= prompts.clamp(min=1)[:, None]
    means[:, prompts == 0] = means[:, prompts > 0].mean(dim=1, keepdim=True)
    return means[:, seen.values]
