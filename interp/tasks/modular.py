"""Modular arithmetic: every prompt `a ∘ b =` over the residues of p, answered exactly (Power et al. 2022, A.1.1)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from jaxtyping import Int
from pydantic import Field, field_validator, model_validator

from interp.base import UserError, near_miss, shortened
from interp.maths import groups
from interp.maths.residues import inverses, is_prime, next_prime, powers_of_generator
from interp.tasks import formula, given
from interp.tasks.table import Integers, Operands, Prompt, TableTask
from interp.tasks.task import Composition, Order


def add(x: Integers, y: Integers, p: int) -> Integers:
    """Answers x + y mod p."""
    return (x + y) % p


def add_mod_p_minus_1(x: Integers, y: Integers, p: int) -> Integers:
    """Answers x + y mod p − 1, for x, y < p − 1. For prime p this group is isomorphic to x·y mod p without 0."""
    return (x + y) % (p - 1)


def subtract(x: Integers, y: Integers, p: int) -> Integers:
    """Answers x − y mod p."""
    return (x - y) % p


def multiply(x: Integers, y: Integers, p: int) -> Integers:
    """Answers x · y mod p."""
    return (x * y) % p


def divide(x: Integers, y: Integers, p: int) -> Integers:
    """Answers x / y mod p: the z with z·y = x, for y ≠ 0. Not the integer part of a quotient."""
    return x * inverses(p)[y] % p


def divide_if_odd(x: Integers, y: Integers, p: int) -> Integers:
    """Answers x / y mod p if y is odd, else x − y mod p."""
    return np.where(y % 2 == 1, divide(x, y, p), subtract(x, y, p))


def x2_y2(x: Integers, y: Integers, p: int) -> Integers:
    """Answers x² + y² mod p."""
    return (x * x + y * y) % p


def x2_xy_y2(x: Integers, y: Integers, p: int) -> Integers:
    """Answers x² + xy + y² mod p."""
    return (x * x + x * y + y * y) % p


def x2_xy_y2_x(x: Integers, y: Integers, p: int) -> Integers:
    """Answers x² + xy + y² + x mod p."""
    return (x * x + x * y + y * y + x) % p


def x3_xy(x: Integers, y: Integers, p: int) -> Integers:
    """Answers x³ + xy mod p."""
    return (x * x * x + x * y) % p


def x3_xy2_y(x: Integers, y: Integers, p: int) -> Integers:
    """Answers x³ + xy² + y mod p."""
    return (x * x * x + x * y * y + y) % p


def random(x: Integers, y: Integers, p: int, table_seed: int = 0) -> Integers:
    """Answers of a table of independent uniform residues, drawn from `table_seed`: to memorise, nothing to generalise."""
    return np.random.default_rng(table_seed).integers(p, size=(p, p))[x, y]


@dataclass(frozen=True)
class Operation:
    """A binary operation on the residues, and what is needed to tabulate it."""

    formula: str
    """Formula of the operation, as the papers write it."""
    answer: Callable[..., Integers]
    defined: Callable[[Integers, Integers, int], Any] = lambda x, y, p: x == x
    """Function that says which pairs (x, y) have an answer."""
    divides_by: Callable[[int], bool] = lambda y: False
    """Function that says whether y must have an inverse modulo p."""
    group: Literal["additive", "multiplicative"] = "additive"
    """Order of the residues in which waves are looked for: by value (additive), or by discrete logarithm (multiplicative)."""
    inverts: bool | None = None
    """Whether it is composition in that group with the inverse of y; None: it is no composition."""


OPERATIONS = {
    "add": Operation("x + y", add, inverts=False),
    "subtract": Operation("x − y", subtract, inverts=True),
    "multiply": Operation("x · y", multiply, group="multiplicative", inverts=False),
    "divide": Operation(
        "x / y",
        divide,
        defined=lambda x, y, p: y != 0,
        divides_by=lambda y: y != 0,
        group="multiplicative",
        inverts=True,
    ),
    "divide_if_odd": Operation("x / y if y is odd, else x − y", divide_if_odd, divides_by=lambda y: y % 2 == 1),
    "x2_y2": Operation("x² + y²", x2_y2),
    "x2_xy_y2": Operation("x² + xy + y²", x2_xy_y2),
    "x2_xy_y2_x": Operation("x² + xy + y² + x", x2_xy_y2_x),
    "x3_xy": Operation("x³ + xy", x3_xy),
    "x3_xy2_y": Operation("x³ + xy² + y", x3_xy2_y),
    "add_mod_p_minus_1": Operation(
        "x + y mod p − 1", add_mod_p_minus_1, defined=lambda x, y, p: (x < p - 1) & (y < p - 1), inverts=False
    ),
    "random": Operation("a random table", random),
}
"""All operations, by their names on the command line."""


@lru_cache(maxsize=8)
def known_operation(operation: str) -> str:
    """The name of an operation unchanged, or a formula or table in the one way in which it is written.

    Raises:
        UserError: it is none of these.
    """
    if operation in OPERATIONS:
        return operation
    if operation.isidentifier() and operation not in ("x", "y"):
        raise UserError(f"task.operation is {shortened(operation)}{near_miss(operation, OPERATIONS)}")
    try:
        return given.write(given.read(operation)) if given.is_written(operation) else formula.written(operation)
    except ValueError as error:
        raise UserError(f"task.operation is {shortened(operation)}; it {error}") from None


@lru_cache(maxsize=8)
def tabulated(operation: str, p: int) -> Operation:
    """The operation of a formula or a table on the residues of p, from its answers.

    If the answers are those of x + y, x − y, x · y or x / y, it is composition as these are.

    Raises:
        ValueError: it has no answer to any pair, or is not defined modulo p.
    """
    if given.is_written(operation):
        answers = answers_of_table(operation, p)
        name = f"a table of {(answers >= 0).sum():,} answers"
    else:
        answers, name = answers_of_formula(operation, p), operation
    twin = next((each for each in COMPOSITIONS if np.array_equal(answers, every_answer(each, p))), None)
    found = Operation(
        name, answer=lambda x, y, p: answers[x, y], defined=lambda x, y, p: answers[x, y] >= 0, inverts=None
    )
    return replace(found, group=OPERATIONS[twin].group, inverts=OPERATIONS[twin].inverts) if twin else found


COMPOSITIONS = ("add", "subtract", "multiply", "divide")
"""Operations that are composition in a group, with the inverse of y or without."""


def answers_of_table(operation: str, p: int) -> Int[np.ndarray, "p p"]:
    """Answers of a table that was given; −1 for pairs that are not in it."""
    table, answers = given.read(operation), np.full((p, p), -1)
    largest = max(*table.shape, int(table.max()) + 1) - 1
    if largest >= p:
        raise ValueError(
            f"task.operation is a table with the number {largest:,}, and task.p is {p}; take task.p {largest + 1}"
        )
    answers[: table.shape[0], : table.shape[1]] = table
    return answers


def answers_of_formula(operation: str, p: int) -> Int[np.ndarray, "p p"]:
    """Answers of a formula; −1 for pairs at which it divides by 0."""
    if formula.divides(operation) and not is_prime(p):
        raise ValueError(
            f'task.operation "{operation}" divides, and not every number has an inverse modulo {p}; '
            f"take a prime task.p such as {next_prime(p)}"
        )
    answers = formula.answers(operation, p)
    if (answers < 0).all():
        raise ValueError(f'task.operation "{operation}" divides by 0 modulo {p} for every x and y; take another task.p')
    return answers


def every_answer(name: str, p: int) -> Int[np.ndarray, "p p"]:
    """Answer of a named operation to every x and y; −1 where there is none."""
    x, y = np.divmod(np.arange(p * p), p)
    return np.where(OPERATIONS[name].defined(x, y, p), OPERATIONS[name].answer(x, y, p), -1).reshape(p, p)


METAVAR = f"{{{','.join(OPERATIONS)}}}|FORMULA|FILE.csv"
"""What the help of a command shows for an operation."""


class ModularTask(TableTask):
    """Learn the table of a binary operation on the residues of p from part of its entries."""

    kind: tyro.conf.Suppress[Literal["modular"]] = "modular"
    operation: Annotated[str, tyro.conf.arg(metavar=METAVAR)] = "add"
    """Operation x ∘ y, modulo p. By name: `divide` is by the modular inverse (y ≠ 0); `divide_if_odd` is x/y if y is odd, else
    x−y; x2_xy_y2 is x²+xy+y², and so on; `random` is a random table, drawn from task.table-seed. By a formula of x and y with
    + - * / ** and whole numbers: "x**2 + 3*x*y". By a table: "0 1 -; 1 - 0" has a row for each x, an answer for each y, and
    "-" where there is none. On the command line also by a FILE.csv with columns x, y, answer."""
    p: int = Field(default=113, ge=3, le=1024)
    """Modulus, 3 to 1024. Division needs a prime."""
    prompt: Prompt = "ab="
    """Tokens of a prompt: `ab=` as in Nanda et al., `ab` as in Zhong et al., `aob=` with a token for ∘ as in Power et
    al. The answer is read at the last token."""
    operands: Operands = "shared"
    """Tokens of b: `shared` with a, or `separate` (p + b), as with `diff_vocab` in the code of Zhong et al. (2023)."""
    answers: Literal["residues", "tokens"] = "residues"
    """Outputs that have a logit: only the `residues`, or all `tokens`, signs such as "=" too, as in Power et al. (2022) and in
    the weights that Nanda et al. (2023) released."""
    train_fraction: float = Field(default=0.3, gt=0, lt=1)
    """Share of the table that is trained on, between 0 and 1."""
    table_seed: int = Field(default=0, ge=0)
    """Seed of the random table, for operation `random` only."""

    _operation_is_known = field_validator("operation")(known_operation)

    @model_validator(mode="after")
    def _is_defined(self) -> "ModularTask":
        without = [y for y in range(self.p) if self.rule.divides_by(y) and gcd(y, self.p) != 1]
        if without:
            raise ValueError(
                f'task.operation "{self.operation}" divides by {without[0]}, which has no inverse modulo {self.p}; '
                f"take a prime task.p such as {next_prime(self.p)}"
            )
        self.check_train_fraction()
        return self

    @property
    def rule(self) -> Operation:
        """The operation, with its formula."""
        return OPERATIONS[self.operation] if self.operation in OPERATIONS else tabulated(self.operation, self.p)

    @property
    def about(self) -> str:
        """The task in a few words."""
        return f"{self.rule.formula} mod {self.p}, {self.train_fraction:.0%} of {self.n_prompts:,} prompts"

    @property
    def n_values(self) -> int:
        """Number of residues, p."""
        return self.p

    def pairs(self) -> tuple[Integers, Integers]:
        """Every (x, y) that has an answer, in lexicographic order."""
        x, y = super().pairs()
        defined = self.rule.defined(x, y, self.p)
        return x[defined], y[defined]

    def results(self, x: Integers, y: Integers) -> Integers:
        """Answers x ∘ y."""
        seeds = {"table_seed": self.table_seed} if self.operation == "random" else {}
        return self.rule.answer(x, y, self.p, **seeds)

    def residues(self) -> Int[np.ndarray, " period"]:
        """Residues in the order in which the operation is a sum, so that waves along it are the characters of the group.

        By value 0 … p−1 for most. For x·y and x/y with prime p: the powers g⁰, g¹, … of the smallest generator; 0 has no
        discrete logarithm and is left out. For x + y mod p−1: 0 … p−2.
        """
        if self.operation == "add_mod_p_minus_1":
            return np.arange(self.p - 1)
        if self.rule.group == "multiplicative" and is_prime(self.p):
            return powers_of_generator(self.p)
        return np.arange(self.p)

    def order(self) -> Order:
        """The residues in the order of `residues`."""
        return Order(
            values=self.residues(),
            n_values=self.p,
            position_of_a=self.prompt.index("a"),
            position_of_b=self.prompt.index("b"),
            first_b=self.n_numbers - self.p,
            rows=self.rows_of_pairs(),
            formula=f"{self.rule.formula} mod {self.p}",
        )

    def composition(self) -> Composition | None:
        """The table as composition in a cyclic group, with the inverse of y for differences and quotients."""
        if self.rule.inverts is None or (self.rule.group == "multiplicative" and not is_prime(self.p)):
            return None
        residues = self.residues()
        n = len(residues)
        b = residues[-np.arange(n) % n] if self.rule.inverts else residues
        rows = self.rows_of_pairs()[residues[:, None], b].flatten()
        return Composition(f"C{n}", f"C{n}", groups.cyclic(n), residues, b, residues, rows)

    def no_composition(self) -> str:
        """Reason why the table is no composition."""
        if self.rule.inverts is None:
            return f"was trained on {self.rule.formula}"
        return f"has p = {self.p}, and products are a group for prime p only"

    def without_rule(self) -> "ModularTask":
        """The task on a random table, drawn from `table_seed`."""
        return self.but(operation="random")

    @property
    def place(self) -> str:
        """Where the operation is, in words."""
        return f"mod {self.p}"
