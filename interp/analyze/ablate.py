"""Ablations: what breaks when a part is taken out, and does as much taken at random break it too?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.analyze._common import (
    AnalysisOptions,
    Variables,
    beforehand,
    by_step,
    bytes_read,
    dataset,
    each_checkpoint,
    evenly,
    fits,
    last_mlp,
    needs_mlp,
)
from interp.analyze._keys import KeyRule, final_bytes, final_keys, neuron_shares
from interp.analyze._sums import Square, square
from interp.base import once
from interp.maths import ablation
from interp.maths.losses import losses_and_right
from interp.models.products import product
from interp.models.tail import Tail, parts_of_heads
from interp.store import Run
from interp.store.tensors import Tensors
from interp.tasks import ModularTask

SHARE = 0.85
"""Of a neuron's variance, in the 3×3 block of a frequency, above which it belongs to that frequency's cluster."""

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of what random removals leave of a cluster: the least, the quartiles and the most."""

PART = 1024
"""Prompts whose logits are computed at a time: they stay in the processor's cache until their loss is known."""


class Options(AnalysisOptions):
    """Which frequencies are taken for key, and what is compared with."""

    rule: KeyRule = "neuron_clusters"
    """Rule by which the last checkpoint in view names the key frequencies; where it names none, W_E_largest_gap does."""
    frequencies: tuple[int, ...] = ()
    """These key frequencies instead, such as --frequencies 14 35 41 42 52."""
    checkpoints: int = Field(default=40, ge=1)
    """At most so many, evenly chosen among those in view: each is answered some five hundred times over."""
    repeats: int = Field(default=20, ge=1, le=1000)
    """Random removals of the same size beside each ablation."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of those; they are the same at every checkpoint."""


def measure(run: Run, options: Options) -> xr.Dataset:
    """Loss and accuracy by split with each part taken out, beside as much taken out at random, repeated.

    Which frequencies are key and which neurons are in whose cluster is found once, at the last checkpoint in view, and held
    at every other: it is asked since when the network rests on what it ends with.
    """
    run = evenly(run.with_checkpoints(), options.checkpoints)
    grid = square(needs_mlp(run, "ablate"), "ablate")
    needs = bytes_at_work(grid)
    fits(run, needs + bytes_read(run))
    chosen = choose(grid, options)
    found = each_checkpoint(run, lambda weights: outcomes(Network(chosen, weights)), needs=needs)
    k = np.arange(1, grid.n // 2 + 1)
    return dataset(
        run,
        options,
        variables(found),
        coords={
            "ablation": list(ablations(run)),
            "split": list(grid.splits),
            "freq": ("freq", k, {"units": f"cycles per {grid.n} residues"}),
            "is_key": ("freq", np.isin(k, chosen.key), {"long_name": "is a key frequency"}),
            "cluster_size": ("freq", [len(chosen.cluster(each)) for each in k.tolist()], {"units": "neurons"}),
            "repeat": np.arange(options.repeats),
            "quantile": list(QUANTILES),
            "drawn": (
                ("repeat", "freq"),
                np.array([np.isin(k, drawn) for drawn in chosen.drawn]),
                {"long_name": "frequencies that were drawn in place of the key ones"},
            ),
        },
        definition="; ".join([*(f"{name}: {what}" for name, what in ablations(run).items()), *DEFINITIONS]),
        source="ablations: Nanda et al. 2023 (arXiv 2301.05217), section 4; removal at random of the same size is "
        "defined here",
    ).assign_attrs(
        key_frequencies=" ".join(map(str, chosen.key)),
        keys_are=chosen.keys_are,
        drawn_clustered=chosen.drawn_clustered,
    )


PARTS = {
    "embedding: keys kept": "W_E's number rows are their mean and their waves of the key frequencies",
    "embedding: keys removed": "those waves are subtracted",
    "neurons: keys kept": "the last MLP's activations are their mean and their parts along cos and sin(w(a+b)) of the key "
    "frequencies; what passes beside the MLP stays",
    "neurons: keys removed": "those parts are subtracted",
    "logits: keys kept": "every logit is its mean over all pairs and its parts along cos and sin(w(a+b)) of the key "
    "frequencies",
    "logits: keys removed": "those parts are subtracted",
    "clusters kept": "neurons of no cluster of a key frequency are set to 0",
    "clusters removed": "neurons of such a cluster are set to 0",
    "clusters as 3×3 blocks": "those neurons are their parts in the block {1, cos, sin}(k·a) ⊗ {1, cos, sin}(k·b)",
    "W_L directions kept": "activations are projected on u_k = W_L·cos_k and v_k = W_L·sin_k of the key frequencies, "
    "W_L = W_out·W_U, nothing else kept of them",
    "W_L directions removed": "that projection is subtracted",
}
"""What is taken out, of frequencies and neurons, with what that means."""

ROUTES = {
    "all heads": "the outputs of all heads of the last layer are 0, their output bias kept",
    "MLP skip": "the residual stream that reaches the unembedding beside the last MLP is 0",
    "attention skip": "the last token's own residual stream that passes beside the last attention is 0",
}
"""The same, of ways through the network; beside them stands each head alone."""

DEFINITIONS = (
    "frequency_loss: the part of one frequency is subtracted from the activations",
    "cluster_loss: one frequency's cluster is set to 0; of a frequency without one, nothing",
    f"cluster: neurons with more than {SHARE} of their variance in the 3×3 block of k, at the last checkpoint in view",
    "at random: as many other frequencies, of the non-key ones, or of all where fewer than that remain; as many neurons of "
    "those outside the cluster, or of all where fewer remain; the same neurons as blocks of those other frequencies; for "
    "heads and skips, from each prompt's residual stream a vector of a random direction with the norm of what was removed",
    "losses and accuracies are over the pairs and answers of the task's order: signs, tokens of b and the 0 of products are none",
)


def ablations(run: Run) -> dict[str, str]:
    """Every ablation of that run's model, with what it means."""
    heads = {f"head {head}": f"the output of head {head} of the last layer is 0" for head in range(n_heads(run))}
    return {**PARTS, **heads, **ROUTES}


def n_heads(run: Run) -> int:
    """Of a layer."""
    return run.known_model.n_heads


def variables(found: Mapping[str, np.ndarray]) -> Variables:
    """Named, with their dimensions: of the whole network, and of each ablation."""
    dims = {
        "whole": ("the whole network", ()),
        "": ("what an ablation leaves", ("ablation",)),
        "random": ("what as large a removal at random leaves", ("ablation", "repeat")),
        "frequency": ("the network with one frequency less at the neurons", ("freq",)),
        "cluster": ("the network with one cluster of neurons less", ("freq",)),
        "random_cluster": ("the network with as many other neurons less, over the repeats", ("freq", "quantile")),
    }
    kinds = {"loss": "nats", "accuracy": "1"}
    return {
        f"{name}_{kind}".lstrip("_"): (
            ("step", *inner, "split"),
            found[name][..., number, :],
            {"long_name": f"{kind} of {what}", "units": unit},
        )
        for name, (what, inner) in dims.items()
        for number, (kind, unit) in enumerate(kinds.items())
    }


# What is taken out


@dataclass(frozen=True)
class Chosen:
    """What is taken out at every checkpoint, and what is drawn in its place."""

    grid: Square
    task: ModularTask
    key: tuple[int, ...]
    keys_are: str
    """Where those come from."""
    clustered: Mapping[int, Int[Tensor, " neurons"]]
    """Neurons of each key frequency."""
    repeats: int
    seed: int

    def cluster(self, k: int) -> Int[Tensor, " neurons"]:
        """Of a frequency; empty where it is not key."""
        return self.clustered.get(k, torch.tensor([], dtype=torch.long))

    @once
    def all_clustered(self) -> Int[Tensor, " neurons"]:
        """Neurons of every key frequency."""
        return torch.cat([self.cluster(k) for k in self.key]).sort().values

    def generator(self, *purpose: int) -> np.random.Generator:
        """Of one draw for one purpose, whatever else is drawn."""
        return np.random.default_rng([self.seed, *purpose])

    @once
    def drawn(self) -> list[tuple[int, ...]]:
        """For each repeat as many frequencies as are key."""
        every = np.arange(1, self.grid.n // 2 + 1)
        pool = outside(every, np.array(self.key))
        draws = [self.generator(repeat).permutation(pool) for repeat in range(self.repeats)]
        return [tuple(order[: len(self.key)].tolist()) for order in draws]

    def frequencies(self, draw: int | None) -> tuple[int, ...]:
        """The key ones, or those of a draw."""
        return self.key if draw is None else self.drawn[draw]

    def neurons(self, own: Int[Tensor, " neurons"], draw: int | None, purpose: int) -> Int[Tensor, " neurons"]:
        """These, or as many others."""
        if draw is None or not len(own):
            return own
        pool = outside(np.arange(self.grid.run.known_model.d_mlp), own.numpy())
        return torch.from_numpy(np.sort(self.generator(draw, purpose).permutation(pool)[: len(own)]))

    @once
    def drawn_clustered(self) -> float:
        """Share of the neurons drawn in place of all clusters that are in a cluster themselves: where most of the layer is, a
        draw cannot avoid them. 0 when enough others remain."""
        drawn = [self.neurons(self.all_clustered, draw, 0) for draw in range(self.repeats)]
        shares = [float(torch.isin(each, self.all_clustered).double().mean()) for each in drawn if len(each)]
        return float(np.mean(shares)) if shares else 0.0

    def direction(self, draw: int) -> Float[Tensor, "n*n d_model"]:
        """For each prompt a direction, uniform on the sphere."""
        seed = int(self.generator(draw, 0, 0).integers(2**63))
        shape = (self.grid.n**2, self.grid.run.known_model.d_model)
        free = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
        return free / free.norm(dim=1, keepdim=True)


def outside(every: np.ndarray, these: np.ndarray) -> np.ndarray:
    """All but these, where at least as many remain; otherwise all."""
    others = np.setdiff1d(every, these)
    return others if len(others) >= len(these) else every


def choose(grid: Square, options: Options) -> Chosen:
    """Key frequencies and clusters, at the last checkpoint in view."""
    key, keys_are = final_keys(grid, options.rule, options.frequencies)

    def shares() -> Float[Tensor, "neuron freq"]:
        """At that checkpoint."""
        (post,) = grid.activations(grid.run.final.weights, "mlp.hook_post")
        return neuron_shares(grid, post)

    clustered = beforehand(shares) > SHARE  # not where a neuron never varies: NaN
    clusters = {k: clustered[:, k - 1].nonzero()[:, 0].clone() for k in key}
    return Chosen(grid, grid.task, tuple(key), keys_are, clusters, options.repeats, options.seed)


# What is left


@dataclass(frozen=True)
class Along:
    """A direction for each prompt, of length 1, in the residual stream; what follows from it is shared by all that it hits."""

    vectors: Float[Tensor, "n*n d_model"]
    tail: Tail

    @once
    def received(self) -> Float[Tensor, "n*n d_mlp"]:
        """What the neurons receive of it, without a LayerNorm."""
        return product(self.vectors[None], self.tail.block["mlp.W_in"])[0]

    @once
    def added(self) -> Float[Tensor, "n*n width"]:
        """What reaches the unembedding of it beside the MLP."""
        return self.tail.directly(self.vectors)


Logits = Callable[[slice], Tensor]
"""Those of some rows of the square, of a network with something taken out."""


class Network:
    """One checkpoint over all pairs, and what it answers with a part taken out: `draw` None, or as much by that draw."""

    def __init__(self, chosen: Chosen, weights: Tensors):
        grid = chosen.grid
        self.chosen, self.grid = chosen, grid
        self.tail = Tail(grid.run.known_model, weights, grid.residues)
        self.weights = {**weights, "unembed.W_U": self.tail.W_U, "unembed.b_U": self.tail.b_U}
        names = ("attn.hook_z", "hook_resid_pre", "hook_resid_mid", "mlp.hook_pre", "mlp.hook_post")
        self.z, self.resid_pre, self.resid_mid, self.pre, self.post = grid.activations(weights, *names)
        self.mlp, self.beside = self.tail.through(self.post), self.tail.beside(self.resid_mid)
        self.whole = self.beside + self.mlp

    def outcome(self, logits: Logits) -> Float[Tensor, "2 split"]:
        """Loss and accuracy by split."""
        found = []
        for begin in range(0, self.grid.n**2, PART):
            rows = slice(begin, begin + PART)
            found.append(torch.stack(losses_and_right(logits(rows), self.grid.labels[rows])))
        return self.grid.means(torch.cat(found, dim=1))

    def answered(self, total: Logits) -> Logits:
        """The logits, of all that reaches the unembedding."""
        return lambda rows: self.tail.answer(total(rows))

    def untouched(self) -> Logits:
        """Nothing taken out."""
        return self.answered(lambda rows: self.whole[rows])

    # Frequencies

    def embedding(self, draw: int | None, keep: bool) -> Logits:
        """The network from an embedding with or without the waves of some frequencies."""
        W_E = self.weights["embed.W_E"].clone()
        for rows, parts in self.number_parts:
            table, waves = W_E[rows].double(), self.sum_of(parts, draw)
            W_E[rows] = (table.mean(dim=0) + waves if keep else table - waves).float()
        logits = self.grid.forward({**self.weights, "embed.W_E": W_E})
        return lambda rows: logits[rows]

    @once
    def number_parts(self) -> list[tuple[Tensor, Tensor]]:
        """For each operand with tokens of its own, their rows of W_E in order, and these at each frequency."""
        task = self.chosen.task
        first = [task.p] if task.operands == "separate" else []
        operands = [self.grid.residues + begin for begin in (0, *first)]
        return [(rows, ablation.at_frequencies(self.weights["embed.W_E"][rows])) for rows in operands]

    def neurons(self, draw: int | None, keep: bool) -> Logits:
        """With or without some waves of a + b in the activations."""
        return self.waves_of_mlp(self.chosen.frequencies(draw), keep)

    def waves_of_mlp(self, ks: tuple[int, ...], keep: bool) -> Logits:
        """The same for these frequencies. What neurons write is linear: its waves are those of the activations, written."""
        waves = self.mlp_parts[indices(ks)].sum(dim=0)
        return self.answered(self.by_answer(waves, self.beside + self.mlp.mean(dim=0) if keep else self.whole, keep))

    @once
    def mlp_parts(self) -> Float[Tensor, "freq n width"]:
        """What the waves of a + b in the activations write, by frequency and answer."""
        return self.of_answers(self.mlp)

    def logits(self, draw: int | None, keep: bool) -> Logits:
        """With or without some waves of a + b in the logits themselves."""
        logits = self.tail.answer(self.whole)
        waves = self.sum_of(self.logit_parts, draw)
        return self.by_answer(waves, logits.mean(dim=0).expand_as(logits) if keep else logits, keep)

    @once
    def logit_parts(self) -> Float[Tensor, "freq n n"]:
        """Waves of a + b in the logits, by frequency and answer."""
        return self.of_answers(self.tail.answer(self.whole))

    def sum_of(self, parts: Tensor, draw: int | None) -> Tensor:
        """Over the key frequencies, or those of a draw."""
        return parts[indices(self.chosen.frequencies(draw))].sum(dim=0)

    def of_answers(self, values: Float[Tensor, "n*n width"]) -> Float[Tensor, "freq n width"]:
        """Waves of a + b in a function of the pairs: all lie in its means by answer."""
        n, answers = self.grid.n, self.grid.answers
        sums = torch.zeros(n, values.shape[1], dtype=torch.float64).index_add_(0, answers, values.double())
        return ablation.at_frequencies(sums / n).float()  # every answer has n pairs

    def by_answer(self, waves: Float[Tensor, "n width"], rest: Float[Tensor, "n*n width"], keep: bool) -> Logits:
        """The rest with or without what depends on the answer alone."""
        answers, signed = self.grid.answers, waves if keep else -waves
        return lambda rows: rest[rows] + signed[answers[rows]]

    # Neurons

    def clusters(self, draw: int | None, keep: bool) -> Logits:
        """Without the neurons of all clusters, or without all others."""
        return self.some_neurons(self.chosen.neurons(self.chosen.all_clustered, draw, purpose=0), keep)

    def cluster(self, k: int, draw: int | None) -> Logits:
        """Without the neurons of one cluster."""
        return self.some_neurons(self.chosen.neurons(self.chosen.cluster(k), draw, purpose=k), keep=False)

    def some_neurons(self, neurons: Tensor, keep: bool) -> Logits:
        """With these neurons alone, or without them."""
        written = self.tail.written[neurons]
        if keep:
            return self.answered(lambda rows: self.beside[rows] + self.post[rows][:, neurons] @ written)
        return self.answered(lambda rows: self.whole[rows] - self.post[rows][:, neurons] @ written)

    def blocks(self, draw: int | None) -> Logits:
        """With each cluster's neurons as their part in a 3×3 block: of its own frequency, or of one that was drawn."""
        n, pieces = self.grid.n, []
        for own, k in zip(self.chosen.key, self.chosen.frequencies(draw), strict=True):
            neurons, block = self.chosen.cluster(own), ablation.block_waves(n, k).float()
            if len(neurons):
                pieces.append((block.T, (block @ self.post[:, neurons]) @ self.tail.written[neurons]))
        neurons = self.chosen.all_clustered
        written = self.tail.written[neurons]

        def total(rows: slice) -> Tensor:
            """Of some rows."""
            changed = self.whole[rows] - self.post[rows][:, neurons] @ written
            for block, coefficients in pieces:
                changed += block[rows] @ coefficients
            return changed

        return self.answered(total)

    def directions(self, draw: int | None, keep: bool) -> Logits:
        """With the neurons' part along some directions that W_L reads alone, or without it."""
        plane = ablation.plane(self.W_L, self.chosen.frequencies(draw)).float()
        written = plane.T @ self.tail.written
        if keep:
            return self.answered(lambda rows: self.beside[rows] + (self.post[rows] @ plane) @ written)
        return self.answered(lambda rows: self.whole[rows] - (self.post[rows] @ plane) @ written)

    @once
    def W_L(self) -> Float[Tensor, "d_mlp n"]:
        """What the neurons write on the answers, in the order."""
        return last_mlp(self.weights, self.grid.run)

    # Ways through the network

    @once
    def heads(self) -> list[Float[Tensor, "n*n d_model"]]:
        """What each head adds."""
        layer = self.grid.run.known_model.n_layers - 1
        return parts_of_heads(self.z, self.weights[f"blocks.{layer}.attn.W_O"])

    def before_mlp(self, removed: Tensor, along: "Along | None") -> Logits:
        """Without so much of the residual stream after the last attention, and all that follows from it."""
        if along is None:
            return lambda rows: self.tail.logits(self.resid_mid[rows] - removed[rows])
        lengths = removed.norm(dim=1, keepdim=True)
        if not self.tail.linear:
            return lambda rows: self.tail.logits(self.resid_mid[rows] - lengths[rows] * along.vectors[rows])

        def logits(rows: slice) -> Tensor:
            """Of some rows: without a LayerNorm, what the direction gives the neurons and the logits is only scaled."""
            post = self.tail.activate(self.pre[rows] - lengths[rows] * along.received[rows])
            return self.beside[rows] - lengths[rows] * along.added[rows] + self.tail.through(post)

        return logits

    def after_mlp(self, removed: Tensor, along: "Along | None") -> Logits:
        """Without so much of the residual stream beside the last MLP."""
        if along is None:
            added = self.tail.directly(removed)
            return self.answered(lambda rows: self.whole[rows] - added[rows])
        lengths = removed.norm(dim=1, keepdim=True)
        return self.answered(lambda rows: self.whole[rows] - lengths[rows] * along.added[rows])

    # All of them

    def all_ablations(self, draw: int | None) -> list[Float[Tensor, "2 split"]]:
        """Outcomes in the order of `ablations`: of what is asked about, or of as much that was drawn."""
        frequencies = [self.embedding, self.neurons, self.logits]
        along = None if draw is None else Along(self.chosen.direction(draw), self.tail)
        each = [
            *(way(draw, keep) for way in frequencies for keep in (True, False)),
            *(self.clusters(draw, keep) for keep in (True, False)),
            self.blocks(draw),
            *(self.directions(draw, keep) for keep in (True, False)),
            *(self.before_mlp(head, along) for head in self.heads),
            self.before_mlp(sum(self.heads, torch.zeros_like(self.resid_mid)), along),
            self.after_mlp(self.resid_mid, along),
            self.before_mlp(self.resid_pre, along),
        ]
        return [self.outcome(logits) for logits in each]


def indices(ks: tuple[int, ...]) -> list[int]:
    """Of frequencies 1, 2, … in an axis that begins with 1."""
    return [k - 1 for k in ks]


def outcomes(network: Network) -> dict[str, Tensor]:
    """All that is measured of one checkpoint: loss and accuracy [2, split] by what was taken out."""
    repeats, outcome = range(network.chosen.repeats), network.outcome
    whole = outcome(network.untouched())

    def of_cluster(k: int, draw: int | None) -> Tensor:
        """Without a cluster; without one that is empty nothing changes."""
        return outcome(network.cluster(k, draw)) if len(network.chosen.cluster(k)) else whole

    every = range(1, network.grid.n // 2 + 1)
    random = [torch.stack(network.all_ablations(draw)) for draw in repeats]
    return {
        "whole": whole,
        "": torch.stack(network.all_ablations(None)),
        "random": torch.stack(random, dim=1),
        "frequency": torch.stack([outcome(network.waves_of_mlp((k,), keep=False)) for k in every]),
        "cluster": torch.stack([of_cluster(k, None) for k in every]),
        "random_cluster": torch.stack(
            [over_repeats(torch.stack([of_cluster(k, draw) for draw in repeats])) for k in every]
        ),
    }


def over_repeats(found: Float[Tensor, "repeat 2 split"]) -> Float[Tensor, "quantile 2 split"]:
    """Their quantiles alone: most frequencies have no cluster, and every repeat of each would fill most of the results."""
    return found.quantile(torch.tensor(QUANTILES, dtype=found.dtype), dim=0)


def bytes_at_work(grid: Square) -> int:
    """What one checkpoint takes at most: activations, what each part writes, and one more forward pass beside them."""
    spec, n = grid.run.known_model, grid.n
    width = max(n, spec.d_model)
    heads = spec.n_heads * (spec.d_head + spec.d_model)
    kept = 3 * spec.d_mlp + heads + 6 * spec.d_model + 10 * width
    by_frequency = 8 * (n // 2) * n * (3 * width + 3 * spec.d_model)
    plan = 48 * n**2 * grid.prompts.shape[1] * spec.n_heads * spec.n_layers
    total = (
        plan
        + grid.forward_bytes
        + max(grid.bytes(kept) + by_frequency, final_bytes(grid))
        + 40 * PART * (spec.d_mlp + width)
    )
    return 5 * total // 4  # what is freed is kept, and not all of it fits what is asked for next


# What is shown

PANELS = {
    "keys kept, everything else taken out": ("embedding: keys kept", "neurons: keys kept", "logits: keys kept"),
    "keys taken out": ("embedding: keys removed", "neurons: keys removed", "logits: keys removed"),
    "neurons": (
        "clusters kept",
        "clusters removed",
        "clusters as 3×3 blocks",
        "W_L directions kept",
        "W_L directions removed",
    ),
    "ways through the network taken out": tuple(ROUTES),
}
"""Ablations that are drawn together, by the title of their panel."""


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above those after each ablation, dotted the median of as much at random and shaded its quartiles."""
    split = shown(found)
    key = found["freq"].values[found["is_key"].values]
    heads = [name for name in found["ablation"].values if name.startswith("head ")]
    panels = {**PANELS, "one head taken out": tuple(heads)}
    if found.attrs["drawn_clustered"]:
        share = f"neurons (too few others: {found.attrs['drawn_clustered']:.0%} of those drawn at random are in clusters too)"
        panels = {share if title == "neurons" else title: names for title, names in panels.items()}
    titles = [*panels, "one frequency taken out of the neurons", "the neurons of one frequency's cluster taken out"]
    figure = figures.panels(
        ["loss", *(f"{title}: {split} loss" for title in titles)],
        heights=[3, *[3.6] * len(titles)],
        title="What breaks without it? (dotted: as much at random, median; shaded: its quartiles)",
    )
    figures.losses(figure, found, row=1)
    here = found.sel(split=split)
    for row, names in enumerate(panels.values(), start=2):
        figures.line(figure, here["whole_loss"], "nothing taken out", figures.QUIET, row=row)
        for number, name in enumerate(names):
            colour = figures.PALETTE[number % len(figures.PALETTE)]
            figures.line(figure, here["loss"].sel(ablation=name), name, colour, row=row)
            band(figure, quartiles(here["random_loss"].sel(ablation=name)), colour, row)
    one = [len(panels) + 2, len(panels) + 3]
    for row, kind in zip(one, ("frequency", "cluster"), strict=True):
        figures.line(figure, here["whole_loss"], "nothing taken out", figures.QUIET, row=row)
        for number, k in enumerate(key):
            colour, own = figures.PALETTE[number % len(figures.PALETTE)], here.sel(freq=k)
            figures.line(figure, own[f"{kind}_loss"], f"k = {k}", colour, row=row)
            if kind == "cluster" and own["cluster_size"] > 0:
                random = own["random_cluster_loss"]
                band(figure, [random.sel(quantile=q) for q in (0.25, 0.5, 0.75)], colour, row)
    others = here["frequency_loss"].sel(freq=~found["is_key"])
    if others.sizes["freq"]:
        figures.line(figure, others.max("freq"), "worst of the others", figures.INK, row=one[0], dash="dot")
    for row in range(2, one[-1] + 1):
        figure.update_yaxes(title_text="loss (nats)", type="log", exponentformat="power", nticks=6, row=row)
    return figures.mark_transition(figure, found)


def quartiles(losses: xr.DataArray) -> list[xr.DataArray]:
    """The first, the median and the third over the repeats."""
    return [losses.quantile(q, dim="repeat") for q in (0.25, 0.5, 0.75)]


def band(figure: go.Figure, bounds: list[xr.DataArray], colour: str, row: int) -> None:
    """A dotted line in a shade, from the lower, middle and upper bound."""
    low, middle, high = bounds
    steps = middle["step"].values
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    figure.add_scatter(
        x=np.concatenate([steps, steps[::-1]]),
        y=np.concatenate([high.values, low.values[::-1]]),
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.15)",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        row=row,
        col=1,
    )
    figures.line(figure, middle, "at random", colour, row=row, dash="dot", showlegend=False)


def shown(found: xr.Dataset) -> str:
    """The split whose losses are drawn and tabulated: what is tested, or all where files of others do not tell."""
    return "test" if "test" in found["split"].values else "all"


SUMMARISED = (
    "embedding: keys removed",
    "neurons: keys kept",
    "neurons: keys removed",
    "logits: keys removed",
    "all heads",
    "MLP skip",
)
"""Ablations in the short table."""


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Loss with nothing taken out, and after some ablations, with the median of as much at random in brackets."""
    here = found.sel(split=shown(found))
    table = by_step(found)
    table[f"{shown(found)} loss (at random: median)"] = here["whole_loss"].values
    for name in SUMMARISED:
        own = here["loss"].sel(ablation=name).values
        random = here["random_loss"].sel(ablation=name).median("repeat").values
        table[name] = [f"{loss:.2g} ({at_random:.2g})" for loss, at_random in zip(own, random, strict=True)]
    return table
