"""Waves of a + b − c in the logits: by which frequencies are the answers made, and how much of them is that?"""

import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from torch import Tensor

from interp import figures
from interp.maths import logits as forms
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset, frequency_axis, named
from interp.store.tensors import Tensors
from interp.views.keys import KeyRule, final_bytes, final_keys
from interp.views.square import NeuronSquare
from interp.views.walk import each_checkpoint

DEFINITION = (
    "Logits of all pairs and answers of the task's order (signs, tokens of b and the 0 of products are none), "
    "the mean over the answers of each prompt removed; a, b, c by their place in the order in which "
    "the task is a sum. share: squared inner product with the unit-norm cube cos(w_k(a+b−c)) over the sum of squares. "
    "frequency_share: the same for every wave of c at k, whatever its size at each prompt. clock: cos(w_k(a+b−c)); pizza: "
    "|cos(w_k(a−b)/2)|·cos(w_k(a+b−c)); mixture: both. They are fitted by least squares to the whole network's logits: "
    "explained as part of the waves at k, explained_by_keys as part of all. sum_share: of what is left without the mean of "
    "each answer too, the part that is a function of a+b and c. Figures that are published for clock and pizza are of "
    "single circles: analysis clock_pizza"
)


class Options(AnalysisOptions):
    """Which frequencies are key."""

    rule: KeyRule = "neuron_clusters"
    """Rule by which the last checkpoint in view names the key frequencies; where it names none, W_E_largest_gap does."""
    frequencies: tuple[int, ...] = ()
    """These key frequencies instead, such as --frequencies 14 35 41 42 52."""


VARIABLES: Variables = {
    "share": Var("step freq", "share of variance in cos(w_k(a + b − c))", "1"),
    "share_all": Var("step", "share of variance in all cos(w_k(a + b − c))", "1"),
    "share_of_keys": Var("step", "share of variance in cos(w_k(a + b − c)) of the key frequencies", "1"),
    "frequency_share": Var("step freq", "share of variance at the frequency k of the answer", "1"),
    "sum_share": Var("step", "share that is a function of a + b and c", "1"),
    "explained": Var("step form freq", "fraction of the variance at k that the form explains", "1"),
    "explained_by_keys": Var(
        "step form", "fraction of all variance that the form at the key frequencies explains", "1"
    ),
}


def measure(seen: NeuronSquare, options: Options) -> xr.Dataset:
    """Share of the logits' variance in each wave of a + b − c, and how much the clock's and the pizza's form explain."""
    n = seen.n
    keys, keys_are = final_keys(seen, options.rule, options.frequencies)
    key = torch.isin(torch.arange(1, n // 2 + 1), torch.tensor(keys))

    def shares(weights: Tensors) -> dict[str, Tensor]:
        """Every variable at one checkpoint."""
        cube = seen.logits(weights).unflatten(0, (n, n))
        u, v = forms.in_and_out_of_phase(cube)
        at_frequency, by_form = forms.frequency_variance(u, v), forms.form_variance(u)
        variance = at_frequency.sum()
        return {
            "share": by_form[0] / variance,
            "share_all": by_form[0].sum() / variance,
            "share_of_keys": by_form[0, key].sum() / variance,
            "frequency_share": at_frequency / variance,
            "sum_share": forms.sum_share(cube),
            "explained": by_form / at_frequency,
            "explained_by_keys": by_form[:, key].sum(dim=-1) / variance,
        }

    needs = max(seen.forward_bytes + seen.bytes(12 * n), final_bytes(seen))
    return dataset(
        seen.run,
        options,
        each_checkpoint(seen.run, shares, needs=needs),
        VARIABLES,
        coords={
            "form": list(forms.FORMS),
            "freq": frequency_axis(n),
            "key": ("freq", key.numpy(), {"long_name": "is a key frequency"}),
        },
        definition=DEFINITION,
        source="Nanda et al. 2023 (arXiv 2301.05217), section 4 and the code's unit-norm cubes; forms: "
        "Zhong et al. 2023 (arXiv 2306.17844), sections 2 and 3",
    ).assign_attrs(key_frequencies=named(keys), keys_are=keys_are)


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above the share of every wave, above their sums, above what each form explains."""
    figure = figures.panels(
        [
            "loss",
            "share of the logits' variance in cos(w_k(a + b − c)), by frequency",
            f"share of the logits' variance in these waves; key frequencies: {listed(found)}",
            "variance explained by the form of a clock and of a pizza at the key frequencies, whole network",
        ],
        heights=[3, 4, 4, 4],
        title="By which waves of a + b − c the logits are made",
    )
    figures.losses(figure, found, row=1)
    keys = found["freq"].values[found["key"].values].tolist()
    figures.heatmap(figure, found["share"], row=2, colorbar="share", named=keys)
    curves = {"all waves": "share_all", "key waves": "share_of_keys", "function of a + b": "sum_share"}
    for (name, variable), colour in zip(curves.items(), figures.PALETTE, strict=False):
        dash = {"sum_share": "dot", "share_of_keys": "dash"}.get(
            variable, "solid"
        )  # key waves lie on all waves at the end
        figures.line(figure, found[variable], name, colour, row=3, dash=dash)
    for form, colour in zip(found["form"].values, figures.PALETTE[3:], strict=False):
        here = found["explained_by_keys"].sel(form=form)
        figures.line(figure, here, str(form), colour, row=4, dash="dot" if form == "mixture" else "solid")
    figure.update_yaxes(title_text="frequency k", row=2)
    figure.update_yaxes(title_text="share", range=[-0.02, 1.04], row=3)
    figure.update_yaxes(title_text="explained", range=[-0.02, 1.04], row=4)
    return figures.mark_transition(figure, found)


def headline(found: xr.Dataset) -> dict[str, str]:
    """Key frequencies, and the fraction of the logits' variance that their waves explain at the last step."""
    keys, share = found.attrs["key_frequencies"].split(), found["share_of_keys"].values[-1]
    waves = f"{share:.0%} of the logits' variance, by waves of a + b − c at the key frequencies"
    return {"key frequencies": listed(found), "explained": waves} if keys else {}


def listed(found: xr.Dataset, most: int = 8) -> str:
    """The key frequencies, as far as there is room."""
    keys = found.attrs["key_frequencies"].split()
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Shares of the waves, and what each form explains, at each step."""
    table = by_step(found)
    table["all waves"] = found["share_all"].values
    table["key waves"] = found["share_of_keys"].values
    table["strongest k"] = found["freq"].values[found["share"].fillna(0).argmax("freq").values]
    table["function of a+b"] = found["sum_share"].values
    for form in found["form"].values:
        table[form] = found["explained_by_keys"].sel(form=form).values
    return table
