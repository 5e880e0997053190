"""Progress measures: does the circuit form before it shows, by restricted, excluded and trigonometric loss in every variant?"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from interp import figures
from interp.analyze._common import (
    AnalysisOptions,
    answer_rows,
    by_step,
    dataset,
    each_checkpoint,
    last_mlp,
    needs_mlp,
    number_rows,
)
from interp.analyze._keys import KEY_RULES, KeyRule, final_keys, key_frequencies, neuron_bytes, neuron_shares
from interp.analyze._sums import Square, square
from interp.maths import fourier
from interp.maths.progress import DIRECTIONS, cosine_logits, projection, restricted, sum_waves
from interp.store import Run
from interp.store.tensors import Tensors

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


class Options(AnalysisOptions):
    """Which frequencies are key."""

    rule: KeyRule = "neuron_clusters"
    """Rule by which the last checkpoint in view names the key frequencies, for all steps; where it names none,
    W_E_largest_gap does. The measurement has every rule's at every step."""
    frequencies: tuple[int, ...] = ()
    """These key frequencies instead, such as --frequencies 14 35 41 42 52."""


def measure(run: Run, options: Options) -> xr.Dataset:
    """Every variant of restricted and excluded loss on every split, key frequencies by five rules, Gini, IPR, Σw², logits.

    A last LayerNorm stands between neurons and logits, which are then no linear image of them: `mlp_projection` is left out.
    """
    grid = square(needs_mlp(run, "progress"), "progress")
    keys, keys_are = final_keys(grid, options.rule, options.frequencies)
    linear = run.known_model.normalization == "none"
    kept = {name: directions(grid.n, keys) for name, directions in DIRECTIONS.items()}
    every = sum_waves(grid.n, range(1, grid.n // 2 + 1)).float()

    def measures(weights: Tensors) -> dict[str, Tensor]:
        """Of one checkpoint."""
        logits, post = grid.activations(weights, "logits", "mlp.hook_post")
        along = {name: projection(logits, directions) for name, directions in kept.items()}
        if linear:
            W_L = answer_rows(last_mlp(weights, run), grid.task).mT
            along["mlp_projection"] = projection(post, kept["code_exact"]) @ W_L
        restrictions = [grid.losses(restricted(logits, part)) for part in along.values()]
        by_frequency = without_each(grid, logits, every)
        worst = [by_frequency[[k - 1 for k in keys]].amax(dim=0), by_frequency.amax(dim=0)]
        rules = key_frequencies(weights, grid, neuron_shares(grid, post))
        sets = torch.stack([rules[rule] for rule in KEY_RULES])
        matrices = [number_rows(weights["embed.W_E"], grid.task), answer_rows(last_mlp(weights, run), grid.task)]
        norms = [fourier.frequency_norms(matrix) for matrix in matrices]
        return {
            "loss": grid.losses(logits),
            "restricted_loss": torch.stack([*restrictions, grid.losses(cosine_logits(logits, keys))]),
            "excluded_loss": torch.stack([*(grid.losses(logits - part) for part in along.values()), *worst]),
            "excluded_by_frequency": by_frequency,
            "key": sets,
            "agreement": fourier.agreement(sets[:, None], sets),
            "gini": torch.stack([fourier.gini(fourier.component_norms(matrix)) for matrix in matrices]),
            "ipr": torch.stack([fourier.inverse_participation_ratio(fourier.power_shares(each)) for each in norms]),
            "sum_of_squares": sum((tensor.double().square().sum() for tensor in weights.values()), torch.tensor(0.0)),
            "logit_scale": (logits - logits.mean(dim=-1, keepdim=True)).double().square().mean().sqrt(),
        }

    directions = 2 * grid.bytes(sum(len(waves) for waves in kept.values())) + grid.bytes(len(every))
    found = each_checkpoint(
        run, measures, needs=grid.forward_bytes + neuron_bytes(grid) + directions + grid.bytes(14 * grid.n)
    )
    nats, share = {"units": "nats"}, {"units": "1"}
    per_matrix = ("step", "matrix")
    return dataset(
        run,
        options,
        {
            "loss": (
                ("step", "split"),
                found["loss"],
                {"long_name": "loss over the pairs and answers of the order, nothing left out", **nats},
            ),
            "restricted_loss": (
                ("step", "restriction", "split"),
                found["restricted_loss"],
                {"long_name": "loss with the key frequencies alone", **nats},
            ),
            "excluded_loss": (
                ("step", "exclusion", "split"),
                found["excluded_loss"],
                {"long_name": "loss without the key frequencies", **nats},
            ),
            "excluded_by_frequency": (
                ("step", "freq", "split"),
                found["excluded_by_frequency"],
                {"long_name": "loss without one frequency of a + b in the logits", **nats},
            ),
            "key": (("step", "key_rule", "freq"), found["key"], {"long_name": "is a key frequency by the rule"}),
            "agreement": (
                ("step", "key_rule", "other_rule"),
                found["agreement"],
                {"long_name": "key frequencies of both rules ÷ of either (Jaccard)", **share},
            ),
            "gini": (per_matrix, found["gini"], {"long_name": "Gini coefficient of the component norms", **share}),
            "ipr": (per_matrix, found["ipr"], {"long_name": "inverse participation ratio of the power", **share}),
            "sum_of_squares": (("step",), found["sum_of_squares"], {"long_name": "Σw² over all parameters"}),
            "logit_scale": (
                ("step",),
                found["logit_scale"],
                {"long_name": "root mean square of the logits, each prompt's mean removed", **nats},
            ),
        },
        coords={
            "split": list(grid.splits),
            "restriction": [name for name in RESTRICTED if linear or name != "mlp_projection"],
            "exclusion": [name for name in EXCLUDED if linear or name != "mlp_projection"],
            "freq": ("freq", np.arange(1, grid.n // 2 + 1), {"units": f"cycles per {grid.n} residues"}),
            "key_rule": list(KEY_RULES),
            "other_rule": list(KEY_RULES),
            "matrix": ["W_E", "W_L"],
        },
        definition="over the pairs and answers of the task's order: signs, tokens of b and the 0 of products are none; "
        f"key frequencies {' '.join(map(str, keys))}, {keys_are}; restricted: "
        + "; ".join(f"{name}: {what}" for name, what in RESTRICTED.items())
        + "; excluded: "
        + "; ".join(f"{name}: {what}" for name, what in EXCLUDED.items())
        + "; key rules: "
        + "; ".join(f"{name}: {what}" for name, what in KEY_RULES.items()),
        source="Nanda et al. 2023 (arXiv 2301.05217), sections 4 and 5, figures 7 and 15, and their code; "
        "TransformerLens' grokking demo; Gini: Hurley & Rickard 2009; fence: Tukey 1977",
    ).assign_attrs(key_frequencies=" ".join(map(str, keys)), keys_are=keys_are)


def without_each(
    grid: Square, logits: Float[Tensor, "pair n"], waves: Float[Tensor, "wave pair"]
) -> Float[Tensor, "freq split"]:
    """Loss without cos and sin(w(a + b)) of each frequency in turn."""
    along, losses = waves @ logits, []
    for begin in range(0, len(waves), 2):  # for even n the last frequency has no sine, and one wave
        two = slice(begin, begin + 2)
        losses.append(grid.losses(torch.addmm(logits, waves[two].T, along[two], alpha=-1)))
    return torch.stack(losses)


def draw(found: xr.Dataset) -> go.Figure:
    """Losses, the variants of restricted and of excluded loss, concentration, size, and how many keys each rule names."""
    keys = found.attrs["key_frequencies"]
    last = str(found["split"].values[-1])
    train = "train" if "train" in found["split"].values else last
    figure = figures.panels(
        [
            f"loss; restricted to, and without, the key frequencies {keys} (code_exact)",
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
    for (name, variable, dim, split), colour in zip(both, figures.PALETTE, strict=False):
        label = name if name.endswith(")") else f"{name} ({split})"
        figures.line(figure, found[variable].sel({dim: "code_exact", "split": split}), label, colour, row=1)
    for row, (_, variable, dim, split) in enumerate(both, start=2):
        for name, colour in zip(found[dim].values, figures.PALETTE, strict=False):
            dash = "dot" if name == "any_frequency" else "solid"  # it mostly lies on that of the keys
            figures.line(figure, found[variable].sel({dim: name, "split": split}), str(name), colour, row, dash)
    for row in (1, 2, 3):
        figure.update_yaxes(title_text="loss (nats)", type="log", exponentformat="power", row=row)
    for matrix, colour in zip(found["matrix"].values, figures.PALETTE, strict=False):
        figures.line(figure, found["gini"].sel(matrix=matrix), f"Gini {matrix}", colour, row=4)
    figures.line(figure, found["sum_of_squares"], "Σw²", figures.PALETTE[0], row=5)
    figures.line(figure, found["logit_scale"], "logit scale", figures.PALETTE[1], row=5)
    for rule, colour in zip(found["key_rule"].values, figures.PALETTE, strict=False):
        figures.line(figure, found["key"].sel(key_rule=rule).sum("freq"), str(rule), colour, row=6)
    figure.update_yaxes(title_text="Gini", range=[0, 1], row=4)
    figure.update_yaxes(title_text="size", type="log", row=5)
    figures.heatmap(figure, found["key"].sum("key_rule"), row=7, colorbar="rules")
    figure.update_yaxes(title_text="frequencies", rangemode="tozero", row=6)
    figure.update_yaxes(title_text="frequency k", row=7)
    return figures.mark_transition(figure, found)


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
