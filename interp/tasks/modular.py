"""Modular arithmetic: every prompt `a ∘ b =` over the residues of p, answered exactly (Power et al. 2022, A.1.1)."""

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd, isqrt
from typing import Any, Literal

import numpy as np
import tyro
from jaxtyping import Int
from pydantic import Field, model_validator

from interp.tasks.table import Integers, Operands, Prompt, TableTask


def add(x: Integers, y: Integers, p: int) -> Integers:
    """x + y."""
    return (x + y) % p


def add_mod_p_minus_1(x: Integers, y: Integers, p: int) -> Integers:
    """x + y mod p − 1, for x, y < p − 1: for prime p the same group as x·y mod p without 0."""
    return (x + y) % (p - 1)


def subtract(x: Integers, y: Integers, p: int) -> Integers:
    """x − y."""
    return (x - y) % p


def multiply(x: Integers, y: Integers, p: int) -> Integers:
    """x · y."""
    return (x * y) % p


def divide(x: Integers, y: Integers, p: int) -> Integers:
    """x / y: the z with z·y = x, for y ≠ 0. Not the integer part of a quotient."""
    return x * inverses(p)[y] % p


def divide_if_odd(x: Integers, y: Integers, p: int) -> Integers:
    """x / y if y is odd, else x − y."""
    return np.where(y % 2 == 1, divide(x, y, p), subtract(x, y, p))


def x2_y2(x: Integers, y: Integers, p: int) -> Integers:
    """x² + y²."""
    return (x * x + y * y) % p


def x2_xy_y2(x: Integers, y: Integers, p: int) -> Integers:
    """x² + xy + y²."""
    return (x * x + x * y + y * y) % p


def x2_xy_y2_x(x: Integers, y: Integers, p: int) -> Integers:
    """x² + xy + y² + x."""
    return (x * x + x * y + y * y + x) % p


def x3_xy(x: Integers, y: Integers, p: int) -> Integers:
    """x³ + xy."""
    return (x * x * x + x * y) % p


def x3_xy2_y(x: Integers, y: Integers, p: int) -> Integers:
    """x³ + xy² + y."""
    return (x * x * x + x * y * y + y) % p


def random(x: Integers, y: Integers, p: int, table_seed: int = 0) -> Integers:
    """A table of independent uniform answers, drawn from `table_seed`: nothing to generalise, only to memorise."""
    return np.random.default_rng(table_seed).integers(p, size=(p, p))[x, y]


def inverses(p: int) -> Int[np.ndarray, " p"]:
    """z with z·y = 1 mod p for every residue y, and 0 for those that have none (0 itself; factors of p)."""
    return np.array([pow(y, -1, p) if gcd(y, p) == 1 else 0 for y in range(p)])


@dataclass(frozen=True)
class Operation:
    """A two-place function on the residues and what must be known to tabulate it."""

    formula: str
    """The function as the papers write it."""
    answer: Callable[..., Integers]
    defined: Callable[[Integers, Integers, int], Any] = lambda x, y, p: x == x
    """Which pairs (x, y) have an answer."""
    divides_by: Callable[[int], bool] = lambda y: False
    """Which y must have an inverse modulo p."""
    group: Literal["additive", "multiplicative"] = "additive"
    """The order of the residues in which waves are looked for: by value, or by discrete logarithm."""


OPERATIONS = {
    "add": Operation("x + y", add),
    "subtract": Operation("x − y", subtract),
    "multiply": Operation("x · y", multiply, group="multiplicative"),
    "divide": Operation(
        "x / y", divide, defined=lambda x, y, p: y != 0, divides_by=lambda y: y != 0, group="multiplicative"
    ),
    "divide_if_odd": Operation("x / y if y is odd, else x − y", divide_if_odd, divides_by=lambda y: y % 2 == 1),
    "x2_y2": Operation("x² + y²", x2_y2),
    "x2_xy_y2": Operation("x² + xy + y²", x2_xy_y2),
    "x2_xy_y2_x": Operation("x² + xy + y² + x", x2_xy_y2_x),
    "x3_xy": Operation("x³ + xy", x3_xy),
    "x3_xy2_y": Operation("x³ + xy² + y", x3_xy2_y),
    "add_mod_p_minus_1": Operation(
        "x + y mod p − 1", add_mod_p_minus_1, defined=lambda x, y, p: (x < p - 1) & (y < p - 1)
    ),
    "random": Operation("a random table", random),
}
"""Every operation by the name it has on the command line."""


class ModularTask(TableTask):
    """Learn the table of a two-place operation on the residues of p from part of its entries."""

    kind: tyro.conf.Suppress[Literal["modular"]] = "modular"
    operation: Literal[
        "add", "subtract", "multiply", "divide", "divide_if_odd", "x2_y2", "x2_xy_y2", "x2_xy_y2_x",
        "x3_xy", "x3_xy2_y", "add_mod_p_minus_1", "random",
    ] = "add"  # fmt: skip
    """x ∘ y, modulo p: `divide` is by the modular inverse (y ≠ 0), `divide_if_odd` is x/y if y is odd else x−y,
    x2_xy_y2 is x²+xy+y² and so on, `random` is a table drawn from task.table-seed."""
    p: int = Field(default=113, ge=3, le=1024)
    """Modulus, 3 to 1024; division needs a prime."""
    prompt: Prompt = "ab="
    """Tokens of a prompt: `ab=` as in Nanda et al., `ab` as in Zhong et al., `aob=` with a token for ∘ as in Power et
    al.; the answer is read at the last one."""
    operands: Operands = "shared"
    """Tokens of b: `shared` with a, or `separate`, p + b, as with `diff_vocab` in the code of Zhong et al. (2023)."""
    answers: Literal["residues", "tokens"] = "residues"
    """What has a logit: the `residues` alone, or all `tokens`, signs too, as in Power et al. (2022) and in the weights that
    Nanda et al. (2023) released."""
    train_fraction: float = Field(default=0.3, gt=0, lt=1)
    """Share of the table that is trained on, between 0 and 1."""
    table_seed: int = Field(default=0, ge=0)
    """Which random table, for `random` only."""

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
        """The operation itself."""
        return OPERATIONS[self.operation]

    @property
    def about(self) -> str:
        """In a few words."""
        return f"{self.rule.formula} mod {self.p}, {self.train_fraction:.0%} of {self.n_prompts:,} prompts"

    @property
    def n_values(self) -> int:
        """The residues: p."""
        return self.p

    def pairs(self) -> tuple[Integers, Integers]:
        """Every (x, y) that has an answer, in lexicographic order."""
        x, y = super().pairs()
        defined = self.rule.defined(x, y, self.p)
        return x[defined], y[defined]

    def results(self, x: Integers, y: Integers) -> Integers:
        """x ∘ y."""
        seeds = {"table_seed": self.table_seed} if self.operation == "random" else {}
        return self.rule.answer(x, y, self.p, **seeds)

    def residues(self) -> Int[np.ndarray, " period"]:
        """The numbers in the order in which the operation is a sum, so that waves on it are its characters.

        0 … p−1 by value; for x·y and x/y with prime p the powers g⁰, g¹, … of the smallest generator (discrete
        logarithm: 0 has none and is left out); 0 … p−2 for x + y mod p−1.
        """
        if self.operation == "add_mod_p_minus_1":
            return np.arange(self.p - 1)
        if self.rule.group == "multiplicative" and is_prime(self.p):
            return powers_of_generator(self.p)
        return np.arange(self.p)


def is_prime(n: int) -> bool:
    """Whether n has no divisor but 1 and itself."""
    return n > 1 and all(n % d for d in range(2, isqrt(n) + 1))


def next_prime(n: int) -> int:
    """The smallest prime above n."""
    return next(candidate for candidate in range(n + 1, 2 * n + 2) if is_prime(candidate))


def powers_of_generator(p: int) -> Int[np.ndarray, " p_minus_1"]:
    """g⁰, g¹, …, g^(p−2) mod p for the smallest g whose powers are all non-zero residues of the prime p."""
    for g in range(1, p):
        powers = [1]
        while (following := powers[-1] * g % p) != 1:
            powers.append(following)
        if len(powers) == p - 1:
            return np.array(powers)
    raise AssertionError(f"{p} is not prime")
