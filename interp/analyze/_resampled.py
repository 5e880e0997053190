"""Curves that a run's checkpoints give: losses over its prompts, as they are and with prompts drawn anew, and structure."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.analyze._common import answer_rows, each_checkpoint, last_mlp, needs_mlp, needs_numbers, number_rows
from interp.analyze._keys import final_bytes, final_keys, neuron_shares
from interp.analyze._sums import Square, square
from interp.base import DoesNotApply, once
from interp.maths import fourier, phases
from interp.maths.losses import prompt_losses
from interp.maths.neurons import cluster_sizes
from interp.maths.progress import cosine_share, projection, restricted, sum_waves
from interp.models.shared import SharedForward
from interp.store import Run
from interp.store.tensors import Tensors
from interp.tasks import ModularTask


@dataclass(frozen=True)
class Prompts:
    """The network over the task's whole table, and means over its prompts, as they are and drawn anew."""

    run: Run
    resamples: int
    seed: int

    @once
    def forward(self) -> SharedForward:
        """Over every prompt of the table."""
        return SharedForward(self.run.known_model, torch.from_numpy(self.run.task.table().inputs))

    @once
    def answers(self) -> Tensor:
        """Of every prompt, as they are trained."""
        return torch.from_numpy(self.run.table.targets)

    @once
    def splits(self) -> dict[str, Bool[np.ndarray, " prompt"]]:
        """Which prompts are trained on, and which are tested."""
        train = np.zeros(len(self.answers), dtype=bool)
        train[self.run.split.train_index] = True
        return {"train": train, "test": ~train}

    @once
    def weights(self) -> dict[str, Float[Tensor, "draws+1 prompt"]]:
        """Of means over a split and over all prompts: as they are in the first row, then of every draw."""
        generator, found = np.random.default_rng(self.seed), {}
        for name, members in self.splits.items():
            drawn = phases.resampling_weights(members, self.resamples, generator)
            found[name] = torch.from_numpy(np.vstack([members / members.sum(), drawn]))
        share = float(self.splits["train"].mean())
        return found | {"all": share * found["train"] + (1 - share) * found["test"]}

    def means(
        self, losses: Float[Tensor, " prompt"], split: str, rows: Tensor | None = None
    ) -> Float[Tensor, " draws+1"]:
        """Over a split; of losses that belong to some rows of the table alone, over those of its prompts that they are."""
        if rows is None:
            return self.weights[split] @ losses.double()
        there = torch.zeros(len(self.answers), 2, dtype=torch.float64)
        there[rows] = torch.stack([losses.double(), torch.ones(len(rows), dtype=torch.float64)], dim=-1)
        total, counted = (self.weights[split] @ there).unbind(dim=-1)
        return total / counted

    def bytes(self, square: Square | None) -> int:
        """What a checkpoint takes at work, at most."""
        spec, (n, n_ctx) = self.run.known_model, self.run.task.table().inputs.shape
        deeper = n_ctx * (2 * spec.d_model + spec.d_mlp + spec.n_heads * n_ctx) * (spec.n_layers > 1)
        outputs = (5 + 20 * (square is not None)) * self.run.task.shape.d_vocab_out
        forward = 4 * spec.d_model + 3 * spec.d_mlp + outputs + 4 * spec.n_heads * n_ctx + deeper
        return 4 * n * (forward + 8 * (self.resamples + 1)) + (final_bytes(square) if square else 0)


Measures = Callable[[Tensors], dict[str, Tensor | float]]


def of_checkpoints(
    run: Run, resamples: int, seed: int, left_out: dict[str, str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], str]:
    """[checkpoint] by name of the curve; [checkpoint, draw] of losses, the first as it is; and the key frequencies.

    What does not apply to the run is left out, and named in `left_out` with the reason. Losses and accuracies are named
    `…_here`, since those that were logged may stand at other steps.
    """
    if len(run) < 2:
        left_out["what takes weights"] = f"{len(run) or 'no'} checkpoint in view, and a curve has two"
        return {}, {}, ""
    task = attempt("Gini, IPR", lambda: needs_numbers(needs_mlp(run, "phases"), "phases"), left_out)
    prompts = attempt("losses from weights, spread over prompts", lambda: known_prompts(run, resamples, seed), left_out)
    grid = (
        attempt(
            "restricted and excluded loss, neurons, cosines",
            lambda: square(needs_mlp(run, "phases"), "phases"),
            left_out,
        )
        if prompts
        else None
    )
    parts: list[Measures] = [sum_of_squares]
    if task is not None:
        parts.append(functools.partial(concentration, run=run, task=task))
    key = final_keys(grid, "neuron_clusters")[0] if grid else []
    if prompts is not None:
        parts.append(functools.partial(of_prompts, prompts=prompts, grid=grid, key=key))

    def measures(weights: Tensors) -> dict[str, Tensor | float]:
        """Of one checkpoint."""
        return {name: value for part in parts for name, value in part(weights).items()}

    waves = 16 * run.task.shape.d_vocab_out * (run.transformer.d_model + run.transformer.d_mlp) if task else 0
    found = each_checkpoint(run, measures, needs=waves + (prompts.bytes(grid) if prompts else 0))
    values = {name: each for name, each in found.items() if each.ndim == 1}
    resampled = {name: each for name, each in found.items() if each.ndim == 2}
    logged = {f"{split}_{what}" for split in ("train", "test") for what in ("loss", "accuracy")}
    values |= {f"{name}_here" if name in logged else name: each[:, 0] for name, each in resampled.items()}
    return values, resampled, " ".join(map(str, key))


def attempt(what: str, work: Callable[[], Any], left_out: dict[str, str]) -> Any:
    """The result, or None with the reason noted."""
    try:
        return work()
    except DoesNotApply as error:
        left_out[what] = str(error)
        return None


def known_prompts(run: Run, resamples: int, seed: int) -> Prompts:
    """DoesNotApply where files of others leave open the network, its prompts or which of them were trained on."""
    _ = run.known_model, run.split, run.task.table()  # each raises
    return Prompts(run, resamples, seed)


def sum_of_squares(weights: Tensors) -> dict[str, Tensor | float]:
    """Σw² over every parameter."""
    return {"sum_of_squares": math.fsum(float(tensor.double().square().sum()) for tensor in weights.values())}


def concentration(weights: Tensors, run: Run, task: ModularTask) -> dict[str, Tensor | float]:
    """Gini coefficient and inverse participation ratio of W_E and W_L, as in `fourier`."""
    found: dict[str, Tensor | float] = {}
    matrices = {"W_E": number_rows(weights["embed.W_E"], task), "W_L": answer_rows(last_mlp(weights, run), task)}
    for name, matrix in matrices.items():
        components = fourier.component_norms(matrix)
        found[f"gini_{name}"] = fourier.gini(components)
        found[f"ipr_{name}"] = fourier.inverse_participation_ratio(
            fourier.power_shares(fourier.by_frequency(components))
        )
    return found


def of_prompts(weights: Tensors, prompts: Prompts, grid: Square | None, key: list[int]) -> dict[str, Tensor | float]:
    """Losses and accuracies, [draws + 1] each, the first without drawing; for a sum also what the key waves tell."""
    cache = prompts.forward.cache(weights, lambda hook: hook.endswith(("unembed.hook_out", "mlp.hook_post")))
    logits = cache.pop("unembed.hook_out")
    losses, right = prompt_losses(logits, prompts.answers), (logits.argmax(dim=-1) == prompts.answers).double()
    found: dict[str, Tensor | float] = {}
    for split in ("train", "test"):
        found[f"{split}_loss"] = prompts.means(losses, split)
        found[f"{split}_accuracy"] = prompts.means(right, split)
    if grid is None:
        return found
    (post,) = cache.values()
    ordered = logits[grid.rows][:, grid.residues]
    part = projection(ordered, sum_waves(grid.n, key))
    pairs = grid.labelled

    def mean_loss(logits: Tensor, split: str) -> Tensor:
        """Over the pairs of a split."""
        return prompts.means(prompt_losses(logits, grid.labels)[pairs], split, grid.rows[pairs])

    return found | {
        "restricted_loss": mean_loss(restricted(ordered, part), "all"),
        "excluded_loss": mean_loss(ordered - part, "train"),
        "cosine_share": cosine_share(ordered, key),
        "clustered_neurons": cluster_sizes(neuron_shares(grid, post[grid.rows])).sum() / post.shape[-1],
    }
