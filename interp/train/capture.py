"""A training step as one CUDA graph, launched as a whole instead of kernel by kernel.

A graph reads the same memory every time: a step that draws random numbers (`Method.varies`) cannot be captured.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3
"""Number of steps before the capture, in which libraries choose their kernels and optimisers make their state."""


def captured(work: Callable[[], None], moving: Callable[[], list[Tensor]]) -> Callable[[], Any]:
    """A function that does what `work` does by replaying a graph. `work` has to use the same memory every time.

    `moving` lists the tensors that `work` changes. After the capture they are restored to their values before it. Tensors
    that are created during the warm-up, as an optimiser's are, are set to 0.
    """
    with torch.cuda.device(moving()[0].device):
        return _captured(work, moving)


def _captured(work: Callable[[], None], moving: Callable[[], list[Tensor]]) -> Callable[[], Any]:
    """The captured function of `work`, on the current device."""
    before = [(tensor, tensor.clone()) for tensor in moving()]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    put_back(moving(), before)
    return graph.replay


def put_back(moving: list[Tensor], before: list[tuple[Tensor, Tensor]]) -> None:
    """Restore each tensor in place to its value in `before`, or to 0 if it is not there."""
    values = {tensor.data_ptr(): value for tensor, value in before}
    for tensor in moving:
        value = values.get(tensor.data_ptr())
        tensor.zero_() if value is None else tensor.copy_(value)
