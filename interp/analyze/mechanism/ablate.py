"""Ablations: is a part needed, is it enough, is it specific, and does as much taken at random break the network too?"""

from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset, frequency_axis, named
from interp.views.ablatable import Ablatable
from interp.views.ablated import Network
from interp.views.ablations import QUANTILES, ablations, bytes_at_work, definitions, outcomes, questions, replaced
from interp.views.draws import Chosen
from interp.views.keys import KeyRule, final_keys, neuron_shares
from interp.views.walk import beforehand, bytes_read, each_checkpoint, evenly, needs_memory

SHARE = 0.85
"""Share of a neuron's variance in the 3×3 block of a frequency above which it belongs to that frequency's cluster."""


class Options(AnalysisOptions):
    """Which frequencies are taken for key, and what is compared with."""

    rule: KeyRule = "neuron_clusters"
    """Rule by which the last checkpoint in view names the key frequencies; where it names none, W_E_largest_gap does."""
    frequencies: tuple[int, ...] = ()
    """These key frequencies instead, such as --frequencies 14 35 41 42 52."""
    checkpoints: int = Field(default=40, ge=1)
    """How many are measured at most, evenly chosen among those in view: each is answered some six hundred times over."""
    repeats: int = Field(default=20, ge=1, le=1000)
    """Random removals of the same number beside each ablation."""
    draws: int = Field(default=3, ge=1, le=1000)
    """Random removals of the same energy beside each ablation, and random pairs for resample ablation."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of all draws, which are the same at every checkpoint."""


LOSSES = ("loss", "accuracy")
"""What is measured of the network on each split."""

MEASURES = {
    "loss": ("loss", "{loss_units}"),
    "accuracy": ("accuracy", "1"),
    "own_lost": ("share of the answers' waves of a + b − c at its own frequencies that is lost", "1"),
    "specificity": ("share of those waves that is lost at its own frequencies, less that at all others", "1"),
    "share": ("share of the variance in the part", "1"),
}
"""What is measured of a network with something taken out, with its unit."""

LEFT = {
    "whole": ("step", "whole network", LOSSES),
    "": ("step ablation", "ablation", MEASURES),
    "random": ("step ablation repeat", "ablation of as many at random", MEASURES),
    "random_energy": ("step ablation draw", "ablation of as much energy at random", MEASURES),
    "mean": ("step replaced", "ablation to the mean in place of 0", LOSSES),
    "resample": ("step replaced draw", "ablation to another pair's values in place of 0", LOSSES),
    "frequency": ("step freq", "one frequency less at the neurons", (*LOSSES, "share")),
    "cluster": ("step freq", "one cluster of neurons at 0", MEASURES),
    "random_cluster": ("step freq quantile", "as many other neurons at 0, over the repeats", MEASURES),
    "random_energy_cluster": ("step freq quantile", "as much energy less at one cluster, over the draws", MEASURES),
    "mean_cluster": ("step freq", "one cluster at its mean", LOSSES),
    "resample_cluster": ("step freq quantile", "one cluster at another pair's values, over the draws", LOSSES),
}
"""Dimensions, what is taken out, what is measured of the rest. `random` is matched by number, `random_energy` by energy."""


def variable(name: str, measure: str) -> str:
    """Name of a variable."""
    return f"{name}_{measure}".lstrip("_")


VARIABLES: Variables = {
    variable(name, measure): Var(dims + " split" * (measure in LOSSES), f"{what}: {text}", unit)
    for name, (dims, what, measures) in LEFT.items()
    for measure, (text, unit) in MEASURES.items()
    if measure in measures
}


def measure(seen: Ablatable, options: Options) -> xr.Dataset:
    """Loss and accuracy by split with each part taken out, beside as many and as much energy taken out at random.

    Necessity: the loss without the part. Sufficiency: the loss with the part alone. Specificity: of the waves
    cos and sin(w(a + b − c)) in the answers, the share that is lost at the part's own frequencies, less the share at others.

    Which frequencies are key and which neurons are in whose cluster is found once, at the last checkpoint in view, and held
    at every other: it is asked since when the network rests on what it ends with.
    """
    seen = replace(seen, run=evenly(seen.run, options.checkpoints))
    needs = bytes_at_work(seen, options.draws)
    needs_memory(seen.run, needs + bytes_read(seen.run))
    chosen = choose(seen, options)
    found = each_checkpoint(seen.run, lambda weights: outcomes(Network(chosen, weights)), needs=needs)
    freq = frequency_axis(seen.n)
    k = freq[1]
    return dataset(
        seen.run,
        options,
        by_measure(found, len(seen.splits)),
        VARIABLES,
        coords={
            "ablation": list(ablations(seen)),
            "asks": ("ablation", questions(seen), {"long_name": "question that the ablation asks"}),
            "replaced": replaced(seen),
            "split": list(seen.splits),
            "freq": freq,
            "is_key": ("freq", np.isin(k, chosen.key), {"long_name": "is a key frequency"}),
            "cluster_size": ("freq", [len(chosen.cluster(each)) for each in k.tolist()], {"units": "neurons"}),
            "repeat": np.arange(options.repeats),
            "draw": np.arange(options.draws),
            "quantile": list(QUANTILES),
            "drawn": (
                ("repeat", "freq"),
                np.array([np.isin(k, drawn) for drawn in chosen.drawn]),
                {"long_name": "frequencies that were drawn in place of the key ones"},
            ),
        },
        definition="; ".join(
            [*(f"{name}: {what}" for name, what in ablations(seen).items()), *definitions(seen, SHARE)]
        ),
        source="ablations: Nanda et al. 2023 (arXiv 2301.05217), section 4; mean and resample ablation: Chan et al. 2022 "
        "(Causal scrubbing), Wang et al. 2022 (arXiv 2211.00593); removals of the same number and of the same energy, "
        "own_lost and specificity are defined here",
    ).assign_attrs(key_frequencies=named(chosen.key), keys_are=chosen.keys_are, drawn_clustered=chosen.drawn_clustered)


def choose(seen: Ablatable, options: Options) -> Chosen:
    """Key frequencies and clusters, at the last checkpoint in view."""
    key, keys_are = final_keys(seen, options.rule, options.frequencies)

    def shares() -> Float[Tensor, "neuron freq"]:
        """Share of every neuron's variance at every frequency, at that checkpoint."""
        return neuron_shares(seen, seen.posts(seen.settled.final.weights))

    clustered = beforehand(shares) > SHARE  # not where a neuron never varies: NaN
    clusters = {k: clustered[:, k - 1].nonzero()[:, 0].clone() for k in key}
    return Chosen(seen, tuple(key), keys_are, clusters, options.repeats, options.draws, options.seed)


def by_measure(found: dict[str, Float[np.ndarray, "... score"]], splits: int) -> dict[str, Float[np.ndarray, "..."]]:
    """What VARIABLES names, from scores: loss and accuracy by split, share, waves lost at own and at other frequencies."""
    values = {}
    for name, scores in found.items():
        share, own, others = (scores[..., 2 * splits + place] for place in range(3))
        measured = {
            "loss": scores[..., :splits],
            "accuracy": scores[..., splits : 2 * splits],
            "own_lost": own,
            "specificity": own - others,
            "share": share,
        }
        values |= {variable(name, measure): measured[measure] for measure in MEASURES if measure in LEFT[name][2]}
    return values


# What is shown

PANELS = {
    "sufficiency: keys alone": ("embedding: keys kept", "neurons: keys kept", "logits: keys kept"),
    "necessity: keys taken out": ("embedding: keys removed", "neurons: keys removed", "logits: keys removed"),
    "neurons": (
        "clusters kept",
        "clusters removed",
        "clusters as 3×3 blocks",
        "W_L directions kept",
        "W_L directions removed",
    ),
}
"""Ablations of every network that are drawn together, by the title of their panel."""

REPLACED = ("clusters removed", "all heads")
"""Ablations to 0 that are drawn beside the mean and another pair's values, as far as the network has such parts."""

SHARES = PANELS["necessity: keys taken out"] + ("clusters removed",)
"""Parts whose specificity and share of the variance are drawn."""


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above those after each ablation, beside as many and as much energy at random; then lost waves and shares.

    Drawn at random are medians; of as many, the quartiles are shaded.
    """
    split, panels = shown(found), panels_of(found)
    titles = {
        **panels,
        "one frequency taken out of the neurons": (),
        "one frequency's neurons at 0": (),
        "at 0 (solid), at the mean (dashed), at another pair's values (dotted)": (),
    }
    others = [
        "key waves of the answers that are lost",
        "specificity of one frequency's neurons",
        "variance in the part",
    ]
    figure = figures.panels(
        ["loss", *(f"{title}: {split} loss" for title in titles), *others],
        heights=[3, *[3.6] * len(titles), *[3] * len(others)],
        title="Needed, enough, specific? (at random: dotted as many, dashed as much energy)",
    )
    figures.losses(figure, found, row=1)
    here = found.sel(split=split)
    for row, names in enumerate(panels.values(), start=2):
        figures.line(figure, here["whole_loss"], "nothing taken out", figures.QUIET, row=row)
        draw_ablations(figure, here, "loss", names, row)
    draw_frequencies(figure, here, row=len(panels) + 2)
    draw_replaced(figure, here, row=len(panels) + 4)
    for row in range(2, len(titles) + 2):
        title = f"loss ({found['loss'].attrs['units']})"
        figure.update_yaxes(title_text=title, type="log", exponentformat="power", nticks=6, row=row)
    draw_ablations(figure, here, "own_lost", SHARES, row=len(titles) + 2)
    draw_keys(figure, here, "cluster_specificity", row=len(titles) + 3)
    draw_ablations(figure, here, "share", SHARES, row=len(titles) + 4)
    for row, title in enumerate(("share lost", "own lost − others lost", "share"), start=len(titles) + 2):
        figure.update_yaxes(title_text=title, row=row)
    figure.update_yaxes(range=[-1.05, 1.05], row=len(titles) + 3)
    figure.update_yaxes(type="log", exponentformat="power", nticks=6, row=len(titles) + 4)
    return figures.mark_transition(figure, found)


def draw_ablations(figure: go.Figure, here: xr.Dataset, measured: str, names: tuple[str, ...], row: int) -> None:
    """What is measured of each ablation, of as many at random with their quartiles, and of as much energy."""
    for number, name in enumerate(names):
        colour, own = figures.PALETTE[number % len(figures.PALETTE)], here.sel(ablation=name)
        figures.line(figure, own[measured], name, colour, row=row)
        band(figure, quartiles(own[f"random_{measured}"]), colour, row)
        if measured != "share":  # which is equal
            by_energy = own[f"random_energy_{measured}"].median("draw")
            figures.line(figure, by_energy, name, colour, row=row, dash="dash", showlegend=False)


def draw_replaced(figure: go.Figure, here: xr.Dataset, row: int) -> None:
    """Losses with activations at 0, at their mean, and at those of another pair."""
    figures.line(figure, here["whole_loss"], "nothing replaced", figures.QUIET, row=row)
    names = [name for name in REPLACED if name in here["replaced"].values]
    for name, colour in zip(names, figures.PALETTE, strict=False):
        own = here.sel(replaced=name)
        figures.line(figure, here["loss"].sel(ablation=name), name, colour, row=row)
        figures.line(figure, own["mean_loss"], name, colour, row=row, dash="dash", showlegend=False)
        figures.line(figure, own["resample_loss"].median("draw"), name, colour, row=row, dash="dot", showlegend=False)


def panels_of(found: xr.Dataset) -> dict[str, tuple[str, ...]]:
    """Ablations that are drawn together, by the title of their panel; of ways through the network where there are some."""
    names = found["ablation"].values.tolist()
    drawn = {name for each in PANELS.values() for name in each}
    heads = tuple(name for name in names if name.startswith("head "))
    others = tuple(name for name in names if name not in drawn and name not in heads)
    ways = {"necessity: ways through the network taken out": others, "necessity: one head taken out": heads}
    panels = PANELS | {title: each for title, each in ways.items() if each}
    if not found.attrs["drawn_clustered"]:
        return panels
    share = (
        f"neurons (too few others: {found.attrs['drawn_clustered']:.0%} of those drawn at random are in clusters too)"
    )
    return {share if title == "neurons" else title: each for title, each in panels.items()}


def draw_frequencies(figure: go.Figure, here: xr.Dataset, row: int) -> None:
    """Losses without one key frequency, the worst of the others among them; and in the row below without its cluster."""
    for measured, at in (("frequency_loss", row), ("cluster_loss", row + 1)):
        figures.line(figure, here["whole_loss"], "nothing taken out", figures.QUIET, row=at)
        draw_keys(figure, here, measured, at)
    others = here["frequency_loss"].sel(freq=~here["is_key"])
    if others.sizes["freq"]:
        figures.line(figure, others.max("freq"), "worst of the others", figures.INK, row=row, dash="dot")


def draw_keys(figure: go.Figure, here: xr.Dataset, measured: str, row: int) -> None:
    """What is measured of each key frequency; of its cluster also as many neurons at random, and as much energy."""
    for number, k in enumerate(here["freq"].values[here["is_key"].values]):
        colour, own = figures.PALETTE[number % len(figures.PALETTE)], here.sel(freq=k)
        figures.line(figure, own[measured], f"k = {k}", colour, row=row)
        if measured.startswith("cluster") and own["cluster_size"] > 0:
            by_number, by_energy = own[f"random_{measured}"], own[f"random_energy_{measured}"].sel(quantile=0.5)
            band(figure, [by_number.sel(quantile=q) for q in (0.25, 0.5, 0.75)], colour, row)
            figures.line(figure, by_energy, f"k = {k}", colour, row=row, dash="dash", showlegend=False)


def quartiles(values: xr.DataArray) -> list[xr.DataArray]:
    """The first quartile, the median and the third quartile over the repeats."""
    return [values.quantile(q, dim="repeat") for q in (0.25, 0.5, 0.75)]


def band(figure: go.Figure, bounds: list[xr.DataArray], colour: str, row: int) -> None:
    """A dotted line in a shade, from the lower, middle and upper bound."""
    low, middle, high = bounds
    figures.shade(figure, middle["step"].values, low.values, high.values, colour, row)
    figures.line(figure, middle, "at random", colour, row=row, dash="dot", showlegend=False)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Necessity, sufficiency, waves lost and share of the variance of the embedding's and the neurons' keys, at each step.

    In brackets the medians at random: of as much energy; of as many. Then the specificity of one frequency's neurons, its mean
    over the key frequencies that have some, and losses with clusters and heads at 0, at their mean, at another pair's values.
    """
    split, table = shown(found), by_step(found)
    here = found.sel(split=split)
    table[f"{split} loss (as much energy at random; as many)"] = here["whole_loss"].values
    for part in ("embedding", "neurons"):
        removed, kept = (here.sel(ablation=f"{part}: keys {what}") for what in ("removed", "kept"))
        table[f"{part}: necessity"] = three(removed, "loss", ".2g")
        table[f"{part}: sufficiency"] = three(kept, "loss", ".2g")
        table[f"{part}: keys lost"] = three(removed, "own_lost", "z.2f")
        table[f"{part}: share"] = three(removed, "share", ".2%")
    clusters = found.sel(freq=found["cluster_size"] > 0).mean("freq")
    if found["cluster_size"].any():
        table["one cluster: specificity"] = three(clusters, "cluster_specificity", "z.2f")
    for name in (name for name in REPLACED if name in found["replaced"].values):
        own = here.sel(replaced=name)
        losses = (here["loss"].sel(ablation=name), own["mean_loss"], own["resample_loss"].median("draw"))
        table[f"{name}: 0, mean, other pair"] = [
            ", ".join(f"{loss:.2g}" for loss in each) for each in zip(*(loss.values for loss in losses), strict=True)
        ]
    return table


def three(own: xr.Dataset, measured: str, form: str) -> list[str]:
    """What is measured at each step, and in brackets its medians at random: by energy; by number."""
    controls = [middle(own[f"{kind}_{measured}"]) for kind in ("random_energy", "random")]
    return [
        f"{value:{form}} ({energy:{form}}; {number:{form}})"
        for value, energy, number in zip(own[measured].values, *controls, strict=True)
    ]


def middle(drawn: xr.DataArray) -> np.ndarray:
    """The median over the draws at each step; of quantiles the middle one."""
    if "quantile" in drawn.dims:
        return drawn.sel(quantile=0.5).values
    return drawn.median([dim for dim in drawn.dims if dim != "step"]).values


def shown(found: xr.Dataset) -> str:
    """The split whose losses are drawn and tabulated: what is tested, or all where files of others do not tell."""
    return "test" if "test" in found["split"].values else "all"
