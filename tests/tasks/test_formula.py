"""interp/tasks/formula.py: a formula is the arithmetic that it says, on the residues, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.base import UserError
from interp.config import RunConfig
from interp.models.network import initial_weights
from interp.store import open_run
from interp.store.writer import RunWriter
from interp.tasks import OPERATIONS, ModularTask, formula

PRIMES = (3, 5, 7, 11, 13)
NAMED = {
    "add": "x + y",
    "subtract": "x - y",
    "multiply": "x*y",
    "divide": "x/y",
    "x2_y2": "x**2 + y**2",
    "x2_xy_y2": "x**2 + x*y + y**2",
    "x2_xy_y2_x": "x**2 + x*y + y**2 + x",
    "x3_xy": "x**3 + x*y",
    "x3_xy2_y": "x**3 + x*y**2 + y",
}
"""Formulas of the operations that have one."""


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("p", [4, 7, 97])
def test_a_formula_is_the_operation_of_that_name(name, p):
    if name == "divide" and p == 4:
        return
    named, ours = ModularTask(p=p, operation=name), ModularTask(p=p, operation=NAMED[name])
    assert (named.table().inputs == ours.table().inputs).all()
    assert (named.table().targets == ours.table().targets).all()
    assert (named.split(3).train_index == ours.split(3).train_index).all()
    assert (named.residues() == ours.residues()).all()  # so every analysis that needs a sum applies or declines alike
    assert (named.composition() is None) == (ours.composition() is None)


def expressions():
    """Formulas as text, of whole numbers, x, y and the signs."""
    leaves = st.sampled_from(["x", "y"]) | st.integers(0, 200).map(str)
    return st.recursive(
        leaves,
        lambda inner: (
            st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda parts: f"({' '.join(parts)})")
            | inner.map(lambda each: f"(-{each})")
            | st.tuples(inner, st.integers(0, 5)).map(lambda parts: f"({parts[0]}) ** {parts[1]}")
        ),
        max_leaves=8,
    ).filter(lambda text: len(text) <= formula.LONGEST)


@given(text=expressions(), p=st.integers(3, 30))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_answers_are_those_of_whole_numbers_modulo_p(text, p):
    expected = [[eval(text, {"x": x, "y": y}) % p for y in range(p)] for x in range(p)]
    assert formula.answers(text, p).tolist() == expected


@pytest.mark.parametrize("p", PRIMES)
def test_division_is_by_the_one_number_that_gives_it_back(p):
    table = formula.answers("(2*x + 1) / (x - y)", p)
    for x in range(p):
        for y in range(p):
            if (x - y) % p:
                assert table[x, y] * (x - y) % p == (2 * x + 1) % p
            else:
                assert table[x, y] == -1
    task = ModularTask(p=p, operation="(2*x + 1) / (x - y)")
    assert task.n_prompts == p * (p - 1)


def test_a_pair_at_which_anything_is_divided_by_0_has_no_answer():
    assert (formula.answers("0 * (1 / y) + x", 5)[:, 0] == -1).all()
    assert (formula.answers("x ** 0", 5) == 1).all()


def test_exponents_are_numbers_and_no_residues():
    """x ** (p − 1) is 1 for every x but 0, and x ** p is x (Fermat)."""
    x = np.arange(7)
    assert formula.answers("x ** 6", 7)[:, 0].tolist() == (x > 0).astype(int).tolist()
    assert formula.answers("x ** 7", 7)[:, 0].tolist() == x.tolist()
    assert (formula.answers("2 ** 3 * x", 7)[:, 0] == x).all()


def test_one_formula_is_written_in_one_way_and_recorded_whole(tmp_path):
    tasks = [ModularTask(p=11, operation=text) for text in ("x**2+3*x*y", " x**2 + (3*x)*y ", "(x ** 2) + 3*x*y")]
    assert {task.operation for task in tasks} == {"x ** 2 + 3 * x * y"}
    assert tasks[0].about == "x ** 2 + 3 * x * y mod 11, 30% of 121 prompts"
    config = RunConfig(task=tasks[0])
    with RunWriter(tmp_path / "run", config) as writer:
        writer.checkpoint(0, initial_weights(config.model, config.task.shape, seed=0))
    again = open_run(tmp_path / "run").task
    assert again == tasks[0]
    assert ModularTask(**again.model_dump()) == again


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("addd", """task.operation is 'addd'; did you mean "add"?"""),
        ("x^2", "it should be a formula of x and y, with + - * / ** and whole numbers, such as"),
        ("2x", "it should be a formula of x and y"),
        ("0.5*x", "it should be a formula of x and y"),
        ("'x' * y", "it should be a formula of x and y"),
        ("True + x", "it should be a formula of x and y"),
        ("x + z", "it should be a formula of x and y"),
        ("x // y", "it should be a formula of x and y"),
        ("x % 3 + y", "it should be a formula of x and y"),
        ("x if x else y", "it should be a formula of x and y"),
        ("x < y", "it should be a formula of x and y"),
        ("x.shape", "it should be a formula of x and y"),
        ("x[0]", "it should be a formula of x and y"),
        ("abs(x)", "it should be a formula of x and y"),
        ("__import__('os').getcwd() + x", "it should be a formula of x and y"),
        ("(lambda: x)()", "it should be a formula of x and y"),
        ("x + (y", "it should be a formula of x and y"),
        ("x\ny", "it should be a formula of x and y"),
        ("x, y", "it should be a formula of x and y"),
        ("(x := 3) + y", "it should be a formula of x and y"),
        ("", "it should be a formula of x and y"),
        ("7", "it should depend on x or y"),
        ("x**y", "it should have exponents that are written out and not negative"),
        ("x**-1", "it should have exponents that are written out and not negative"),
        ("x**(2**3)", "it should have exponents that are written out and not negative"),
        ("x + " * 60 + "x", "it should have at most 200 characters, and has 241"),
        ("(" * 190 + "x" + ")" * 9, "it should be a formula of x and y"),
    ],
)
def test_what_is_no_formula_is_one_sentence(text, sentence):
    with pytest.raises(UserError) as refused:
        ModularTask(p=11, operation=text)
    assert str(refused.value).startswith("task.operation is ")
    assert sentence in str(refused.value)
    assert len(str(refused.value)) < 250


def test_a_division_needs_a_prime_and_an_answer():
    with pytest.raises(UserError, match=r'"x / 2" divides, .* take a prime task\.p such as 11'):
        ModularTask(p=9, operation="x/2")
    with pytest.raises(UserError, match='"x / 7" divides by 0 modulo 7 for every x and y'):
        ModularTask(p=7, operation="x/7")


def test_no_formula_takes_long():
    """Numbers that grow without bound would: they are residues after every sign."""
    assert formula.answers("x" + " ** 99" * 1, 113).shape == (113, 113)
    assert formula.answers("x ** " + "9" * 150, 113).max() < 113
    assert formula.answers("((9 ** 999999) ** 999999) ** 999999 + x", 113).max() < 113


def test_every_named_operation_keeps_its_name():
    assert [ModularTask(p=7, operation=name).operation for name in OPERATIONS] == list(OPERATIONS)
