"""Objectives of runs over some examples, as functions of their weights [runs, …], whatever the task and the model."""

from collections.abc import Callable, Sequence

import torch

from interp.config import RunConfig
from interp.models.network import Weights
from interp.objective.classes import Answers
from interp.objective.values import Vectors
from interp.tasks import Examples

CHUNK = 32_768
"""Prompts of three tokens, summed over runs, that are evaluated at a time; bounds memory for large tables and many runs."""

Objective = Answers | Vectors
"""Examples of every run, with what is minimised over them."""

KINDS: dict[str, Callable[..., Objective]] = {"classes": Answers.of, "values": Vectors.of}
"""Objectives by the kind of the network's output."""


def objective(
    examples: Sequence[Examples], configs: Sequence[RunConfig], device: torch.device | str, apart: bool = False
) -> Objective:
    """Objective of these runs over their examples, a set for each. `apart`: examples share no states, as dropout needs."""
    kind = KINDS[configs[0].task.shape.outputs.kind]
    return kind(examples, configs, torch.device(device), apart)


def in_parts(examples: Sequence[Examples], configs: Sequence[RunConfig], device: torch.device | str) -> list[Objective]:
    """Objective over parts of the examples, each of at most CHUNK prompts of three tokens, summed over runs."""
    size = max(1, CHUNK // configs[0].model.size(configs[0].task.shape) // len(examples))
    most = max(map(len, examples))
    sets = {id(each): each for each in examples}  # what runs share stays shared
    parts = [{key: each[slice(begin, begin + size)] for key, each in sets.items()} for begin in range(0, most, size)]
    return [objective([part[id(each)] for each in examples], configs, device) for part in parts]


@torch.no_grad()
def evaluate(parts: Sequence[Objective], weights: Weights) -> tuple[list[float], list[float]]:
    """Mean loss and accuracy of each run over all parts; the accuracy of vectors is NaN."""
    sums = [
        torch.where(part.counted > 0, part.logged(weights) * part.counted, 0) for part in parts
    ]  # one may have none
    loss, accuracy = (torch.stack(sums).sum(dim=0) / sum(part.counted for part in parts)).tolist()
    return loss, accuracy
