"""Composition in a group: which irreducible representations does the network use, and which cosets does it tell apart?"""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.base import once
from interp.maths import irrep_power
from interp.maths.cosets import SIDES, Cosets
from interp.maths.geometry import principal_components
from interp.maths.irrep_power import CONTENTS
from interp.maths.irreps import Irreps, real_irreps
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Tail, Weights
from interp.store.tensors import Tensors
from interp.views.elements import Elements
from interp.views.walk import beforehand, needs_memory, over_checkpoints

Caches = Iterable[tuple[slice, dict[str, Tensor]]]
"""Activations of one part of the pairs after the other by hook name, with the rows that each part has."""

MATRICES = {"W_E": "W_E", "W_U": "W_U", "W_L": "W_L = W_out·W_U"}
"""Matrices whose rows are elements of the group, by name, with what they are in titles."""

NEARLY = 0.05
"""Adjusted R² that a larger subgroup may lack, to be named before a smaller one."""


class Options(AnalysisOptions):
    """Which irreps are key, and how many components are compared with cosets."""

    key_above: float = Field(default=0.005, gt=0, lt=1)
    """Similarity of the logits with χ_ρ(a·b·c⁻¹), at the last checkpoint in view, above which an irrep is key."""
    components: int = Field(default=3, ge=1, le=32)
    """Principal components of W_E, W_U and W_L that are compared with the cosets of every subgroup."""


VARIABLES: Variables = {
    "share": Var("step matrix irrep", "share of power", "1"),
    "hidden": Var("step content irrep", "share of the neurons' variance, over all pairs", "1"),
    "hidden_residual": Var("step", "share of the neurons' variance in no ρ(a), ρ(b) or ρ(a)⊗ρ(b)", "1"),
    "similarity": Var("step irrep", "cosine of the logits with χ(a·b·c⁻¹)", "1"),
    "logit_fve": Var("step", "Σ similarity²", "1"),
    "hidden_excluded_loss": Var(
        "step", "loss without ρ(a·b) of key irreps in the neurons, {excluded_over} prompts", "{loss_units}"
    ),
    "hidden_restricted_loss": Var(
        "step", "loss with nothing else in the neurons but their mean, all prompts", "{loss_units}"
    ),
    "neurons_alone_excluded_loss": Var(
        "step", "loss of the neurons alone without ρ(a·b) of key irreps, {excluded_over} prompts", "{loss_units}"
    ),
    "neurons_alone_restricted_loss": Var(
        "step", "loss of ρ(a·b) of key irreps in the neurons alone, all prompts", "{loss_units}"
    ),
    "coset_r2": Var("step matrix component side subgroup", "adjusted R² between cosets, best of all conjugates", "1"),
    "component_share": Var("step matrix component", "share of the variance of a principal component", "1"),
}


def measure(seen: Elements, options: Options) -> xr.Dataset:
    """How W_E, W_U, W_L, neurons and logits divide into irreps, what key irreps do to the loss, and cosets.

    Key irreps are those of the last checkpoint in view, at every step. The losses of the neurons alone are left out where a last
    LayerNorm stands behind them, since it needs all that reaches it.
    """
    network = Network(seen, options)
    needs_memory(seen.run, network.bytes)  # before the first activations
    key, group = network.key, network.irreps
    of_random, error = network.cosets.of_random()
    found = over_checkpoints(seen.run, network.of_stack, each=network.bytes_found, beside=network.bytes)
    return dataset(
        seen.run,
        options,
        found,
        VARIABLES,
        coords={
            "irrep": list(group.names[1:]),
            "irrep_dimension": ("irrep", list(group.dimensions[1:])),
            "irrep_kind": ("irrep", list(group.divisions[1:])),
            "is_key": ("irrep", key[1:].numpy()),
            "matrix": list(MATRICES),
            "content": list(CONTENTS),
            "component": np.arange(1, network.components + 1),
            "side": list(SIDES),
            **network.cosets.coords,
        },
        definition="real irreps, the trivial one left out; W_L = W_out·W_U; a⊗b has ab as a part; excluded and restricted "
        "loss: the neurons' activations are changed, what passes beside them stays; neurons alone: the logits are those "
        "activations times W_L, without skip, biases, and (restricted) the neurons' mean; excluded on the training prompts "
        "(all, where those are not known), restricted on all; cosets xH (left) and Hx (right) of a principal component of the "
        "rows, the elements of the group",
        source="Chughtai et al. 2023 (arXiv 2302.03025), sections 4 and 5; cosets: Power et al. 2022, figure 3, and Stander et "
        "al. 2023 (arXiv 2312.06581)",
        words={"excluded_over": seen.trained_are},
    ).assign_attrs(
        group=seen.composition.about,
        excluded_over=seen.trained_are,
        subgroups=network.cosets.bound,
        random_coset_r2=of_random,
        random_coset_r2_error=error,
    )


class Network:
    """What is measured of one checkpoint after the other, over all pairs of elements."""

    def __init__(self, seen: Elements, options: Options):
        self.seen, self.options = seen, options
        width = min(seen.embeds.width, seen.unembeds.width, seen.neurons.width)
        self.components = min(options.components, seen.n - 1, width)
        self.outputs = torch.arange(seen.run.task.shape.outputs.n)

    @once
    def irreps(self) -> Irreps:
        """The group's irreps."""
        return real_irreps(self.seen.composition.table, self.seen.composition.name)

    @once
    def cosets(self) -> Cosets:
        """The cosets of the group's subgroups."""
        return Cosets(self.seen.composition.table)

    @once
    def key(self) -> Bool[Tensor, " irrep"]:
        """Irreps whose similarity is above the threshold at the last checkpoint in view; the trivial one is not."""

        def above() -> Bool[Tensor, " nontrivial"]:
            """The others whose similarity is above the threshold."""
            caches = self.seen.prompts.caches(self.seen.settled.final.weights, self.logits.__eq__)
            return self.similarity(cache[self.logits] for _, cache in caches) > self.options.key_above

        return torch.cat([torch.tensor([False]), beforehand(above)])

    @property
    def bytes_found(self) -> int:
        """Bytes of the results of one checkpoint."""
        per_irrep = len(MATRICES) + len(CONTENTS) + 1
        cosets = len(MATRICES) * self.components * len(SIDES) * len(self.cosets.classes)
        return 8 * (per_irrep * len(self.irreps.names) + cosets + 6 + len(MATRICES) * self.components)

    @property
    def bytes(self) -> int:
        """Bytes that it takes at work: the network over a part of the pairs, the loss of its logits, the neurons of all pairs
        with the transforms of some, and the cosets."""
        seen, pairs = self.seen, self.seen.n**2
        loss = (4 + 3 * 8) * len(self.outputs) * min(pairs, seen.part)  # logits in float32, and their loss in float64
        neurons = 4 * pairs * seen.neurons.width * (seen.part < pairs)  # in one part they are the network's
        part = 8 * 4 * min(pairs * seen.neurons.width, irrep_power.NEURONS + pairs)
        cosets = 8 * 4 * self.cosets.labels.numel() * self.components
        if seen.part >= pairs:
            needed = seen.prompts.bytes + loss + max(part, cosets)
        else:  # the sum that reaches the answers, in its parts, is as wide as those where there is no residual stream
            return 23 * (seen.prompts.bytes + neurons + max(2 * loss, part, cosets)) // 10  # S6 took 2.2 times the sum
        return 5 * needed // 4  # freed memory is kept, and not all of it fits what is next

    def of_stack(self, weights: Tensors) -> dict[str, Tensor]:
        """What is measured of a stack of checkpoints, [step, …]: one at a time, in the memory of one."""
        count = len(next(iter(weights.values())))
        each = [self.of_one({name: stack[i] for name, stack in weights.items()}) for i in range(count)]
        return {name: torch.stack([one[name] for one in each]) for name in each[0]}

    def of_one(self, weights: Weights) -> dict[str, Tensor]:
        """Everything that is measured of one checkpoint."""
        seen, tail = self.seen, self.seen.tail(weights, self.outputs).unfolded
        caches = seen.prompts.caches(weights, {*tail.hooks, seen.neurons.name, self.logits}.__contains__)
        if len(seen.prompts.parts) == 1:
            kept = list(caches)  # computed once; of several parts, each again for the losses
            post, similarity = kept[0][1][seen.neurons.name], self.similarity([kept[0][1][self.logits]])
        else:
            kept, post = None, torch.empty(seen.n**2, seen.neurons.width)
            similarity = self.similarity(self.filling(post, caches))
        hidden = irrep_power.content_shares(seen.by_pair(post), self.irreps)
        matrices = [seen.embedding(weights), seen.unembedding(weights), seen.readout(weights)]
        components, shares = zip(*(principal_components(matrix, self.components) for matrix in matrices), strict=True)
        return {
            "share": torch.stack([irrep_power.irrep_shares(matrix, self.irreps) for matrix in matrices]),
            "hidden": hidden,
            "hidden_residual": irrep_power.residual_share(hidden),
            "similarity": similarity,
            "logit_fve": similarity.square().sum(),
            **self.losses(tail, post, kept or seen.prompts.caches(weights, set(tail.hooks).__contains__)),
            "coset_r2": torch.stack([self.cosets.r2(points) for points in components]),
            "component_share": torch.stack(shares),
        }

    @property
    def logits(self) -> str:
        """Name of the hook of the outputs."""
        return self.seen.known_roles.logits

    def filling(self, post: Float[Tensor, "pair neuron"], caches: Caches) -> Iterator[Float[Tensor, "part answer"]]:
        """The outputs of each part, whose neurons are written into `post`."""
        for rows, cache in caches:
            post[rows] = cache[self.seen.neurons.name]
            yield cache[self.logits]

    def similarity(self, parts: Iterable[Float[Tensor, "part answer"]]) -> Float[Tensor, " irrep"]:
        """Cosine of the logits of the elements with every character but the trivial one, from the outputs of each part."""
        sums = irrep_power.LogitSums(self.irreps)
        for outputs in parts:
            sums.add(outputs[:, self.seen.values].unflatten(0, (-1, self.seen.n)))
        return sums.similarity()

    def losses(self, tail: Tail, post: Float[Tensor, "pair neuron"], caches: Caches) -> dict[str, Float[Tensor, ""]]:
        """Excluded and restricted loss: without ρ(a·b) of the key irreps in the neurons, and with nothing else but the mean.

        Of the whole network, and of the neurons alone, where the logits are linear in them.
        """
        seen = self.seen
        by_product = irrep_power.product_sums(seen.by_pair(post), seen.composition.table) / seen.n
        # A function of a·b has n values: projection and W_out act on those, not on all n² pairs.
        of_key = (self.irreps.projection(self.key) @ by_product).float()
        written, mean = of_key @ tail.written, post.mean(dim=0) @ tail.written
        excluded, restricted, *alone = (MeanLoss(seen) for _ in range(4))
        for rows, cache in caches:
            beside, key, trained = tail.beside(cache), written[seen.products[rows]], seen.trained[rows]
            without = (beside + post[rows] @ tail.written - key)[trained]
            excluded.add(tail.answer(without), seen.targets[rows][trained])
            restricted.add(tail.answer(beside + mean + key), seen.targets[rows])
            if seen.known_roles.linear:
                key = (of_key @ tail.readout)[seen.products[rows]]
                alone[0].add((post[rows] @ tail.readout - key)[trained], seen.targets[rows][trained])
                alone[1].add(key, seen.targets[rows])
        found = {"hidden_excluded_loss": excluded.mean, "hidden_restricted_loss": restricted.mean}
        if seen.known_roles.linear:
            found["neurons_alone_excluded_loss"], found["neurons_alone_restricted_loss"] = (each.mean for each in alone)
        return found


class MeanLoss:
    """The mean loss over pairs, added up over one part of them after the other."""

    def __init__(self, seen: Elements):
        self.seen, self.parts = seen, []

    def add(self, outputs: Float[Tensor, "pair answer"], targets: Int[Tensor, " pair"]) -> None:
        """Add the loss of some pairs."""
        if len(targets):
            self.parts.append((self.seen.loss(outputs, targets), len(targets)))

    @property
    def mean(self) -> Float[Tensor, ""]:
        """The mean over all pairs that were added."""
        (first, _), *others = self.parts
        count = sum(n for _, n in self.parts)
        return torch.stack([loss * (n / count) for loss, n in self.parts]).sum() if others else first


def draw(found: xr.Dataset) -> go.Figure:
    """Losses, similarity of the logits, shares of embedding and unembedding, content of the neurons, and cosets."""
    figure = figures.panels(
        [
            f"loss, without the key irreps of {found.attrs['group']} (excluded) and with nothing else (restricted)",
            "cosine of the logits with the characters χ(a·b·c⁻¹)",
            *(f"power of {matrix} by irrep" for matrix in MATRICES.values()),
            "variance of the neurons by content",
            *(
                [
                    "variance of the first principal component between cosets (dotted: a random function, ± standard error)"
                ]
                if has_cosets(found)
                else []
            ),
        ],
        heights=[4, 4, *[3.5] * len(MATRICES), 4, *([4] if has_cosets(found) else [])],
        title="Irreducible representations across training",
    )
    figures.losses(figure, found, row=1)
    figures.line(
        figure, found["hidden_excluded_loss"], f"excluded ({found.attrs['excluded_over']})", figures.PALETTE[2], row=1
    )
    figures.line(figure, found["hidden_restricted_loss"], "restricted (all)", figures.PALETTE[1], row=1)
    strongest = found["similarity"].isel(step=-1).argsort().values[::-1][: len(figures.PALETTE) - 1]
    for irrep, colour in zip(strongest, figures.PALETTE, strict=False):
        figures.line(figure, found["similarity"].isel(irrep=irrep), str(found["irrep"].values[irrep]), colour, row=2)
    figures.line(figure, found["logit_fve"], "Σ squares", figures.QUIET, row=2, dash="dash")
    figure.update_yaxes(title_text="cosine", row=2)
    row = 2
    for matrix in MATRICES:
        row += 1
        share, keys = found["share"].sel(matrix=matrix), found["irrep"].values[found["is_key"].values].tolist()
        figures.heatmap(figure, share, row, colorbar="share of power" if row == 3 else None, named=keys)
        figure.update_yaxes(title_text="irrep", row=row)
    draw_hidden(figure, found, row + 1)
    figure.update_yaxes(title_text="share", range=[-0.02, 1.02], row=row + 1)
    if has_cosets(found):
        draw_cosets(figure, found, row + 2)
        figure.update_yaxes(title_text="adjusted R²", range=[-0.02, 1.02], row=row + 2)
    return figures.mark_transition(figure, found)


def headline(found: xr.Dataset) -> dict[str, str]:
    """Key irreps, and the fraction of the logits' variance that the characters of all explain, at the last step."""
    keys = found["irrep"].values[found["is_key"].values].tolist()
    share = found["logit_fve"].values[-1]
    of_irreps = f"{share:.0%} of the logits' variance, by characters of a·b·c⁻¹"
    cyclic = all(str(key).startswith("k=") for key in keys)
    named = ", ".join(str(key).removeprefix("k=") for key in keys[:8])
    return {"key frequencies" if cyclic else "key irreps": named, "explained": of_irreps} if keys else {}


def draw_hidden(figure: go.Figure, found: xr.Dataset, row: int) -> None:
    """A line for each content, over all irreps, and one for what mixes irreps."""
    names = {"a": "ρ(a)", "b": "ρ(b)", "ab": "ρ(ab)", "a⊗b": "ρ(a)⊗ρ(b), with ρ(ab)"}
    for (content, name), colour in zip(names.items(), figures.PALETTE, strict=False):
        figures.line(figure, found["hidden"].sel(content=content).sum("irrep"), name, colour, row)
    figures.line(figure, found["hidden_residual"], "mixed irreps", figures.QUIET, row, dash="dash")


def draw_cosets(figure: go.Figure, found: xr.Dataset, row: int) -> None:
    """The best adjusted R² of any subgroup for each matrix, with what is named at the last step; and a random function's."""
    first = found["coset_r2"].sel(component=1)
    for matrix, colour in zip(found["matrix"].values, figures.PALETTE, strict=False):
        last = best_cosets(found, matrix)[-1]
        figures.line(figure, first.sel(matrix=matrix).max(("side", "subgroup")), f"{matrix}: {last}", colour, row)
    random = xr.full_like(found["logit_fve"], found.attrs["random_coset_r2"])
    figures.line(figure, random, "random function", figures.QUIET, row, dash="dot")
    figures.error_band(figure, random, xr.full_like(random, found.attrs["random_coset_r2_error"]), figures.QUIET, row)


def has_cosets(found: xr.Dataset) -> bool:
    """Whether there is a subgroup between the trivial one and the whole group: none in a group of prime order."""
    return found.sizes["subgroup"] > 1


def best_cosets(found: xr.Dataset, matrix: str) -> list[str]:
    """Side and order of the largest subgroup whose cosets explain nearly as much of a matrix's first principal component as
    any, at each step: what is constant on cosets is constant on those of every smaller subgroup in it.
    """
    values = found["coset_r2"].sel(component=1, matrix=matrix).transpose("step", "subgroup", "side").values
    nearly = values >= values.max(axis=(1, 2), keepdims=True) - NEARLY
    orders = np.where(nearly.any(axis=2), found["subgroup_order"].values, 0)
    names, sides = found["subgroup"].values, found["side"].values
    # Of several subgroups of one order the one that explains most.
    best = np.lexsort((values.max(axis=2), orders), axis=1)[:, -1]
    return [f"{names[i]} {sides[values[step, i].argmax()]}" for step, i in enumerate(best)]


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Losses, shares of the key irreps, and the best cosets at each step."""
    table, key = by_step(found), found["is_key"]
    table["logit FVE"] = found["logit_fve"].values
    similarity = found["similarity"]
    top = similarity.argsort(axis=1).values[:, ::-1][:, :3]
    table["most similar"] = [
        ", ".join(f"{found['irrep'].values[i]} {float(row[i]):.2f}" for i in chosen)
        for row, chosen in zip(similarity.values, top, strict=True)
    ]
    table["excluded"], table["restricted"] = (
        found["hidden_excluded_loss"].values,
        found["hidden_restricted_loss"].values,
    )
    if "neurons_alone_excluded_loss" in found:
        for name in ("excluded", "restricted"):
            table[f"{name} (neurons alone)"] = found[f"neurons_alone_{name}_loss"].values
    for matrix in found["matrix"].values:
        table[f"{matrix} in key"] = found["share"].sel(matrix=matrix).where(key, 0).sum("irrep").values
    table["ρ(ab) of key"] = found["hidden"].sel(content="ab").where(key, 0).sum("irrep").values
    for matrix in found["matrix"].values if has_cosets(found) else ():
        table[f"cosets {matrix}"] = best_cosets(found, matrix)
        table[f"R² {matrix}"] = found["coset_r2"].sel(component=1, matrix=matrix).max(("side", "subgroup")).values
    return table
