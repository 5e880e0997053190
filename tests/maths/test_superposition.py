from math import cos, exp, log, pi, sin
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths.fourier import wave_directions
from interp.maths.superposition import (
    dimension_shares,
    effective_features_per_dimension,
    exp_entropy,
    feature_dimensionality,
    feature_shares,
    features_per_dimension,
    gram,
    interference,
    overlaps,
    participation,
    phase_free_shares,
    superposition_ratio,
)

ROUNDING = 1e-12  # short float64 sums of numbers of order 1
examples = settings(max_examples=40, deadline=None, derandomize=True)


def features(rows):
    return torch.tensor(rows, dtype=torch.float64)


def polygon(n, offset=0.0):
    return [[cos(2 * pi * i / n + offset), sin(2 * pi * i / n + offset)] for i in range(n)]


def random_matrix(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_rotation(d, seed=0):
    return torch.linalg.qr(random_matrix(d, d, seed=seed)).Q


DIGON = features([[1, 0], [-1, 0]])
TRIANGLE = features(polygon(3))
PENTAGON = features(polygon(5))
TETRAHEDRON = features([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
# Squares at heights ±1/√3, one turned by 45°: of all antiprisms the one whose mass is the same in every direction.
SQUARE_ANTIPRISM = torch.cat(
    [
        torch.cat([features(polygon(4, turn)) * (2 / 3) ** 0.5, torch.full((4, 1), height)], dim=1)
        for turn, height in [(0, 3**-0.5), (pi / 4, -(3**-0.5))]
    ]
)


def exactly(n) -> dict[str, Any]:
    return {"min_size": n, "max_size": n}


# Small whole numbers: equal, opposite, parallel and zero features all turn up.
matrices = (
    st.tuples(st.integers(1, 6), st.integers(1, 4))
    .flatmap(lambda size: st.lists(st.lists(st.integers(-3, 3), **exactly(size[1])), **exactly(size[0])))
    .filter(lambda rows: any(map(any, rows)))
    .map(features)
)


def effective_number(shares, order):
    """exp of the entropy, or the inverse of the sum of squares, written out."""
    if order == 1:
        return exp(-sum(s * log(s) for s in shares if s > 0))
    return 1 / sum(s * s for s in shares)


@pytest.mark.parametrize(
    "V, dimensionality",
    [(DIGON, 1 / 2), (TRIANGLE, 2 / 3), (TETRAHEDRON, 3 / 4), (PENTAGON, 2 / 5), (SQUARE_ANTIPRISM, 3 / 8)],
    ids=["digon", "triangle", "tetrahedron", "pentagon", "square antiprism"],
)
def test_polytopes_have_the_dimensionality_of_elhage_et_al(V, dimensionality):
    expected = torch.full((len(V),), dimensionality, dtype=torch.float64)
    torch.testing.assert_close(feature_dimensionality(V), expected, rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "V, ratio",
    [(DIGON, 2), (TRIANGLE, 3 / 2), (TETRAHEDRON, 4 / 3), (PENTAGON, 5 / 2), (SQUARE_ANTIPRISM, 8 / 3)],
    ids=["digon", "triangle", "tetrahedron", "pentagon", "square antiprism"],
)
def test_polytopes_put_n_features_in_d_dimensions(V, ratio, order):
    assert superposition_ratio(V, order) == pytest.approx(ratio, rel=ROUNDING)


@pytest.mark.parametrize("order", [1, 2])
@examples
@given(sizes=st.lists(st.floats(0.01, 100), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_orthogonal_features_of_any_sizes_are_not_in_superposition(order, sizes, seed):
    V = torch.diag(features(sizes)) @ random_rotation(len(sizes), seed)
    assert superposition_ratio(V, order) == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(feature_dimensionality(V), torch.ones(len(V), dtype=torch.float64))


@pytest.mark.parametrize("order", [1, 2])
@examples
@given(n=st.integers(1, 5), seed=st.integers(0, 99))
def test_antipodal_pairs_put_two_features_in_each_dimension(order, n, seed):
    axes = random_rotation(n, seed)
    assert superposition_ratio(torch.cat([axes, -axes]), order) == pytest.approx(2, rel=ROUNDING)


@pytest.mark.parametrize("order", [1, 2])
@examples
@given(V=matrices)
def test_no_more_dimensions_are_used_than_features_represented(order, V):
    assert superposition_ratio(V, order) >= 1 - 1e-9


@pytest.mark.parametrize("order", [1, 2])
@examples
@given(V=matrices, scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_the_ratio_knows_neither_the_scale_nor_the_axes(order, V, scale, seed):
    turned = scale * V @ random_rotation(V.shape[1], seed)
    # 1e-9: an eigenvalue 0 may come out as 1e-16, whose s·ln s is 4e-15.
    assert superposition_ratio(turned, order) == pytest.approx(float(superposition_ratio(V, order)), abs=1e-9)


@pytest.mark.parametrize("order", [1, 2])
@examples
@given(V=matrices)
def test_the_ratio_is_that_of_the_diagonal_and_the_spectrum_of_the_features_matrix(order, V):
    between = V @ V.T / (V @ V.T).trace()
    represented = effective_number(between.diagonal().tolist(), order)
    used = effective_number(torch.linalg.eigvalsh(between).tolist(), order)
    assert superposition_ratio(V, order) == pytest.approx(represented / used, abs=1e-9)


@examples
@given(V=matrices)
def test_dimensionality_and_interference_are_those_of_the_sums_over_pairs(V):
    for i, v in enumerate(V):
        squares = [float(v @ other) ** 2 / float(v @ v) if v.any() else float("nan") for other in V]
        mass = float(v @ v)
        assert float(overlaps(V)[i]) == pytest.approx(sum(squares), nan_ok=True)
        others = sum(squares[:i] + squares[i + 1 :]) if v.any() else float("nan")
        assert float(interference(V)[i]) == pytest.approx(others, abs=1e-9, nan_ok=True)
        expected = mass / sum(squares) if v.any() else float("nan")
        assert float(feature_dimensionality(V)[i]) == pytest.approx(expected, nan_ok=True)


@examples
@given(V=matrices)
def test_dimensionalities_are_at_most_1_and_together_at_most_the_rank(V):
    dimensionality = feature_dimensionality(V[V.any(dim=1)])
    assert (dimensionality > 0).all() and (dimensionality <= 1 + ROUNDING).all()
    assert dimensionality.sum() <= torch.linalg.matrix_rank(V) + ROUNDING


def test_a_feature_with_dimensions_of_its_own_suffers_no_interference():
    V = features([[0, 0, 3], [1, 0, 0], [1, 1, 0]])
    assert interference(V)[0] == pytest.approx(0, abs=ROUNDING)
    assert feature_dimensionality(V)[0] == pytest.approx(1, rel=ROUNDING)
    assert interference(V)[1] == pytest.approx(1, rel=ROUNDING)  # (1,1) lies on (1,0) with length 1
    assert interference(V)[2] == pytest.approx(1 / 2, rel=ROUNDING)


def test_a_feature_of_size_zero_has_no_dimensionality_and_adds_nothing_to_the_ratio():
    V = torch.cat([PENTAGON, torch.zeros(1, 2)])
    assert feature_dimensionality(V)[-1].isnan()
    assert interference(V)[-1].isnan()
    assert superposition_ratio(V) == pytest.approx(5 / 2, rel=ROUNDING)


@examples
@given(V=matrices)
def test_the_shares_sum_to_one(V):
    for shares in (feature_shares(V), dimension_shares(V)):
        assert (shares >= 0).all()
        assert shares.sum() == pytest.approx(1, rel=ROUNDING)


def test_the_shares_are_those_of_the_squared_sizes():
    V = features([[3, 0], [0, 1]])
    torch.testing.assert_close(feature_shares(V), features([0.9, 0.1]))
    torch.testing.assert_close(dimension_shares(V), features([0.1, 0.9]))


@examples
@given(V=matrices)
def test_gram_is_the_sum_of_the_outer_products(V):
    assert torch.equal(gram(V), torch.stack([torch.outer(v, v) for v in V]).sum(dim=0))  # whole numbers: exact


@pytest.mark.parametrize("effective", [exp_entropy, participation])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_effective_number_counts_equal_shares_and_ignores_empty_ones(effective, n):
    shares = torch.cat([torch.full((n,), 1 / n), torch.zeros(3)]).double()
    assert effective(shares) == pytest.approx(n, rel=1e-6)  # 1/n is made in float32


@examples
@given(numbers=st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_the_effective_number_of_order_1_is_never_below_that_of_order_2(numbers):
    shares = features(numbers) / sum(numbers)
    assert 1 - ROUNDING <= participation(shares) <= exp_entropy(shares) + ROUNDING
    assert exp_entropy(shares) <= len(numbers) + 1e-9


def test_unit_features_are_n_over_d_to_a_dimension():
    assert features_per_dimension(PENTAGON) == pytest.approx(5 / 2)
    assert features_per_dimension(TETRAHEDRON) == pytest.approx(4 / 3)
    assert features_per_dimension(2 * TETRAHEDRON) == pytest.approx(16 / 3)  # misleads: it grows with the scale


@pytest.mark.parametrize(
    "measure",
    [
        dimension_shares,
        feature_dimensionality,
        feature_shares,
        features_per_dimension,
        gram,
        interference,
        overlaps,
        superposition_ratio,
    ],
)
def test_a_stack_of_matrices_is_measured_one_by_one(measure):
    stack = random_matrix(2, 3, 5, 4)
    one_by_one = torch.stack([torch.stack([measure(V) for V in row]) for row in stack])
    torch.testing.assert_close(measure(stack), one_by_one, rtol=0, atol=ROUNDING)


@examples
@given(V=st.integers(0, 99).map(lambda seed: random_matrix(6, 4, seed=seed)))
def test_feature_dimensionality_is_the_capacity_of_scherlis(V):
    products = (V @ V.T).square()
    torch.testing.assert_close(feature_dimensionality(V), products.diagonal() / products.sum(dim=1))


def test_effective_features_per_dimension_counts_dimensions_that_are_not_used():
    """A pentagon in the plane: 5/2. In four dimensions, two of them empty: 5/4, where the ratio stays 5/2."""
    wide = torch.nn.functional.pad(PENTAGON, (0, 2))
    assert effective_features_per_dimension(PENTAGON).item() == pytest.approx(5 / 2)
    assert effective_features_per_dimension(wide).item() == pytest.approx(5 / 4)
    assert superposition_ratio(wide).item() == pytest.approx(5 / 2)


def test_effective_features_per_dimension_falls_with_features_that_are_dropped_and_the_ratio_does_not():
    """Orthogonal features, of which a network keeps four of sixteen."""
    every, few = torch.eye(16).double(), torch.eye(16).double() * (torch.arange(16) < 4)[:, None]
    assert effective_features_per_dimension(every).item() == pytest.approx(1)
    assert effective_features_per_dimension(few).item() == pytest.approx(4 / 16)
    assert superposition_ratio(every).item() == superposition_ratio(few).item() == pytest.approx(1)


@examples
@given(n=st.integers(1, 9), d=st.integers(1, 9), scale=st.floats(0.01, 100), seed=st.integers(0, 99))
def test_effective_features_per_dimension_is_at_most_the_ratio_whatever_the_scale(n, d, scale, seed):
    V = random_matrix(n, d, seed=seed)
    found = effective_features_per_dimension(V)
    assert 1 / d - ROUNDING <= found <= superposition_ratio(V) + ROUNDING
    assert effective_features_per_dimension(scale * V).item() == pytest.approx(found.item())


@pytest.mark.parametrize("p", [7, 8, 53])
def test_the_phase_free_ratio_knows_no_phase_and_the_plain_one_does(p):
    """Every frequency's cosine and sine turned by an angle of its own; of even p the last wave has no sine."""
    V, generator = wave_directions(random_matrix(p, 5)), torch.Generator().manual_seed(1)
    angle = 2 * pi * torch.rand((p - 1) // 2, generator=generator, dtype=torch.float64)
    turns = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).unflatten(1, (2, 2))
    pairs = V[: 2 * len(angle)].unflatten(0, (-1, 2))
    turned = torch.cat([(turns @ pairs).flatten(0, 1), V[2 * len(angle) :]])

    def phase_free(V):
        return (exp_entropy(phase_free_shares(feature_shares(V))) / exp_entropy(dimension_shares(V))).item()

    assert phase_free(turned) == pytest.approx(phase_free(V), rel=1e-9)
    assert abs(superposition_ratio(turned) - superposition_ratio(V)).item() > 1e-3
    assert phase_free(V) >= max(superposition_ratio(each).item() for each in (V, turned))


@examples
@given(waves=st.integers(1, 12), seed=st.integers(0, 99))
def test_phase_free_shares_keep_each_frequencys_share(waves, seed):
    shares = feature_shares(random_matrix(waves, 3, seed=seed))
    even = phase_free_shares(shares)
    pairs = shares[: waves // 2 * 2].unflatten(0, (-1, 2)).sum(dim=1)
    torch.testing.assert_close(even[: waves // 2 * 2], (pairs / 2).repeat_interleave(2), rtol=0, atol=ROUNDING)
    assert torch.equal(even[waves // 2 * 2 :], shares[waves // 2 * 2 :])
