import re
from collections import Counter
from itertools import product
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.maths import groups

NAMED = ("C2", "C7", "C12", "D2", "D3", "D7", "D8", "S2", "S3", "S4", "S5", "A3", "A4", "A5", "Q8", "S3xC4", "C2xC2xC2")
examples = settings(max_examples=30, deadline=None, derandomize=True)


def relabelled(table, seed=0):
    """The same group with other numbers: new[i] is the new number of element i."""
    new = np.random.default_rng(seed).permutation(len(table))
    found = np.empty_like(table)
    found[np.ix_(new, new)] = new[table]
    return found, new


@pytest.mark.parametrize("name", NAMED)
def test_a_named_group_is_a_group_of_its_order_with_the_identity_first(name):
    table = groups.named_group(name)
    groups.check_table(table)
    assert len(table) == groups.order(name)
    assert groups.identity(table) == 0


@pytest.mark.parametrize("name", NAMED)
def test_all_three_ways_to_bracket_agree(name):
    """What Light's test on generators is short for."""
    table = groups.named_group(name)
    np.testing.assert_array_equal(table[table], table[:, table])  # (x·y)·z and x·(y·z) at [x, y, z]


def test_in_a_product_of_permutations_the_second_acts_first():
    rows, table = groups.permutations(4), groups.symmetric(4)
    for x, y in product(range(24), repeat=2):
        assert [rows[x][rows[y][i]] for i in range(4)] == rows[table[x, y]].tolist()


def test_even_permutations_are_half_of_all_and_closed():
    rows = groups.permutations(5)
    evens = np.flatnonzero(groups.parity(rows) == 0)
    assert len(evens) == factorial(5) // 2
    np.testing.assert_array_equal(evens[groups.alternating(5)], groups.symmetric(5)[np.ix_(evens, evens)])


@pytest.mark.parametrize("n", [3, 4, 7])
def test_turning_and_flipping_an_n_gon_is_the_dihedral_group(n):
    """Corners k → s·k + t, t a turn and s = ±1; rᵗ is element t, rᵗf element n + t."""
    corners = np.arange(n)
    moves = np.array([(s * corners + t) % n for s in (1, -1) for t in range(n)])
    table = groups.dihedral(n)
    for x, y in product(range(2 * n), repeat=2):
        assert moves[x][moves[y]].tolist() == moves[table[x, y]].tolist()


def test_in_the_quaternions_i_times_j_is_k_and_squares_are_minus_one():
    table = groups.quaternion()
    one, minus, i, j, k = 0, 1, 2, 4, 6
    assert [table[i, j], table[j, k], table[k, i]] == [k, i, j]
    assert [table[j, i], table[k, j], table[i, k]] == [k + 1, i + 1, j + 1]
    assert [table[x, x] for x in (i, j, k, i + 1)] == [minus] * 4
    assert table[minus, minus] == one


def test_a_direct_product_multiplies_part_by_part():
    table, three, two = groups.named_group("S3xC2"), groups.symmetric(3), groups.cyclic(2)
    for (a, b), (c, d) in product(product(range(6), range(2)), repeat=2):
        assert table[2 * a + b, 2 * c + d] == 2 * three[a, c] + two[b, d]


def broken(x, y, value, table=None):
    table = groups.cyclic(5).copy() if table is None else table.copy()
    table[x, y] = value
    return table


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (np.zeros((2, 3), dtype=int), r"shape \(2, 3\) is not square"),
        (np.zeros(4, dtype=int), "not square"),
        (broken(1, 2, 5), r"not closed: 1·2 is 5, which is none of 0 … 4"),
        (broken(1, 2, -1), r"not closed: 1·2 is -1"),
        (np.array([[1, 0], [1, 0]]), "no identity"),
        (np.array([[0, 1], [1, 1]]), r"no inverse: no y has 1·y = 0 = y·1"),
    ],
    ids=lambda value: "" if isinstance(value, np.ndarray) else value[:12],
)
def test_the_axiom_that_a_table_breaks_is_named_with_its_elements(table, words):
    with pytest.raises(ValueError, match=words):
        groups.check_table(table)


@pytest.mark.parametrize("name", ["C6", "S3", "S5", "Q8"])
def test_a_table_that_is_wrong_in_one_place_is_no_group(name):
    table = groups.named_group(name)
    x, y = np.argwhere((table != 0) & (np.arange(len(table)) != 0))[-1]
    other = table[x, y] % (len(table) - 1) + 1  # neither what it was nor the identity
    with pytest.raises(ValueError, match=r"^(no inverse|not associative): "):
        groups.check_table(broken(x, y, other, table))


def test_the_elements_that_do_not_associate_are_those_that_are_named():
    table = broken(1, 2, 4)  # 1 + 2 is 4 here
    with pytest.raises(ValueError, match="not associative") as error:
        groups.check_table(table)
    x, g, y, left, right = map(int, re.findall(r"\d+", str(error.value))[:3] + re.findall(r"is (\d)", str(error.value)))
    assert table[table[x, g], y] == left != right == table[x, table[g, y]]


@examples
@given(seed=st.integers(0, 999), name=st.sampled_from(["D4", "S4", "Q8", "A4"]))
def test_what_is_said_of_a_group_does_not_depend_on_its_numbers(seed, name):
    table = groups.named_group(name)
    other, new = relabelled(table, seed)
    groups.check_table(other)
    assert groups.identity(other) == new[0]
    np.testing.assert_array_equal(groups.inverses(other)[new], new[groups.inverses(table)])
    assert sorted(np.bincount(groups.conjugacy_classes(other))) == sorted(np.bincount(groups.conjugacy_classes(table)))
    described = [[(every[0].sum(), len(every)) for every in groups.subgroup_classes(t)[0]] for t in (table, other)]
    assert sorted(described[0]) == sorted(described[1])


@pytest.mark.parametrize("name", NAMED)
def test_generators_generate_all_and_are_few(name):
    table = groups.named_group(name)
    found = groups.generators(table)
    assert len(groups.generated(table, found)) == len(table)
    assert 2 ** len(found) <= len(table)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("S4", [1, 6, 3, 8, 6]),
        ("S5", [1, 10, 15, 20, 20, 24, 30]),
        ("A5", [1, 15, 20, 12, 12]),
        ("Q8", [1, 1, 2, 2, 2]),
    ],
)
def test_classes_have_their_known_sizes(name, sizes):
    assert sorted(np.bincount(groups.conjugacy_classes(groups.named_group(name)))) == sorted(sizes)


def test_permutations_are_conjugate_when_their_cycles_are_as_long():
    rows, classes = groups.permutations(4), groups.conjugacy_classes(groups.symmetric(4))

    def cycles(row):
        left, found = set(range(4)), []
        while left:
            x, length = left.pop(), 1
            while (x := int(row[x])) in left:
                left.remove(x)
                length += 1
            found.append(length)
        return tuple(sorted(found))

    kinds = [cycles(row) for row in rows]
    assert all((classes[x] == classes[y]) == (kinds[x] == kinds[y]) for x in range(24) for y in range(24))


@pytest.mark.parametrize(
    ("name", "classes", "subgroups"),
    [
        ("C12", 6, 6),
        ("C13", 2, 2),
        ("S3", 4, 6),
        ("Q8", 6, 6),
        ("D4", 8, 10),
        ("S4", 11, 30),
        ("A5", 9, 59),
        ("S5", 19, 156),
    ],
)
def test_subgroups_are_as_many_as_is_known(name, classes, subgroups):
    found, few = groups.subgroup_classes(groups.named_group(name))
    assert (len(found), sum(map(len, found)), few) == (classes, subgroups, 2)


def test_a_subgroup_is_closed_and_its_class_is_its_conjugates():
    table = groups.named_group("S4")
    conjugate = groups.conjugates(table)
    for every in groups.subgroup_classes(table)[0]:
        for mask in every:
            members = np.flatnonzero(mask)
            assert mask[table[np.ix_(members, members)]].all()
            moved = {tuple(sorted(conjugate[g, members])) for g in range(24)}
            assert moved == {tuple(np.flatnonzero(other)) for other in every}


def test_three_generators_are_needed_for_a_cube_of_c2_and_one_is_all_where_pairs_are_many():
    table = groups.named_group("C2xC2xC2xC2")
    two, few = groups.subgroup_classes(table)
    assert few == 2
    assert [int(every.sum(axis=1)[0]) for every in two] == [1] + [2] * 15 + [4] * 35 + [16]  # none of the 15 of order 8
    one, fewer = groups.subgroup_classes(table, most_pairs=10)
    assert fewer == 1
    assert [int(every[0].sum()) for every in one] == [1] + [2] * 15 + [16]


@pytest.mark.parametrize("side", ["left", "right"])
def test_cosets_are_as_large_as_the_subgroup_and_are_what_is_reached_from_one_element(side):
    table = groups.named_group("S4")
    for every in groups.subgroup_classes(table)[0]:
        members = np.flatnonzero(every[0])
        found = groups.cosets(table, members, side)
        assert (np.bincount(found) == len(members)).all()
        for x in range(24):
            reached = table[x, members] if side == "left" else table[members, x]
            assert set(np.flatnonzero(found == found[x])) == set(reached)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("X5", "should be C, D, S or A with a number"),
        ("S", "should be C, D, S or A with a number"),
        ("s5", "should be C, D, S or A with a number"),
        ("Q16", "should be C, D, S or A with a number"),
        ("S3x", "should be C, D, S or A with a number"),
        ("C1", "from 2 up behind C"),
        ("A2", "from 3 up behind A"),
        ("C2000", "at most 1,024 elements"),
        ("S9999", "at most 1,024 elements"),
        ("S5xS4", "at most 1,024 elements"),
    ],
)
def test_a_name_of_no_group_says_what_would_be_one(name, words):
    with pytest.raises(ValueError, match=words):
        groups.named_group(name)


def test_orders_of_elements_divide_that_of_the_group_and_their_powers_are_the_identity():
    table = groups.named_group("S4")
    orders = groups.orders(table)
    assert sorted(Counter(orders.tolist()).items()) == [(1, 1), (2, 9), (3, 8), (4, 6)]


@pytest.mark.parametrize(
    ("name", "cyclic", "dihedral", "signs"),
    [
        ("C7", True, False, False), ("C8", True, False, True), ("C2xC3", True, False, True), ("C2xC2", False, False, False),
        ("D4", False, True, False), ("D5", False, True, True), ("S3", False, True, True), ("S4", False, False, True),
        ("A4", False, False, False), ("Q8", False, False, False), ("C4xC2", False, False, False),
    ],
)  # fmt: skip
def test_cyclic_and_dihedral_groups_and_those_with_one_sign_are_known_by_their_tables(name, cyclic, dihedral, signs):
    table = groups.named_group(name)
    assert (groups.cyclic_generator(table) is not None) == cyclic
    assert (groups.dihedral_generators(table) is not None) == dihedral
    sign = groups.only_sign(table)
    assert (sign is not None) == signs
    if sign is not None:
        assert (sign[table] == sign[:, None] * sign).all()
        assert set(sign.tolist()) == {1, -1}
