"""interp/maths/noise_spectrum.py against closed forms and drawn matrices."""

import math

import numpy as np
import pytest
import torch

from interp.maths.noise_spectrum import (
    edge,
    effective_rank_of_noise,
    law,
    rare_edge,
    stable_rank_of_noise,
)
from interp.maths.norms import effective_rank, singular_values, stable_rank

SIZES = [(400, 400), (300, 700), (700, 300)]


def drawn(rows, columns, seed=0, law="normal"):
    rng = np.random.default_rng(seed)
    entries = rng.standard_normal((rows, columns)) if law == "normal" else rng.choice([-1.0, 1.0], (rows, columns))
    return torch.from_numpy(entries)


@pytest.mark.parametrize("ratio", [0.01, 0.3, 1.0])
def test_the_law_has_mass_1_and_mean_square_1(ratio):
    values, weights = law(ratio)
    assert weights.sum() == pytest.approx(1, abs=1e-9)
    assert weights @ values**2 == pytest.approx(1, abs=1e-9)
    assert weights @ values**4 == pytest.approx(1 + ratio, abs=1e-9)  # of Marchenko & Pastur
    assert values.max() == pytest.approx(1 + math.sqrt(ratio), abs=1e-6)


def test_a_square_matrix_has_the_quarter_circle():
    values, weights = law(1.0)
    assert weights @ values == pytest.approx(8 / (3 * math.pi), abs=1e-7)
    # E[xˢ] of the density √(4 − x²)/π is 2ˢ⁺¹ B((s+1)/2, 3/2)/π; E[x ln x] its derivative at s = 1
    logs = float(weights @ (values * np.log(values)))
    assert logs == pytest.approx(8 / (3 * math.pi) * (math.log(4) - 4 / 3), abs=1e-6)


@pytest.mark.parametrize("entries", ["normal", "signs"])
@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_drawn_matrices_have_this_edge_and_these_ranks(rows, columns, entries):
    singular = singular_values(3 * drawn(rows, columns, law=entries))
    assert float(singular[0]) / 3 == pytest.approx(edge(rows, columns), rel=0.02)  # n^(−2/3)
    assert float(stable_rank(singular)) == pytest.approx(stable_rank_of_noise(rows, columns), rel=0.04)
    assert float(effective_rank(singular)) == pytest.approx(effective_rank_of_noise(rows, columns), rel=0.002)


@pytest.mark.parametrize(("rows", "columns"), [(60, 60), (12, 90)])
def test_the_largest_singular_value_exceeds_the_rare_edge_once_in_a_hundred(rows, columns):
    largest = np.array([np.linalg.norm(drawn(rows, columns, seed).numpy(), 2) for seed in range(1000)])
    exceeds = int((largest > rare_edge(rows, columns)).sum())
    assert 2 <= exceeds <= 22  # binomial of 1,000 draws at .01: 99.9 % of its mass


@pytest.mark.parametrize("strength", [1.5, 3.0])
def test_a_planted_direction_stands_out_from_the_fourth_root_of_m_n_on(strength):
    """Benaych-Georges & Nadakuditi 2012: at √((θ² + m)(θ² + n))/θ for θ above (mn)^¼, and at the edge below."""
    m, n = 500, 800
    theta = strength * (m * n) ** 0.25
    rng = np.random.default_rng(1)
    u, v = rng.standard_normal(m), rng.standard_normal(n)
    planted = theta * np.outer(u, v) / np.linalg.norm(u) / np.linalg.norm(v)
    noise = drawn(m, n).numpy()
    singular = np.linalg.svd(noise + planted, compute_uv=False)
    assert singular[0] == pytest.approx(math.sqrt((theta**2 + m) * (theta**2 + n)) / theta, rel=0.01)
    assert (singular > rare_edge(m, n)).sum() == 1
    hidden = np.linalg.svd(noise + 0.5 / strength * planted, compute_uv=False)
    assert (hidden > rare_edge(m, n)).sum() == 0
