import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from interp.base import UserError
from interp.maths.residues import inverses, is_prime, next_prime, powers_of_generator
from interp.tasks import OPERATIONS, ModularTask

PRIMES = (3, 5, 7, 11, 13)
COMPOSITES = (4, 6, 8, 9, 15, 16)
POWERS_OF_TWO = (4, 8, 16)
examples = settings(max_examples=40, deadline=None, derandomize=True)


def quotient(x, y, p):
    """The one z with z·y = x, found by trying all."""
    (z,) = (z for z in range(p) if z * y % p == x)
    return z


SLOW = {
    "add": lambda x, y, p: (x + y) % p,
    "subtract": lambda x, y, p: (x - y) % p,
    "multiply": lambda x, y, p: x * y % p,
    "divide": quotient,
    "divide_if_odd": lambda x, y, p: quotient(x, y, p) if y % 2 else (x - y) % p,
    "x2_y2": lambda x, y, p: (x**2 + y**2) % p,
    "x2_xy_y2": lambda x, y, p: (x**2 + x * y + y**2) % p,
    "x2_xy_y2_x": lambda x, y, p: (x**2 + x * y + y**2 + x) % p,
    "x3_xy": lambda x, y, p: (x**3 + x * y) % p,
    "x3_xy2_y": lambda x, y, p: (x**3 + x * y**2 + y) % p,
    "add_mod_p_minus_1": lambda x, y, p: (x + y) % (p - 1),
}
MODULI = {"divide": PRIMES, "divide_if_odd": PRIMES + POWERS_OF_TWO}
DEFINED = {"divide": lambda x, y, p: y != 0, "add_mod_p_minus_1": lambda x, y, p: p - 1 not in (x, y)}


def test_every_operation_has_a_slow_reference_here_but_the_random_table():
    assert set(SLOW) | {"random"} == set(OPERATIONS)


@pytest.mark.parametrize(
    "operation, p", [(operation, p) for operation in SLOW for p in MODULI.get(operation, PRIMES + COMPOSITES)]
)
def test_the_table_is_that_of_whole_number_arithmetic(operation, p):
    defined = DEFINED.get(operation, lambda x, y, p: True)
    expected = [(x, y, SLOW[operation](x, y, p)) for x in range(p) for y in range(p) if defined(x, y, p)]
    table = ModularTask(p=p, operation=operation, prompt="ab").table()
    found = np.column_stack([table.inputs, table.targets])
    assert found.tolist() == [list(row) for row in expected]


@pytest.mark.parametrize("operation", sorted(set(SLOW) - {"divide", "divide_if_odd"}))
def test_the_largest_modulus_does_not_overflow(operation):
    x = y = np.array([4094])
    assert OPERATIONS[operation].answer(x, y, 4096).tolist() == [SLOW[operation](4094, 4094, 4096)]


@pytest.mark.parametrize("p", PRIMES)
def test_a_quotient_times_its_divisor_is_the_dividend_and_nothing_is_divided_by_0(p):
    table = ModularTask(p=p, operation="divide").table()
    x, y = table.inputs[:, 0], table.inputs[:, 1]
    assert (table.targets * y % p == x).all()
    assert 0 not in y
    assert len(table) == p * (p - 1)


@pytest.mark.parametrize("operation", ["divide", "divide_if_odd"])
@pytest.mark.parametrize("p, prime", [(6, 7), (9, 11), (15, 17), (111, 113)])
def test_division_by_a_composite_modulus_names_a_prime_to_take(operation, p, prime):
    with pytest.raises(UserError, match=rf'task.operation "{operation}" .* modulo {p}; .* task.p such as {prime}$'):
        ModularTask(p=p, operation=operation)
    ModularTask(p=prime, operation=operation)


@pytest.mark.parametrize("p", POWERS_OF_TWO)
def test_odd_numbers_divide_modulo_a_power_of_two_and_even_ones_do_not(p):
    assert len(ModularTask(p=p, operation="divide_if_odd").table()) == p * p
    with pytest.raises(UserError, match="divides by 2, which has no inverse"):
        ModularTask(p=p, operation="divide")


def test_the_tables_have_the_published_sizes():
    assert ModularTask(p=97).n_prompts == len(ModularTask(p=97).table()) == 9_409
    assert ModularTask(p=97, operation="divide").n_prompts == 9_312
    assert ModularTask(p=113).n_prompts == 12_769


@pytest.mark.parametrize("prompt, row", [("ab=", [2, 3, 5]), ("ab", [2, 3]), ("aob=", [2, 6, 3, 5])])
def test_a_prompt_is_its_numbers_then_the_signs_behind_them(prompt, row):
    task = ModularTask(p=5, prompt=prompt)
    assert task.table().inputs[2 * 5 + 3].tolist() == row
    assert task.table().targets[2 * 5 + 3] == 0


@pytest.mark.parametrize("prompt, row", [("ab=", [2, 8, 10]), ("ab", [2, 8]), ("aob=", [2, 11, 8, 10])])
def test_a_second_operand_with_tokens_of_its_own_has_them_behind_those_of_the_first(prompt, row):
    task = ModularTask(p=5, prompt=prompt, operands="separate")
    table, shared = task.table(), task.but(operands="shared").table()
    assert table.inputs[2 * 5 + 3].tolist() == row
    assert (table.targets == shared.targets).all()
    a, b = table.inputs[:, 0], table.inputs[:, prompt.index("b")]
    assert (a == shared.inputs[:, 0]).all() and (b - 5 == shared.inputs[:, prompt.index("b")]).all()
    assert task.shape.tokens.d_vocab == 2 * 5 + len(set(prompt) - {"a", "b"})


@pytest.mark.parametrize(
    "fields, d_vocab, d_vocab_out",
    [
        ({}, 114, 113),
        ({"answers": "tokens"}, 114, 114),  # Nanda et al. (2023), released weights
        ({"answers": "tokens", "prompt": "aob=", "p": 97}, 99, 99),  # Power et al. (2022)
        ({"answers": "tokens", "prompt": "ab", "p": 59}, 59, 59),  # Zhong et al. (2023), and with diff_vocab, eqn_sign:
        ({"answers": "tokens", "prompt": "ab", "p": 59, "operands": "separate"}, 118, 118),
        ({"answers": "tokens", "p": 59, "operands": "separate"}, 119, 119),
        ({"p": 59, "operands": "separate"}, 119, 59),
    ],
    ids=str,
)
def test_tokens_and_logits_are_as_many_as_in_the_papers(fields, d_vocab, d_vocab_out):
    shape = ModularTask(**fields).shape
    assert (shape.tokens.d_vocab, shape.outputs.n) == (d_vocab, d_vocab_out)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("prompt", ["ab=", "ab", "aob="])
def test_a_model_of_the_tasks_shape_has_room_for_every_token_and_answer(operation, prompt):
    task = ModularTask(p=7, operation=operation, prompt=prompt)
    table, shape = task.table(), task.shape
    assert table.inputs.shape == (task.n_prompts, shape.tokens.n_ctx)
    assert table.inputs.min() == 0 and table.inputs.max() < shape.tokens.d_vocab
    assert table.targets.min() == 0 and table.targets.max() < shape.outputs.n
    assert shape.tokens.d_vocab == 7 + len(set(prompt) - {"a", "b"})  # every sign has its one token


def test_the_same_seed_gives_the_same_random_table_and_another_seed_another():
    answers = [ModularTask(p=7, operation="random", table_seed=seed).table().targets for seed in (0, 0, 1)]
    assert (answers[0] == answers[1]).all()
    assert (answers[0] != answers[2]).any()


def test_a_random_table_has_every_answer_about_equally_often():
    p = 31
    targets = ModularTask(p=p, operation="random").table().targets
    assert len(targets) == p * p
    # Each of 31 answers is expected 31 times with standard deviation 5.5; five of them away is one table in 50,000.
    counts = np.bincount(targets, minlength=p)
    assert len(counts) == p and (abs(counts - p) < 5 * p**0.5).all()


def test_random_answers_do_not_follow_from_those_beside_them():
    task = ModularTask(p=31, operation="random")
    grid = task.table().targets.reshape(31, 31)
    # A draw repeats its neighbour once in 31: 30 times in 930 with standard deviation 5.4.
    assert (grid[1:] == grid[:-1]).sum() < 60
    assert (grid == grid.T).sum() < 31 + 60


HOMOMORPHISMS = [
    ("add", lambda i, j: i + j),
    ("subtract", lambda i, j: i - j),
    ("multiply", lambda i, j: i + j),
    ("divide", lambda i, j: i - j),
    ("add_mod_p_minus_1", lambda i, j: i + j),
]


@pytest.mark.parametrize("p", PRIMES)
@pytest.mark.parametrize("operation, combined", HOMOMORPHISMS, ids=[name for name, _ in HOMOMORPHISMS])
def test_in_the_order_of_the_residues_the_operation_is_a_sum_of_places(operation, combined, p):
    task = ModularTask(p=p, operation=operation, prompt="ab")
    residues = task.residues().tolist()
    place = {residue: i for i, residue in enumerate(residues)}
    table = task.table()
    compared = 0
    for (x, y), z in zip(table.inputs.tolist(), table.targets.tolist(), strict=True):
        if x in place and y in place:
            assert place[z] == combined(place[x], place[y]) % len(residues)
            compared += 1
    assert compared == len(residues) ** 2


@pytest.mark.parametrize("operation", ["multiply", "divide"])
def test_zero_has_no_logarithm(operation):
    residues = ModularTask(p=11, operation=operation).residues()
    assert sorted(residues.tolist()) == list(range(1, 11))


def test_a_composite_modulus_has_no_generator_and_keeps_the_order_of_the_values():
    assert ModularTask(p=8, operation="multiply").residues().tolist() == list(range(8))


@pytest.mark.parametrize("operation", ["add", "divide_if_odd", "x2_y2", "x3_xy", "random"])
def test_other_operations_keep_the_order_of_the_values(operation):
    assert ModularTask(p=7, operation=operation).residues().tolist() == list(range(7))


def test_the_smallest_generator_is_taken():
    assert powers_of_generator(7).tolist() == [1, 3, 2, 6, 4, 5]  # 2 has order 3
    assert powers_of_generator(3).tolist() == [1, 2]


@examples
@given(p=st.integers(2, 60))
def test_an_inverse_times_its_number_is_1_and_numbers_that_share_a_factor_have_none(p):
    for y, z in enumerate(inverses(p)):
        possible = [other for other in range(p) if other * y % p == 1]
        assert [z] == possible or (z == 0 and not possible)


@examples
@given(n=st.integers(1, 3000))
def test_the_next_prime_is_the_first_number_above_without_divisors(n):
    found = next_prime(n)
    assert found > n and is_prime(found)
    assert not any(is_prime(between) for between in range(n + 1, found))


def test_the_primes_below_30_are_known():
    assert [n for n in range(30) if is_prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]


@pytest.mark.parametrize(
    "task",
    [
        ModularTask(),
        ModularTask(p=97, operation="divide", prompt="aob=", train_fraction=0.5),
        ModularTask(p=8, operation="divide_if_odd", prompt="ab", train_fraction=1 / 3),
        ModularTask(p=7, operation="random", table_seed=12),
        ModularTask(p=7, operation="subtract", operands="separate", answers="tokens"),
    ],
    ids=lambda task: task.operation,
)
def test_a_task_comes_back_from_json_unchanged(task):
    assert ModularTask.model_validate_json(task.model_dump_json()) == task
    assert ModularTask(**json.loads(task.model_dump_json())) == task


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"modulus": 7}, ["task.modulus", "not a known field"]),
        ({"train_fraction": 1.5}, ["task.train_fraction", "1.5", "less than 1"]),
        ({"train_fraction": 0.0}, ["task.train_fraction", "0.0", "greater than 0"]),
        ({"p": 5, "train_fraction": 0.01}, ["task.train_fraction", "0.01", "25 prompts"]),
        ({"p": 2}, ["task.p", "2", "greater than or equal to 3"]),
        ({"p": 5000}, ["task.p", "5000", "less than or equal to 1024"]),
        ({"p": "many"}, ["task.p", "many"]),
        ({"operation": "divid"}, ["task.operation", "divid", 'did you mean "divide"?']),
        ({"prompt": "xyz"}, ["task.prompt", "xyz", "ab=", "aob="]),
        ({"answers": "residue"}, ["task.answers", "residue", 'did you mean "residues"?']),
        ({"operands": "apart"}, ["task.operands", "apart", 'did you mean "separate"?']),
        ({"table_seed": -1}, ["task.table_seed", "-1"]),
    ],
    ids=lambda fields: "-".join(fields) if isinstance(fields, dict) else "",
)
def test_what_is_not_allowed_is_named_with_its_value(fields, words):
    with pytest.raises(UserError) as error:
        ModularTask(**fields)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("p", [3, 5, 7, 11, 59, 97, 113])
def test_the_fraction_that_is_recommended_leaves_something_to_train_on(p):
    with pytest.raises(UserError, match="take at least") as error:
        ModularTask(p=p, train_fraction=1e-9)
    recommended = float(str(error.value).rsplit(" ", 1)[1])
    assert len(ModularTask(p=p, train_fraction=recommended).split(0).train) >= 1


def test_a_task_cannot_be_changed_but_copied_with_a_change():
    task = ModularTask(p=97)
    with pytest.raises(ValidationError, match="frozen"):
        task.p = 5
    assert task.but(operation="divide") == ModularTask(p=97, operation="divide")
    with pytest.raises(UserError, match="take a prime"):
        task.but(operation="divide", p=9)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_pair_is_mirrored_where_the_operation_is_symmetric_and_nowhere_else(operation):
    task = ModularTask(p=7, operation=operation)
    pairs = list(zip(*(column.tolist() for column in task.pairs()), strict=True))
    answers = dict(zip(pairs, task.table().targets.tolist(), strict=True))
    symmetric = all(answers[pair] == answers[pair[::-1]] for pair in pairs if pair[::-1] in answers)
    assert symmetric == (operation in ("add", "multiply", "x2_y2", "x2_xy_y2", "add_mod_p_minus_1"))
    mirrored = task.mirrored()
    assert (mirrored is not None) == symmetric
    if mirrored is not None:
        assert [pairs[row] for row in mirrored] == [(y, x) for x, y in pairs]


def test_a_pair_whose_mirror_has_no_answer_has_no_mirror():
    task = ModularTask(p=3, operation="0 1 -; 1 - -; 2 0 1")  # no answer to (0, 2), (1, 1) and (1, 2)
    mirrored = task.mirrored()
    assert mirrored is not None
    assert mirrored.tolist() == [0, 2, 1, -1, -1, 5]
    assert ModularTask(p=3, operation="0 1 -; 2 - -; 2 0 1").mirrored() is None
