"""Networks that learned nothing, beside which a run's are measured."""

import torch

from interp.models.network import Weights, initial_weights
from interp.store import Run


def untrained(run: Run, seed: int) -> Weights:
    """Weights of an untrained network, from a seed: initial ones of the run's family.

    How someone's own module begins is not known. Its weights are those of the run's first checkpoint, shuffled within each
    tensor: where the entries of a tensor begin independent and alike, that is another start.
    """
    if run.config.model.has_code:
        return initial_weights(run.known_model, run.task.shape, seed)
    draw, learned = torch.Generator().manual_seed(seed), set(run.config.model.learned(run.task.shape))
    return {
        name: tensor.flatten()[torch.randperm(tensor.numel(), generator=draw)].view_as(tensor)
        if name in learned
        else tensor
        for name, tensor in run.first.weights.items()
    }
