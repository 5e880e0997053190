"""Does the mechanism of Nanda et al. (2023) come back with every seed, and do its progress measures move before the test loss?

    python analyses/progress_measures/study.py            # five seeds of the nanda preset, to the end
    python analyses/progress_measures/study.py --small    # two of the quick preset, to see that it works

Trained runs stay in --work and are not trained again.
"""

import dataclasses
import sys
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import tyro
import xarray as xr

import interp
from interp import figures

RESULTS = Path(__file__).parent / "results"
POINTS = 60
"""Steps of each seed in results/curves.csv, at most."""

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


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Which size, and where runs are kept."""

    small: bool = False
    """Two seeds of the quick preset in place of five of the nanda preset; prints and writes nothing into results/."""
    work: Path = Path("checkpoints/progress_measures")
    """Directory of the trained runs."""


def study(preset: str, seeds: int, work: Path) -> dict[str, pd.DataFrame]:
    """By name: `seeds` with a row a seed, `curves` with a row a seed and step, `leads` over the seeds."""
    rows, curves, phases = [], [], []
    for name, config in interp.grid(interp.preset(preset).config, seeds=seeds).items():
        run = interp.train_run(config, work / name, resume=True)
        thin = run.select(steps=run.steps[:: -max(1, len(run) // POINTS)])  # the last one among them
        found = {name: interp.measure(thin, name) for name in ("progress", "neurons", "logits")}
        found |= {name: interp.measure(run.select(last=1), name) for name in ("attention", "ablate", "clock_pizza")}
        found["phases"] = interp.measure(run, "phases")
        rows.append({"seed": config.seeds.model, **final(found)})
        phases.append(found["phases"])
        table = pd.DataFrame({name: curve(found).to_series() for name, curve in CURVES.items()})
        curves.append(table.assign(seed=config.seeds.model).reset_index().set_index(["seed", "step"]))
        print(rows[-1], file=sys.stderr)
    return {
        "seeds": pd.DataFrame(rows).set_index("seed"),
        "curves": pd.concat(curves),
        "leads": interp.compare(phases),
    }


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


def draw(curves: pd.DataFrame) -> go.Figure:
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
            for number, (_, table) in enumerate(curves.groupby("seed")):
                values = xr.DataArray(
                    table[name].values, dims="step", coords={"step": table.index.get_level_values("step")}
                )
                label = name.replace("_", " ")
                figures.line(
                    figure, values, label, colours.get(name, colour), row, showlegend=number == 0, legendgroup=name
                )
    for row in (1, 2):
        figure.update_yaxes(title_text="loss (nats)", type="log", exponentformat="power", row=row)
    figure.update_yaxes(title_text="share, Gini", range=[-0.02, 1.04], row=3)
    return figure.update_yaxes(title_text="Σw²", rangemode="tozero", row=4)


if __name__ == "__main__":
    arguments = tyro.cli(Arguments, description=(__doc__ or "").split("\n")[0])
    preset, seeds = ("quick", 2) if arguments.small else ("nanda", 5)
    tables = study(preset, seeds, arguments.work / preset)
    for name in ("seeds", "leads"):
        table = tables[name].T if name == "seeds" else tables[name]
        print(table.map(lambda value: value if isinstance(value, str) else f"{value:,.4g}").to_string())
    if not arguments.small:
        RESULTS.mkdir(exist_ok=True)
        for name, table in tables.items():
            table.to_csv(RESULTS / f"{name}.csv")
        figure = figures.caption(draw(tables["curves"]), "python analyses/progress_measures/study.py")
        figure.update_layout(updatemenus=[]).write_image(RESULTS / "progress.png", width=1000, scale=1.2)
