"""Does the transition from memorising to understanding free dimensions, and when, against test accuracy?

    python analyses/superposition_across_grokking/study.py            # x + y mod 53, 59 and 97, three decays each, 3 or 4 seeds
    python analyses/superposition_across_grokking/study.py --small    # the quick preset with and without decay, two seeds

The superposition ratio of embedding, neurons and output weights at every checkpoint, time counted in steps of generalisation.
"""

import math
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths import phases
from interp.store import Run
from interp.study import script, spread
from interp.train.null import Null

DECAY = "train.weight_decay"
SEEDS = 5
SHOWN = (53, 2.0)
"""The cell that is drawn whole, with its seeds' twins without decay beside it: p and decay of the `quick` preset."""
CURVES = {
    "ratio, W_E waves": ("ratio", "W_E waves"),
    "ratio, W_E tokens": ("ratio", "W_E tokens"),
    "ratio, neuron waves": ("ratio", "neuron waves"),
    "ratio, W_L waves": ("ratio", "W_L waves"),
    "waves represented, W_E": ("features_represented", "W_E waves"),
    "dimensions used, W_E": ("dimensions_used", "W_E waves"),
}
"""What is followed, by name: a variable of the analysis `superposition`, of which kind of feature."""
STEPS = ("memorised", "generalised", "accuracy_half_way", "top", "half_way_down")
"""Columns that are steps."""
LASTING = 0.95
"""Share of its top below which a curve has fallen at its end: a curve that rises to a plateau ends a per cent below its top."""
TIMES = np.linspace(0, 1.6, 161)
"""Where curves of several seeds are read off: step ÷ that of generalisation."""


class Cell(NamedTuple):
    """Runs that differ in seeds alone."""

    p: int
    decay: float

    def __str__(self) -> str:
        """In a title."""
        return f"x + y mod {self.p}, decay {self.decay:g}"


KINDS: dict[str, Null | None] = {"x + y": None, "wrong labels": "labels", "random answers": "answers"}
"""What is trained on: the sum, and its null twins, in which there is nothing to understand."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """At each modulus and decay the sum and its null twins, all with the same seeds, so the same starts and splits."""
    quick = interp.preset("quick").config
    sizes = {
        "p53": (quick, list(KINDS), {2: 1600, 1: 3500, 0.5: 7000}),
        "p97": (quick.but(task=quick.task.but(p=97)), ["x + y", "wrong labels"], {1: 2000}),
    }
    if small:
        sizes = {"p53": (quick, ["x + y", "wrong labels"], {2: 1600})}
    return {
        f"{size}+{kind.replace(' ', '_')}+{name}": config
        for size, (base, kinds, steps_by_decay) in sizes.items()
        for decay, steps in steps_by_decay.items()
        for kind in kinds
        for name, config in interp.grid(
            of_kind(base.but(train=base.train.but(steps=steps, checkpoint_every=10 * math.ceil(steps / 1600))), kind),
            2 if small else SEEDS,
            {DECAY: [decay]},
        ).items()
    }


def of_kind(config: RunConfig, kind: str) -> RunConfig:
    """The configuration, or its null twin."""
    null = KINDS[kind]
    return config if null is None else interp.null_twin(config, null)


def report(runs: Mapping[str, Run]) -> script.Report:
    """Every curve's heights and steps by cell, and the curves themselves over time in steps of generalisation."""
    found = {key_of(run): interp.measure(run, "superposition") for run in runs.values()}
    logged = {key_of(run): interp.measure(run, "curves") for run in runs.values()}
    rows = [row for key in found for row in rows_of(key, found[key], logged[key])]
    table = pd.DataFrame(rows)
    cells = spread(table.drop(columns="seed"), by=["p", "decay", "curve"], steps=STEPS)
    return script.Report(
        {"summary": summary(table), "spread": cells, "runs": table.set_index(["p", "decay", "seed", "curve"])},
        {"superposition": draw(found, logged), "cells": draw_cells(found)},
    )


def key_of(run: Run) -> tuple[Cell, int]:
    """Its cell and seed."""
    config = run.config.model_dump()
    return Cell(config["task"]["p"], config["train"]["weight_decay"]), run.config.seeds.model


def rows_of(key: tuple[Cell, int], found: xr.Dataset, logged: xr.Dataset) -> list[dict[str, Any]]:
    """Of each curve its values at five moments, when it is highest, and when it is half-way down, beside test accuracy.

    The top is the highest value after memorisation. Half-way down is lastingly half of the way from there to the last step, and
    is known of a run that generalises and of a curve that ends below its top. `lead` is by how many steps that is before
    the test accuracy is half-way from memorisation to its end. `hump` is the top over the larger of the ends, step 0 and the
    last: 1 for a curve that does not rise and fall.
    """
    (cell, seed), memorised, generalised = key, found.attrs["memorised"], found.attrs["generalised"]
    arrives = not math.isnan(generalised)
    accuracy = logged["test_accuracy"].to_series()
    half = phases.half_way(accuracy.index.to_numpy(), accuracy.to_numpy(), memorised) if arrives else math.nan
    rows = []
    for name, (variable, features) in CURVES.items():
        values = found[variable].sel(features=features).to_series()
        steps, heights = values.index.to_numpy(), values.to_numpy()
        later, above = phases.after(steps, heights, memorised)
        top, highest = later[above.argmax()], above.max()
        falls = arrives and above[-1] < LASTING * highest
        down = phases.half_way(steps, heights, top) if falls else math.nan
        random = float(found["ratio_of_random"].sel(features=features)[0])
        rows.append(
            {
                **{"p": cell.p, "decay": cell.decay, "seed": seed, "curve": name},
                **{"memorised": memorised, "generalised": generalised, "accuracy_half_way": half},
                "random": random if variable == "ratio" else math.nan,
                "at_start": heights[0],
                "at_memorisation": above[0],
                "at_generalisation": np.interp(generalised, steps, heights) if arrives else math.nan,
                "at_end": heights[-1],
                "top": top,
                "highest": highest,
                "hump": highest / max(heights[0], heights[-1]),
                "top_over_generalised": top / generalised,
                "accuracy_at_top": np.interp(top, accuracy.index, accuracy),
                "half_way_down": down,
                "lead": half - down,
                "lead_over_generalised": (half - down) / generalised,
                "end_over_generalised": steps[-1] / generalised,
                "last_step": int(steps[-1]),
            }
        )
    return rows


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Medians over the seeds of each cell; steps of the runs that arrive, of which `generalise` says how many there are."""
    cells = table.groupby(["p", "decay", "curve"], sort=False)
    names = ["random", "at_start", "at_memorisation", "highest", "at_generalisation", "at_end", "hump"]
    names += ["top_over_generalised", "accuracy_at_top", "lead", "lead_over_generalised"]
    return pd.DataFrame({"seeds": cells.size(), "generalise": cells["generalised"].count(), **cells[names].median()})


Found = Mapping[tuple[Cell, int], xr.Dataset]


def in_time(found: Found, cell: Cell, clock: Cell, variable: str, **where: Any) -> pd.DataFrame:
    """A curve of every seed of a cell at `TIMES`, in steps of generalisation of the same seed in another; NaN beyond its end."""
    seeds = {}
    for (each, seed), values in found.items():
        if each != cell or (clock, seed) not in found:
            continue
        unit, curve = found[clock, seed].attrs["generalised"], values[variable].sel(**where).to_series()
        if not math.isnan(unit):
            seeds[seed] = np.interp(TIMES * unit, curve.index, curve, right=math.nan)
    return pd.DataFrame(seeds, index=TIMES)


def band(
    figure: go.Figure,
    curves: pd.DataFrame,
    name: str,
    colour: str,
    row: int,
    col: int = 1,
    dash: str = "solid",
    **more: Any,
) -> None:
    """The median of the seeds, and from their lowest to their highest, as far as all go."""
    known = curves.dropna()
    where: Any = {"row": row, "col": col, "legendgroup": name, "legend": more.pop("legend", figures.legend_of(row))}
    outline = np.r_[known.max(axis=1), known.min(axis=1)[::-1]]
    figure.add_scatter(
        x=np.r_[known.index, known.index[::-1]], y=outline, fill="toself", fillcolor=colour, opacity=0.16,
        mode="none", hoverinfo="skip", showlegend=False, **where,
    )  # fmt: skip
    line = {"color": colour, "dash": dash, "width": 2}
    figure.add_scatter(x=known.index, y=known.median(axis=1), name=name, mode="lines", line=line, **where, **more)


def draw(found: Found, logged: Found) -> go.Figure:
    """One cell whole: accuracy, the ratio, and its two parts in the embedding; the same seeds without decay beside it."""
    cell, control = Cell(*SHOWN), Cell(SHOWN[0], 0.0)
    seeds = sum(each == cell for each, _ in found)
    figure = figures.panels(
        [
            "accuracy",
            "superposition ratio of the embedding: features represented ÷ dimensions used; dashed: without weight decay",
            "its two parts: effective number of waves represented, and of dimensions used",
            "superposition ratio of waves in the neurons and in W_L = W_out·W_U",
        ],
        heights=[2.6, 5, 4.2, 3.4],
        title=f"Superposition across grokking: {cell}, median and range of {seeds} seeds",
    )
    for split, colour in (("train", figures.TRAIN), ("test", figures.TEST)):
        band(figure, in_time(logged, cell, cell, f"{split}_accuracy"), f"{split} accuracy", colour, 1)
    violet, green, red, brown, blue = figures.PALETTE[:5]
    for row, variable, features, label, colour in (
        (2, "ratio", "W_E tokens", "tokens", green),
        (2, "ratio", "W_E waves", "waves", violet),
        (3, "features_represented", "W_E waves", "waves represented", violet),
        (3, "dimensions_used", "W_E waves", "dimensions used", red),
        (4, "ratio", "W_L waves", "W_L", brown),
        (4, "ratio", "neuron waves", "neurons", blue),
    ):
        band(figure, in_time(found, cell, cell, variable, features=features), label, colour, row)
        band(
            figure,
            in_time(found, control, cell, variable, features=features),
            label,
            colour,
            row,
            dash="dash",
            showlegend=False,
        )
    waves = in_time(found, cell, cell, "ratio", features="W_E waves").median(axis=1)
    accuracy = in_time(logged, cell, cell, "test_accuracy").median(axis=1)
    top, random = float(TIMES[waves.to_numpy().argmax()]), of_random(found, cell, "W_E waves")
    figures.level(figure, random, 2)
    words: Any = {"showarrow": False, "font": {"size": 11}, "row": 2, "col": 1}
    figure.add_annotation(
        x=TIMES[-1], y=math.log10(random), text=f"random matrix, {random:.2f}", xanchor="right", yanchor="top", **words
    )
    # Annotations on a logarithmic axis are placed by the exponent, shapes and curves by the value.
    label = f"ratio of waves highest:<br>{waves.max():.2f}, test accuracy {accuracy[top]:.0%}"
    figure.add_annotation(x=top, y=math.log10(5.5), text=label, xanchor="left", xshift=5, align="left", **words)
    figure.add_vline(x=top, line={"color": violet, "dash": "dot", "width": 1.5})
    figure.add_vline(x=1, line={"color": figures.TEST, "dash": "dot", "width": 1.5})
    figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=[-0.02, 1.04], row=1)
    figure.update_yaxes(title_text="ratio", type="log", tickvals=[1, 1.25, 1.5, 2, 3, 4, 6], row=2)
    figure.update_yaxes(title_text="number", rangemode="tozero", row=3).update_yaxes(title_text="ratio", row=4)
    figure.update_xaxes(range=[TIMES[0], TIMES[-1]])
    figure.update_xaxes(title_text="step ÷ step of generalisation (test accuracy reaches 99 %)", row=4)
    return figure.update_layout(updatemenus=[], margin={"r": 190})


def of_random(found: Found, cell: Cell, features: str) -> float:
    """The ratio of Gaussian matrices of that shape."""
    return next(
        float(each["ratio_of_random"].sel(features=features)[0]) for (here, _), each in found.items() if here == cell
    )


def draw_cells(found: Found) -> go.Figure:
    """The embedding's ratio in every cell that generalises: a column a modulus, a colour a decay."""
    cells = sorted({cell for cell, _ in found})
    moduli = sorted({cell.p for cell in cells})
    kinds = {"W_E waves": "waves", "W_E tokens": "tokens"}
    figure = figures.panels(
        [f"{label}, p = {p}" for label in kinds.values() for p in moduli],
        heights=[5, 5],
        columns=len(moduli),
        title="Superposition ratio of the embedding in every cell (dotted: a random matrix)",
        over_steps=False,
    )
    decays = [decay for decay in sorted({cell.decay for cell in cells}) if decay]
    for row, features in enumerate(kinds, start=1):
        named: set[float] = set()
        for cell in cells:
            curves = in_time(found, cell, cell, "ratio", features=features)
            if curves.empty:
                continue
            colour, col = figures.PALETTE[decays.index(cell.decay)], moduli.index(cell.p) + 1
            shown = row == 1 and cell.decay not in named
            band(figure, curves, f"decay {cell.decay:g}", colour, row, col, legend="legend", showlegend=shown)
            figures.level(figure, of_random(found, cell, features), row, col)
            named.add(cell.decay)
    for col in range(1, len(moduli) + 1):
        figure.update_xaxes(title_text="step ÷ generalised", row=2, col=col)
    figure.add_vline(x=1, line={"color": figures.TEST, "dash": "dot", "width": 1.5})
    figure.update_yaxes(title_text="ratio", col=1)
    return figure.update_layout(margin={"r": 150})


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
