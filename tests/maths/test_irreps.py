import math
import time

import numpy as np
import pytest
import torch

from interp.maths import fourier, groups
from interp.maths.irreps import distinct, real_irreps

ROUNDING = 1e-10  # sums of at most some thousand float64 products of order 1
NAMED = ("C2", "C7", "C12", "D2", "D5", "D6", "S3", "S4", "S5", "A4", "A5", "Q8", "S3xC4", "Q8xC3")


def of(name):
    return real_irreps(groups.named_group(name), name)


def entries(irreps, name):
    """The entries of ρ as functions on the group, [n, d²]."""
    return irreps.matrices(name).flatten(1)


@pytest.mark.parametrize("name", NAMED)
def test_rows_are_orthonormal_and_squares_of_dimensions_add_up_to_the_order(name):
    irreps = of(name)
    n = len(irreps.table)
    torch.testing.assert_close(irreps.basis @ irreps.basis.mT, torch.eye(n).double(), rtol=0, atol=ROUNDING)
    share = {"real": 1, "complex": 2, "quaternionic": 4}
    rows = [d * d // share[kind] for d, kind in zip(irreps.dimensions, irreps.divisions, strict=True)]
    assert torch.bincount(irreps.of_row).tolist() == rows
    assert sum(rows) == n


@pytest.mark.parametrize("name", NAMED)
def test_there_are_as_many_complex_irreps_as_classes(name):
    irreps = of(name)
    complex_ones = sum({"real": 1, "complex": 2, "quaternionic": 1}[kind] for kind in irreps.divisions)
    assert complex_ones == groups.conjugacy_classes(irreps.table).max() + 1


@pytest.mark.parametrize("name", NAMED)
def test_characters_are_orthogonal_traces_and_the_basis_is_that_of_the_entries(name):
    irreps = of(name)
    n = len(irreps.table)
    norm = {"real": 1.0, "complex": 2.0, "quaternionic": 4.0}
    expected = torch.diag(torch.tensor([norm[kind] for kind in irreps.divisions])).double()
    torch.testing.assert_close(irreps.characters @ irreps.characters.mT / n, expected, rtol=0, atol=ROUNDING)
    for i, which in enumerate(irreps.names):
        trace = irreps.matrices(which).diagonal(dim1=1, dim2=2).sum(dim=1)
        torch.testing.assert_close(trace, irreps.characters[i], rtol=0, atol=ROUNDING)
        outside = irreps.basis[irreps.of_row != i] @ entries(irreps, which)
        assert outside.abs().amax() < ROUNDING if len(outside) else True


@pytest.mark.parametrize("name", NAMED)
def test_an_irrep_is_an_orthogonal_homomorphism(name):
    irreps = of(name)
    table = torch.from_numpy(irreps.table)
    for which, d in zip(irreps.names, irreps.dimensions, strict=True):
        rho = irreps.matrices(which)
        assert rho.shape == (len(table), d, d)
        products = torch.einsum("xij, yjk -> xyik", rho, rho)
        torch.testing.assert_close(rho[table], products, rtol=0, atol=ROUNDING)
        torch.testing.assert_close(rho @ rho.mT, torch.eye(d).double().expand_as(rho), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", NAMED)
def test_the_frobenius_schur_indicator_tells_the_same_division(name):
    """Mean of χ(g²): 1 for a real irrep, 0 for a complex pair, −2 for a quaternionic one."""
    irreps = of(name)
    squares = torch.from_numpy(irreps.table.diagonal().copy())
    indicator = irreps.characters[:, squares].mean(dim=1)
    expected = [{"real": 1.0, "complex": 0.0, "quaternionic": -2.0}[kind] for kind in irreps.divisions]
    torch.testing.assert_close(indicator, torch.tensor(expected).double(), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("n", [2, 3, 8, 11, 12, 113])
def test_the_irreps_of_a_cyclic_group_span_the_waves_of_its_frequencies(n):
    irreps = of(f"C{n}")
    assert irreps.names == ("trivial", *(f"k={k}" for k in range(1, n // 2 + 1)))
    assert irreps.of_row.tolist() == [(i + 1) // 2 for i in range(n)]
    waves = fourier.real_fourier_basis(n)
    overlap = irreps.by_irrep(irreps.by_irrep((irreps.basis @ waves.mT).square()).mT)
    torch.testing.assert_close(overlap, torch.diag(torch.bincount(irreps.of_row).double()), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    ("group", "names", "dimensions"),
    [
        ("S3", "trivial sign standard", [1, 1, 2]),
        ("S4", "trivial sign 2d standard sign⊗standard", [1, 1, 2, 3, 3]),
        ("S5", "trivial sign standard sign⊗standard 5d_a 5d_b 6d", [1, 1, 4, 4, 5, 5, 6]),
        ("A4", "trivial 2d standard", [1, 2, 3]),
        ("A5", "trivial 3d_a 3d_b standard 5d", [1, 3, 3, 4, 5]),
        ("D5", "trivial|sign|k=1|k=2", [1, 1, 2, 2]),
        ("D6", "trivial|sign|sign r|sign r⊗sign|k=1|k=2", [1, 1, 1, 1, 2, 2]),
        ("C2xC2", "trivial|trivial × k=1|k=1 × trivial|k=1 × k=1", [1, 1, 1, 1]),
        ("C3xC3", "trivial|trivial × k=1|k=1 × trivial|k=1 × k=1_a|k=1 × k=1_b", [1, 2, 2, 2, 2]),
        (
            "S3xC2",
            "trivial|sign × trivial|standard × trivial|trivial × k=1|sign × k=1|standard × k=1",
            [1, 1, 1, 1, 2, 2],
        ),
        ("Q8", "trivial 1d_a 1d_b 1d_c 4d", [1, 1, 1, 1, 4]),
    ],
)
def test_irreps_have_their_known_dimensions_and_usual_names(group, names, dimensions):
    irreps = of(group)
    assert sorted(irreps.names) == sorted(names.split("|" if "|" in names else None))
    assert sorted(irreps.dimensions) == dimensions
    assert irreps.names[0] == "trivial"


def test_the_irreps_of_permutations_are_called_by_what_they_do_to_points():
    irreps, rows = of("S5"), groups.permutations(5)
    fixed = torch.from_numpy((rows == np.arange(5)).sum(axis=1)).double()
    sign = torch.from_numpy(1.0 - 2.0 * groups.parity(rows))
    character = dict(zip(irreps.names, irreps.characters, strict=True))
    torch.testing.assert_close(character["sign"], sign)
    torch.testing.assert_close(character["standard"], fixed - 1)
    torch.testing.assert_close(character["sign⊗standard"], (fixed - 1) * sign)
    torch.testing.assert_close(character["5d_b"], character["5d_a"] * sign)


@pytest.mark.parametrize("name", ["C7", "C12", "D5", "D8", "S3"])
def test_a_table_that_is_cyclic_or_dihedral_is_named_by_the_characters_of_its_generators(name):
    """Whatever the numbers of its elements: χ is d·cos(2πk/m) at a generator, or at a rotation that generates half of it."""
    table = groups.named_group(name)
    new = np.random.default_rng(2).permutation(len(table))
    other = np.empty_like(table)
    other[np.ix_(new, new)] = new[table]
    irreps = real_irreps(other)
    turn, m = groups.cyclic_generator(other), len(table)
    if (both := groups.dihedral_generators(other)) is not None:
        turn, m = both[0], len(table) // 2
    frequencies = m // 2 if name[0] == "C" else (m - 1) // 2
    assert {each for each in irreps.names if "=" in each} == {f"k={k}" for k in range(1, frequencies + 1)}
    for each, character, d in zip(irreps.names, irreps.characters, irreps.dimensions, strict=True):
        if each.startswith("k="):
            expected = d * math.cos(2 * math.pi * int(each[2:]) / m)
            assert character[turn].item() == pytest.approx(expected, abs=ROUNDING)
    assert not [each for each in irreps.names if each.endswith("d") or "_" in each]


@pytest.mark.parametrize("name", ["S4", "S5"])
def test_a_table_with_one_homomorphism_onto_signs_has_a_sign(name):
    irreps = real_irreps(groups.named_group(name))
    sign = torch.from_numpy(1.0 - 2.0 * groups.parity(groups.permutations(int(name[1]))))
    torch.testing.assert_close(irreps.characters[irreps.names.index("sign")], sign)
    assert "sign" not in real_irreps(groups.quaternion()).names  # which has three


def test_the_irreps_of_a_product_are_products_of_characters():
    irreps, first, second = of("S3xC4"), of("S3"), of("C4")
    for name, character in zip(irreps.names[1:], irreps.characters[1:], strict=True):
        one, other = name.split(" × ")
        product = torch.outer(first.characters[first.names.index(one)], second.characters[second.names.index(other)])
        torch.testing.assert_close(character, product.flatten())


def test_the_quaternions_have_one_quaternionic_irrep_of_four_functions():
    irreps = of("Q8")
    assert irreps.divisions == ("real", "real", "real", "real", "quaternionic")
    assert torch.bincount(irreps.of_row).tolist() == [1, 1, 1, 1, 4]


def test_names_that_come_again_have_letters_and_there_are_enough():
    assert distinct(["5d", "6d", "5d"]) == ("5d_a", "6d", "5d_b")
    many = distinct(["2d"] * 500)
    assert many[:2] == ("2d_a", "2d_b")
    assert len(set(many)) == 500


def test_the_irreps_of_720_permutations_take_seconds():
    began = time.monotonic()
    irreps = of("S6")
    assert time.monotonic() - began < 10  # 0.3 s on one core
    assert sorted(irreps.dimensions) == [1, 1, 5, 5, 5, 5, 9, 9, 10, 10, 16]


def test_the_same_table_gives_the_same_basis():
    assert torch.equal(of("S4").basis, of("S4").basis)
