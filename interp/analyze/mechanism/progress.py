"""Progress measures: does the circuit form before it shows, by restricted, excluded and trigonometric loss in every variant?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from interp import figures
from interp.base import once
from interp.figures.phases import LINES
from interp.maths import fourier
from interp.maths.restricted import DIRECTIONS, cosine_logits, projection, restricted, sum_waves
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset, frequency_axis
from interp.measurement import named as in_words
from interp.store.tensors import Tensors
from interp.views.keys import KEY_RULES, KeyRule, final_keys, key_frequencies, neuron_bytes, neuron_shares
from interp.views.square import NeuronSquare
from interp.views.walk import each_checkpoint

RESTRICTED = {
    "code_exact": "logits on cos, sin(w(a+b)) of the keys, two directions a key (code of Nanda et al. 2023)",
    "blocks_2x2": "logits on cos, sin(wa) × cos, sin(wb), four directions a key (their text)",
    "blocks_3x3": "logits on 1, cos, sin(wa) × 1, cos, sin(wb), eight directions a key",
    "mlp_projection": "the last MLP's activations on cos, sin(w(a+b)), through W_out·W_U (TransformerLens' grokking demo)",
    "trigonometric": "Σ α cos(w(a+b−c)) over the keys with the best α, and nothing else",
}
"""What is kept of the logits, by name of the variant; all but the last keep every answer's mean over all pairs too."""

EXCLUDED = {
    **{name: f"without: {RESTRICTED[name]}" for name in ("code_exact", "blocks_2x2", "blocks_3x3", "mlp_projection")},
    "one_frequency": "logits without cos, sin(w(a+b)) of one key, the key that costs most",
    "any_frequency": "the same with any frequency, key or not: needs no keys",
}
"""What is taken out of the logits, by name of the variant; nothing is put in its place."""


IN_WORDS = {
    "code_exact": "waves of a + b",
    "blocks_2x2": "waves of a × waves of b",
    "blocks_3x3": "the same with constants",
    "mlp_projection": "the neurons' waves of a + b",
    "trigonometric": "fitted cos(w(a + b − c))",
    "one_frequency": "the key that costs most",
    "any_frequency": "any frequency that costs most",
    "W_E_far_out": "far out in W_E",
    "W_L_far_out": "far out in W_L",
    "neuron_clusters": "clusters of neurons",
    "W_E_quarter": "a quarter of the largest in W_E",
    "W_E_largest_gap": "above the largest gap in W_E",
}
"""Variants and rules as they stand in legends; the names that measurement and definitions have are shown under the mouse."""


class Options(AnalysisOptions):
    """Which frequencies are key."""

    rule: KeyRule = "neuron_clusters"
    """Rule by which the last checkpoint in view names the key frequencies, for all steps; where it names none,
    W_E_largest_gap does. The measurement has every rule's at every step."""
    frequencies: tuple[int, ...] = ()
    """These key frequencies instead, such as --frequencies 14 35 41 42 52."""


VARIABLES: Variables = {
    "loss": Var("step split", "loss over the pairs and answers of the order, nothing left out", "{loss_units}"),
    "restricted_loss": Var("step restriction split", "loss with the key frequencies alone", "{loss_units}"),
    "excluded_loss": Var("step exclusion split", "loss without the key frequencies", "{loss_units}"),
    "excluded_by_frequency": Var(
        "step freq split", "loss without one frequency of a + b in the logits", "{loss_units}"
    ),
    "key": Var("step key_rule freq", "is a key frequency by the rule"),
    "agreement": Var("step key_rule other_rule", "key frequencies of both rules ÷ of either (Jaccard)", "1"),
    "gini": Var("step matrix", "Gini coefficient of the component norms", "1"),
    "ipr_network": Var("step matrix", "inverse participation ratio of the matrix's power by frequency", "1"),
    "ipr_neuron": Var("step matrix", "inverse participation ratio of a neuron's power by frequency, mean", "1"),
    "sum_of_squares": Var("step", "Σw² over all parameters"),
    "logit_scale": Var("step", "root mean square of the logits, each prompt's mean removed", "{logit_units}"),
}


def measure(seen: NeuronSquare, options: Options) -> xr.Dataset:
    """Every variant of restricted and excluded loss on every split, key frequencies by five rules, Gini, IPR, Σw², logits.

    A last LayerNorm stands between neurons and logits, which are then no linear image of them: `mlp_projection` is left out.
    """
    keys, keys_are = final_keys(seen, options.rule, options.frequencies)
    variants = Variants(seen, keys)

    def measures(weights: Tensors) -> dict[str, Tensor]:
        """Every variable at one checkpoint."""
        logits, post = seen.cache(weights, "logits", seen.neurons.name)
        matrices = seen.matrices(weights)
        rules = key_frequencies(weights, seen, neuron_shares(seen, post))
        sets = torch.stack([rules[rule] for rule in KEY_RULES])
        directions = {name: fourier.wave_directions(matrix) for name, matrix in matrices.items()}
        return {
            "loss": seen.losses(logits),
            **variants.losses(logits, post, matrices["W_L"]),
            "key": sets,
            "agreement": fourier.agreement(sets[:, None], sets),
            "gini": torch.stack([fourier.gini(each.norm(dim=-1)) for each in directions.values()]),
            **seen.participations(directions),
            "sum_of_squares": sum((tensor.double().square().sum() for tensor in weights.values()), torch.tensor(0.0)),
            "logit_scale": (logits - logits.mean(dim=-1, keepdim=True)).double().square().mean().sqrt(),
        }

    needs = seen.forward_bytes + neuron_bytes(seen) + variants.bytes + seen.bytes(14 * seen.n)
    return dataset(
        seen.run,
        options,
        each_checkpoint(seen.run, measures, needs=needs),
        VARIABLES,
        coords={
            "split": list(seen.splits),
            "restriction": variants.of(RESTRICTED),
            "exclusion": variants.of(EXCLUDED),
            "freq": frequency_axis(seen.n),
            "key_rule": list(KEY_RULES),
            "other_rule": list(KEY_RULES),
            "matrix": ["W_E", "W_L"],
        },
        definition=definition(keys, keys_are),
        source="Nanda et al. 2023 (arXiv 2301.05217), sections 4 and 5, figures 7 and 15, and their code; "
        "TransformerLens' grokking demo; Gini: Hurley & Rickard 2009; inverse participation ratio per neuron: Gromov 2023 (arXiv "
        "2301.02679); fence: Tukey 1977",
        words={"logit_units": "nats" if seen.run.config.loss_units == "nats" else "1"},
    ).assign_attrs(key_frequencies=in_words(keys), keys_are=keys_are)


@dataclass(frozen=True)
class Variants:
    """Every variant of restricted and of excluded loss, for some key frequencies."""

    seen: NeuronSquare
    keys: list[int]

    @once
    def kept(self) -> dict[str, Float[Tensor, "wave pair"]]:
        """The directions that belong to the key frequencies, by variant."""
        return {name: directions(self.seen.n, self.keys) for name, directions in DIRECTIONS.items()}

    @once
    def every(self) -> Float[Tensor, "wave pair"]:
        """cos and sin(w(a + b)) of all frequencies."""
        return sum_waves(self.seen.n, range(1, self.seen.n // 2 + 1)).float()

    def of(self, variants: Mapping[str, str]) -> list[str]:
        """Names of the variants that the network has."""
        return [name for name in variants if self.seen.known_roles.linear or name != "mlp_projection"]

    @property
    def bytes(self) -> int:
        """Bytes of the directions."""
        return 2 * self.seen.bytes(sum(len(waves) for waves in self.kept.values())) + self.seen.bytes(len(self.every))

    def along(
        self, logits: Float[Tensor, "pair n"], post: Float[Tensor, "pair neuron"], W_L: Float[Tensor, "n neuron"]
    ) -> list[Float[Tensor, "pair n"]]:
        """The part of the logits that lies along the key frequencies, by every variant."""
        parts = [projection(logits, directions) for directions in self.kept.values()]
        return [*parts, projection(post, self.kept["code_exact"]) @ W_L.mT] if self.seen.known_roles.linear else parts

    def losses(
        self, logits: Float[Tensor, "pair n"], post: Float[Tensor, "pair neuron"], W_L: Float[Tensor, "n neuron"]
    ) -> dict[str, Float[Tensor, "variant split"]]:
        """Losses with the key frequencies alone, without them, and without each frequency."""
        along, mean_loss = self.along(logits, post, W_L), self.seen.losses
        restrictions = [mean_loss(restricted(logits, part)) for part in along]
        by_frequency = self.without_each(logits)
        worst = [by_frequency[[k - 1 for k in self.keys]].amax(dim=0), by_frequency.amax(dim=0)]
        return {
            "restricted_loss": torch.stack([*restrictions, mean_loss(cosine_logits(logits, self.keys))]),
            "excluded_loss": torch.stack([*(mean_loss(logits - part) for part in along), *worst]),
            "excluded_by_frequency": by_frequency,
        }

    def without_each(self, logits: Float[Tensor, "pair n"]) -> Float[Tensor, "freq split"]:
        """Loss without cos and sin(w(a + b)) of each frequency in turn."""
        waves, losses = self.every, []
        along = waves @ logits
        for begin in range(0, len(waves), 2):  # for even n the last frequency has no sine, and one wave
            two = slice(begin, begin + 2)
            losses.append(self.seen.losses(torch.addmm(logits, waves[two].T, along[two], alpha=-1)))
        return torch.stack(losses)


def definition(keys: list[int], keys_are: str) -> str:
    """How the losses are defined, variant by variant."""
    tables = {"restricted": RESTRICTED, "excluded": EXCLUDED, "key rules": KEY_RULES}
    return (
        "over the pairs and answers of the task's order: signs, tokens of b and the 0 of products are none; "
        f"key frequencies {in_words(keys)}, {keys_are}; "
        + "; ".join(
            f"{what}: " + "; ".join(f"{name}: {each}" for name, each in table.items()) for what, table in tables.items()
        )
    )


def draw(found: xr.Dataset) -> go.Figure:
    """Losses, the variants of restricted and of excluded loss, concentration, size, and how many keys each rule names."""
    keys = found.attrs["key_frequencies"]
    last = str(found["split"].values[-1])
    train = "train" if "train" in found["split"].values else last
    figure = figures.panels(
        [
            f"loss; restricted to, and without, the waves of a + b of the key frequencies {keys}",
            "restricted loss by variant, all pairs",
            f"excluded loss by variant, {train if train == 'train' else 'all'} pairs",
            "concentration (Gini)",
            "size: Σw² of all parameters, scale of the logits",
            "key frequencies that each rule names",
            "where the rules agree: how many of the five name each frequency",
        ],
        heights=[5, 4, 4, 3, 3, 3, 4],
        title="Progress under the surface",
    )
    figures.losses(figure, found, row=1)
    both = (
        ("restricted (all)", "restricted_loss", "restriction", last),
        ("excluded", "excluded_loss", "exclusion", train),
    )
    for (name, variable, dim, split), quantity in zip(both, ("restricted loss", "excluded loss"), strict=True):
        colour = LINES[quantity][0]
        label = name if name.endswith(")") else f"{name} ({split})"
        curve = found[variable].sel({dim: "code_exact", "split": split})
        figures.line(figure, curve, label, colour, row=1, hovertemplate="%{y:.3g} · code_exact")
    for row, (_, variable, dim, split) in enumerate(both, start=2):
        for name, colour in zip(found[dim].values, figures.PALETTE, strict=False):
            named_curve(figure, found[variable].sel({dim: name, "split": split}), str(name), colour, row)
    for row in (1, 2, 3):
        figure.update_yaxes(
            title_text=f"loss ({found['loss'].attrs['units']})", type="log", exponentformat="power", row=row
        )
    for matrix in found["matrix"].values:
        colour, dash = LINES[f"Gini {matrix}"]
        figures.line(figure, found["gini"].sel(matrix=matrix), f"Gini {matrix}", colour, row=4, dash=dash)
    figures.line(figure, found["sum_of_squares"], "Σw²", LINES["Σw²"][0], row=5)
    figures.line(figure, found["logit_scale"], "logit scale", figures.PALETTE[3], row=5)
    for rule, colour in zip(found["key_rule"].values, figures.PALETTE, strict=False):
        named_curve(figure, found["key"].sel(key_rule=rule).sum("freq"), str(rule), colour, row=6)
    figure.update_yaxes(title_text="Gini", range=[0, 1], row=4)
    figure.update_yaxes(title_text="size", type="log", row=5)
    named = [int(each) for each in found.attrs["key_frequencies"].split() if each.isdigit()]
    figures.heatmap(figure, found["key"].sum("key_rule"), row=7, colorbar="rules", named=named)
    figure.update_yaxes(title_text="frequencies", rangemode="tozero", row=6)
    figure.update_yaxes(title_text="frequency k", row=7)
    return figures.mark_transition(figure, found)


def named_curve(figure: go.Figure, values: xr.DataArray, name: str, colour: str, row: int) -> None:
    """Draw a variant in words, with its name under the mouse."""
    figures.line(figure, values, IN_WORDS[name], colour, row, hovertemplate=f"%{{y:.3g}} · {name}")


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Losses, concentration, size, one rule's key frequencies, and how far the five agree (mean Jaccard), at each step."""
    split = "train" if "train" in found["split"].values else "all"
    table = by_step(found)
    table["restricted"] = found["restricted_loss"].sel(restriction="code_exact", split="all").values
    table[f"excluded {split}"] = found["excluded_loss"].sel(exclusion="code_exact", split=split).values
    for matrix in found["matrix"].values:
        table[f"Gini {matrix}"] = found["gini"].sel(matrix=matrix).values
    table["Σw²"] = found["sum_of_squares"].values
    rule = Options.model_validate_json(found.attrs["options"]).rule
    keys = found["key"].sel(key_rule=rule).values
    table[f"k by {rule}"] = [shortened(found["freq"].values[row]) for row in keys]
    if found.sizes["step"] == 1:  # then they stand below each other, and there is room
        for other in found["key_rule"].values:
            if other != rule:
                (key,) = found["key"].sel(key_rule=other).values
                table[f"k by {other}"] = [shortened(found["freq"].values[key])]
    others = ~np.eye(found.sizes["key_rule"], dtype=bool)
    table["rules agree (mean Jaccard)"] = found["agreement"].values[:, others].mean(axis=1)
    return table


def shortened(keys: np.ndarray) -> str:
    """The frequencies, or their number where they are many."""
    return " ".join(map(str, keys)) if len(keys) <= 8 else f"{len(keys)} of them"
