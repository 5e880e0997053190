"""Which states of a transformer are distinct, found from a table of tokens; `SharedForward` computes each once."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from interp.base import once
from interp.models.products import Entries

Rows = Int[Tensor, "runs out"]
"""Index of a row of the layer's input for each output row; rows are numbered through all runs."""


@dataclass(frozen=True)
class Reads:
    """Which input rows the output rows of one position read in one layer."""

    queries: Rows
    """Input row whose residual stream each output row continues, and whose query it uses."""
    keys: Int[Tensor, "runs out seen"]
    """Input rows that each output row attends to, one for each visible position."""
    rows: int
    """Number of input rows of one run."""
    n_heads: int

    @once
    def asking(self) -> tuple[Int[Tensor, "runs queries"], Rows]:
        """Distinct queries of each run, and the index among them of each output row's query; numbered through all runs."""
        first, which = distinct(self.queries[..., None])
        return self.queries.gather(1, first), which + first.shape[1] * runs_of(which)

    @once
    def attention(self) -> Entries:
        """Entries of the attention pattern as a sparse matrix: (run, output row, head) by (run, input row, head)."""
        heads = torch.arange(self.n_heads, device=self.keys.device)[:, None]
        columns = self.keys[..., None, :] * self.n_heads + heads
        return Entries(columns.flatten(0, 2), self.keys.shape[0] * self.rows * self.n_heads)

    @once
    def pairs(self) -> Int[Tensor, " seen_runs_out"]:
        """Index of the triple (run, distinct query, input row) for each visible position of every output row."""
        keys = self.keys - self.rows * runs_of(self.keys)
        return (self.asking[1][..., None] * self.rows + keys).flatten(0, 1).T.flatten()

    @once
    def sources(self) -> "Sources":
        """The reads as sums over a table that has a row for each (head, input row) and each distinct query."""
        return Sources.of(self)


@dataclass(frozen=True)
class Sources:
    """Which table rows each output row sums; the table has a row for each (head, input row) and each distinct query."""

    anchor: Int[Tensor, "runs 1"] | None
    """A key that every output row of a run sees, None if there is none. Softmax weights sum to 1: subtract its value from the
    others and add it back once as a constant; one sparse entry less a head."""
    varying: list[int]
    """Visible positions of the keys other than the anchor."""
    entries: Entries
    """Entries of the sparse matrix (run, output row) by (run, table row); a table row is a (head, input row) or a query."""

    _parts: dict[int, list[Entries]] = field(default_factory=dict)

    def parts(self, size: int, runs: int) -> list[Entries]:
        """Entries in parts of `size` output rows of each run, in order; computed once."""
        if size not in self._parts:
            columns = self.entries.columns.view(runs, -1, self.entries.j).split(size, dim=1)
            self._parts[size] = [Entries(part.flatten(0, 1), self.entries.rows) for part in columns]
        return self._parts[size]

    @staticmethod
    def of(reads: Reads) -> "Sources":
        """Sources of the output rows, from the rows that they read."""
        asking, which = reads.asking
        same = (reads.keys == reads.keys[:, :1]).flatten(0, 1).all(0).tolist()
        fixed = same.index(True) if True in same else None
        varying = [i for i in range(len(same)) if i != fixed]
        heads = torch.arange(reads.n_heads, device=reads.keys.device)[:, None]
        keys = reads.keys - reads.rows * runs_of(reads.keys)
        values = (heads * reads.rows + keys[:, :, None, varying]).flatten(2)
        n_values, n_queries = reads.n_heads * reads.rows, asking.shape[1]
        columns = torch.cat([values, n_values + which[..., None] - n_queries * runs_of(values)], dim=-1)
        columns = columns + (n_values + n_queries) * runs_of(columns)
        entries = Entries(columns.flatten(0, 1), len(columns) * (n_values + n_queries))
        return Sources(None if fixed is None else reads.keys[:, :1, fixed], varying, entries)


@dataclass(frozen=True)
class Plan:
    """Which distinct rows exist at each layer, found from a table of tokens."""

    tokens: Int[Tensor, "runs rows"]
    positions: Int[Tensor, " rows"]
    """Position in the prompt of each row of layer 0."""
    layers: tuple[tuple[Reads, ...], ...]
    """Reads of the output rows of each layer, a group for each position. The rows of all groups, in order, are the next
    layer's input. The last layer only has the answer position, one row a prompt."""


def make_plan(
    tokens: Int[Tensor, "runs n n_ctx"], n_layers: int, n_heads: int, causal: bool, apart: bool = False
) -> Plan:
    """Plan of the distinct states of every layer.

    Rows of layer 0 are the distinct (position, token) pairs. Rows of a deeper layer are the distinct prefixes at each
    position, or whole prompts if attention is not causal. Runs with fewer rows are padded with their first row.

    With `apart` every prompt has a row of its own at each position of the deeper layers, in order. This is for states that
    differ by more than their tokens, as with dropout.
    """
    n_runs, n, n_ctx = tokens.shape
    found = [distinct(tokens[:, :, j : j + 1]) for j in range(n_ctx)]
    rows_tokens = torch.cat([tokens[:, :, j].gather(1, first) for j, (first, _) in enumerate(found)], dim=1)
    positions = torch.cat([torch.full_like(first[0], j) for j, (first, _) in enumerate(found)])
    index, rows = running(found)
    layers = []
    for layer in range(n_layers):
        index = index + rows * runs_of(index)
        last = layer == n_layers - 1
        every = torch.arange(n, device=tokens.device).expand(n_runs, n)
        seen = {j: j + 1 if causal else n_ctx for j in ([n_ctx - 1] if last else range(n_ctx))}
        kept = {j: (every, every) if last or apart else distinct(tokens[:, :, : seen[j]]) for j in seen}
        layers.append(
            tuple(
                Reads(
                    index[:, :, j].gather(1, first),
                    index[:, :, : seen[j]].gather(1, first[..., None].expand(-1, -1, seen[j])),
                    rows,
                    n_heads,
                )
                for j, (first, _) in kept.items()
            )
        )
        index, rows = running(list(kept.values()))
    return Plan(rows_tokens, positions, tuple(layers))


def running(found: list[tuple[Tensor, Tensor]]) -> tuple[Int[Tensor, "runs n groups"], int]:
    """Indices into the rows of several groups joined in order, from indices into each group; and the number of joined rows."""
    sizes = [first.shape[1] for first, _ in found]
    offsets = [sum(sizes[:j]) for j in range(len(sizes))]
    return torch.stack([which + offset for (_, which), offset in zip(found, offsets, strict=True)], dim=-1), sum(sizes)


def distinct(rows: Int[Tensor, "runs n k"]) -> tuple[Int[Tensor, "runs m"], Int[Tensor, "runs n"]]:
    """Index at which each distinct row of a run first occurs, and for every row the index among the distinct rows.

    m is the largest number of distinct rows over runs; other runs are padded with their first distinct row.
    """
    each: list[tuple[Tensor, Tensor]] = []
    for run in rows:  # those of many models that answer the same prompts are all alike
        each.append(each[0] if each and torch.equal(run, rows[0]) else distinct_of_one(run))
    m = max(len(first) for first, _ in each)
    firsts = [torch.nn.functional.pad(first, (0, m - len(first)), value=int(first[0])) for first, _ in each]
    return torch.stack(firsts), torch.stack([which for _, which in each])


def distinct_of_one(rows: Int[Tensor, "n k"]) -> tuple[Int[Tensor, " m"], Int[Tensor, " n"]]:
    """First index of each distinct row of one run, and for every row the index among the distinct rows."""
    base, k = int(rows.max()) + 1, rows.shape[1]
    if base**k < 2**63:  # each row as one number, since sorting rows takes ten times as long
        numbers = (rows * base ** torch.arange(k - 1, -1, -1, device=rows.device)).sum(dim=1)
        _, which = torch.unique(numbers, return_inverse=True)
    else:
        _, which = torch.unique(rows, dim=0, return_inverse=True)
    first = torch.full((int(which.max()) + 1,), len(rows), device=rows.device)
    return first.scatter_reduce(0, which, torch.arange(len(rows), device=rows.device), "amin"), which


def runs_of(values: Int[Tensor, "runs ..."]) -> Int[Tensor, "runs ..."]:
    """Index of each run, in a shape that broadcasts against `values`."""
    return torch.arange(len(values), device=values.device).view(-1, *[1] * (values.ndim - 1))
