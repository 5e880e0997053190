"""Toy models over many vectors, for several runs at once: what comes out, and the squared error with its gradient.

`ToyForward` is HookedToy's function with an axis of runs, and autograd differentiates it. Where almost all features are 0,
`SparseError` gives the error and its gradient in closed form, several times sooner: with H = X·Wᵀ and R = relu(H·W + b), the
derivative by what the ReLU receives is 2·I·R, less 2·I·x where R > 0 for the few x ≠ 0. It never holds more of R than fits into
the processor's cache, and meets X as a sparse matrix. Equal to autograd's to rounding (tests/models/test_reconstruct.py).
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.models.block import ACTIVATIONS, LAYER_NORM_EPS
from interp.models.toy import ToySpec

Weights = Mapping[str, Tensor]

CACHE = 1 << 20
"""Bytes of outputs at a time, of all runs."""

SPARSE = 0.1
"""Share of the numbers that are not 0 up to which the closed form is faster."""


def activate_hidden(
    spec: ToySpec, weights: Weights, pre: Float[Tensor, "... d_hidden"]
) -> Float[Tensor, "... d_hidden"]:
    """What the hidden activation makes of these, with a LayerNorm where it has one."""
    if spec.hidden == "none":
        return pre
    activated = ACTIVATIONS[spec.hidden](pre)
    if spec.hidden != "solu_ln":
        return activated
    normal = torch.nn.functional.layer_norm(activated, activated.shape[-1:], eps=LAYER_NORM_EPS)
    scale, shift = weights["ln.w"], weights["ln.b"]
    if scale.ndim > 1:  # of several runs, each with its own
        scale, shift = scale[:, None], shift[:, None]
    return normal * scale + shift


def activate_output(spec: ToySpec, pre: Tensor) -> Tensor:
    """What the last activation makes of these."""
    return pre if spec.output == "none" else ACTIVATIONS[spec.output](pre)


@dataclass(frozen=True)
class ToyForward:
    """What comes out for these vectors, as a function of the weights, each [runs, …]."""

    spec: ToySpec
    vectors: Float[Tensor, "runs n feature"]

    def __call__(self, weights: Weights) -> Float[Tensor, "runs n feature"]:
        """What the models of all runs make of their vectors."""
        out = weights["W"] if self.spec.tied else weights["W_out"]
        return activate_output(self.spec, torch.baddbmm(weights["b"][:, None], self.hidden(weights), out))

    def hidden(self, weights: Weights) -> Float[Tensor, "runs n d_hidden"]:
        """What they keep of them."""
        return activate_hidden(self.spec, weights, self.vectors @ weights["W"].mT)


@dataclass(frozen=True)
class SparseVectors:
    """Vectors with few numbers that are not 0, each of them once in every form that `SparseError` wants."""

    shape: tuple[int, int, int]
    """runs, vectors of a run, features."""
    rows: Tensor
    """Sparse [runs · n, runs · feature]: each run's vectors meet that run's weights."""
    columns: Tensor
    """Its transpose."""
    importance: Float[Tensor, "runs 1 feature"] | None
    """I, where it is not 1 for all."""
    counted: Float[Tensor, "runs n 1"] | None
    """1 for a vector and 0 for a row that only fills up, where there is such a row."""
    parts: tuple["Part", ...]

    @staticmethod
    def of(
        vectors: Float[Tensor, "runs n feature"],
        counted: Float[Tensor, "runs n"],
        importance: Float[Tensor, "runs feature"],
    ) -> "SparseVectors":
        """The same vectors."""
        runs, n, width = vectors.shape
        weighed = None if bool((importance == 1).all()) else importance[:, None]
        filled = None if bool(counted.all()) else counted[..., None]
        at = max(1, CACHE // (runs * width * vectors.element_size()))
        parts = tuple(Part.of(vectors, slice(begin, min(begin + at, n)), importance) for begin in range(0, n, at))
        run, row, feature = vectors.nonzero(as_tuple=True)
        values = vectors[run, row, feature]
        rows = compressed(run * n + row, run * width + feature, values, (runs * n, runs * width))
        columns = compressed(run * width + feature, run * n + row, values, (runs * width, runs * n))
        return SparseVectors((runs, n, width), rows, columns, weighed, filled, parts)


@dataclass(frozen=True)
class Part:
    """Some vectors of every run."""

    which: slice
    places: Int[Tensor, " nonzero"]
    """Where [runs, part, feature] is not 0, counted along the whole."""
    values: Float[Tensor, " nonzero"]
    squares: Float[Tensor, " nonzero"]
    """I·x²."""
    runs: Int[Tensor, " nonzero"]

    @staticmethod
    def of(vectors: Float[Tensor, "runs n feature"], which: slice, importance: Float[Tensor, "runs feature"]) -> "Part":
        """Those vectors."""
        part = vectors[:, which]
        run, row, feature = part.nonzero(as_tuple=True)
        places = (run * part.shape[1] + row) * part.shape[2] + feature
        values = part[run, row, feature]
        return Part(which, places, values, values.square() * importance[run, feature], run)


def compressed(row: Tensor, column: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    """A matrix by its numbers that are not 0."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # "is in beta", "invariant checks are implicitly disabled"
        return torch.sparse_coo_tensor(torch.stack([row, column]), values, size).coalesce().to_sparse_csr()


class SparseError(torch.autograd.Function):
    """Σ_i I_i·(x_i − relu(WᵀWx + b)_i)², summed over the vectors of each run: [runs], float64.

    W is [runs, d_hidden, feature], b [runs, feature]. It has no second derivative.
    """

    @staticmethod
    def forward(ctx: Any, W: Tensor, b: Tensor, vectors: SparseVectors) -> Tensor:
        """The error. Its gradient comes of the same outputs, and is kept."""
        error, *gradients = error_and_gradients(W, b, vectors)
        ctx.save_for_backward(*gradients)
        return error

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        """By W and b."""
        by_W, by_b = ctx.saved_tensors
        each = outer[0].to(by_W.dtype)
        return by_W * each[:, None, None], by_b * each[:, None], None


def error_and_gradients(W: Tensor, b: Tensor, vectors: SparseVectors) -> tuple[Tensor, Tensor, Tensor]:
    """What `SparseError` gives, and its gradients by W and b."""
    runs, n, width = vectors.shape
    H = (vectors.rows @ W.mT.reshape(runs * width, -1)).view(runs, n, -1)
    by_W, by_b, by_H = torch.zeros_like(W), torch.zeros_like(b), torch.empty_like(H)
    error = W.new_zeros(runs, dtype=torch.float64)
    for part in vectors.parts:
        R = torch.baddbmm(b[:, None], H[:, part.which], W).relu_()
        if vectors.counted is not None:
            R.mul_(vectors.counted[:, part.which])
        at = R.view(-1)[part.places]
        R.view(-1)[part.places] = torch.where(at > 0, at - part.values, 0.0)
        # Where the ReLU is shut, the error is x² and has no gradient.
        error.index_add_(0, part.runs, torch.where(at > 0, 0.0, part.squares).double())
        if vectors.importance is None:
            G = R
            error += torch.linalg.vector_norm(R, dim=(1, 2)).double().square()
        else:
            G = R * vectors.importance
            error += (R * G).sum(dim=(1, 2)).double()
        by_b += G.sum(dim=1)
        by_W.baddbmm_(H[:, part.which].mT, G)
        by_H[:, part.which] = G @ W.mT
    by_W += (vectors.columns @ by_H.view(runs * n, -1)).view(runs, width, -1).mT
    return error, by_W.mul_(2), by_b.mul_(2)
