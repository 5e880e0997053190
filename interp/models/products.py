"""The products that the shared forward pass is made of: dense ones, and those with a sparse matrix of known pattern.

Each is differentiable, as often as asked: the gradients are made of the same products.
"""

import ctypes
import sys
import warnings
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from interp.base import once
from interp.models.transformer import Precision


def product(
    x: Float[Tensor, "runs m k"], w: Float[Tensor, "runs k n"], precision: Precision = "float32"
) -> Float[Tensor, "runs m n"]:
    """x @ w for each run. Small products are never bfloat16: rounding their arguments would save nothing."""
    if x.shape[1] * x.shape[2] * w.shape[2] <= SMALL or precision == "float64":
        return torch.bmm(x, w)
    return _Product.apply(x, w, precision)


SMALL = 2**23
"""Multiplications in a product up to which calling it costs more than where it is computed can save."""


class _Product(torch.autograd.Function):
    """x @ w, with the gradients' products in a precision of their own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, precision: Precision) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.gradients = "float32" if precision == "float32" else "bfloat16"
        return multiply(x, w, rounded=precision == "bfloat16")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,) = gradients
        x, w = ctx.saved_tensors
        to_x, to_w, _ = ctx.needs_input_grad
        for_x = _Product.apply(g, w.mT, ctx.gradients) if to_x else None
        if not to_w:
            return for_x, None, None
        # The smaller one first: oneDNN copies it, and takes twice as long the other way round.
        if x.shape[-1] <= g.shape[-1]:
            return for_x, _Product.apply(x.mT, g, ctx.gradients), None
        return for_x, _Product.apply(g.mT, x, ctx.gradients).mT, None


ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
"""oneDNN's float32 product, as torch.compile calls it. torch's own takes MKL, which is half as fast on AMD processors
(docs/decisions/0005)."""


def multiply(x: Float[Tensor, "runs m k"], w: Float[Tensor, "runs k n"], rounded: bool) -> Float[Tensor, "runs m n"]:
    """x @ w, with the arguments rounded to bfloat16 or as they are."""
    if rounded:
        return torch.bmm(x.bfloat16(), w.bfloat16()).to(x.dtype)
    if ONEDNN is None or x.dtype != torch.float32 or x.device.type != "cpu":
        return torch.bmm(x, w)
    each = [ONEDNN(packed(x_run), packed(w_run.mT), None, "none", [], "") for x_run, w_run in zip(x, w, strict=True)]
    return each[0][None] if len(each) == 1 else torch.stack(each)


def packed(matrix: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """The matrix without gaps between its rows or columns: with them oneDNN was seen to take five hundred times as long."""
    return matrix if matrix.is_contiguous() or matrix.mT.is_contiguous() else matrix.contiguous()


class Entries:
    """Where the entries of a sparse matrix [out, rows] are: j in each row, their columns ascending."""

    def __init__(self, columns: Int[Tensor, "out j"], rows: int):
        self.out, self.j = columns.shape
        self.rows = rows
        self.columns = columns.flatten()
        self._zeros: dict[torch.dtype, Tensor] = {}

    @once
    def starts(self) -> Int[Tensor, " out_and_1"]:
        """Where the entries of each row begin, and where the last ends."""
        return torch.arange(0, self.out * self.j + 1, self.j, device=self.columns.device)

    @once
    def by_column(self) -> Int[Tensor, " entries"]:
        """The entries in the order of their columns."""
        return torch.argsort(self.columns, stable=True)

    @once
    def rows_by_column(self) -> Int[Tensor, " entries"]:
        """In which row each of them lies."""
        return self.by_column // self.j

    @once
    def starts_by_column(self) -> Int[Tensor, " rows_and_1"]:
        """Where the entries of each column begin, and where the last ends."""
        counts = torch.bincount(self.columns, minlength=self.rows)
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def zeros(self, dtype: torch.dtype) -> Tensor:
        """The matrix with every entry 0; made once."""
        if dtype not in self._zeros:
            values = torch.zeros(len(self.columns), dtype=dtype, device=self.columns.device)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
                self._zeros[dtype] = torch.sparse_csr_tensor(
                    self.starts, self.columns, values, (self.out, self.rows), check_invariants=False
                )
        return self._zeros[dtype]


def select(rows: Float[Tensor, "runs n ..."], index: Int[Tensor, "runs m"]) -> Float[Tensor, "runs m ..."]:
    """The rows of that number, counted through all runs.

    By index_select, whose gradient is a plain sum: that of rows[…] takes twenty times as long.
    """
    return rows.flatten(0, 1).index_select(0, index.flatten()).unflatten(0, index.shape)


def weighted_sum(
    weights: Float[Tensor, "out j"], table: Float[Tensor, "rows width"], entries: Entries
) -> Float[Tensor, "out width"]:
    """S @ table, where the sparse S has `weights` at `entries`: for each row of `out`, its j rows of the table added."""
    return _WeightedSum.apply(weights, table, entries)


def spread(
    weights: Float[Tensor, "out j"], values: Float[Tensor, "out width"], entries: Entries
) -> Float[Tensor, "rows width"]:
    """Sᵀ @ values."""
    return _Spread.apply(weights, values, entries)


def dots(
    values: Float[Tensor, "out width"], table: Float[Tensor, "rows width"], entries: Entries
) -> Float[Tensor, "out j"]:
    """values @ tableᵀ at the entries alone."""
    return _Dots.apply(values, table, entries)


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, table: Tensor, entries: Entries) -> Tensor:
        ctx.save_for_backward(weights, table)
        ctx.entries = entries
        return bags(entries.columns, table, entries.starts, weights.flatten())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,) = gradients
        weights, table = ctx.saved_tensors
        to_weights, to_table, _ = ctx.needs_input_grad
        return (
            dots(g, table, ctx.entries) if to_weights else None,
            spread(weights, g, ctx.entries) if to_table else None,
            None,
        )


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, values: Tensor, entries: Entries) -> Tensor:
        ctx.save_for_backward(weights, values)
        ctx.entries = entries
        in_order = weights.flatten().index_select(0, entries.by_column)
        return bags(entries.rows_by_column, values, entries.starts_by_column, in_order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,) = gradients
        weights, values = ctx.saved_tensors
        to_weights, to_values, _ = ctx.needs_input_grad
        return (
            dots(values, g, ctx.entries) if to_weights else None,
            weighted_sum(weights, g, ctx.entries) if to_values else None,
            None,
        )


class _Dots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, table: Tensor, entries: Entries) -> Tensor:
        ctx.save_for_backward(values, table)
        ctx.entries = entries
        zeros = entries.zeros(values.dtype)
        found = torch.sparse.sampled_addmm(zeros, values.contiguous(), table.contiguous().mT, beta=0.0)
        return found.values().view(entries.out, entries.j)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,) = gradients
        values, table = ctx.saved_tensors
        to_values, to_table, _ = ctx.needs_input_grad
        return (
            weighted_sum(g, table, ctx.entries) if to_values else None,
            spread(g, values, ctx.entries) if to_table else None,
            None,
        )


def bags(rows: Tensor, table: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """Sums of table rows by weights, from each start to the next; embedding_bag's kernel is the fastest there is."""
    return embedding_bag(
        rows,
        table.detach().contiguous(),
        starts,
        mode="sum",
        per_sample_weights=weights.detach(),
        include_last_offset=True,
    )


def keep_freed_memory() -> None:
    """Have glibc's malloc keep what is freed, for this process.

    Otherwise tensors of some megabytes go back to the system at every step and are fetched page by page at the next: a
    tenth of the time of training at p = 113 (docs/decisions/0005).
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        if libc.mallopt(MMAP_THRESHOLD, 1 << 30) or libc.mallopt(MMAP_THRESHOLD, 1 << 25):  # older ones allow 32 MiB
            libc.mallopt(TRIM_THRESHOLD, (1 << 31) - 1)


TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""
