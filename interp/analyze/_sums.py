"""A task's table as a square of prompts in the order of its group; for a sum, i and j are answered by i + j modulo n."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.analyze._common import needs_numbers
from interp.base import DoesNotApply, UserError, once
from interp.maths.losses import prompt_losses
from interp.models.shared import SharedForward
from interp.store import Run
from interp.store.tensors import Tensors
from interp.tasks import Examples, ModularTask


@dataclass(frozen=True)
class Square:
    """The prompts of a run over all pairs of places (i, j) in the order of its residues.

    a and b are counted in the order in which the operation is a sum, where it is one: by value for x + y, b backwards for
    x − y, by discrete logarithm for products and quotients. Prompts outside that order (those with 0, for products) are left
    out, and so are the logits of what is no residue of that order.
    """

    run: Run
    task: ModularTask
    residues: Int[Tensor, " n"]
    """The residue at each place of the order."""
    rows: Int[Tensor, " n*n"]
    """For each pair (i, j) in lexicographic order, its row in the task's table."""

    @property
    def n(self) -> int:
        """Residues in the order."""
        return len(self.residues)

    @once
    def answers(self) -> Int[Tensor, " n*n"]:
        """Of each pair, as a place in the order; i + j modulo n for a sum."""
        return self.places(self.task.table())

    @once
    def labels(self) -> Int[Tensor, " n*n"]:
        """The same as they are trained: with the wrong ones where labels were corrupted. Where there is none, 0."""
        return self.places(self.run.table).clamp(min=0)

    @once
    def labelled(self) -> Bool[Tensor, " n*n"]:
        """Pairs whose label has a place in the order; a wrong one may be the 0 of products, which has none."""
        return self.places(self.run.table) >= 0

    def places(self, table: Examples) -> Int[Tensor, " n*n"]:
        """Of each pair's target; −1 where it has no place in the order."""
        targets = torch.from_numpy(table.targets)[self.rows]
        place = torch.full((int(max(targets.max(), self.residues.max())) + 1,), -1)
        place[self.residues] = torch.arange(self.n)
        return place[targets]

    @once
    def prompts(self) -> Int[Tensor, "n*n n_ctx"]:
        """Tokens of each pair."""
        return torch.from_numpy(self.task.table().inputs)[self.rows]

    @once
    def forward(self) -> SharedForward:
        """The network over all pairs."""
        return SharedForward(self.run.known_model, self.prompts)

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

    def activations(self, weights: Tensors, *names: str) -> list[Float[Tensor, "n*n ..."]]:
        """Of every pair at the answer position, by the end of HookedTransformer's hook names; `logits` in the order."""
        wanted = {"logits": "unembed.hook_out"}
        cache = self.forward.cache(weights, lambda hook: any(hook.endswith(wanted.get(name, name)) for name in names))
        found = [next(value for hook, value in cache.items() if hook.endswith(wanted.get(n, n))) for n in names]
        return [value[:, self.residues] if n == "logits" else value for n, value in zip(names, found, strict=True)]

    def losses(self, logits: Float[Tensor, "*sets n*n n"]) -> Float[Tensor, "*sets split"]:
        """Mean cross-entropy in nats over the pairs of each split, from logits in the order."""
        return self.means(prompt_losses(logits, self.labels))

    def accuracies(self, logits: Float[Tensor, "*sets n*n n"]) -> Float[Tensor, "*sets split"]:
        """Share of each split's pairs that are answered rightly."""
        return self.means((logits.argmax(dim=-1) == self.labels).double())

    def means(self, values: Float[Tensor, "*sets n*n"]) -> Float[Tensor, "*sets split"]:
        """Over the pairs of each split, in float64."""
        return torch.stack([values[..., mask].double().mean(dim=-1) for mask in self.splits.values()], dim=-1)

    def bytes(self, widths: float) -> int:
        """That so many float32 numbers a pair take."""
        return int(4 * self.n**2 * widths)

    @property
    def forward_bytes(self) -> int:
        """What the forward pass takes at work over all pairs, at most: its activations, and those of attention."""
        spec, n_ctx = self.run.known_model, self.prompts.shape[1]
        deeper = n_ctx * (2 * spec.d_model + spec.d_mlp + spec.n_heads * n_ctx) * (spec.n_layers > 1)
        return self.bytes(4 * spec.d_model + 3 * spec.d_mlp + 2 * self.n + 4 * spec.n_heads * n_ctx + deeper)


def square(run: Run, analysis: str) -> Square:
    """The run's table with row i, column j answered by i + j; DoesNotApply where it is a sum in no order of its residues."""
    task = needs_numbers(run, analysis)
    place = np.arange(len(task.residues()))
    for backwards in (False, True):
        found = table_as_square(run, task, -place if backwards else place)
        if found is not None and (found.answers.numpy() == (place[:, None] + place).ravel() % found.n).all():
            return found
    raise DoesNotApply(
        f"{run.path} was trained on {task.rule.formula} mod {task.p}, which is a sum in no order of its residues; "
        f'analysis "{analysis}" needs x + y, x − y, or with prime p x · y, x / y'
    )


def any_square(run: Run, analysis: str) -> Square:
    """The same where the task is a sum; any other table as it stands, with DoesNotApply where pairs have no answer."""
    try:
        return square(run, analysis)
    except DoesNotApply:
        task = needs_numbers(run, analysis)
        found = table_as_square(run, task, np.arange(len(task.residues())))
        if found is None:
            raise
        return found


def table_as_square(run: Run, task: ModularTask, places_of_b: Int[np.ndarray, " n"]) -> Square | None:
    """Row i has a at place i, column j has b at place `places_of_b[j]` (modulo n); None when a pair has no answer."""
    residues, (x, y) = task.residues(), task.pairs()
    row = np.full((task.p, task.p), -1)
    row[x, y] = np.arange(len(x))
    rows = row[np.ix_(residues, residues[places_of_b % len(residues)])]
    if (rows < 0).any():
        return None
    return Square(run, task, torch.from_numpy(residues), torch.from_numpy(rows.flatten()))


def frequencies(square: Square, chosen: tuple[int, ...], option: str = "--frequencies") -> list[int]:
    """Those that were asked for, checked; UserError when the task has none of that number."""
    for k in chosen:
        if not 1 <= k <= square.n // 2:
            raise UserError(f"{option} has {k}; {square.run.path} has frequencies 1 to {square.n // 2}")
    return sorted(set(chosen))
