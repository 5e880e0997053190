"""Products of the shared forward pass: dense ones, and products with a sparse matrix of known pattern.

Each can be differentiated any number of times: the gradients are made of the same products.
"""

import warnings
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

from interp.base import once
from interp.maths.compiled import once_at_most
from interp.recipe import Precision


def product(
    x: Float[Tensor, "runs m k"],
    w: Float[Tensor, "runs k n"],
    precision: Precision = "float32",
    bias: Float[Tensor, "runs n"] | None = None,
) -> Float[Tensor, "runs m n"]:
    """Product x @ w (+ bias) for each run. Small ones are never in bfloat16: rounding their arguments would save nothing."""
    if x.shape[1] * x.shape[2] * w.shape[2] <= SMALL or precision == "float64":
        return torch.bmm(x, w) if bias is None else torch.baddbmm(bias[:, None], x, w)
    if bias is None:
        return _Product.apply(x, w, precision)
    return _Affine.apply(x, w, precision, bias) if once_at_most() else _Product.apply(x, w, precision) + bias[:, None]


def shared_product(
    x: Float[Tensor, "sets m k"], w: Float[Tensor, "runs k n"], precision: Precision = "float32"
) -> Float[Tensor, "runs m n"]:
    """Product x @ w for each run, where each set x serves as many neighbouring runs: their columns stand side by side in one."""
    each = len(w) // len(x)
    columns = w.unflatten(0, (-1, each)).transpose(1, 2).flatten(2)
    return product(x, columns, precision).unflatten(2, (each, -1)).transpose(1, 2).flatten(0, 1)


SMALL = 2**23
"""Multiplications up to which a product is small: a special kernel costs more to call than it saves."""


class _Linear(torch.autograd.Function):
    """Base of products, which are linear in each of their first two arguments; the third is a constant.

    Derivatives forward and backward are made of products again, so that any mixture of them can be taken. Under vmap the members
    of a batch are multiplied one after another: their kernels take no further axis.
    """

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Any], output: Tensor) -> None:
        """Keep both factors, for the derivative by the other one."""
        one, other, ctx.constant = inputs
        ctx.save_for_backward(one, other)
        ctx.save_for_forward(one, other)

    @classmethod
    def apply(cls, *arguments: Any) -> Any:
        """The result. torch's own `apply` first looks up the signature of `forward`, in as much time as a small product."""
        if torch._C._are_functorch_transforms_active():  # pyright: ignore[reportPrivateUsage]
            return super().apply(*arguments)
        return super(torch.autograd.Function, cls).apply(*arguments)  # pyright: ignore[reportAttributeAccessIssue]

    # Class methods, so that one of each serves every product; torch calls them as it would static ones.
    @classmethod
    def jvp(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, ctx: Any, by_one: Tensor | None, by_other: Tensor | None, constant: None
    ) -> Any:
        """Derivative along changes of both factors."""
        one, other = ctx.saved_tensors
        parts = [] if by_one is None else [cls.apply(by_one, other, ctx.constant)]
        parts += [] if by_other is None else [cls.apply(one, by_other, ctx.constant)]
        return sum(parts[1:], parts[0]) if parts else None

    @classmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, info: Any, axes: tuple[int | None, ...], one: Tensor, other: Tensor, constant: Any
    ) -> Any:
        """Products of the members of a batch, stacked, and the axis of the batch."""

        def member(values: Tensor, axis: int | None, index: int) -> Tensor:
            return values if axis is None else values.select(axis, index)

        each = range(info.batch_size)
        products = [cls.apply(member(one, axes[0], i), member(other, axes[1], i), constant) for i in each]
        return torch.stack(products), 0


class _Product(_Linear):
    """Product x @ w whose gradients are computed in a precision of their own."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, precision: Precision) -> Tensor:
        return multiply(x, w, rounded=precision == "bfloat16")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,) = gradients
        x, w = ctx.saved_tensors
        precision = "float32" if ctx.constant == "float32" else "bfloat16"
        to_x, to_w = ctx.needs_input_grad[:2]
        for_x = _Product.apply(g, w.mT, precision) if to_x else None
        if not to_w:
            return for_x, None, None
        # The smaller one first: oneDNN copies it, and takes twice as long the other way round.
        if x.shape[-1] <= g.shape[-1]:
            return for_x, _Product.apply(x.mT, g, precision), None
        return for_x, _Product.apply(g.mT, x, precision).mT, None


class _Affine(torch.autograd.Function):
    """Product x @ w + bias in one pass over the result; differentiable once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, precision: Precision, bias: Tensor) -> Tensor:
        ctx.constant = precision
        ctx.save_for_backward(x, w)
        return multiply(x, w, precision == "bfloat16", bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return *_Product.backward(ctx, *gradients), gradients[0].sum(dim=1) if ctx.needs_input_grad[3] else None


ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
"""oneDNN's float32 product, as torch.compile calls it. torch's own takes MKL, which is half as fast on AMD processors
(docs/decisions/0005)."""


def multiply(
    x: Float[Tensor, "runs m k"],
    w: Float[Tensor, "runs k n"],
    rounded: bool,
    bias: Float[Tensor, "runs n"] | None = None,
) -> Float[Tensor, "runs m n"]:
    """Product x @ w (+ bias), with the arguments rounded to bfloat16 if `rounded`."""
    if rounded:
        found = torch.bmm(x.bfloat16(), w.bfloat16()).to(x.dtype)
        return found if bias is None else found + bias[:, None]
    if ONEDNN is None or x.dtype != torch.float32 or x.device.type != "cpu":
        return torch.bmm(x, w) if bias is None else torch.baddbmm(bias[:, None], x, w)
    biases = [None] * len(x) if bias is None else bias
    each = [ONEDNN(packed(x[i]), packed(w[i].mT), biases[i], "none", [], "") for i in range(len(x))]
    return each[0][None] if len(each) == 1 else torch.stack(each)


def packed(matrix: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """The matrix without gaps between its rows or columns; with gaps oneDNN was seen to take 500 times as long."""
    return matrix if matrix.is_contiguous() or matrix.mT.is_contiguous() else matrix.contiguous()


class Entries:
    """Pattern of a sparse matrix [out, rows]: the columns of j entries in each row, ascending."""

    def __init__(self, columns: Int[Tensor, "out j"], rows: int):
        self.out, self.j = columns.shape
        self.rows = rows
        self.columns = columns.flatten()
        self._zeros: dict[torch.dtype, Tensor] = {}

    @once
    def starts(self) -> Int[Tensor, " out_and_1"]:
        """Index at which the entries of each row begin, and at which the last row ends."""
        return torch.arange(0, self.out * self.j + 1, self.j, device=self.columns.device)

    @once
    def by_column(self) -> Int[Tensor, " entries"]:
        """Indices of the entries in the order of their columns."""
        return torch.argsort(self.columns, stable=True)

    @once
    def rows_by_column(self) -> Int[Tensor, " entries"]:
        """Row of each entry, in the order of the columns."""
        return self.by_column // self.j

    @once
    def starts_by_column(self) -> Int[Tensor, " rows_and_1"]:
        """Index at which the entries of each column begin, and at which the last column ends."""
        counts = torch.bincount(self.columns, minlength=self.rows)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def zeros(self, dtype: torch.dtype) -> Tensor:
        """The sparse matrix with value 0 at every entry; made once."""
        if dtype not in self._zeros:
            values = torch.zeros(len(self.columns), dtype=dtype, device=self.columns.device)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
                self._zeros[dtype] = torch.sparse_csr_tensor(
                    self.starts, self.columns, values, (self.out, self.rows), check_invariants=False
                )
        return self._zeros[dtype]


def select(rows: Float[Tensor, "runs n ..."], index: Int[Tensor, "runs m"]) -> Float[Tensor, "runs m ..."]:
    """Rows at the given indices, which are numbered through all runs.

    Uses index_select, whose gradient is a plain sum; the gradient of rows[…] takes twenty times as long.
    """
    return rows.flatten(0, 1).index_select(0, index.flatten()).unflatten(0, index.shape)


def weighted_sum(
    weights: Float[Tensor, "out j"], table: Float[Tensor, "rows width"], entries: Entries
) -> Float[Tensor, "out width"]:
    """Product S @ table, where the sparse S has `weights` at `entries`: a weighted sum of j table rows for each row of `out`."""
    return _WeightedSum.apply(weights, table, entries)


def spread(
    weights: Float[Tensor, "out j"], values: Float[Tensor, "out width"], entries: Entries
) -> Float[Tensor, "rows width"]:
    """Product Sᵀ @ values, where the sparse S has `weights` at `entries`."""
    return _Spread.apply(weights, values, entries)


def dots(
    values: Float[Tensor, "out width"], table: Float[Tensor, "rows width"], entries: Entries
) -> Float[Tensor, "out j"]:
    """Product values @ tableᵀ, computed only at `entries`."""
    return _Dots.apply(values, table, entries)


class _WeightedSum(_Linear):
    @staticmethod
    def forward(weights: Tensor, table: Tensor, entries: Entries) -> Tensor:
        return bags(entries.columns, table, entries.starts, weights.flatten())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,) = gradients
        weights, table = ctx.saved_tensors
        to_weights, to_table, _ = ctx.needs_input_grad
        return (
            dots(g, table, ctx.constant) if to_weights else None,
            spread(weights, g, ctx.constant) if to_table else None,
            None,
        )


class _Spread(_Linear):
    @staticmethod
    def forward(weights: Tensor, values: Tensor, entries: Entries) -> Tensor:
        in_order = weights.flatten().index_select(0, entries.by_column)
        return bags(entries.rows_by_column, values, entries.starts_by_column, in_order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,) = gradients
        weights, values = ctx.saved_tensors
        to_weights, to_values, _ = ctx.needs_input_grad
        return (
            dots(values, g, ctx.constant) if to_weights else None,
            weighted_sum(weights, g, ctx.constant) if to_values else None,
            None,
        )


class _Dots(_Linear):
    @staticmethod
    def forward(values: Tensor, table: Tensor, entries: Entries) -> Tensor:
        zeros = entries.zeros(values.dtype)
        found = torch.sparse.sampled_addmm(zeros, values.contiguous(), table.contiguous().mT, beta=0.0)
        return found.values().view(entries.out, entries.j)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,) = gradients
        values, table = ctx.saved_tensors
        to_values, to_table, _ = ctx.needs_input_grad
        return (
            weighted_sum(g, table, ctx.constant) if to_values else None,
            spread(g, values, ctx.constant) if to_table else None,
            None,
        )


def bags(rows: Tensor, table: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of table rows, one sum from each start to the next. Uses embedding_bag, whose kernel is the fastest."""
    return embedding_bag(
        rows,
        table.detach().contiguous(),
        starts,
        mode="sum",
        per_sample_weights=weights.detach(),
        include_last_offset=True,
    )
