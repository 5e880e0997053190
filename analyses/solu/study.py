"""Does SoLU, with or without its LayerNorm, make neurons more selective, and what does it cost?

    python analyses/solu/study.py            # toy models at three densities; x + y mod 53 and x · y on D23; five activations
    python analyses/solu/study.py --small    # toy models at one density and x + y mod 23, three activations, two seeds

Elhage et al. (2022, SoLU) say that it does, for next to nothing; here every share and every loss is counted over seeds.
"""

import itertools
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from jaxtyping import Float
from scipy.stats import kurtosis
from torch import Tensor

import interp
from interp import figures
from interp.analyze.mechanism.groups import Network, Options
from interp.config import RunConfig
from interp.maths import superposition
from interp.maths.irrep_power import CONTENTS, content_shares
from interp.maths.neurons import cluster_sizes
from interp.maths.selectivity import main_effects
from interp.models import ToySpec, TransformerSpec
from interp.models.toy.forward import ToyForward, activate_hidden
from interp.recipe import TrainConfig
from interp.store import Run
from interp.study import compare, script, spread, tabulate
from interp.study.table import STEPS
from interp.tasks import GroupTask, SparseFeaturesTask
from interp.views.elements import Elements

HIDDEN, ACT_FN, SPARSITY = "model.hidden", "model.act_fn", "task.sparsity"
ACTIVATIONS = {
    "none": "none",
    "relu": "ReLU",
    "gelu": "GELU",
    "silu": "SiLU",
    "solu": "SoLU",
    "solu_ln": "SoLU+LN",
}
"""In the order of tables and figures."""
HOOKS = ("pre", "mid", "post")
"""What a neuron receives, and what it sends; between them, of SoLU+LN alone, what it sends before the LayerNorm."""
DRAWN = 50_000
"""Fresh vectors of which a toy model's neurons are measured."""
ONE = 0.5
"""Share of its variance from which a neuron is of one feature, so that it is of one at most."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Every activation in an untied toy model, on addition and on a dihedral group."""
    quick = interp.preset("quick").config
    toy = RunConfig(
        name="toy",
        task=SparseFeaturesTask(n_features=20, importance=(0.9,), examples="endless", test_examples=5000),
        model=ToySpec(d_hidden=10, tied=False),
        train=TrainConfig(
            steps=3000, batch_size=512, lr=3e-3, schedule="cosine", weight_decay=0.0, betas=(0.9, 0.999), log_every=500,
            checkpoint_every=3000,
        ),
    )  # fmt: skip
    networks = {"add": (quick, 2000), "D23": (quick.but(task=GroupTask(group="D23", train_fraction=0.8)), 2000)}
    activations, sparsities, seeds = list(ACTIVATIONS), [0.7, 0.9, 0.98], 4
    if small:
        networks = {"add": (quick.but(task=quick.task.but(p=23, train_fraction=0.7)), 900)}
        activations, sparsities, seeds = ["none", "relu", "solu_ln"], [0.9], 2
        toy = toy.but(train=toy.train.but(steps=1000))
    found = interp.grid(toy, seeds, {HIDDEN: activations, SPARSITY: sparsities})
    for name, (base, steps) in networks.items():
        trained = base.but(train=base.train.but(steps=steps, checkpoint_every=steps))
        found |= {
            f"{name}+{each}": config
            for each, config in interp.grid(trained, min(seeds, 3), {ACT_FN: activations[1:]}).items()
        }
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """Of every toy model and every network loss and selectivity, and their spread over seeds."""
    toys = {name: run for name, run in runs.items() if isinstance(run.config.model, ToySpec)}
    of_toys = pd.DataFrame([row for run in toys.values() for row in of_toy(run)])
    networks = {name: run for name, run in runs.items() if name not in toys}
    facts = tabulate(networks)
    of_networks = pd.DataFrame([row for name, run in networks.items() for row in of_network(run, facts.loc[name])])
    by_toy, by_network = ["density", "activation", "hook"], ["task", "activation", "hook"]
    return script.Report(
        {
            "toys": medians(of_toys, by_toy),
            "networks": medians(of_networks, by_network),
            "toys_spread": ranges(of_toys, by_toy),
            "networks_spread": spread(of_networks.drop(columns="seed"), by_network),
            "toys_comparisons": compared(of_toys, ["share", "loss"], each=["density"]),
            "networks_comparisons": compared(of_networks, ["share", "loss", "generalised"], within=["task"]),
            "toys_runs": of_toys.set_index([*by_toy, "seed"]),
            "networks_runs": of_networks.set_index([*by_network, "seed"]),
        },
        {"toys": draw(of_toys, "density", TOY_PANELS), "networks": draw(of_networks, "task", NETWORK_PANELS)},
    )


def compared(table: pd.DataFrame, of: list[str], **cells: list[str]) -> pd.DataFrame:
    """Whether each activation differs from ReLU, at the hook `post`."""
    return compare(table.loc[table["hook"] == "post"], "activation", of, control="ReLU", **cells)


def medians(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Over the seeds of every cell, cells in the order in which they were trained; steps of the runs that arrive."""
    cells = table.drop(columns=["seed", "last_step"], errors="ignore").groupby(by, sort=False)
    arrive = {f"have {name}": cells[name].count() for name in STEPS if name in table}
    return cells.median().assign(seeds=cells.size(), **arrive)


def ranges(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Median, lowest and highest of every number over the seeds of every cell."""
    each = table.drop(columns="last_step").melt([*by, "seed"], var_name="what").groupby([*by, "what"], sort=False)
    return pd.DataFrame(each["value"].agg(["median", "min", "max"]))


def of_toy(run: Run) -> list[dict[str, Any]]:
    """A row for each hook: how selective its neurons are at the end, and how good the model is."""
    task, spec = run.task, run.config.model
    assert isinstance(task, SparseFeaturesTask) and isinstance(spec, ToySpec)
    weights = run.final.weights
    numbers = np.random.default_rng(run.config.seeds.model)
    vectors, others = (torch.from_numpy(task.drawn(DRAWN, numbers).inputs) for _ in range(2))
    named = {name: tensor[None] for name, tensor in weights.items()}
    errors = (ToyForward(spec, vectors[None])(named)[0] - vectors).double().square().mean(dim=0)
    recovered = 1 - errors / vectors.double().square().mean(dim=0)
    directions = weights["W"].mT
    shared = {
        "density": round(task.density, 6),
        "activation": ACTIVATIONS[spec.hidden],
        "seed": run.config.seeds.model,
        "last_step": run.steps[-1],
        "loss": run.history["test_loss"].iloc[-1] / task.of_zero(run.split.test.inputs),
        "features_recovered": int((recovered > ONE).sum()),
        "features_represented": int((superposition.feature_dimensionality(directions) > 0.1).sum()),
        "superposition_ratio": superposition.superposition_ratio(directions).item(),
        "at_start": largest(run.first.weights["W"].square()).median().item(),
    }
    rows = []
    for hook, function in hidden_by_hook(spec, weights).items():
        shares = main_effects(function, vectors, others).shares.clamp(min=0)
        rows.append(
            shared
            | {"hook": hook}
            | selectivity(shares, function(vectors))
            | {"alone": shares.sum(dim=1).nanmedian().item()}
        )
    return rows


def hidden_by_hook(spec: ToySpec, weights: Mapping[str, Tensor]) -> dict[str, Callable[[Tensor], Tensor]]:
    """What the hidden neurons of a toy model are at each hook that it has, as functions of the vectors."""

    def at(hidden: Any) -> Callable[[Tensor], Tensor]:
        """With that activation."""
        return lambda vectors: activate_hidden(spec.but(hidden=hidden), weights, vectors @ weights["W"].mT)

    hooks = {"pre": "none", "mid": "solu" if spec.hidden == "solu_ln" else spec.hidden, "post": spec.hidden}
    return {hook: at(hidden) for hook, hidden in hooks.items() if hook != "mid" or spec.hidden == "solu_ln"}


def of_network(run: Run, facts: pd.Series) -> list[dict[str, Any]]:
    """A row for each hook: how selective the last layer's neurons are at the end, features being irreps of the group.

    Of addition these are the frequencies. A neuron's share in one is that of its variance over all pairs in ρ(a), ρ(b) and
    ρ(a)⊗ρ(b), which for addition is that of the analysis `neurons`.
    """
    network, spec = Network(Elements.of(run), Options()), run.config.model
    assert isinstance(spec, TransformerSpec)
    shared = {
        "task": run.task.about,
        "activation": ACTIVATIONS[spec.act_fn],
        "seed": run.config.seeds.model,
        "memorised": facts["memorised"],
        "generalised": facts["generalised"],
        "final_test_accuracy": facts["final_test_accuracy"],
        "loss": run.history["test_loss"].iloc[-1],
        "last_step": facts["last_step"],
    }
    start, end = (neurons_of(network, checkpoint.weights) for checkpoint in (run.first, run.final))
    return [shared | {"hook": hook, "at_start": start[hook]["share"]} | measured for hook, measured in end.items()]


def neurons_of(network: Network, weights: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """`selectivity` at each hook of the last layer."""
    wanted = tuple(f"mlp.hook_{hook}" for hook in HOOKS)
    found = {}
    for name, values in network.seen.prompts.cache(weights, lambda hook: hook.endswith(wanted)).items():
        by_neuron = network.seen.by_pair(values).permute(2, 0, 1)[..., None]  # content_shares sums over the last axis
        contents = content_shares(by_neuron, network.irreps)
        shares = contents[:, [CONTENTS.index(content) for content in ("a", "b", "a⊗b")]].sum(dim=1)
        found[name.rsplit("_", 1)[-1]] = selectivity(shares, values)
    return found


def largest(shares: Float[Tensor, "neuron feature"]) -> Float[Tensor, " neuron"]:
    """The largest part of each row."""
    return shares.amax(dim=1) / shares.sum(dim=1)


def selectivity(shares: Float[Tensor, "neuron feature"], values: Float[Tensor, "n neuron"]) -> dict[str, float]:
    """How much of its neurons one feature makes, how many features a neuron has, how many neurons a feature, how heavy tails are.

    Neurons that never vary count as `dead` and nowhere else. `share` is that of the best feature in a neuron's variance, its
    median, and its mean weighted by variance; `features_per_neuron` the median effective number 1/Σs² of what is of one
    feature; `features_in_use` the effective number of best features, `neurons_per_feature` the neurons over that;
    `kurtosis` the median over neurons of m₄/m₂² over the prompts, 3 for a normal distribution.
    """
    alive = shares.isfinite().all(dim=1) & (values.double().var(dim=0) > 0)
    shares, values = shares[alive], values[:, alive]
    best = shares.amax(dim=1)
    variance = values.double().var(dim=0)
    owners = torch.bincount(shares.argmax(dim=1), minlength=shares.shape[1]).double()
    in_use = superposition.participation(owners / owners.sum()).item()
    return {
        "share": best.median().item(),
        "share_by_variance": (best * variance).sum().item() / variance.sum().item(),
        "of_one_feature": cluster_sizes(shares, ONE).sum().item() / len(alive),
        "features_per_neuron": superposition.participation(shares / shares.sum(dim=1, keepdim=True)).median().item(),
        "features_in_use": in_use,
        "neurons_per_feature": len(shares) / in_use,
        "kurtosis": float(np.median(kurtosis(values.double().numpy(), axis=0, fisher=False))),
        "dead": 1 - alive.double().mean().item(),
    }


FROM_0: dict[str, Any] = {"rangemode": "tozero"}
SELECTIVITY = {
    "share": ("share of variance<br>by best feature", FROM_0),
    "kurtosis": (
        "kurtosis<br>(normal: 3)",
        {"type": "log", "tickvals": [2, 3, 5, 10, 20, 50, 100, 200, 400]},
    ),
}
TOY_PANELS = {"loss": ("loss ÷ that of<br>answering 0", FROM_0), **SELECTIVITY}
NETWORK_PANELS = {
    "generalised": ("generalised at step", FROM_0),
    "loss": ("test loss at<br>the end (nats)", {"type": "log", "exponentformat": "power", "dtick": 2}),
    **SELECTIVITY,
}
"""A column of the table with the title of its axis, and what else the axis has."""


def draw(table: pd.DataFrame, across: str, panels: Mapping[str, tuple[str, dict[str, Any]]]) -> go.Figure:
    """Every seed, and the median as a bar: activations across, a colour a hook where the measure is of neurons.

    A run that did not generalise stands as a triangle at its last step.
    """
    columns = list(dict.fromkeys(table[across]))
    figure = figures.panels(
        [f"{across} {value:g}" if isinstance(value, float) else value for value in columns]
        + [""] * (len(columns) * (len(panels) - 1)),
        heights=[3.4] * len(panels),
        title="What activations cost, and how selective their neurons are",
        columns=len(columns),
        over_steps=False,
    )
    order = [name for name in ACTIVATIONS.values() if name in set(table["activation"])]
    for (row, measure), (col, value) in itertools.product(enumerate(panels, 1), enumerate(columns, 1)):
        here, of_neurons = table[table[across] == value], measure in SELECTIVITY
        for hook, colour in zip(HOOKS if of_neurons else HOOKS[:1], figures.PALETTE, strict=False):
            points: Any = here[here["hook"] == hook]
            where: Any = {
                "row": row,
                "col": col,
                "legendgroup": hook,
                "offsetgroup": hook,
                "name": f"hook_{hook}",
                "mode": "markers",
            }
            where["legend"] = figures.legend_of(len(panels) - 1)
            colour = colour if of_neurons else figures.INK
            circle = {"color": colour, "symbol": "circle-open", "size": 8}
            first = col == 1 and row == len(panels)
            figure.add_scatter(x=points["activation"], y=points[measure], marker=circle, showlegend=first, **where)
            later = points.assign(
                **{measure: points[measure].fillna(np.inf)}
            )  # what did not arrive comes after all others
            middle = later.groupby("activation")[measure].median().replace(np.inf, np.nan)
            bar = {"color": colour, "symbol": "line-ew-open", "size": 16, "line": {"width": 2}}
            figure.add_scatter(x=middle.index, y=middle, marker=bar, showlegend=False, **where)
            late = points[points[measure].isna()] if measure in STEPS else points[:0]
            triangle = circle | {"symbol": "triangle-up-open"}
            figure.add_scatter(x=late["activation"], y=late["last_step"], marker=triangle, showlegend=False, **where)
        reach = [-0.6, len(order) - 0.4]
        figure.update_xaxes(
            tickangle=0,
            tickfont={"size": 10},
            type="category",
            categoryorder="array",
            categoryarray=order,
            range=reach,
            row=row,
            col=col,
        )
    for row, (label, axis) in enumerate(panels.values(), start=1):
        figure.update_yaxes(row=row, **axis).update_yaxes(title_text=label, row=row, col=1)
    return figure.update_layout(scattermode="group", margin={"l": 90, "r": 130})


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
