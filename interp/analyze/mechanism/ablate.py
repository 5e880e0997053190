"""Ablations: what breaks when a part is taken out, and does as much taken at random break it too?"""

from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset, frequency_axis, named
from interp.views.ablated import Ablatable, Chosen, Network, ablations, rows_at_a_time
from interp.views.keys import KeyRule, final_bytes, final_keys, neuron_shares
from interp.views.walk import beforehand, bytes_read, each_checkpoint, evenly, needs_memory

SHARE = 0.85
"""Share of a neuron's variance in the 3×3 block of a frequency above which it belongs to that frequency's cluster."""

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""What is kept of the losses after random removals of a cluster: the least, the quartiles and the most."""


class Options(AnalysisOptions):
    """Which frequencies are taken for key, and what is compared with."""

    rule: KeyRule = "neuron_clusters"
    """Rule by which the last checkpoint in view names the key frequencies; where it names none, W_E_largest_gap does."""
    frequencies: tuple[int, ...] = ()
    """These key frequencies instead, such as --frequencies 14 35 41 42 52."""
    checkpoints: int = Field(default=40, ge=1)
    """How many are measured at most, evenly chosen among those in view: each is answered some five hundred times over."""
    repeats: int = Field(default=20, ge=1, le=1000)
    """Random removals of the same size beside each ablation."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the random removals, which are the same at every checkpoint."""


OUTCOMES = {"loss": "{loss_units}", "accuracy": "1"}
"""What is measured of a network with something taken out, with its unit."""

LEFT = {
    "whole": ("step split", "the whole network"),
    "": ("step ablation split", "what an ablation leaves"),
    "random": ("step ablation repeat split", "what as large a removal at random leaves"),
    "frequency": ("step freq split", "the network with one frequency less at the neurons"),
    "cluster": ("step freq split", "the network with one cluster of neurons less"),
    "random_cluster": ("step freq quantile split", "the network with as many other neurons less, over the repeats"),
}
"""What is left of the network, with its dimensions."""

VARIABLES: Variables = {
    f"{name}_{outcome}".lstrip("_"): Var(dims, f"{outcome} of {what}", unit)
    for name, (dims, what) in LEFT.items()
    for outcome, unit in OUTCOMES.items()
}


def measure(seen: Ablatable, options: Options) -> xr.Dataset:
    """Loss and accuracy by split with each part taken out, beside as much taken out at random, repeated.

    Which frequencies are key and which neurons are in whose cluster is found once, at the last checkpoint in view, and held
    at every other: it is asked since when the network rests on what it ends with.
    """
    seen = replace(seen, run=evenly(seen.run, options.checkpoints))
    needs = bytes_at_work(seen)
    needs_memory(seen.run, needs + bytes_read(seen.run))
    chosen = choose(seen, options)
    found = each_checkpoint(seen.run, lambda weights: outcomes(Network(chosen, weights)), needs=needs)
    freq = frequency_axis(seen.n)
    k = freq[1]
    return dataset(
        seen.run,
        options,
        by_outcome(found),
        VARIABLES,
        coords={
            "ablation": list(ablations(seen)),
            "split": list(seen.splits),
            "freq": freq,
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
        definition="; ".join([*(f"{name}: {what}" for name, what in ablations(seen).items()), *definitions(seen)]),
        source="ablations: Nanda et al. 2023 (arXiv 2301.05217), section 4; removal at random of the same size is "
        "defined here",
    ).assign_attrs(key_frequencies=named(chosen.key), keys_are=chosen.keys_are, drawn_clustered=chosen.drawn_clustered)


def definitions(seen: Ablatable) -> list[str]:
    """How clusters, random removals, losses and accuracies are defined."""
    ways = (
        "; for heads and skips, from each prompt's residual stream a vector of a random direction with the norm of what was "
        "removed"
    )
    return [
        "frequency_loss: the part of one frequency is subtracted from the activations",
        "cluster_loss: one frequency's cluster is set to 0; of a frequency without one, nothing",
        f"cluster: neurons with more than {SHARE} of their variance in the 3×3 block of k, at the last checkpoint in view",
        "at random: as many other frequencies, of the non-key ones, or of all where fewer than that remain; as many neurons "
        "of those outside the cluster, or of all where fewer remain; the same neurons as blocks of those other frequencies"
        + (ways if seen.roles.routes else ""),
        "losses and accuracies are over the pairs and answers of the task's order: signs, tokens of b and the 0 of products "
        "are none",
    ]


def choose(seen: Ablatable, options: Options) -> Chosen:
    """Key frequencies and clusters, at the last checkpoint in view."""
    key, keys_are = final_keys(seen, options.rule, options.frequencies)

    def shares() -> Float[Tensor, "neuron freq"]:
        """Share of every neuron's variance at every frequency, at that checkpoint."""
        return neuron_shares(seen, seen.posts(seen.settled.final.weights))

    clustered = beforehand(shares) > SHARE  # not where a neuron never varies: NaN
    clusters = {k: clustered[:, k - 1].nonzero()[:, 0].clone() for k in key}
    return Chosen(seen, tuple(key), keys_are, clusters, options.repeats, options.seed)


def outcomes(network: Network) -> dict[str, Tensor]:
    """All that is measured of one checkpoint: loss and accuracy [2, split] by what was taken out."""
    repeats, outcome = range(network.chosen.repeats), network.outcome
    whole = outcome(network.untouched())

    def of_cluster(k: int, draw: int | None) -> Tensor:
        """The outcome without a cluster; without one that is empty nothing changes."""
        return outcome(network.cluster(k, draw)) if len(network.chosen.cluster(k)) else whole

    every = range(1, network.seen.n // 2 + 1)
    random = [torch.stack(network.all_ablations(draw)) for draw in repeats]
    return {
        "whole": whole,
        "": torch.stack(network.all_ablations(None)),
        "random": torch.stack(random, dim=1),
        "frequency": torch.stack([outcome(network.waves_of_neurons((k,), keep=False)) for k in every]),
        "cluster": torch.stack([of_cluster(k, None) for k in every]),
        "random_cluster": torch.stack(
            [over_repeats(torch.stack([of_cluster(k, draw) for draw in repeats])) for k in every]
        ),
    }


def over_repeats(found: Float[Tensor, "repeat 2 split"]) -> Float[Tensor, "quantile 2 split"]:
    """Quantiles over the repeats: most frequencies have no cluster, and every repeat of each would fill most of the results."""
    return found.quantile(torch.tensor(QUANTILES, dtype=found.dtype), dim=0)


def by_outcome(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Loss and accuracy apart, by the names of VARIABLES."""
    return {
        f"{name}_{outcome}".lstrip("_"): values[..., number, :]
        for name, values in found.items()
        for number, outcome in enumerate(OUTCOMES)
    }


def bytes_at_work(seen: Ablatable) -> int:
    """What one checkpoint takes at most: activations, what each part writes, and one more forward pass beside them."""
    n, ways = seen.n, [route.width for route in seen.roles.routes.values()]
    activations = seen.run.config.model.cost(seen.run.task.shape).work
    width = max(n, *ways, 0)  # of what reaches the answers
    kept = seen.bytes(activations + sum(ways) + 3 * max(ways, default=0) + 15 * width)
    by_frequency = 8 * (n // 2) * n * 3 * (width + len(seen.operands) * seen.embeds.width)
    at_a_time = 40 * rows_at_a_time(n) * (seen.neurons.width + width)
    total = seen.forward_bytes + max(kept + by_frequency, final_bytes(seen)) + at_a_time
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
}
"""Ablations of every network that are drawn together, by the title of their panel."""


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above those after each ablation, dotted the median of as much at random and shaded its quartiles."""
    split, panels = shown(found), panels_of(found)
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
    draw_frequencies(figure, here, row=len(panels) + 2)
    for row in range(2, len(titles) + 2):
        title = f"loss ({found['loss'].attrs['units']})"
        figure.update_yaxes(title_text=title, type="log", exponentformat="power", nticks=6, row=row)
    return figures.mark_transition(figure, found)


def panels_of(found: xr.Dataset) -> dict[str, tuple[str, ...]]:
    """Ablations that are drawn together, by the title of their panel; of ways through the network where there are some."""
    names = found["ablation"].values.tolist()
    drawn = {name for each in PANELS.values() for name in each}
    heads = tuple(name for name in names if name.startswith("head "))
    others = tuple(name for name in names if name not in drawn and name not in heads)
    ways = {"ways through the network taken out": others, "one head taken out": heads}
    panels = PANELS | {title: each for title, each in ways.items() if each}
    if not found.attrs["drawn_clustered"]:
        return panels
    share = (
        f"neurons (too few others: {found.attrs['drawn_clustered']:.0%} of those drawn at random are in clusters too)"
    )
    return {share if title == "neurons" else title: each for title, each in panels.items()}


def draw_frequencies(figure: go.Figure, here: xr.Dataset, row: int) -> None:
    """Losses without one key frequency, the worst of the others among them; and in the row below without its cluster."""
    key = here["freq"].values[here["is_key"].values]
    for kind, at in (("frequency", row), ("cluster", row + 1)):
        figures.line(figure, here["whole_loss"], "nothing taken out", figures.QUIET, row=at)
        for number, k in enumerate(key):
            colour, own = figures.PALETTE[number % len(figures.PALETTE)], here.sel(freq=k)
            figures.line(figure, own[f"{kind}_loss"], f"k = {k}", colour, row=at)
            if kind == "cluster" and own["cluster_size"] > 0:
                random = own["random_cluster_loss"]
                band(figure, [random.sel(quantile=q) for q in (0.25, 0.5, 0.75)], colour, at)
    others = here["frequency_loss"].sel(freq=~here["is_key"])
    if others.sizes["freq"]:
        figures.line(figure, others.max("freq"), "worst of the others", figures.INK, row=row, dash="dot")


def quartiles(losses: xr.DataArray) -> list[xr.DataArray]:
    """The first quartile, the median and the third quartile over the repeats."""
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
"""Ablations in the short table, as far as the network has such ways."""


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Loss with nothing taken out, and after some ablations, with the median of as much at random in brackets."""
    here = found.sel(split=shown(found))
    table = by_step(found)
    table[f"{shown(found)} loss (at random: median)"] = here["whole_loss"].values
    for name in (name for name in SUMMARISED if name in here["ablation"].values):
        own = here["loss"].sel(ablation=name).values
        random = here["random_loss"].sel(ablation=name).median("repeat").values
        table[name] = [f"{loss:.2g} ({at_random:.2g})" for loss, at_random in zip(own, random, strict=True)]
    return table
