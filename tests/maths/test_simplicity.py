"""Hyperplanes near a point, counted by hand, and lengths of codes that are known."""

import math

import pytest
import torch

from interp.maths.simplicity import code_length, crossed, frames, vertices


def test_neurons_whose_hyperplane_passes_between_the_vertices_are_counted_by_hand():
    """Hyperplanes x = b and x + y = b around 0 and (1, 0), between ±0.1 on both axes."""
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    around = vertices(x, torch.eye(2).expand(2, 2, 2), 0.1)
    torch.testing.assert_close(around[0], torch.tensor([[0.1, 0], [0, 0.1], [-0.1, 0], [0, -0.1]]))
    normals = torch.tensor([[1.0, 0], [1, 0], [1, 0], [1, 1], [1, 1], [0, 0]])
    offsets = torch.tensor([0.05, 0.15, 0.95, -0.05, 1.02, 0.0])
    # around 0: x = 0.05 and x + y = −0.05; around (1, 0): x = 0.95 and x + y = 1.02
    assert crossed(around @ normals.T - offsets).tolist() == [2, 2]


def test_a_rotated_frame_reaches_less_far_along_an_axis():
    """Along the diagonals the vertices lie at ±0.1/√2 of each axis: x = 0.08 is no longer between them."""
    half = math.sqrt(0.5)
    around = vertices(torch.zeros(1, 2), torch.tensor([[[half, half], [half, -half]]]), 0.1)
    assert crossed(around[..., :1] - 0.08).tolist() == [0]
    assert crossed(around[..., :1] - 0.06).tolist() == [1]


def test_the_scale_of_a_neuron_changes_no_count():
    pre = torch.randn(5, 8, 20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(crossed(pre), crossed(pre * torch.logspace(-3, 3, 20)))


@pytest.mark.parametrize(("width", "directions"), [(7, 3), (4, 9)])
def test_frames_are_orthonormal_and_as_many_as_there_are(width, directions):
    found = frames(6, width, directions, torch.Generator().manual_seed(0))
    assert found.shape == (6, min(width, directions), width)
    torch.testing.assert_close(found @ found.mT, torch.eye(found.shape[1]).expand(6, -1, -1), atol=1e-5, rtol=0)


def test_a_code_takes_the_logarithm_of_as_many_equally_frequent_symbols_and_none_for_one():
    assert code_length(torch.full((100,), 7)) == 0
    symbols = torch.arange(16).repeat(64)
    assert code_length(symbols).item() == pytest.approx(1024 * 4 + 15 / 2 * 10)
    assert code_length(-3 * symbols[torch.randperm(1024)]) == code_length(symbols)
