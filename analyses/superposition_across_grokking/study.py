"""Does the transition from memorising to understanding free dimensions, beyond what weight decay does where nothing can be
understood?

    python analyses/superposition_across_grokking/study.py            # x + y mod 53 and 97 and null twins, five seeds each
    python analyses/superposition_across_grokking/study.py --small    # the quick preset and its twin, two seeds

The superposition ratio of embedding, neurons and output weights at every checkpoint, beside the same recipe and seeds on wrong
labels and on random answers, and beside random orthogonal bases of the same embedding.
"""

import math
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths import phases
from interp.maths.superposition import dimension_shares, exp_entropy, feature_shares
from interp.store import Run
from interp.study import compare, script, spread
from interp.train.null import Null
from interp.views.directions import FeatureDirections

DECAY = "train.weight_decay"
SEEDS = 5
BASES = 8
"""Random orthogonal bases that are averaged."""
SHOWN = 2.0
"""Decay of the cell that is drawn whole, that of the `quick` preset."""
WAVES = ("ratio", "W_E waves")
CURVES = {
    "ratio, W_E waves": WAVES,
    "ratio, W_E tokens": ("ratio", "W_E tokens"),
    "ratio, neuron waves": ("ratio", "neuron waves"),
    "ratio, W_L waves": ("ratio", "W_L waves"),
    "waves represented, W_E": ("features_represented", "W_E waves"),
    "dimensions used, W_E": ("dimensions_used", "W_E waves"),
}
"""What is followed, by name: a variable of the analysis `superposition`, of which kind of feature."""
STEPS = ("memorised", "generalised", "accuracy_half_way", "leaves_labels", "leaves_answers")
"""Columns that are steps."""

SUM = "x + y"


class Cell(NamedTuple):
    """Runs that differ in seeds alone."""

    p: int
    decay: float
    kind: str

    def __str__(self) -> str:
        """In a title."""
        return f"{self.kind} mod {self.p}, decay {self.decay:g}"


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


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Whether the curves of the sum and of its null twins differ at the top of the ratio and at the end, over all cells."""
    moments, parts = ["at_top", "at_end"], []
    for kind, suffix in {SUM: "", "wrong labels": "_labels", "random answers": "_answers"}.items():
        values = table[["p", "decay", "curve", *(moment + suffix for moment in moments)]].dropna()
        parts.append(values.set_axis(["p", "decay", "curve", *moments], axis=1).assign(kind=kind))
    return compare(pd.concat(parts), "kind", moments, ["p", "decay"], each=["curve"], control=SUM)


Found = Mapping[tuple[Cell, int], xr.Dataset]


def report(runs: Mapping[str, Run]) -> script.Report:
    """Every curve at its moments, what of it the null twins do alike, when it leaves them, and what any basis would show."""
    found = {key_of(run): interp.measure(run, "superposition") for run in runs.values()}
    logged = {key_of(run): interp.measure(run, "curves") for run in runs.values()}
    by_key = {key_of(run): run for run in runs.values()}
    rows = [row for key in found if key[0].kind == SUM for row in rows_of(key, found, logged)]
    table = pd.DataFrame(rows)
    by = ["p", "decay", "curve"]
    cells = spread(table.drop(columns="seed"), by=by, steps=STEPS)
    medians = table.drop(columns=["seed", *STEPS]).groupby(by, sort=False).median()
    return script.Report(
        {
            "summary": medians.assign(seeds=table.groupby(by, sort=False).size()),
            "comparisons": compared(table),
            "spread": cells,
            "runs": table.set_index([*by, "seed"]),
            "bases": pd.DataFrame([row for key in found for row in basis_rows(key, found, by_key[key])]),
        },
        {"superposition": draw(found, logged), "cells": draw_cells(found)},
    )


def key_of(run: Run) -> tuple[Cell, int]:
    """Its cell and seed."""
    config = run.config.model_dump()
    null = "labels" if run.config.corruption else "answers" if config["task"]["operation"] == "random" else None
    kind = next(name for name, each in KINDS.items() if each == null)
    return Cell(config["task"]["p"], config["train"]["weight_decay"], kind), run.config.seeds.model


def curve_of(found: xr.Dataset, curve: tuple[str, str]) -> pd.Series:
    """A curve over steps."""
    variable, features = curve
    return found[variable].sel(features=features).to_series()


def rows_of(key: tuple[Cell, int], found: Found, logged: Found) -> list[dict[str, Any]]:
    """Of each curve of a run on the sum its values at the top of the ratio of W_E's waves, beside those of its null twins.

    The top is the highest ratio after memorisation. `by_labels` and `by_answers` are the shares of the way from step 0 to
    there that the twin of the same seed makes in as many steps. A curve leaves its twins at the step from which it is lastingly
    below the lowest or above the highest of all seeds of that kind; `lead_…` is by how many steps that is before test accuracy
    is half-way.
    """
    (cell, seed), here, accuracy = key, found[key], logged[key]["test_accuracy"].to_series()
    memorised, generalised = here.attrs["memorised"], here.attrs["generalised"]
    half = math.nan
    if not math.isnan(generalised):
        half = phases.half_way(accuracy.index.to_numpy(), accuracy.to_numpy(), memorised)
    ratio = curve_of(here, WAVES).loc[memorised:]
    top, rows = int(ratio.idxmax()), []
    for name, which in CURVES.items():
        values = curve_of(here, which)
        row = {
            **{"p": cell.p, "decay": cell.decay, "seed": seed, "curve": name},
            **{"memorised": memorised, "generalised": generalised, "accuracy_half_way": half, "top": top},
            "accuracy_at_top": float(np.interp(top, accuracy.index, accuracy)),
            "at_start": values.iloc[0],
            "at_top": values[top],
            "at_end": values.iloc[-1],
        }
        for null in ("labels", "answers"):
            kind = next(each for each, what in KINDS.items() if what == null)
            twins = {
                each: curve_of(other, which)
                for (there, each), other in found.items()
                if there == cell._replace(kind=kind)
            }
            if seed not in twins:
                row |= {f"{what}_{null}": math.nan for what in ("at_top", "at_end", "by", "leaves", "lead")}
                continue
            twin, leaves = twins[seed], leaves_band(values, list(twins.values()), memorised)
            row |= {
                f"at_top_{null}": twin[top],
                f"at_end_{null}": twin.iloc[-1],
                f"by_{null}": (twin[top] - values.iloc[0]) / (values[top] - values.iloc[0]),
                f"leaves_{null}": leaves,
                f"lead_{null}": half - leaves,
            }
        rows.append(row | {"last_step": int(values.index[-1])})
    return rows


def leaves_band(values: pd.Series, others: list[pd.Series], begin: float) -> float:
    """The step after `begin` from which a curve lies lastingly on one side of all others; NaN if it does not."""
    beside = pd.concat(others, axis=1).loc[begin:]
    mine = values.loc[begin:]
    for outside in (mine < beside.min(axis=1), mine > beside.max(axis=1)):
        inside = np.flatnonzero(~outside.to_numpy())
        if not len(inside) or inside[-1] < len(mine) - 1:
            return float(mine.index[inside[-1] + 1 if len(inside) else 0])
    return math.nan


def in_random_bases(run: Run, step: int) -> float:
    """The ratio exp(H(s_Q) − H(λ)) of W_E's waves in random orthogonal bases Q of the same rows, at a checkpoint: their mean.

    λ, and so the dimensions used, is the same in every basis. What the waves show beyond it is about waves.
    """
    stack = {name: tensor[None] for name, tensor in run.at(step).weights.items()}
    V = FeatureDirections.of(run).directions(stack)["W_E waves"][0]
    dimensions = exp_entropy(dimension_shares(V))
    each = [exp_entropy(feature_shares(rotation(len(V), number) @ V)) / dimensions for number in range(BASES)]
    return float(torch.stack(each).mean())


def rotation(n: int, seed: int) -> torch.Tensor:
    """An orthogonal matrix, uniform over all."""
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
    return q * r.diagonal().sign()


def basis_rows(key: tuple[Cell, int], found: Found, run: Run) -> list[dict[str, Any]]:
    """The ratio in the waves and in random bases, at step 0, at the top of the seed's run on the sum, and at the end."""
    (cell, seed), waves = key, curve_of(found[key], WAVES)
    learner = cell._replace(kind=SUM), seed
    ratio = curve_of(found[learner], WAVES).loc[found[learner].attrs["memorised"] :]
    moments = {"start": waves.index[0], "top": ratio.idxmax(), "end": waves.index[-1]}
    return [
        {
            **cell._asdict(),
            "seed": seed,
            "moment": name,
            "step": step,
            "waves": waves[step],
            "random_bases": in_random_bases(run, int(step)),
        }
        for name, step in moments.items()
    ]


def seeds_of(found: Found, cell: Cell, variable: str, **where: Any) -> pd.DataFrame:
    """A curve of every seed of a cell, [step, seed]."""
    here = {seed: each[variable].sel(**where).to_series() for (there, seed), each in found.items() if there == cell}
    return pd.DataFrame(here)


LOOKS = {SUM: "solid", "wrong labels": "dash", "random answers": "dot"}
"""Dash of each kind of run."""


def band(
    figure: go.Figure, curves: pd.DataFrame, name: str, colour: str, dash: str, row: int, col: int = 1, **more: Any
) -> None:
    """The median of the seeds, and from their lowest to their highest."""
    where: Any = {
        "row": row,
        "col": col,
        "legendgroup": f"{name} {row}",
        "legend": more.pop("legend", figures.legend_of(row)),
    }
    outline = np.r_[curves.max(axis=1), curves.min(axis=1)[::-1]]
    figure.add_scatter(
        x=np.r_[curves.index, curves.index[::-1]], y=outline, fill="toself", fillcolor=colour, opacity=0.16,
        mode="none", hoverinfo="skip", showlegend=False, **where,
    )  # fmt: skip
    line = {"color": colour, "dash": dash, "width": 2}
    figure.add_scatter(x=curves.index, y=curves.median(axis=1), name=name, mode="lines", line=line, **where, **more)


def draw(found: Found, logged: Found) -> go.Figure:
    """One cell whole: accuracy, the ratio, its two parts; the null twins of the same seeds beside it, dashed and dotted."""
    p = min(cell.p for cell, _ in found)
    cell = Cell(p, SHOWN, SUM)
    seeds = sum(each == cell for each, _ in found)
    figure = figures.panels(
        [
            "accuracy on x + y",
            "superposition ratio of the embedding's waves: waves represented ÷ dimensions used",
            "effective number of waves represented in the embedding",
            "effective number of dimensions used by the embedding",
        ],
        heights=[2.4, 5, 3.6, 3.6],
        title=f"{cell} and its null twins: median and range of {seeds} seeds",
    )
    for split, colour in (("train", figures.TRAIN), ("test", figures.TEST)):
        band(figure, seeds_of(logged, cell, f"{split}_accuracy"), f"{split} accuracy", colour, "solid", 1)
    violet, green, red = figures.PALETTE[:3]
    parts = ((2, "ratio", violet), (3, "features_represented", green), (4, "dimensions_used", red))
    for row, variable, colour in parts:
        for kind, dash in LOOKS.items():
            curves = seeds_of(found, cell._replace(kind=kind), variable, features="W_E waves")
            if not curves.empty:
                band(figure, curves, kind, colour, dash, row)
    figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=[-0.02, 1.04], row=1)
    figure.update_yaxes(title_text="ratio", row=2)
    for row in (3, 4):
        figure.update_yaxes(title_text="number", rangemode="tozero", row=row)
    steps = [each.attrs["generalised"] for (there, _), each in found.items() if there == cell]
    figure.add_vline(x=float(np.nanmedian(steps)), line={"color": figures.TEST, "dash": "dot", "width": 1.5})
    return figure.update_layout(margin={"r": 190})


def draw_cells(found: Found) -> go.Figure:
    """Ratio and dimensions of the embedding in every cell, on the sum and in the null twins."""
    cells = sorted({cell for cell, _ in found if cell.kind == SUM})
    figure = figures.panels(
        [f"{what}, p = {cell.p}, decay {cell.decay:g}" for what in ("ratio", "dimensions") for cell in cells],
        heights=[5, 5],
        columns=len(cells),
        title="The embedding's waves on the sum and in its null twins",
        over_steps=False,
    )
    colours = dict(zip(LOOKS, figures.PALETTE, strict=False))
    for row, variable in enumerate(("ratio", "dimensions_used"), start=1):
        for col, cell in enumerate(cells, start=1):
            for kind, dash in LOOKS.items():
                curves = seeds_of(found, cell._replace(kind=kind), variable, features="W_E waves")
                if not curves.empty:
                    shown = row == 1 and col == 1
                    band(figure, curves, kind, colours[kind], dash, row, col, legend="legend", showlegend=shown)
    figure.update_xaxes(title_text="step", row=2)
    figure.update_yaxes(title_text="ratio", row=1, col=1).update_yaxes(title_text="dimensions used", row=2, col=1)
    return figure.update_layout(margin={"r": 150})


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
