"""Optimisers by name, and their state as named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from interp.config import TrainConfig


def make_optimizer(config: TrainConfig, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
    """The configured optimiser over these parameters, in their order; fused kernels, since the models are small."""
    weights = list(parameters.values())
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            weights, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
        )
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimizer]
    return kind(weights, lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay, fused=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """The optimiser's state as `{"exp_avg/embed.W_E": …}`; `names` are the parameters' in the optimiser's order."""
    state = optimizer.state_dict()["state"]
    return {
        f"{kind}/{names[index]}": tensor
        for index, tensors in state.items()
        for kind, tensor in tensors.items()
        if isinstance(tensor, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    whole = optimizer.state_dict()
    for key, tensor in tensors.items():
        kind, name = key.split("/", 1)
        whole["state"].setdefault(names.index(name), {})[kind] = tensor
    optimizer.load_state_dict(whole)
