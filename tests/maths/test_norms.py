from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths.norms import effective_rank, participation_ratio, singular_values, stable_rank

RANKS = (stable_rank, effective_rank, participation_ratio)
ROUNDING = 1e-9  # a singular value 0 comes out as 1e-16 and adds about 4e-15 to an entropy
examples = settings(max_examples=40, deadline=None, derandomize=True)


def random_matrix(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@examples
@given(m=st.integers(1, 6), n=st.integers(1, 6), seed=st.integers(0, 99))
def test_singular_values_are_the_roots_of_the_eigenvalues_of_the_gram_matrix(m, n, seed):
    matrix = random_matrix(m, n, seed=seed)
    eigenvalues = np.linalg.eigvalsh((matrix @ matrix.T).numpy())[::-1][: min(m, n)]
    expected = np.sqrt(eigenvalues.clip(min=0))
    np.testing.assert_allclose(
        singular_values(matrix).numpy(), expected, rtol=0, atol=1e-6
    )  # the root halves the digits


def test_singular_values_of_a_float32_matrix_are_float64_largest_first():
    found = singular_values(torch.diag(torch.tensor([1.0, 3.0, 2.0])))
    torch.testing.assert_close(found, torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_every_rank_of_the_identity_is_its_size(rank, n):
    assert rank(singular_values(5 * torch.eye(n))) == pytest.approx(n, rel=ROUNDING)


@pytest.mark.parametrize("rank", RANKS)
def test_every_rank_of_an_outer_product_is_1(rank):
    matrix = torch.outer(torch.arange(1.0, 6.0), torch.arange(-1.0, 3.0))
    assert rank(singular_values(matrix)) == pytest.approx(1, rel=ROUNDING)


@pytest.mark.parametrize("rank", RANKS)
def test_a_zero_matrix_has_no_rank(rank):
    assert rank(singular_values(torch.zeros(3, 2))).isnan()


def test_ranks_are_those_of_their_definitions():
    singular = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)
    assert stable_rank(singular) == pytest.approx(6 / 4)  # 4 + 1 + 1 over 4
    assert effective_rank(singular) == pytest.approx(2**1.5)  # shares 1/2, 1/4, 1/4: 1.5 bits
    assert participation_ratio(singular) == pytest.approx(36 / 18)  # (4 + 1 + 1)² over 16 + 1 + 1


@examples
@given(m=st.integers(1, 6), n=st.integers(1, 6), r=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_ranks_stand_in_order_between_1_and_the_rank(m, n, r, seed):
    # max ≥ mean of the powers by themselves; entropy ≥ its order 2, and the powers are less even than the values.
    matrix = random_matrix(m, r, seed=seed) @ random_matrix(r, n, seed=seed + 1)
    stable, participating, effective = (
        float(rank(singular_values(matrix))) for rank in (stable_rank, participation_ratio, effective_rank)
    )
    ascending = [1, stable, participating, effective, min(m, n, r)]
    assert all(a <= b + ROUNDING for a, b in pairwise(ascending))


@pytest.mark.parametrize("rank", RANKS)
@examples
@given(m=st.integers(1, 6), n=st.integers(1, 6), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_no_rank_knows_the_scale_or_the_axes(rank, m, n, scale, seed):
    matrix = random_matrix(m, n, seed=seed)
    turned = scale * torch.linalg.qr(random_matrix(m, m, seed=seed + 1)).Q @ matrix
    assert rank(singular_values(turned)) == pytest.approx(float(rank(singular_values(matrix))), rel=ROUNDING)


@pytest.mark.parametrize("rank", RANKS)
def test_a_stack_of_matrices_is_measured_one_by_one(rank):
    stack = random_matrix(2, 3, 5, 4)
    one_by_one = torch.stack([torch.stack([rank(singular_values(matrix)) for matrix in row]) for row in stack])
    torch.testing.assert_close(rank(singular_values(stack)), one_by_one, rtol=ROUNDING, atol=0)


def test_ranks_from_the_gram_matrix_are_those_of_svdvals():
    """Also of a matrix whose small singular values the Gram matrix would drown in its rounding."""
    random = torch.Generator().manual_seed(0)
    Q, _ = torch.linalg.qr(torch.randn(3, 40, 40, generator=random, dtype=torch.float64))
    falling = Q[0] @ torch.diag(10.0 ** -torch.linspace(0, 12, 40, dtype=torch.float64)) @ Q[1]
    low_rank = Q[0][:, :5] @ Q[1][:5]
    for matrix in (torch.randn(4, 30, 50, generator=random), falling, low_rank, torch.zeros(2, 6, 5), Q):
        exact, found = torch.linalg.svdvals(matrix.double()), singular_values(matrix)
        for rank in (stable_rank, effective_rank, participation_ratio, lambda values: values.amax(dim=-1)):
            torch.testing.assert_close(rank(found), rank(exact), rtol=1e-8, atol=0, equal_nan=True)
