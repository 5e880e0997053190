"""Curves that a run's checkpoints give: losses over its prompts, as they are and with prompts drawn anew, and structure."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.maths import fourier, phases
from interp.maths.neurons import cluster_sizes
from interp.maths.restricted import cosine_share, projection, restricted, sum_waves
from interp.models.network import Weights
from interp.store import Run
from interp.views.answers import Answers
from interp.views.keys import final_bytes, final_keys, neuron_shares
from interp.views.prompts import Prompts
from interp.views.residues import Spectrum
from interp.views.square import NeuronSquare
from interp.views.view import View
from interp.views.walk import each_checkpoint

Seen = TypeVar("Seen", bound=View)


@dataclass(frozen=True)
class Resampled:
    """The network over the task's whole table, and means over its prompts, as they are and drawn anew."""

    seen: "WholeTable"
    resamples: int
    seed: int

    @property
    def run(self) -> Run:
        """The run."""
        return self.seen.run

    @once
    def prompts(self) -> Prompts:
        """The network over every prompt of the table."""
        return Prompts(self.run, torch.from_numpy(self.run.task.table().inputs))

    @once
    def answers(self) -> Int[Tensor, " prompt"]:
        """The answer to every prompt, as it is trained."""
        return torch.from_numpy(self.run.table.targets)

    @once
    def splits(self) -> dict[str, Bool[np.ndarray, " prompt"]]:
        """Which prompts are trained on, and which are tested."""
        train = np.zeros(len(self.answers), dtype=bool)
        train[self.run.split.train_index] = True
        return {"train": train, "test": ~train}

    @once
    def weights(self) -> dict[str, Float[Tensor, "draws+1 prompt"]]:
        """Weights of means over a split and over all prompts: as they are in the first row, then of every draw."""
        generator, found = np.random.default_rng(self.seed), {}
        for name, members in self.splits.items():
            drawn = phases.resampling_weights(members, self.resamples, generator)
            found[name] = torch.from_numpy(np.vstack([members / members.sum(), drawn]))
        share = float(self.splits["train"].mean())
        return found | {"all": share * found["train"] + (1 - share) * found["test"]}

    def means(
        self, losses: Float[Tensor, " row"], split: str, rows: Int[Tensor, " row"] | None = None
    ) -> Float[Tensor, " draws+1"]:
        """Mean loss over a split. If `rows` is given, the losses are of those rows only, and only the split's prompts among
        them count."""
        if rows is None:
            return self.weights[split] @ losses.double()
        there = torch.zeros(len(self.answers), 2, dtype=torch.float64)
        there[rows] = torch.stack([losses.double(), torch.ones(len(rows), dtype=torch.float64)], dim=-1)
        total, counted = (self.weights[split] @ there).unbind(dim=-1)
        return total / counted

    def bytes(self, square: NeuronSquare | None) -> int:
        """Bytes that a checkpoint takes at work, at most."""
        outputs = (3 + 20 * (square is not None)) * self.run.task.shape.outputs.n
        each = outputs + 8 * (self.resamples + 1)
        return self.prompts.bytes + 4 * len(self.prompts) * each + (final_bytes(square) if square else 0)


Measures = Callable[[Weights], dict[str, Tensor | float]]


def of_checkpoints(
    run: Run, resamples: int, seed: int, asked: str, left_out: dict[str, str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], str]:
    """[checkpoint] by name of the curve; [checkpoint, draw] of losses, the first as it is; and the key frequencies.

    What does not apply to the run is left out, and named in `left_out` with the reason. Losses and accuracies are named
    `…_here`, since those that were logged may stand at other steps.
    """
    if len(run) < 2:
        left_out["what takes weights"] = f"{len(run) or 'no'} checkpoint in view, and a curve has two"
        return {}, {}, ""
    spectrum = attempt("Gini, IPR", run, Spectrum, asked, left_out)
    table = attempt("losses from weights, spread over prompts", run, WholeTable, asked, left_out)
    resampled = Resampled(table, resamples, seed) if table else None
    square = (
        attempt("restricted and excluded loss, neurons, cosines", run, NeuronSquare, asked, left_out)
        if resampled
        else None
    )
    parts: list[Measures] = [sum_of_squares]
    if spectrum is not None:
        parts.append(functools.partial(concentration, spectrum=spectrum))
    key = final_keys(square, "neuron_clusters")[0] if square else []
    if resampled is not None:
        parts.append(functools.partial(of_prompts, prompts=resampled, square=square, key=key))

    def measures(weights: Weights) -> dict[str, Tensor | float]:
        """Every curve at one checkpoint."""
        return {name: value for part in parts for name, value in part(weights).items()}

    needs = (4 * spectrum.bytes_of_matrices if spectrum else 0) + (resampled.bytes(square) if resampled else 0)
    found = each_checkpoint(run, measures, needs=needs)
    values = {name: each for name, each in found.items() if each.ndim == 1}
    drawn = {name: each for name, each in found.items() if each.ndim == 2}
    logged = {f"{split}_{what}" for split in ("train", "test") for what in ("loss", "accuracy")}
    values |= {f"{name}_here" if name in logged else name: each[:, 0] for name, each in drawn.items()}
    return values, drawn, " ".join(map(str, key))


def attempt(what: str, run: Run, view: type[Seen], asked: str, left_out: dict[str, str]) -> Seen | None:
    """The run seen so, or None with the reason noted."""
    try:
        return view.of(run, asked)
    except DoesNotApply as error:
        left_out[what] = str(error)
        return None


class WholeTable(Answers):
    """A run on right answers with a table of all prompts."""

    def check(self) -> None:
        """Nothing; DoesNotApply where there is no table, or files of others leave the network or the training set open."""
        super().check()
        _ = self.run.task.table()


def sum_of_squares(weights: Weights) -> dict[str, Tensor | float]:
    """Σw² over every parameter."""
    return {"sum_of_squares": math.fsum(float(tensor.double().square().sum()) for tensor in weights.values())}


def concentration(weights: Weights, spectrum: Spectrum) -> dict[str, Tensor | float]:
    """Gini coefficient and both inverse participation ratios of W_E and W_L, as in `fourier`."""
    found: dict[str, Tensor | float] = {}
    for name, matrix in spectrum.matrices(weights).items():
        directions = fourier.wave_directions(matrix)
        found[f"gini_{name}"] = fourier.gini(directions.norm(dim=-1))
        found[f"ipr_network_{name}"] = fourier.network_participation(directions)
        if name in spectrum.neuron_matrices:
            found[f"ipr_neuron_{name}"] = fourier.neuron_participation(directions)
    return found


def of_prompts(
    weights: Weights, prompts: Resampled, square: NeuronSquare | None, key: list[int]
) -> dict[str, Tensor | float]:
    """Losses and accuracies, [draws + 1] each, the first without drawing; for a sum also what the key waves tell."""
    if square is None:
        logits, post = prompts.prompts.outputs(weights), None
    else:
        hooks = (prompts.seen.known_roles.logits, square.neurons.name)
        cache = prompts.prompts.cache(weights, hooks.__contains__)
        logits, post = (cache[hook] for hook in hooks)
    losses, _ = prompts.seen.losses_and_right(logits, prompts.answers)
    right = (logits.argmax(dim=-1) == prompts.answers).double()
    found: dict[str, Tensor | float] = {}
    for split in ("train", "test"):
        found[f"{split}_loss"] = prompts.means(losses, split)
        found[f"{split}_accuracy"] = prompts.means(right, split)
    if square is None or post is None:
        return found
    ordered = logits[square.rows][:, square.values]
    part = projection(ordered, sum_waves(square.n, key))
    pairs = square.labelled

    def mean_loss(logits: Tensor, split: str) -> Tensor:
        """The mean loss over the pairs of a split, from logits in the order."""
        losses, _ = square.losses_and_right(logits, square.labels)
        return prompts.means(losses[pairs], split, square.rows[pairs])

    return found | {
        "restricted_loss": mean_loss(restricted(ordered, part), "all"),
        "excluded_loss": mean_loss(ordered - part, "train"),
        "cosine_share": cosine_share(ordered, key),
        "clustered_neurons": cluster_sizes(neuron_shares(square, post[square.rows])).sum() / post.shape[-1],
    }
