"""Alignment of kernels that are known by random features: without bias, and with an error that holds."""

import numpy as np
import pytest
import torch

from interp.maths.kernels import alignment, alignment_with, centred_kernels


def drawn(J, probes, seed, C=None):
    """Kernels of J·ω for random signs ω, J being [n, output, weight]; of C as well, if given, with the same ω."""
    signs = torch.randint(0, 2, (probes, J.shape[2]), generator=torch.Generator().manual_seed(seed)).double() * 2 - 1
    each = [centred_kernels(torch.einsum("now,pw->pno", of, signs)) for of in (J, J if C is None else C)]
    return each[0], each[1]


def exact(J):
    """The centred kernel itself."""
    centred = J - J.mean(dim=0)
    return torch.einsum("now,mow->nm", centred, centred)


def cosine(one, other):
    return ((one * other).sum() / (one.norm() * other.norm())).item()


@pytest.fixture
def jacobians():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 12, 5, 300, generator=generator, dtype=torch.float64)
    return one * torch.linspace(0.2, 2, 12)[:, None, None], one + other


def test_the_alignment_is_that_of_the_exact_kernels_within_its_error(jacobians):
    one, other = jacobians
    expected = cosine(exact(one), exact(other))
    misses = []
    for seed in range(60):
        value, error = alignment(*drawn(one, 40, seed, other))
        misses.append(((value - expected) / error).item())
    assert abs(np.mean(misses)) < 0.6  # of standard errors: next to no bias
    assert 0.7 < np.std(misses) < 1.5


def test_a_kernel_is_aligned_with_itself_and_with_any_multiple(jacobians):
    kernels, _ = drawn(jacobians[0], 10, 0)
    for other in (kernels, 1000 * kernels):
        value, error = alignment(kernels, other)
        assert value.item() == pytest.approx(1, abs=1e-12)
        assert error.item() == pytest.approx(0, abs=1e-12)


def test_alignment_with_a_known_kernel_is_the_exact_one_within_its_error(jacobians):
    one, other = jacobians
    value, error = alignment_with(drawn(one, 200, 0)[0], exact(other))
    assert abs(value.item() - cosine(exact(one), exact(other))) < 4 * error.item()
    assert 0 < error < 0.05


def test_kernels_are_centred(jacobians):
    kernels, _ = drawn(jacobians[0] + 7, 6, 0)
    torch.testing.assert_close(kernels.sum(dim=1), torch.zeros(6, 12, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(kernels.mT, kernels)
