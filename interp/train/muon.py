"""Muon for the weight matrices of hidden layers, beside AdamW for all else, as one optimiser of a run's parameters.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) is torch's own. It takes matrices alone: a tensor of several axes, as
W_Q of all heads, is laid out as the matrix that its specification says it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.recipe import TrainConfig


@dataclass(frozen=True)
class Layout:
    """A tensor laid out as a matrix, and back."""

    size: tuple[int, ...]
    rows: tuple[int, ...]
    """Axes that are the rows of the matrix, the others its columns."""

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes in the order rows, columns."""
        return (*self.rows, *(axis for axis in range(len(self.size)) if axis not in self.rows))

    def matrix(self, tensor: Tensor) -> Float[Tensor, "row column"]:
        """The tensor as a matrix."""
        return tensor.permute(self.axes).flatten(0, len(self.rows) - 1).flatten(1)

    def tensor(self, matrix: Float[Tensor, "row column"]) -> Tensor:
        """The matrix as a tensor of the size that it was."""
        back = tuple(self.axes.index(axis) for axis in range(len(self.size)))
        return matrix.unflatten(1, [self.size[axis] for axis in self.axes[len(self.rows) :]]).unflatten(
            0, [self.size[axis] for axis in self.rows]
        ).permute(back)  # fmt: skip


class MuonBesideAdamW(torch.optim.Optimizer):
    """Steps of Muon for some parameters, of AdamW for the others; the rate of the group is AdamW's."""

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], hidden: Mapping[str, tuple[int, ...]], config: TrainConfig
    ):
        """Begin without state. `hidden` has the parameters that Muon moves, with the axes that are the rows of each."""
        super().__init__(list(parameters.values()), {"lr": config.lr})
        self.parameters, self.share = dict(parameters), config.muon_lr / config.lr
        self.layouts = {name: Layout(tuple(parameters[name].shape), rows) for name, rows in hidden.items()}
        self.matrices = {
            name: nn.Parameter(layout.matrix(parameters[name].detach()).contiguous())
            for name, layout in self.layouts.items()
        }
        decay = config.weight_decay
        self.muon = torch.optim.Muon(
            self.matrices.values(), lr=config.muon_lr, weight_decay=decay, momentum=config.muon_momentum
        )
        others = [parameter for name, parameter in parameters.items() if name not in hidden]
        kinds: dict[str, Any] = {"betas": config.betas, "eps": config.eps, "weight_decay": decay, "fused": True}
        self.adamw = torch.optim.AdamW([{"params": others}], lr=config.lr, **kinds)  # there may be no others

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take one step of each."""
        rate = self.param_groups[0]["lr"]
        self.adamw.param_groups[0]["lr"], self.muon.param_groups[0]["lr"] = rate, rate * self.share
        for name, matrix in self.matrices.items():
            parameter, layout = self.parameters[name], self.layouts[name]
            assert parameter.grad is not None
            matrix.copy_(layout.matrix(parameter))  # others may have moved it since
            matrix.grad = layout.matrix(parameter.grad).contiguous()
        self.muon.step()
        self.adamw.step()
        for name, matrix in self.matrices.items():
            self.parameters[name].copy_(self.layouts[name].tensor(matrix))

    def state_dict(self) -> dict[str, Any]:
        """State of both by the parameters' places; tensors have the parameters' sizes."""
        state: dict[int, dict[str, Any]] = {}
        for place, (name, parameter) in enumerate(self.parameters.items()):
            if name in self.matrices:
                kept = self.muon.state.get(self.matrices[name], {})
                state[place] = {kind: self.layouts[name].tensor(tensor) for kind, tensor in kept.items()}
            else:
                state[place] = dict(self.adamw.state.get(parameter, {}))
        return {"state": {place: kept for place, kept in state.items() if kept}, "param_groups": []}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that `state_dict` gave."""
        for place, (name, parameter) in enumerate(self.parameters.items()):
            kept = state_dict["state"].get(place, {})
            if name in self.matrices:
                laid = {kind: self.layouts[name].matrix(tensor).contiguous() for kind, tensor in kept.items()}
                self.muon.state[self.matrices[name]] = laid
            else:
                self.adamw.state[parameter] = dict(kept)
