"""Operations as formulas: arithmetic with x and y on the residues of p, such as x**2 + 3*x*y, and nothing else."""

import ast
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int
from simpleeval import InvalidExpression, SimpleEval

from interp.maths.residues import inverses

LONGEST = 200
"""Most characters of a formula."""

SHOULD = "should be a formula of x and y, with + - * / ** and whole numbers, such as x**2 + 3*x*y"

Residues = Int[np.ndarray, "..."]
"""One residue for each pair of x and y, or one for all."""


def written(formula: str) -> str:
    """A formula in the one way in which Python writes it; ValueError, which begins with "should", if it is none."""
    if len(formula) > LONGEST:
        raise ValueError(f"should have at most {LONGEST} characters, and has {len(formula):,}")
    tree = parsed(formula)
    if not {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}:
        raise ValueError("should depend on x or y")
    answers(formula, 3)  # for its faults, which are the same at every modulus
    return ast.unparse(tree)


def parsed(formula: str) -> ast.expr:
    """Syntax tree of a formula."""
    try:
        return ast.parse(formula.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(SHOULD) from None


def divides(formula: str) -> bool:
    """Whether anything is divided in a formula."""
    return any(isinstance(node, ast.Div) for node in ast.walk(parsed(formula)))


def answers(formula: str, p: int) -> Int[np.ndarray, "p p"]:
    """Answer to every x and y, modulo p; −1 where the formula divides by a number without inverse.

    Raises:
        ValueError: it is no arithmetic with x and y.
    """
    x, y = np.divmod(np.arange(p * p), p)
    undefined = np.zeros(p * p, dtype=bool)

    def divide(a: Any, b: Any) -> Residues:
        np.logical_or(undefined, inverses(p)[residue(b, p)] == 0, out=undefined)
        return residue(residue(a, p) * inverses(p)[residue(b, p)], p)

    evaluator: Any = SimpleEval(
        operators={
            ast.Add: lambda a, b: residue(residue(a, p) + residue(b, p), p),
            ast.Sub: lambda a, b: residue(residue(a, p) - residue(b, p), p),
            ast.Mult: lambda a, b: residue(residue(a, p) * residue(b, p), p),
            ast.Div: divide,
            ast.Pow: partial(power, p=p),
            ast.USub: lambda a: residue(-residue(a, p), p),
            ast.UAdd: partial(residue, p=p),
        },
        functions={},
        names={"x": x, "y": y},
    )
    kept = (ast.Name, ast.UnaryOp, ast.BinOp)  # no calls, attributes, comparisons, …
    evaluator.nodes = {**{kind: evaluator.nodes[kind] for kind in kept}, ast.Constant: whole_number}
    try:
        found = evaluator.eval(formula, previously_parsed=parsed(formula))
    except (InvalidExpression, RecursionError):
        raise ValueError(SHOULD) from None
    return np.where(undefined, -1, residue(found, p)).reshape(p, p)


def whole_number(node: ast.Constant) -> int:
    """Value of a constant, which must be a whole number: not 0.5, "x" or True."""
    if type(node.value) is not int:
        raise InvalidExpression
    return node.value


def residue(value: int | Residues, p: int) -> Residues:
    """Residue of a number as it is written, or of numbers, modulo p."""
    return np.atleast_1d(value % p)


def power(base: int | Residues, exponent: int | Residues, p: int) -> Residues:
    """Powers modulo p. The exponent is a number as it is written, since exponents are not counted modulo p."""
    if type(exponent) is not int:
        raise ValueError("should have exponents that are written out and not negative, as in x**3 or 1/x**2")
    return np.array([pow(r, exponent, p) for r in range(p)])[residue(base, p)]
