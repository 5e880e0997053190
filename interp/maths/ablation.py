"""Parts of functions of a and b that can be taken out, how much of the variance they are, and what of the answers goes with them.

Parts are waves of a + b, blocks of waves of a and of b, and directions.

Everything is in float64; n is the number of residues.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.maths.fourier import frequency_norms, real_fourier_basis
from interp.maths.restricted import blocks_3x3, waves_of

AT_ONCE = 1024
"""Rows that are converted to float64 at once."""


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


def variances(values: Float[Tensor, "pair d"]) -> Float[Tensor, " d"]:
    """Variance of each column over the pairs; exactly 0 for a column that is constant. The energy of a part is their sum."""
    first = values[:1].double()  # which is subtracted, so that a constant is exactly nothing
    total = torch.zeros(values.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for rows in values.split(AT_ONCE):
        moved = rows.double() - first
        total += moved.sum(dim=0)
        squares += moved.square().sum(dim=0)
    return (squares / len(values) - (total / len(values)).square()).clamp(min=0)


def roots(parts: Iterable[Float[Tensor, "_ d"]]) -> tuple[Float[Tensor, " d"], Float[Tensor, "rank d"]]:
    """Mean of a function's values, and a matrix M with MᵀM = Σ (value − mean)(value − mean)ᵀ; the values come in parts.

    So F·M + mean has the mean, the directions and the energy of the function for any F with orthonormal columns of mean 0.
    """
    number, total, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for part in parts:
        values = part.double()
        number, total, squares = number + len(values), total + values.sum(dim=0), squares + values.T @ values
    mean = total / number
    sizes, vectors = torch.linalg.eigh(squares - number * torch.outer(mean, mean))
    kept = sizes > 1e-12 * sizes[-1].clamp(min=0)
    return mean, sizes[kept].sqrt()[:, None] * vectors[:, kept].T


def energies(table: Float[Tensor, "n d"]) -> Float[Tensor, " freq"]:
    """Sum of squares of a table's part at each frequency k = 1 … ⌊n/2⌋. With n times that of the mean they sum to the whole's."""
    return frequency_norms(table).square()


def answer_totals(sums: Float[Tensor, "n answer"]) -> Float[Tensor, " n"]:
    """Sum of the logits over all (a, b, c) with c − a − b = s modulo n, for s = 0 … n − 1.

    `sums` has the logits of c, summed over the pairs with the same a + b.
    """
    n = len(sums)
    twice = torch.cat(
        [sums, sums], dim=1
    )  # so that row a + b, read from the column a + b on, has them in the order of s
    return twice.as_strided((n, n), (2 * n + 1, 1)).sum(dim=0)


def waves_lost(
    before: Float[Tensor, " n"], after: Float[Tensor, "*sets n"], own: Bool[Tensor, " freq"]
) -> Float[Tensor, "*sets 2"]:
    """Share of the logits' waves of a + b − c that an ablation takes away: at its own frequencies, and at all others.

    Both are `answer_totals`. Over the components along cos and sin(w_k(a + b − c)) it is 1 − ⟨before, after⟩ / ⟨before, before⟩:
    1 when they are gone, 0 when they are as they were, also with something orthogonal added. NaN where there were none.
    """
    basis = real_fourier_basis(len(before))[1:]
    waves, left = basis @ before.double(), after.double() @ basis.T
    mine = own.repeat_interleave(2)[: len(basis)].double()  # for even n the last frequency has no sine
    of_both = torch.stack([mine, 1 - mine], dim=-1)
    return 1 - (left * waves) @ of_both / (waves.square() @ of_both)
