"""Toy models over many vectors, for several runs at once: output, and squared error with its gradient.

`ToyForward` computes what HookedToy does, with an axis of runs; autograd differentiates it. If almost all features are 0,
`SparseError` gives the error and its gradient in closed form, several times faster. With H = X·Wᵀ and R = relu(H·W + b), the
derivative by the input of the ReLU is 2·I·R, less 2·I·x where R > 0 for the few x ≠ 0. It never holds more of R than fits
into the processor's cache, and X is sparse. Equal to autograd's to rounding (tests/models/test_reconstruct.py).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.models.activations import ACTIVATIONS, LAYER_NORM_EPS
from interp.models.network import ClosedError, Forward, Hook, Layer, Matrix, Roles, Weights
from interp.models.toy.spec import ToySpec
from interp.recipe import Precision
from interp.shape import Shape

CACHE = 1 << 20
"""Bytes of outputs that are computed at a time, summed over runs."""

LARGE = 200_000
"""Size (numbers in the vectors of all runs) above which the closed form of the error is faster."""

SPARSE = 0.1
"""Largest share of non-zero numbers at which the closed form is faster."""


def activate_hidden(
    spec: ToySpec, weights: Weights, pre: Float[Tensor, "... d_hidden"]
) -> Float[Tensor, "... d_hidden"]:
    """Hidden numbers after their activation, with a LayerNorm for solu_ln."""
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
    """Output after its activation."""
    return ACTIVATIONS[spec.output](pre)


@dataclass(frozen=True)
class ToyForward(Forward):
    """Forward pass of toy models for given vectors, as a function of the weights, each [*runs, …]."""

    spec: ToySpec
    vectors: Float[Tensor, "*runs n feature"]

    def __call__(self, weights: Weights, factors: Tensor | None = None) -> Float[Tensor, "*runs n feature"]:
        """Output of every run's model for its vectors."""
        return activate_output(self.spec, self.received(weights, self.hidden(weights)))

    def hidden(self, weights: Weights) -> Float[Tensor, "*runs n d_hidden"]:
        """Hidden numbers of every run's model for its vectors."""
        return activate_hidden(self.spec, weights, self.vectors @ weights["W"].mT)

    def received(self, weights: Weights, hidden: Float[Tensor, "*runs n d_hidden"]) -> Float[Tensor, "*runs n feature"]:
        """Pre-activations of the output."""
        out = weights["W"] if self.spec.tied else weights["W_out"]
        if hidden.ndim == 2:
            return torch.addmm(weights["b"], hidden, out)
        return torch.baddbmm(weights["b"][:, None], hidden, out)

    def cache(self, weights: Weights, names: Callable[[str], bool] = lambda name: True) -> dict[str, Tensor]:
        """Activations of every vector by the names of HookedToy's hooks."""
        pre = self.vectors @ weights["W"].mT
        hidden = activate_hidden(self.spec, weights, pre)
        found = {"hook_hidden_pre": pre, "hook_hidden": hidden}
        if names("hook_pre") or names("hook_post"):  # as wide as the vectors
            found["hook_pre"] = self.received(weights, hidden)
            found["hook_post"] = activate_output(self.spec, found["hook_pre"])
        return {name: value for name, value in found.items() if names(name)}

    def closed_error(self, targets: Tensor, counted: Tensor, importance: Tensor) -> ClosedError | None:
        """Error of the reconstruction, if almost all features are 0 and the model is the papers' tied one; otherwise None."""
        spec, vectors = self.spec, self.vectors
        simple = spec.tied and spec.hidden == "none" and spec.output == "relu" and not vectors.is_cuda
        if not simple or targets is not vectors or vectors.numel() < LARGE:
            return None
        if vectors.count_nonzero() > SPARSE * vectors.numel():
            return None
        sparse = SparseVectors.of(vectors, counted, importance)

        def error(weights: Weights) -> Float[Tensor, " runs"]:
            """Error of each run."""
            return cast(Tensor, SparseError.apply(weights["W"], weights["b"], sparse))

        return error


def over(
    spec: ToySpec,
    shape: Shape,
    inputs: Float[Tensor, "*runs n feature"],
    precision: Precision = "float32",
    apart: bool = False,
) -> ToyForward:
    """Forward pass over these vectors, in the precision that they have; there is no dropout."""
    return ToyForward(spec, inputs)


def roles(spec: ToySpec) -> Roles:
    """Parts of a toy model by role: directions of each feature among the hidden numbers, on the way in and on the way out."""
    features = Matrix(("W",), lambda weights: weights["W"].mT, spec.d_hidden)
    out = None if spec.tied else Matrix(("W_out",), lambda weights: weights["W_out"].mT, spec.d_hidden)
    return Roles(
        logits="hook_post",
        features=features,
        features_out=out,
        hidden=Hook("hook_hidden", spec.d_hidden),
        layer=None if spec.output == "none" else Layer("hook_hidden", partial(received, spec)),
    )


def received(spec: ToySpec, weights: Weights, hidden: Float[Tensor, "rows d_hidden"]) -> Float[Tensor, "rows feature"]:
    """What the outputs receive of these hidden numbers."""
    return ToyForward(spec, hidden).received(weights, hidden)


@dataclass(frozen=True)
class SparseVectors:
    """Sparse vectors, stored in every form that `SparseError` needs."""

    shape: tuple[int, int, int]
    """Numbers of runs, of vectors of a run, and of features."""
    rows: Tensor
    """Vectors as a sparse matrix [runs · n, runs · feature], block-diagonal by run."""
    columns: Tensor
    """Transpose of `rows`."""
    importance: Float[Tensor, "runs 1 feature"] | None
    """Importance of each feature; None if all are 1."""
    counted: Float[Tensor, "runs n 1"] | None
    """Mask: 1 for a vector, 0 for padding; None without padding."""
    parts: tuple["Part", ...]

    @staticmethod
    def of(
        vectors: Float[Tensor, "runs n feature"],
        counted: Float[Tensor, "runs n"],
        importance: Float[Tensor, "runs feature"],
    ) -> "SparseVectors":
        """Sparse vectors, from dense ones."""
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
    """A slice of the vectors of every run, as `SparseError` needs it."""

    which: slice
    places: Int[Tensor, " nonzero"]
    """Flat indices of the non-zero numbers of [runs, part, feature]."""
    values: Float[Tensor, " nonzero"]
    squares: Float[Tensor, " nonzero"]
    """Weighted squares I·x² of the non-zero numbers."""
    runs: Int[Tensor, " nonzero"]

    @staticmethod
    def of(vectors: Float[Tensor, "runs n feature"], which: slice, importance: Float[Tensor, "runs feature"]) -> "Part":
        """The part that holds the vectors in a slice."""
        part = vectors[:, which]
        run, row, feature = part.nonzero(as_tuple=True)
        places = (run * part.shape[1] + row) * part.shape[2] + feature
        values = part[run, row, feature]
        return Part(which, places, values, values.square() * importance[run, feature], run)


def compressed(row: Tensor, column: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    """Sparse matrix (CSR) from the rows, columns and values of its non-zero numbers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # "is in beta", "invariant checks are implicitly disabled"
        return torch.sparse_coo_tensor(torch.stack([row, column]), values, size).coalesce().to_sparse_csr()


class SparseError(torch.autograd.Function):
    """Squared error Σ_i I_i·(x_i − relu(WᵀWx + b)_i)², summed over the vectors of each run: [runs], float64.

    W is [runs, d_hidden, feature], b [runs, feature]. It has no second derivative.
    """

    @staticmethod
    def forward(ctx: Any, W: Tensor, b: Tensor, vectors: SparseVectors) -> Tensor:
        """Error of each run. Its gradient follows from the same outputs, and is kept."""
        error, *gradients = error_and_gradients(W, b, vectors)
        ctx.save_for_backward(*gradients)
        return error

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by W and b."""
        by_W, by_b = ctx.saved_tensors
        each = outer[0].to(by_W.dtype)
        return by_W * each[:, None, None], by_b * each[:, None], None


def error_and_gradients(W: Tensor, b: Tensor, vectors: SparseVectors) -> tuple[Tensor, Tensor, Tensor]:
    """Error of each run, as `SparseError` gives it, and its gradients by W and b."""
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
