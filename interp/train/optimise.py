"""Optimisers by name, and their state as named tensors."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from interp.config import TrainConfig
from interp.train.muon import MuonBesideAdamW


def make_optimizer(
    config: TrainConfig,
    parameters: Mapping[str, nn.Parameter],
    hidden: Mapping[str, tuple[int, ...]] = {},
    factors: Mapping[str, float] = {},
    decays: Mapping[str, float] = {},
) -> torch.optim.Optimizer:
    """The configured optimiser over these parameters, in their order. Kernels are fused, because the models are small.

    `hidden` are those that Muon moves, with the axes that are the rows of each. `factors` on the learning rate and `decays` in
    place of the configured weight decay are by name; 1 and the configured one where none is given.

    Its weight decay leads to the origin. Decay to the initial weights, which torch does not have, is done by the learner.

    On a GPU the learning rate and Adam's count of steps are tensors there, so that a step can be captured in a graph.
    """
    if config.optimizer == "muon":
        return MuonBesideAdamW(parameters, hidden, config)
    usual = config.weight_decay if config.decay_to == "origin" else 0.0

    def kind_of(name: str) -> tuple[float, float]:
        return factors.get(name, 1.0), decays.get(name, usual) if config.decay_to == "origin" else 0.0

    device = next(iter(parameters.values())).device
    on_gpu = device.type == "cuda"
    weights: list[dict[str, Any]] = [
        {
            "params": [parameters[name] for name in names],
            "lr": torch.tensor(config.lr, device=device) if on_gpu else config.lr,
            "lr_factor": factor,
            "weight_decay": decay,
        }
        # Neighbours alone make a group: the state is numbered by the parameters' order over all groups.
        for (factor, decay), names in groupby(parameters, kind_of)
    ]
    every: dict[str, Any] = {"fused": True}
    if config.optimizer == "sgd":
        return torch.optim.SGD(weights, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, **every)
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimizer]
    return kind(weights, betas=config.betas, eps=config.eps, capturable=on_gpu, **every)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step, times each group's factor; in place if it is a tensor, which a captured step
    reads."""
    for group in optimizer.param_groups:
        own = rate * group.get("lr_factor", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(own)
        else:
            group["lr"] = own


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
    """Restore the optimiser's state, as `optimizer_tensors` gave it."""
    whole = optimizer.state_dict()
    # Clones: torch keeps the tensors that it is given, and updates them in place.
    for key, tensor in tensors.items():
        kind, name = key.split("/", 1)
        whole["state"].setdefault(names.index(name), {})[kind] = tensor.clone()
    optimizer.load_state_dict(whole)
