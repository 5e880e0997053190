"""Modular arithmetic: every prompt `a ∘ b =` over the residues of p, answered exactly (Power et al. 2022, A.1.1)."""

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd, isqrt
from typing import Any, Literal

import numpy as np
import tyro
from jaxtyping import Int
from pydantic import Field, model_validator

from interp.maths import groups
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


def inverses(p: int) -> Int[np.ndarray, " p"]:
    """Inverse z of every residue y, z·y = 1 mod p; 0 for residues without inverse (0, and those that share a factor with p)."""
    return np.array([pow(y, -1, p) if gcd(y, p) == 1 else 0 for y in range(p)])


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


class ModularTask(TableTask):
    """Learn the table of a binary operation on the residues of p from part of its entries."""

    kind: tyro.conf.Suppress[Literal["modular"]] = "modular"
    operation: Literal[
        "add", "subtract", "multiply", "divide", "divide_if_odd", "x2_y2", "x2_xy_y2", "x2_xy_y2_x",
        "x3_xy", "x3_xy2_y", "add_mod_p_minus_1", "random",
    ] = "add"  # fmt: skip
    """Operation x ∘ y, modulo p. `divide`: by the modular inverse (y ≠ 0). `divide_if_odd`: x/y if y is odd, else x−y.
    x2_xy_y2: x²+xy+y², and so on. `random`: a random table, drawn from task.table-seed."""
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
        return OPERATIONS[self.operation]

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


def is_prime(n: int) -> bool:
    """Whether n has no divisor but 1 and itself."""
    return n > 1 and all(n % d for d in range(2, isqrt(n) + 1))


def next_prime(n: int) -> int:
    """The smallest prime above n."""
    return next(candidate for candidate in range(n + 1, 2 * n + 2) if is_prime(candidate))


def powers_of_generator(p: int) -> Int[np.ndarray, " p_minus_1"]:
    """Powers g⁰, g¹, …, g^(p−2) mod p of the smallest generator g, whose powers are all non-zero residues of the prime p."""
    for g in range(1, p):
        powers = [1]
        while (following := powers[-1] * g % p) != 1:
            powers.append(following)
        if len(powers) == p - 1:
            return np.array(powers)
    raise AssertionError(f"{p} is not prime")
