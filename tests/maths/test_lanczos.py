"""Eigenvalues by products against those of matrices that are written out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import examples

from interp.maths.lanczos import Krylov, extremes, quadrature


def planted(values, seed=0):
    """A symmetric matrix with these eigenvalues, and its eigenvectors as columns."""
    generator = torch.Generator().manual_seed(seed)
    vectors, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64))
    return vectors @ torch.tensor(values, dtype=torch.float64).diag() @ vectors.T, vectors


def drawn(n, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, generator=generator, dtype=torch.float64).to(dtype), generator


def ends(matrix, k, tolerance=1e-9, at_most=10_000, dtype=torch.float64):
    start, generator = drawn(len(matrix), dtype=dtype)
    matrix = matrix.to(dtype)
    return extremes(matrix.mv, start, k, tolerance, at_most, generator)


def test_planted_ends_are_found_with_their_vectors():
    values = [9.0, 5.0, 4.0, -3.0, *torch.linspace(-1, 1, 96).tolist()]
    matrix, vectors = planted(values)
    found = ends(matrix, k=3)
    torch.testing.assert_close(found.values, torch.tensor([9.0, 5.0, 4.0], dtype=torch.float64))
    assert found.smallest.item() == pytest.approx(-3)
    overlaps = (found.vectors @ vectors[:, :4]).abs()
    torch.testing.assert_close(overlaps, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-6)
    assert len(found.krylov.alphas) < 60


def test_repeated_eigenvalues_and_a_matrix_of_zeros_are_found_whole():
    """A Krylov space of one vector has each eigenvalue once; it goes on where nothing is left."""
    matrix, _ = planted([2.0] * 5 + [0.0] * 20)
    found = ends(matrix, k=6)
    torch.testing.assert_close(found.values, torch.tensor([2.0] * 5 + [0.0], dtype=torch.float64), atol=1e-10, rtol=0)
    silent = ends(torch.zeros(7, 7, dtype=torch.float64), k=3)
    assert silent.values.tolist() == [0, 0, 0]
    assert silent.smallest.item() == 0


@examples
@given(st.lists(st.floats(-10, 10), min_size=3, max_size=12))
def test_of_the_whole_space_all_eigenvalues_are_known(values):
    matrix, _ = planted(values)
    start, generator = drawn(len(values))
    krylov = Krylov(matrix.mv, start, generator)
    krylov.grow(5 * len(values))
    found = krylov.ritz()
    torch.testing.assert_close(found.values, torch.linalg.eigvalsh(matrix), rtol=0, atol=1e-7)
    torch.testing.assert_close(
        krylov.space @ krylov.space.T, torch.eye(len(values), dtype=torch.float64), rtol=0, atol=1e-9
    )


def test_a_residual_bounds_the_error_of_its_eigenvalue():
    matrix, _ = planted(torch.linspace(0, 1, 200).square().tolist())
    for at_most in (10, 20, 40):
        found = ends(matrix, k=2, at_most=at_most)
        actual = torch.linalg.eigvalsh(matrix)
        for value, residual in zip(found.values, found.residuals, strict=True):
            assert (actual - value).abs().min() <= residual + 1e-12
    assert ends(matrix, 2, at_most=10).residuals[0] > found.residuals[0]


def test_full_reorthogonalisation_keeps_float32_from_ghosts():
    """Without it, rounding brings converged eigenvalues back as further copies."""
    values = [100.0, 50.0, *torch.linspace(0, 1, 298).tolist()]
    found = ends(planted(values)[0], k=3, tolerance=1e-5, dtype=torch.float32)
    assert found.values[0].item() == pytest.approx(100, rel=1e-4)
    assert found.values[1].item() == pytest.approx(50, rel=1e-4)
    assert found.values[2].item() == pytest.approx(1, rel=1e-2)


def test_the_trace_is_unbiased_and_its_error_told():
    values = [50.0, 20.0, -10.0, *torch.linspace(0, 1, 97).tolist()]
    matrix, _ = planted(values)
    found = ends(matrix, k=2, tolerance=1e-3)
    _, generator = drawn(100, seed=3)
    density = quadrature(matrix.mv, 100, 400, 6, found.krylov, generator)
    mean, error = density.quadratic.mean(), density.quadratic.std() / 20
    assert abs(mean.item() - sum(values)) < 4 * error.item()
    # the probes alone, without what the space knows exactly, scatter with √(2·(‖A‖² − Σ a_ii²))
    alone = (2 * (matrix.square().sum() - matrix.diag().square().sum())).sqrt()
    assert density.quadratic.std() < alone / 5


def test_the_trace_of_a_matrix_whose_space_is_whole_has_no_error():
    matrix, _ = planted([3.0, 1.0, -2.0, 0.5])
    found = ends(matrix, k=3)
    _, generator = drawn(4)
    density = quadrature(matrix.mv, 4, 3, 2, found.krylov, generator)
    torch.testing.assert_close(density.quadratic, torch.full((3,), 2.5, dtype=torch.float64))


def test_nodes_and_weights_integrate_powers_of_the_spectrum():
    """A rule of m nodes is exact for powers below 2m, for each probe; over probes for the spectrum."""
    values = [4.0, 2.0, *torch.linspace(-1, 1, 58).tolist()]
    matrix, _ = planted(values)
    found = ends(matrix, k=1)
    _, generator = drawn(60, seed=5)
    density = quadrature(matrix.mv, 60, 2000, 4, found.krylov, generator)
    torch.testing.assert_close(density.weights.sum(dim=1), torch.ones(2000, dtype=torch.float64))
    for power in range(1, 8):
        each = (density.weights * density.nodes**power).sum(dim=1)
        right = torch.tensor(values, dtype=torch.float64).pow(power).mean()
        assert abs(each.mean() - right) < 4 * each.std() / 2000**0.5
