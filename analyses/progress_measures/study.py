"""Does the mechanism of Nanda et al. (2023) come back with every seed, and do its progress measures move before the test loss?

python analyses/progress_measures/study.py            # five seeds of the nanda preset to the end, three null twins
python analyses/progress_measures/study.py --small    # two of the quick preset and a twin, to see that it works
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

import interp
from interp import figures
from interp.analyze import against
from interp.config import RunConfig
from interp.maths.permutation import holm
from interp.store import Run
from interp.study import script
from interp.train.null import Null

POINTS = 60
"""Steps of each seed in results/curves.csv, at most."""
NULLS: Mapping[str, Null | None] = {"sums": None, "wrong labels": "labels", "untrained": "init"}
"""Kinds of run: the preset, the same recipe where every label is wrong, and its initial weights alone."""
SEEDS = {"sums": 5, "wrong labels": 3, "untrained": 20}
SMALL_SEEDS = {"sums": 2, "wrong labels": 1, "untrained": 3}

CURVES = {
    "train_loss": lambda found: found["progress"]["train_loss"],
    "test_loss": lambda found: found["progress"]["test_loss"],
    "test_accuracy": lambda found: found["progress"]["test_accuracy"],
    "restricted_loss": lambda found: found["progress"]["restricted_loss"].sel(restriction="code_exact", split="all"),
    "excluded_loss": lambda found: found["progress"]["excluded_loss"].sel(exclusion="code_exact", split="train"),
    "Gini W_E": lambda found: found["progress"]["gini"].sel(matrix="W_E"),
    "Gini W_L": lambda found: found["progress"]["gini"].sel(matrix="W_L"),
    "Σw²": lambda found: found["progress"]["sum_of_squares"],
    "neurons in a cluster": lambda found: found["neurons"]["clustered"],
    "logits by key cosines": lambda found: found["logits"]["share_of_keys"],
}
"""What is drawn and tabulated over steps, by name."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Seeds of the preset, of its null twin, and untrained ones."""
    base = interp.preset("quick" if small else "nanda").config
    bases = {kind: interp.null_twin(base, null) if null else base for kind, null in NULLS.items()}
    return {
        f"{kind}+{name}": config
        for kind, seeds in (SMALL_SEEDS if small else SEEDS).items()
        for name, config in interp.grid(bases[kind], seeds).items()
    }


def report(runs: Mapping[str, Run]) -> script.Report:
    """`seeds` with a row a seed; `curves` and `nulls` with a row a seed and step; `leads` over seeds, also beyond the twins."""
    of_kind = {kind: [run for name, run in runs.items() if name.split("+")[0] == kind] for kind in NULLS}
    found = {kind: [measured(run) for run in of_kind[kind]] for kind in NULLS}
    tables: dict[str, dict[Any, pd.DataFrame]] = {
        kind: {run.config.seeds.model: tabulated(each) for run, each in zip(of_kind[kind], found[kind], strict=True)}
        for kind in NULLS
    }
    twins = [interp.measure(run, "phases") for run in of_kind["wrong labels"]]
    phases = [against(interp.measure(run, "phases"), twins) for run in of_kind["sums"]]
    last = [
        {name: interp.measure(run.select(last=1), name) for name in ("attention", "ablate", "clock_pizza")}
        for run in of_kind["sums"]
    ]
    rows = [
        {"seed": run.config.seeds.model, **final(each | ends | {"phases": phase})}
        for run, each, ends, phase in zip(of_kind["sums"], found["sums"], last, phases, strict=True)
    ]
    others = list(NULLS)[1:]
    behind = [draw({seed: table}) for kind in others for seed, table in tables[kind].items()]
    leads, seeds = interp.compare(phases), pd.DataFrame(rows).set_index("seed")
    return script.Report(
        {
            "leads": leads,
            "signs": signs(leads),
            "seeds": seeds,
            "differences": differences(seeds),
            "curves": pd.concat(tables["sums"], names=["seed"]),
            "nulls": pd.concat({kind: pd.concat(tables[kind], names=["seed"]) for kind in others}, names=["kind"]),
        },
        {"progress": beside(draw(tables["sums"]), behind)},
    )


def measured(run: Run) -> dict[str, xr.Dataset]:
    """What is followed over steps, at so many checkpoints, the last one among them."""
    thin = run.select(steps=run.steps[:: -max(1, len(run) // POINTS)])
    return {name: interp.measure(thin, name) for name in ("progress", "neurons", "logits")}


def tabulated(found: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """The curves of one run, a row a step."""
    return pd.DataFrame({name: curve(found).to_series() for name, curve in CURVES.items()})


def beside(figure: go.Figure, others: list[go.Figure]) -> go.Figure:
    """The figure with bands of the null twins and of untrained networks behind the curves of the first seed."""
    about = f"{SEEDS['wrong labels']} twins with wrong labels; dotted: {SEEDS['untrained']} untrained"
    return figures.behind(figure, others, about)


def differences(seeds: pd.DataFrame) -> pd.DataFrame:
    """By how many steps each phase ends earlier by mechanism than by the test loss, by seed."""
    phases = [name.removesuffix(" ends by mechanism") for name in seeds if name.endswith(" ends by mechanism")]
    return pd.DataFrame(
        {each: seeds[f"{each} ends by test loss"] - seeds[f"{each} ends by mechanism"] for each in phases}
    )


def signs(leads: pd.DataFrame) -> pd.DataFrame:
    """Of each measure whether it leads or lags in every seed, and the two-sided sign test of that, with Holm's correction.

    Where signs differ p is given as 1; with one of five it is .375.
    """
    found = leads.loc[[what for what in leads.index if what.startswith("lead, ")]]
    alike = (found["lowest"] > 0) | (found["highest"] < 0)
    p = np.where(alike, 2.0 ** (1 - found["reached"]), 1.0)
    return found[["reached", "median"]].assign(in_all=np.sign(found["median"]).where(alike), p_value=p, holm=holm(p))


def final(found: dict[str, xr.Dataset]) -> dict[str, object]:
    """When it memorised and generalised, and what the last network is like, in the figures of the paper."""
    progress, neurons = found["progress"].isel(step=-1), found["neurons"].isel(step=-1)
    attention, ablate = found["attention"].isel(step=-1), found["ablate"].isel(step=-1).sel(split="test")
    alone, without = (ablate.sel(ablation=f"neurons: keys {what}") for what in ("kept", "removed"))
    ends = found["phases"]["ends"]
    return {
        "memorised": found["progress"].attrs["memorised"],
        "generalised": found["progress"].attrs["generalised"],
        "keys": found["progress"].attrs["key_frequencies"],
        "neurons above 85 %": neurons["clustered"].item(),
        "logits by key cosines": found["logits"]["share_of_keys"].isel(step=-1).item(),
        "heads' fit": " ".join(f"{value:.3f}" for value in attention["best_explained"].values),
        "Gini W_E": progress["gini"].sel(matrix="W_E").item(),
        "Gini W_L": progress["gini"].sel(matrix="W_L").item(),
        "Σw²": progress["sum_of_squares"].item(),
        "test loss": progress["loss"].sel(split="test").item(),
        "restricted loss": progress["restricted_loss"].sel(restriction="code_exact", split="all").item(),
        "excluded loss": progress["excluded_loss"].sel(exclusion="code_exact", split="train").item(),
        "test loss without the keys' part of the neurons": without["loss"].item(),
        "the same at random, median of 20": without["random_loss"].median().item(),
        "the same energy at random, median": without["random_energy_loss"].median().item(),
        "test loss with that part alone": alone["loss"].item(),
        "as much energy alone, median": alone["random_energy_loss"].median().item(),
        "neurons' variance in the keys' part": without["share"].item(),
        "in as many other frequencies, median": without["random_share"].median().item(),
        "key waves of the answers lost without it": without["own_lost"].item(),
        "lost with as much energy at random, median": without["random_energy_own_lost"].median().item(),
        "verdict": interp.summarise(found["clock_pizza"])["verdict"].iloc[-1],
        **{
            f"{phase} ends by {rule.replace('_', ' ')}": ends.sel(rule=rule, phase=phase).item()
            for rule in map(str, ends["rule"].values)
            for phase in map(str, ends["phase"].values)
        },
    }


def draw(curves: Mapping[int, pd.DataFrame]) -> go.Figure:
    """Every seed's losses, and the measures of structure below."""
    figure = figures.panels(
        [
            "train and test loss",
            "loss with the key frequencies alone (all pairs), and without them (train)",
            "share of the logits' variance by key cosines, of neurons in a cluster, Gini of W_L",
            "Σw²",
        ],
        heights=[4, 4, 4, 3],
        title="Progress measures of every seed",
    )
    colours = {"train_loss": figures.TRAIN, "test_loss": figures.TEST}
    panels = [
        ["train_loss", "test_loss"],
        ["restricted_loss", "excluded_loss"],
        ["logits by key cosines", "neurons in a cluster", "Gini W_L"],
        ["Σw²"],
    ]
    for row, names in enumerate(panels, start=1):
        for name, colour in zip(names, figures.PALETTE, strict=False):
            label = name.replace("_", " ")
            for number, table in enumerate(curves.values()):
                values = xr.DataArray(table[name].values, dims="step", coords={"step": table.index.to_numpy()})
                figures.line(
                    figure, values, label, colours.get(name, colour), row, showlegend=number == 0, legendgroup=name
                )
    for row in (1, 2):
        figure.update_yaxes(title_text="loss (nats)", type="log", exponentformat="power", row=row)
    figure.update_yaxes(title_text="share, Gini", range=[-0.02, 1.04], row=3)
    return figure.update_yaxes(title_text="Σw²", rangemode="tozero", row=4).update_layout(updatemenus=[])


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
