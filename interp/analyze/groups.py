"""Composition in a group: which irreducible representations does the network use, and which cosets does it tell apart?"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.analyze._common import AnalysisOptions, beforehand, by_step, dataset, fits, needs_mlp, over_checkpoints
from interp.base import DoesNotApply, once
from interp.maths import groups, irreps
from interp.maths.geometry import principal_components
from interp.maths.irreps import CONTENTS, Irreps
from interp.maths.losses import cross_entropy
from interp.models.shared import SharedForward
from interp.store import Run
from interp.store.tensors import Tensors
from interp.tasks import GroupTask, ModularTask, Task
from interp.tasks.modular import is_prime

SIDES = ("left", "right")
NEARLY = 0.05
"""Adjusted R² that a larger subgroup may lack, to be named before a smaller one."""
RANDOM_FUNCTIONS = 64
"""Gaussian functions on the group whose best cosets are averaged for comparison."""


class Options(AnalysisOptions):
    """Which irreps are key, and how many components are compared with cosets."""

    key_above: float = Field(default=0.005, gt=0, lt=1)
    """Similarity of the logits with χ_ρ(a·b·c⁻¹), at the last checkpoint in view, above which an irrep is key."""
    components: int = Field(default=3, ge=1, le=32)
    """Principal components of W_E and of W_U that are compared with the cosets of every subgroup."""


def measure(run: Run, options: Options) -> xr.Dataset:
    """How embedding, unembedding, neurons and logits divide into irreps, what key irreps do to the loss, and cosets.

    Key irreps are those of the last checkpoint in view, at every step.
    """
    network = Network(run, Elements.of(run.task, run.path), options)
    fits(run, network.bytes)  # before the first activations
    key, names = network.key, network.irreps.names[1:]
    found = over_checkpoints(run, network.of_stack, each=network.bytes_found, beside=network.bytes)
    per_irrep, dimensions, kinds = ("step", "irrep"), network.irreps.dimensions[1:], network.irreps.divisions[1:]
    return dataset(
        run,
        options,
        {
            "share": (("step", "matrix", "irrep"), found["share"], {"long_name": "share of power", "units": "1"}),
            "hidden": (
                ("step", "content", "irrep"),
                found["hidden"],
                {"long_name": "share of the neurons' variance, over all pairs", "units": "1"},
            ),
            "hidden_residual": (
                ("step",),
                found["hidden_residual"],
                {"long_name": "share of the neurons' variance in no ρ(a), ρ(b) or ρ(a)⊗ρ(b)", "units": "1"},
            ),
            "similarity": (
                per_irrep,
                found["similarity"],
                {"long_name": "cosine of the logits with χ(a·b·c⁻¹)", "units": "1"},
            ),
            "logit_fve": (("step",), found["logit_fve"], {"long_name": "Σ similarity²", "units": "1"}),
            "hidden_excluded_loss": (
                ("step",),
                found["hidden_excluded_loss"],
                {
                    "long_name": f"loss without ρ(a·b) of key irreps in the neurons, {network.excluded_over} prompts",
                    "units": "nats",
                },
            ),
            "hidden_restricted_loss": (
                ("step",),
                found["hidden_restricted_loss"],
                {"long_name": "loss with nothing else in the neurons but their mean, all prompts", "units": "nats"},
            ),
            "coset_r2": (
                ("step", "matrix", "component", "side", "subgroup"),
                found["coset_r2"],
                {"long_name": "adjusted R² between cosets, best of all conjugates", "units": "1"},
            ),
            "component_share": (
                ("step", "matrix", "component"),
                found["component_share"],
                {"long_name": "share of the variance of a principal component", "units": "1"},
            ),
        },
        coords={
            "irrep": list(names),
            "irrep_dimension": ("irrep", list(dimensions)),
            "irrep_kind": ("irrep", list(kinds)),
            "is_key": ("irrep", key[1:].numpy()),
            "matrix": ["W_E", "W_U"],
            "content": list(CONTENTS),
            "component": np.arange(1, network.components + 1),
            "side": list(SIDES),
            **network.cosets.coords,
        },
        definition="real irreps, the trivial one left out; a⊗b has ab as a part; excluded and restricted loss: the last "
        "layer's activations are changed, what attention adds stays; excluded on the training "
        "prompts (all, where those are not known), "
        "restricted on all; "
        "cosets xH (left) and Hx (right) of a principal component of the rows, the elements of the group",
        source="Chughtai et al. 2023 (arXiv 2302.03025), sections 4 and 5; cosets: Power et al. 2022, figure 3, and Stander et "
        "al. 2023 (arXiv 2312.06581)",
    ).assign_attrs(
        group=network.elements.about,
        excluded_over=network.excluded_over,
        subgroups=network.cosets.bound,
        random_coset_r2=network.cosets.of_random(),
    )


COMPOSITIONS = {"add": False, "subtract": True, "multiply": False, "divide": True, "add_mod_p_minus_1": False}
"""Modular operations that are composition in a group, and whether with the inverse of b."""


@dataclass(frozen=True)
class Elements:
    """A task as composition in a group: which operands and answers its elements are, in the order of the group's table."""

    name: str
    """By which its irreps are called; empty for a table."""
    about: str
    """In a few words."""
    table: Int[np.ndarray, "n n"]
    a: Int[np.ndarray, " n"]
    b: Int[np.ndarray, " n"]
    c: Int[np.ndarray, " n"]

    @staticmethod
    def of(task: Task, path: Path) -> "Elements":
        """Of the task of the run at a path; DoesNotApply for one that is no composition."""
        needs = 'analysis "groups" needs composition in a group'
        if isinstance(task, GroupTask):
            if task.operation != "compose":
                raise DoesNotApply(f"{path} was trained on {task.rule.formula}; {needs}, x · y")
            every = np.arange(task.n_values)
            name = "" if groups.is_written(task.group) else task.group
            return Elements(name, task.group_name, task.composition(), every, every, every)
        if not isinstance(task, ModularTask):
            raise DoesNotApply(f'{path} was trained on "{task.kind}"; {needs}')
        if task.operation not in COMPOSITIONS:
            raise DoesNotApply(f"{path} was trained on {task.rule.formula}; {needs}, such as {', '.join(COMPOSITIONS)}")
        if task.rule.group == "multiplicative" and not is_prime(task.p):
            raise DoesNotApply(f"{path} has p = {task.p}; {needs}, and products are one for prime p only")
        residues = task.residues()
        n = len(residues)
        inverted = residues[-np.arange(n) % n]
        b = inverted if COMPOSITIONS[task.operation] else residues
        return Elements(f"C{n}", f"C{n}", groups.cyclic(n), residues, b, residues)

    def prompts(self, task: GroupTask | ModularTask) -> Int[np.ndarray, " pair"]:
        """The row in the task's table of every pair of elements, in lexicographic order."""
        x, y = task.pairs()
        row_of = np.full((task.n_values, task.n_values), -1)
        row_of[x, y] = np.arange(len(x))
        return row_of[self.a[:, None], self.b].flatten()


class Cosets:
    """Every partition of a group into cosets of the subgroups that few elements generate, the trivial one left out."""

    def __init__(self, table: Int[np.ndarray, "n n"]):
        classes, few = groups.subgroup_classes(table)
        self.n, self.classes = len(table), [every for every in classes if every[0].sum() > 1]
        self.bound = f"subgroups that at most {few} element{'s' * (few > 1)} generate"
        listed = [
            (number, side, groups.cosets(table, np.flatnonzero(mask), name))
            for number, every in enumerate(self.classes)
            for mask in every
            for side, name in enumerate(SIDES)
        ]
        self.labels = torch.from_numpy(np.stack([labels for _, _, labels in listed]))
        self.place = torch.tensor([side * len(self.classes) + number for number, side, _ in listed])
        generators = [groups.generators(table, np.flatnonzero(every[0])) for every in self.classes]
        orders = [int(every[0].sum()) for every in self.classes]
        self.coords: dict[str, Any] = {
            "subgroup": list(irreps.distinct([f"order {order}" for order in orders])),
            "subgroup_order": ("subgroup", orders),
            "subgroup_conjugates": ("subgroup", [len(every) for every in self.classes]),
            "subgroup_generators": ("subgroup", [" ".join(map(str, each)) for each in generators]),
        }

    def r2(self, values: Float[Tensor, "n d"]) -> Float[Tensor, "d side subgroup"]:
        """Adjusted R² of each column, the best of a subgroup's conjugates."""
        each = irreps.coset_r2(values, self.labels).mT
        best = torch.full((len(each), len(SIDES) * len(self.classes)), -torch.inf, dtype=torch.float64)
        best = best.scatter_reduce(1, self.place.expand_as(each), each, "amax")
        return best.unflatten(1, (len(SIDES), -1))

    def of_random(self) -> float:
        """Mean of the best adjusted R² of any subgroup, for Gaussian functions on the group."""
        generator = torch.Generator().manual_seed(0)
        values = torch.randn(RANDOM_FUNCTIONS, self.n, 1, generator=generator, dtype=torch.float64)
        return float(np.mean([float(self.r2(each).amax()) for each in values]))  # one at a time, in the memory of one


class Network:
    """What is measured of one checkpoint after the other, over all pairs of elements."""

    def __init__(self, run: Run, elements: Elements, options: Options):
        assert isinstance(run.task, GroupTask | ModularTask)
        self.run, self.elements, self.options = needs_mlp(run.with_checkpoints(), "groups"), elements, options
        self.spec, self.table, self.n = run.known_model, run.task.table(), len(elements.table)
        self.rows = elements.prompts(run.task)
        self.targets = torch.from_numpy(run.table.targets[self.rows])
        self.products = torch.from_numpy(elements.table).flatten()
        assert (self.table.targets[self.rows] == elements.c[elements.table.flatten()]).all()
        self.trained, self.excluded_over = torch.ones(len(self.rows), dtype=torch.bool), "all"
        with suppress(DoesNotApply):  # files of others may not tell what was trained on
            self.trained = torch.from_numpy(np.isin(self.rows, run.split.train_index))
            self.excluded_over = "train"
        self.components = min(options.components, self.n - 1, self.spec.d_model)

    @once
    def irreps(self) -> Irreps:
        """Of the group."""
        return irreps.real_irreps(self.elements.table, self.elements.name)

    @once
    def cosets(self) -> Cosets:
        """Of the group's subgroups."""
        return Cosets(self.elements.table)

    @once
    def forward(self) -> SharedForward:
        """Over all pairs, in lexicographic order of the elements."""
        return SharedForward(self.spec, torch.from_numpy(self.table.inputs[self.rows]))

    @once
    def key(self) -> Bool[Tensor, " irrep"]:
        """Irreps whose similarity is above the threshold at the last checkpoint in view; the trivial one is not."""

        def above() -> Bool[Tensor, " nontrivial"]:
            """Of the others."""
            logits = self.forward.cache(self.run.final.weights, "unembed.hook_out".__eq__)["unembed.hook_out"]
            return self.similarity(logits) > self.options.key_above

        return torch.cat([torch.tensor([False]), beforehand(above)])

    @property
    def bytes_found(self) -> int:
        """Of the results of one checkpoint."""
        per_irrep = 2 + len(CONTENTS) + 1
        cosets = 2 * self.components * len(SIDES) * len(self.cosets.classes)
        return 8 * (per_irrep * len(self.irreps.names) + cosets + 4 + 2 * self.components)

    @property
    def bytes(self) -> int:
        """What it takes at work: activations and logits over all pairs, a part of the neurons, and the cosets."""
        spec, n, n_ctx, answers = self.spec, self.n, self.table.inputs.shape[1], self.run.task.shape.d_vocab_out
        neurons = 3 + 2 * (spec.normalization != "none") + 3 * spec.act_fn.startswith("solu")
        before = n_ctx * (2 * spec.d_mlp + 8 * spec.d_model + spec.n_heads * n_ctx) * (spec.n_layers > 1)
        states = neurons * spec.d_mlp + 6 * spec.d_model + spec.n_heads * n_ctx + before
        pair = 4 * states + (3 * 4 + 3 * 8) * answers  # logits in float32, and their loss in float64
        part = 8 * 4 * min(n * n * spec.d_mlp, irreps.NEURONS + n * n)
        cosets = 8 * 4 * self.cosets.labels.numel() * self.components
        return 5 * (n * n * pair + max(part, cosets)) // 4  # freed memory is kept, and not all of it fits what is next

    def of_stack(self, weights: Tensors) -> dict[str, Tensor]:
        """Of a stack of checkpoints, [step, …]: one at a time, in the memory of one."""
        count = len(next(iter(weights.values())))
        each = [self.of_one({name: stack[i] for name, stack in weights.items()}) for i in range(count)]
        return {name: torch.stack([one[name] for one in each]) for name in each[0]}

    def of_one(self, weights: Tensors) -> dict[str, Tensor]:
        """Everything that is measured of one checkpoint."""
        layer = f"blocks.{self.spec.n_layers - 1}"
        hooks = {"post": f"{layer}.mlp.hook_post", "mid": f"{layer}.hook_resid_mid", "logits": "unembed.hook_out"}
        cache = self.forward.cache(weights, set(hooks.values()).__contains__)
        post, mid, logits = (cache[name] for name in hooks.values())
        hidden = irreps.content_shares(self.by_pair(post), self.irreps)
        similarity = self.similarity(logits)
        matrices = [weights["embed.W_E"][self.elements.a], weights["unembed.W_U"].mT[self.elements.c]]
        components, shares = zip(*(principal_components(matrix, self.components) for matrix in matrices), strict=True)
        return {
            "share": torch.stack([irreps.irrep_shares(matrix, self.irreps) for matrix in matrices]),
            "hidden": hidden,
            "hidden_residual": irreps.residual_share(hidden),
            "similarity": similarity,
            "logit_fve": similarity.square().sum(),
            **self.losses(weights, post, mid),
            "coset_r2": torch.stack([self.cosets.r2(points) for points in components]),
            "component_share": torch.stack(shares),
        }

    def by_pair(self, values: Float[Tensor, "pair width"]) -> Float[Tensor, "n n width"]:
        """By a, then b."""
        return values.unflatten(0, (self.n, self.n))

    def similarity(self, logits: Float[Tensor, "pair d_vocab_out"]) -> Float[Tensor, " irrep"]:
        """Of the logits of the elements with every character but the trivial one."""
        return irreps.logit_similarity(self.by_pair(logits[:, self.elements.c]), self.irreps)

    def losses(
        self, weights: Tensors, post: Float[Tensor, "pair d_mlp"], mid: Float[Tensor, "pair d_model"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Excluded and restricted loss: without ρ(a·b) of the key irreps in the neurons, and with nothing else but the mean."""
        layer, n = f"blocks.{self.spec.n_layers - 1}", self.n
        by_product = irreps.product_sums(self.by_pair(post), self.elements.table) / n
        # A function of a·b has n values: projection and W_out act on those, not on all n² pairs.
        of_key = (self.irreps.projection(self.key) @ by_product).float()
        written, mean = of_key @ weights[f"{layer}.mlp.W_out"], post.mean(dim=0) @ weights[f"{layer}.mlp.W_out"]
        mid, key = mid + weights[f"{layer}.mlp.b_out"], written[self.products]
        without = (mid + post @ weights[f"{layer}.mlp.W_out"] - key)[self.trained]
        alone = mid + mean + key
        return {
            "hidden_excluded_loss": cross_entropy(self.forward.unembed(weights, without), self.targets[self.trained]),
            "hidden_restricted_loss": cross_entropy(self.forward.unembed(weights, alone), self.targets),
        }


def draw(found: xr.Dataset) -> go.Figure:
    """Losses, similarity of the logits, shares of embedding and unembedding, content of the neurons, and cosets."""
    figure = figures.panels(
        [
            f"loss, without the key irreps of {found.attrs['group']} (excluded) and with nothing else (restricted)",
            "cosine of the logits with the characters χ(a·b·c⁻¹)",
            "power of W_E by irrep",
            "power of W_U by irrep",
            "variance of the neurons by content",
            *(
                ["variance of the first principal component between cosets (dotted: a random function)"]
                if has_cosets(found)
                else []
            ),
        ],
        heights=[4, 4, 3.5, 3.5, 4, *([4] if has_cosets(found) else [])],
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
    for row, matrix in ((3, "W_E"), (4, "W_U")):
        figures.heatmap(figure, found["share"].sel(matrix=matrix), row, colorbar="share of power" if row == 3 else None)
    draw_hidden(figure, found, row=5)
    if has_cosets(found):
        draw_cosets(figure, found, row=6)
        figure.update_yaxes(title_text="adjusted R²", range=[-0.02, 1.02], row=6)
    figure.update_yaxes(title_text="cosine", row=2).update_yaxes(title_text="irrep", row=3)
    figure.update_yaxes(title_text="irrep", row=4)
    figure.update_yaxes(title_text="share", range=[-0.02, 1.02], row=5)
    return figures.mark_transition(figure, found)


def draw_hidden(figure: go.Figure, found: xr.Dataset, row: int) -> None:
    """A line for each content, over all irreps, and one for what mixes irreps."""
    names = {"a": "ρ(a)", "b": "ρ(b)", "ab": "ρ(ab)", "a⊗b": "ρ(a)⊗ρ(b), with ρ(ab)"}
    for (content, name), colour in zip(names.items(), figures.PALETTE, strict=False):
        figures.line(figure, found["hidden"].sel(content=content).sum("irrep"), name, colour, row)
    figures.line(figure, found["hidden_residual"], "mixed irreps", figures.QUIET, row, dash="dash")


def draw_cosets(figure: go.Figure, found: xr.Dataset, row: int) -> None:
    """The best adjusted R² of any subgroup for W_E and W_U, with what is named at the last step; and a random function's."""
    first = found["coset_r2"].sel(component=1)
    for matrix, colour in zip(found["matrix"].values, figures.PALETTE, strict=False):
        last = best_cosets(found, matrix)[-1]
        figures.line(figure, first.sel(matrix=matrix).max(("side", "subgroup")), f"{matrix}: {last}", colour, row)
    random = xr.full_like(found["logit_fve"], found.attrs["random_coset_r2"])
    figures.line(figure, random, "random function", figures.QUIET, row, dash="dot")


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
    for matrix in found["matrix"].values:
        table[f"{matrix} in key"] = found["share"].sel(matrix=matrix).where(key, 0).sum("irrep").values
    table["ρ(ab) of key"] = found["hidden"].sel(content="ab").where(key, 0).sum("irrep").values
    for matrix in found["matrix"].values if has_cosets(found) else ():
        table[f"cosets {matrix}"] = best_cosets(found, matrix)
        table[f"R² {matrix}"] = found["coset_r2"].sel(component=1, matrix=matrix).max(("side", "subgroup")).values
    return table
