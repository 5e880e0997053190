"""Neurons for noise: do wrong labels get neurons of their own, and does the fit of them alone fall without these?"""

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
from interp.maths.selective import as_many, of_equal_energy, selectivity
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.views.noisy import NeuronLayer, Noisy
from interp.views.settings import only_curve, runs_of, settings_of
from interp.views.swept import AXES
from interp.views.walk import bytes_read, each_checkpoint, evenly

KINDS = ("corrupted", "clean", "test")
CONTROLS = ("number", "energy")
"""What the neurons at random are matched in: number alone, or number and energy."""
SCORES = ("accuracy", "log_probability")
"""How well examples are fitted: the share answered as labelled, and the mean log-probability of the label, which a network
that answers everything as labelled can still lose."""


class Options(AnalysisOptions):
    """How selectivity is tested, and how many neurons are taken out."""

    checkpoints: int = Field(default=10, ge=1)
    """Checkpoints that are measured, at most, evenly chosen among those in view."""
    permutations: int = Field(default=200, ge=20, le=10_000)
    """Choices of other examples as the corrupted ones, for the null."""
    taken: float = Field(default=0.1, gt=0, le=0.5)
    """Share of the neurons that are taken out, the most selective for wrong labels; at least one."""
    draws: int = Field(default=100, ge=20, le=10_000)
    """Random neurons beside them, for each control."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of all draws, which are the same at every checkpoint."""


VARIABLES: Variables = {
    "auc": Var("step neuron", "chance that a corrupted example has a higher activation than a clean one", "1"),
    "z": Var("step neuron", "that chance less its mean under the null, ÷ its standard deviation there", "1"),
    "energy": Var("step neuron", "variance of the activation over training examples"),
    "share": Var("step", "share of the neurons with z above 1.96", "1"),
    "share_null": Var("step", "that share under the null, mean", "1"),
    "share_null_high": Var("step", "that share under the null, 95 % quantile", "1"),
    "p_value": Var("step", "chance of so large a share under the null", "1"),
    "fit": Var(
        "step score examples", "fit of the whole network: share answered as labelled; log-probability", "1; nats"
    ),
    "fall": Var("step score examples", "fall of that fit without the most selective neurons", "1; nats"),
    "fall_random": Var("step control score examples", "fall without neurons at random, mean over draws", "1; nats"),
    "fall_deviation": Var("step control score examples", "standard deviation of that fall over draws", "1; nats"),
    "specificity": Var("step score", "fall on corrupted less fall on clean examples", "1; nats"),
    "specificity_random": Var("step control score", "the same without neurons at random, mean over draws", "1; nats"),
    "specificity_deviation": Var("step control score", "standard deviation of that over draws", "1; nats"),
    "specificity_p": Var("step control score", "chance of so large a specificity without neurons at random", "1"),
    "energy_ratio": Var("step control", "energy of the neurons at random ÷ that of those taken out, mean", "1"),
}


def measure(seen: Noisy, options: Options) -> xr.Dataset:
    """Selectivity of each neuron for corrupted examples, and the fit without the most selective ones beside random ones.

    The neurons that are taken out are chosen by one half of the training examples, and the fit is of the other half.
    """
    run, width = evenly(seen.run, options.checkpoints), seen.neurons.width
    half, n_test = halves(seen, options.seed), len(seen.labels) - len(seen.rows)
    of_train = {"corrupted": half & seen.corrupted, "clean": half & ~seen.corrupted}
    among = {kind: np.pad(rows, (0, n_test)) for kind, rows in of_train.items()}
    among["test"] = np.arange(len(seen.labels)) >= len(seen.rows)
    needs = seen.bytes + 8 * options.permutations * (len(seen.rows) + 4 * width) + 3 * bytes_read(run)

    def at_checkpoint(weights: Weights) -> dict[str, Tensor]:
        """Every variable at one checkpoint."""
        layer = seen.layer(weights)
        post = layer.post[: len(seen.rows)].numpy()
        found = selectivity(post, seen.corrupted, seen.truth, options.permutations, options.seed)
        chosen = selectivity(post[~half], seen.corrupted[~half], seen.truth[~half], options.permutations, options.seed)
        taken = np.argsort(-chosen.z, kind="stable")[: max(1, round(options.taken * width))]
        numbers = {
            "auc": found.auc, "z": found.z, "energy": layer.energies, "share": found.share, "share_null": found.null.mean(),
            "share_null_high": np.quantile(found.null, 0.95), "p_value": found.p,
        }  # fmt: skip
        numbers |= without(layer, taken, among, options)
        return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in numbers.items()}

    return dataset(
        run,
        options,
        each_checkpoint(run, at_checkpoint, needs=needs),
        VARIABLES,
        coords={"neuron": np.arange(width)}
        | {"examples": list(KINDS), "control": list(CONTROLS), "score": list(SCORES)},
        definition="neurons: the last hidden layer after its activation function; corrupted: training examples whose label is "
        "wrong; null: as many others of each class in their place; taken out: the neurons most selective for the corrupted of "
        "one half of the training examples, set to their mean activation; fit and falls: of the other half, against the labels "
        "as trained, and of the test set; number: as many other neurons; energy: in place of each one of the three nearest in "
        "energy that are left",
        source="the question: Gu et al. 2023 (arXiv 2310.13572); AUC: Mann & Whitney 1947; matched controls as in ablate; the "
        "rest is ours",
    ).assign_attrs(taken=max(1, round(options.taken * width)))


def halves(seen: Noisy, seed: int) -> Bool[np.ndarray, " n"]:
    """Which training examples are of the half by which the fit is measured: half of the corrupted and half of the clean ones."""
    numbers, half = np.random.default_rng(seed), np.zeros(len(seen.rows), dtype=bool)
    for kind in (seen.corrupted, ~seen.corrupted):
        rows = numbers.permutation(np.flatnonzero(kind))
        half[rows[: len(rows) // 2]] = True
    return half


def without(
    layer: NeuronLayer, taken: Int[np.ndarray, " taken"], among: dict[str, Bool[np.ndarray, " both"]], options: Options
) -> dict[str, Any]:
    """Fit of each kind of example, its fall without these neurons, and without random ones matched in number and in energy."""
    rows = [among[kind] for kind in KINDS]

    def fits(neurons: Int[np.ndarray, " some"]) -> Float[np.ndarray, "score examples"]:
        """Both scores of each kind of example without these."""
        each = layer.scores_without(neurons)
        return np.stack([each[:, kind].mean(axis=1) for kind in rows], axis=1)

    whole, energies = fits(taken[:0]), layer.energies
    own = whole - fits(taken)
    pool = np.setdiff1d(np.arange(len(energies)), taken)
    if len(pool) < len(taken):  # of one neuron there is no other
        falls = np.full((len(CONTROLS), 1, *whole.shape), np.nan)
        ratios = np.full(len(CONTROLS), np.nan)
    else:
        drawn = [
            as_many(pool, len(taken), options.draws, options.seed),
            of_equal_energy(energies, taken, options.draws, options.seed),
        ]
        falls = np.stack([[whole - fits(neurons) for neurons in sets] for sets in drawn])
        energy = energies[taken].sum()
        ratios = np.array([energies[sets].sum(axis=1).mean() / energy if energy else 1.0 for sets in drawn])
    at_random = specificity(falls)
    at_least = (at_random >= specificity(own)).sum(axis=1)
    return {
        "fit": whole,
        "fall": own,
        "fall_random": falls.mean(axis=1),
        "fall_deviation": falls.std(axis=1),
        "specificity": specificity(own),
        "specificity_random": at_random.mean(axis=1),
        "specificity_deviation": at_random.std(axis=1),
        "specificity_p": np.where(np.isnan(ratios)[:, None], np.nan, (1 + at_least) / (1 + options.draws)),
        "energy_ratio": ratios,
    }


def specificity(falls: Float[np.ndarray, "*sets examples"]) -> Float[np.ndarray, "*sets"]:
    """Fall on corrupted less fall on clean examples."""
    return falls[..., KINDS.index("corrupted")] - falls[..., KINDS.index("clean")]


COLOURS = {"corrupted": figures.PALETTE[2], "clean": figures.TRAIN, "test": figures.TEST}
DASHES = {"number": "dot", "energy": "dash"}


def draw(found: xr.Dataset) -> go.Figure:
    """Fit of each kind of example, selective neurons beside the null, and falls without them beside both controls."""
    titles = [
        "answered as labelled",
        "neurons selective for wrong labels (null: mean and 95 %)",
        f"fall without the {found.attrs['taken']} most selective (dotted: as many; dashed: of equal energy)",
        "specificity: fall on corrupted less fall on clean (random: ± standard deviation over draws)",
        "specificity by the log-probability of the label",
    ]
    figure = figures.panels(titles, heights=[3, 3, 3.6, 3, 3], title="Do wrong labels have neurons of their own?")
    shares = found.sel(score="accuracy")
    for kind in KINDS:
        here, colour = shares.sel(examples=kind), COLOURS[kind]
        figures.line(figure, here["fit"], kind, colour, 1)
        figures.line(figure, here["fall"], kind, colour, 3)
        for control, dash in DASHES.items():
            random = here["fall_random"].sel(control=control)
            figures.line(figure, random, kind, colour, 3, dash=dash, showlegend=False)
    figures.line(figure, found["share"], "neurons", figures.PALETTE[2], 2)
    figures.line(figure, found["share_null"], "null", figures.QUIET, 2)
    figures.line(figure, found["share_null_high"], "null, 95 %", figures.QUIET, 2, dash="dot")
    for row, score in enumerate(SCORES, start=4):
        figures.line(figure, found["specificity"].sel(score=score), "most selective", figures.PALETTE[2], row)
        for control, dash in DASHES.items():
            here = found.sel(control=control, score=score)
            colour = figures.QUIET if control == "number" else figures.INK
            figures.line(figure, here["specificity_random"], f"random, {control}", colour, row, dash=dash)
            figures.error_band(figure, here["specificity_random"], here["specificity_deviation"], colour, row)
    for row, title in enumerate(("share", "share of neurons", "fall", "difference"), start=1):
        figure.update_yaxes(title_text=title, tickformat=".0%", row=row)
    figure.update_yaxes(title_text="difference, nats", row=5)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Selective neurons with p, falls without them, and specificity beside that of random ones, at each step."""
    table = by_step(found)
    for name in ("share", "share_null", "p_value"):
        table[{"share": "selective", "share_null": "by chance", "p_value": "p"}[name]] = found[name].values
    for kind in KINDS:
        table[f"fall {kind}"] = found["fall"].sel(score="accuracy", examples=kind).values
    for score, unit in zip(SCORES, ("", ", nats"), strict=True):
        here = found.sel(score=score)
        table[f"specificity{unit}"] = here["specificity"].values
        for control in CONTROLS:
            table[f"random, {control}{unit}"] = here["specificity_random"].sel(control=control).values
            table[f"p, {control}{unit}"] = here["specificity_p"].sel(control=control).values
    return table


def compare(found: list[xr.Dataset]) -> pd.DataFrame:
    """A row for each setting: means over its runs at their last step, with standard errors over runs."""
    return settings_of(runs_of(found, at_the_end(found)))


def at_the_end(found: list[xr.Dataset]) -> pd.DataFrame:
    """The last row of each run's table."""
    return pd.concat([summarise(each).iloc[[-1]] for each in found], ignore_index=True)


def draw_runs(found: list[xr.Dataset]) -> go.Figure:
    """Selective neurons and specificity at the last step over the field in which the runs differ.

    Raises:
        UserError: they differ in no number, or in several fields.
    """
    runs = only_curve(runs_of(found, at_the_end(found)))
    table = settings_of(runs)
    panels = {
        "neurons selective for wrong labels": {"selective": figures.PALETTE[2], "by chance": figures.QUIET},
        "fall without the most selective": {f"fall {kind}": COLOURS[kind] for kind in KINDS},
        **{
            f"specificity of the most selective and of random neurons{unit}": {
                f"specificity{unit}": figures.PALETTE[2], f"random, number{unit}": figures.QUIET,
                f"random, energy{unit}": figures.INK,
            }
            for unit in ("", ", nats")
        },
    }  # fmt: skip
    title = f"Do wrong labels have neurons of their own? Over {runs.over}"
    figure = figures.panels(list(panels), [3, 3.6, 3, 3], title, over_steps=False)
    for row, (name_of_panel, lines) in enumerate(panels.items(), start=1):
        for name, colour in lines.items():
            figures.over_settings(figure, table, runs.table, name, colour, row)
        if "nats" not in name_of_panel:
            figure.update_yaxes(tickformat=".0%", row=row)
    figures.scale_of_settings(figure, table, AXES.get(str(runs.over), str(runs.over)), len(panels))
    return figure
