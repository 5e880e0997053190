"""Eigenvalues of symmetric matrices of which only products with vectors are known: Lanczos and stochastic Lanczos quadrature."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Product = Callable[[Float[Tensor, " n"]], Float[Tensor, " n"]]
"""Type of a function: the product of a symmetric matrix with a vector."""

ROUND = 8
"""Steps between two looks at what has converged."""


class Ritz(NamedTuple):
    """Eigenvalues that a Krylov space knows, ascending, float64."""

    values: Float[Tensor, " m"]
    residuals: Float[Tensor, " m"]
    """‖A·x − λ·x‖ of each value λ and its vector x of length 1: the matrix has an eigenvalue within so much of λ."""
    coordinates: Float[Tensor, "m m"]
    """Column i: the vector of value i in the basis."""


@dataclass
class Krylov:
    """A Krylov space of a symmetric matrix, grown step by step with full reorthogonalisation (Lanczos 1950; Paige 1972).

    Where a step leads nowhere new, the space is invariant; it goes on with a vector drawn from `generator`. So repeated
    eigenvalues are found, and after n steps all are.
    """

    product: Product
    start: Float[Tensor, " n"]
    generator: torch.Generator
    basis: list[Tensor] = field(default_factory=list)
    alphas: list[float] = field(default_factory=list)
    """Diagonal of the matrix in the basis."""
    betas: list[float] = field(default_factory=list)
    """Its secondary diagonal; the last one leads out of the space."""
    next: Tensor | None = None
    first: Tensor = field(default_factory=lambda: torch.empty(0))
    """The first product: of `start`, scaled to length 1."""
    _stacked: Tensor | None = None

    def grow(self, steps: int) -> None:
        """Go on for so many steps; fewer if the space is whole."""
        n = len(self.start)
        if self._stacked is None:
            self._stacked, self.next = self.start.new_empty(0, n), self.start / self.start.norm()
        steps = min(steps, n - len(self.alphas))
        self._stacked = torch.cat([self._stacked, self.start.new_empty(max(steps, 0), n)])
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        """One product, and the next vector of the basis."""
        assert self._stacked is not None and self.next is not None
        m, vector = len(self.alphas), self.next
        self._stacked[m] = vector
        basis = self._stacked[: m + 1]
        image = self.product(vector)
        self.first = self.first if m else image
        alpha = float(vector.double() @ image.double())
        rest = image - alpha * vector
        if m:
            rest = rest - self.betas[-1] * basis[m - 1]
        rest = rest - (basis @ rest) @ basis
        beta, scale = float(rest.norm()), float(image.norm())
        if beta <= torch.finfo(rest.dtype).eps ** 0.75 * max(scale, abs(alpha)):
            rest, beta = self._elsewhere(basis), 0.0
        self.alphas.append(alpha)
        self.betas.append(beta)
        # again, since what is left of a small difference is not orthogonal any more
        rest = rest - (basis @ rest) @ basis
        self.next = rest / rest.norm()

    def _elsewhere(self, basis: Float[Tensor, "m n"]) -> Float[Tensor, " n"]:
        """A random vector that is orthogonal to the space; 0 if the space is whole."""
        fresh = torch.randn(len(self.start), generator=self.generator, dtype=torch.float64).to(self.start)
        for _ in range(2):
            fresh = fresh - (basis @ fresh) @ basis
        return fresh

    def ritz(self) -> Ritz:
        """Eigenvalues that the space knows."""
        m = len(self.alphas)
        values, coordinates = torch.linalg.eigh(self.matrix)
        out = 0.0 if m == len(self.start) else self.betas[-1]
        return Ritz(values, (out * coordinates[-1]).abs(), coordinates)

    @property
    def matrix(self) -> Float[Tensor, "m m"]:
        """The matrix in the basis, tridiagonal, float64."""
        beside = torch.tensor(self.betas[: len(self.alphas) - 1], dtype=torch.float64)
        return torch.tensor(self.alphas, dtype=torch.float64).diag() + beside.diag(1) + beside.diag(-1)

    def vectors(self, coordinates: Float[Tensor, "m k"]) -> Float[Tensor, "k n"]:
        """Vectors of these coordinates, each of length 1."""
        found = coordinates.T.to(self.start) @ self.space
        return found / found.norm(dim=1, keepdim=True)

    @property
    def space(self) -> Float[Tensor, "m n"]:
        """Orthonormal basis."""
        assert self._stacked is not None
        return self._stacked[: len(self.alphas)]


class Extremes(NamedTuple):
    """Largest eigenvalues, descending, and the smallest, with residuals; and the Krylov space that found them."""

    values: Float[Tensor, " k"]
    residuals: Float[Tensor, " k"]
    vectors: Float[Tensor, "k_and_1 n"]
    """Those of the largest, then that of the smallest."""
    smallest: Float[Tensor, ""]
    smallest_residual: Float[Tensor, ""]
    krylov: Krylov


def extremes(
    product: Product,
    start: Float[Tensor, " n"],
    k: int,
    tolerance: float,
    at_most: int,
    generator: torch.Generator,
) -> Extremes:
    """The k largest eigenvalues and the smallest one.

    The space grows until every residual is at most `tolerance` × the largest |λ|, or has `at_most` dimensions. The error of a
    value that stands alone is about its residual squared, over the distance to the next.
    """
    krylov = Krylov(product, start, generator)
    krylov.grow(min(at_most, max(2 * k + 2, ROUND)))
    while True:
        ritz = krylov.ritz()
        chosen = [*range(len(ritz.values) - 1, len(ritz.values) - 1 - k, -1), 0]
        largest = float(ritz.values.abs().max())
        m = len(krylov.alphas)
        if float(ritz.residuals[chosen].max()) <= tolerance * largest or m >= min(at_most, len(start)):
            break
        krylov.grow(min(ROUND, at_most - m))
    top = chosen[:k]
    vectors = krylov.vectors(ritz.coordinates[:, chosen])
    return Extremes(ritz.values[top], ritz.residuals[top], vectors, ritz.values[0], ritz.residuals[0], krylov)


class Quadrature(NamedTuple):
    """Nodes and weights for the density of eigenvalues, for each random probe; the weights of a probe sum to 1."""

    nodes: Float[Tensor, "probe node"]
    weights: Float[Tensor, "probe node"]
    quadratic: Float[Tensor, " probe"]
    """zᵀAz of each probe z, whose part in the space of `beside` is replaced by its mean: the trace, if averaged."""


def quadrature(
    product: Product, n: int, probes: int, steps: int, beside: Krylov, generator: torch.Generator
) -> Quadrature:
    """Stochastic Lanczos quadrature from random signs (Ubaru, Chen & Saad 2017; Ghorbani, Krishnan & Xiao 2019).

    The mean over probes of Σ weight·f(node) estimates tr f(A) / n. The trace itself is exact on the orthonormal basis of
    `beside`, and estimated on what is orthogonal to it only (as Hutch++, Meyer et al. 2021).
    """
    Q, T = beside.space, beside.matrix
    nodes, weights, quadratic = [], [], []
    for _ in range(probes):
        signs = torch.randint(0, 2, (n,), generator=generator).to(Q) * 2 - 1
        krylov = Krylov(product, signs, generator)
        krylov.grow(steps)
        ritz = krylov.ritz()
        nodes.append(ritz.values)
        weights.append(ritz.coordinates[0].square())
        image, inside = krylov.first * n**0.5, (Q @ signs).double()
        orthogonal = signs.double() @ image.double() - 2 * inside @ (Q @ image).double() + inside @ T @ inside
        quadratic.append(T.trace() + orthogonal)
    return Quadrature(torch.stack(nodes), torch.stack(weights), torch.stack(quadratic))
