"""Parts of functions of a and b that can be taken out: waves of a + b, blocks of waves of a and of b, directions.

Everything is in float64; n is the number of residues.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from interp.maths.fourier import real_fourier_basis
from interp.maths.restricted import blocks_3x3, waves_of


def at_frequencies(table: Float[Tensor, "n d"]) -> Float[Tensor, "freq n d"]:
    """The part of a table at each frequency k = 1 … ⌊n/2⌋. Rows are the residues, in the order of the group.

    The parts and the mean over the rows sum to the table.
    """
    basis = real_fourier_basis(len(table))[1:]
    components = basis @ table.double()
    parts = torch.zeros(len(table) // 2, *table.shape, dtype=torch.float64)
    for wave in range(len(basis)):
        parts[wave // 2] += basis[wave][:, None] * components[wave]
    return parts


def block_waves(n: int, k: int) -> Float[Tensor, "block n_times_n"]:
    """Orthonormal rows {1, cos, sin}(w_k·a) ⊗ {1, cos, sin}(w_k·b), over all pairs (a, b) in lexicographic order; w_k = 2πk/n."""
    constant = torch.full((1, n * n), 1 / n, dtype=torch.float64)
    return torch.cat([constant, blocks_3x3(n, [k])])


def plane(W_L: Float[Tensor, "d_mlp n"], frequencies: Sequence[int]) -> Float[Tensor, "d_mlp direction"]:
    """An orthonormal basis of the directions u_k = W_L·cos_k and v_k = W_L·sin_k that read frequency k off the neurons.

    The logits' part cos(k·c) is u_k·activations (Nanda et al. 2023, section 4). Directions of less than
    a millionth of W_L's norm are left out.
    """
    waves = torch.cat([waves_of(W_L.shape[1], k) for k in frequencies])
    left, sizes, _ = torch.linalg.svd(W_L.double() @ waves.T, full_matrices=False)
    return left[:, sizes > 1e-6 * W_L.double().norm()]
