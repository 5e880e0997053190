"""Which learning rates and decays make a network comprehend, grok, memorise or learn nothing?

    python analyses/phase_diagram/study.py            # 133 cells of three sweeps, three seeds each, and null twins of 12 cells
    python analyses/phase_diagram/study.py --small    # nine cells of one sweep, two seeds, 2,000 updates
    python analyses/phase_diagram/study.py --size paper    # the source's grid and updates: 1,290 runs of 100,000

The toy model of Liu et al. (2022): ten symbols with codes of one number each, whose sum a tanh network decodes.
"""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

import interp
from interp.config import RunConfig
from interp.maths.parallelograms import Pairs, reach
from interp.models import MlpSpec
from interp.recipe import TrainConfig
from interp.store import Run
from interp.study import script
from interp.tasks import ModularTask

SYMBOLS, WIDTH = 10, 200
STEPS, GAP = 10_000, 1_000
"""Updates, and those between memorising and generalising from which it is grokking."""
REACHED = 0.9
"""Accuracy that counts as having learned."""
HIGH = 0.95
"""RQI that counts as a structured representation."""
TARGET = 30**0.5
"""Length of the answers' vectors under squared error: the source's have 30 components of variance 1. Ours are orthogonal, which
makes nearest vector and largest output the same."""
SEEDS = 3
TRAINED = 45
"""Pairs that are trained on, of 55."""
RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
DECAYS = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
EMBEDDING_RATE = 1e-3
"""Learning rate of the codes where the decoder's rate and decay are varied."""
NULL_RATES, NULL_DECAYS = RATES[::2], DECAYS[::2]
"""Cells of the null twins."""

PHASES = ("comprehension", "grokking", "memorisation", "confusion")
SHADES = ("#2a9d5c", "#e9b949", "#8e6bbf", "#b9bec6")


class Sweep(NamedTuple):
    """Two fields that are varied, and the loss."""

    loss: str
    across: str
    """What is varied beside the decoder's rate."""
    null: bool = False


SWEEPS = {
    "rates": Sweep("squared_error", "learning rate of the codes"),
    "decay, squared error": Sweep("squared_error", "weight decay of the decoder"),
    "decay, cross-entropy": Sweep("cross_entropy", "weight decay of the decoder"),
    "decay, cross-entropy, answers by chance": Sweep("cross_entropy", "weight decay of the decoder", null=True),
}


def table(chance: int | None = None) -> str:
    """Sums of unordered pairs as the text of an operation; with a seed, the same answers dealt to the pairs by chance."""
    x, y = np.triu_indices(SYMBOLS)
    answers = x + y if chance is None else np.random.default_rng(chance).permutation(x + y)
    whole = np.full((SYMBOLS, SYMBOLS), -1)
    whole[x, y] = answers
    return "; ".join(" ".join("-" if answer < 0 else str(answer) for answer in row) for row in whole)


def task(chance: int | None = None, trained: int = TRAINED) -> ModularTask:
    """The table with so many of its 55 pairs to train on. Its modulus, 19, is above every sum."""
    n = SYMBOLS * (SYMBOLS + 1) // 2
    return ModularTask(operation=table(chance), p=2 * SYMBOLS - 1, prompt="ab", train_fraction=(trained + 0.5) / n)


def pairs_of(task: ModularTask, seed: int) -> Pairs:
    """Its pairs, with those that a split trains on."""
    rows = task.shared_operands()
    assert rows is not None
    return Pairs.of(*rows, np.isin(np.arange(len(rows[0])), task.split(seed).train_index))


def splits(n: int) -> list[int]:
    """The first split seeds by which every test pair can be reached from the training set."""
    found, seed = [], 0
    while len(found) < n:
        if reach(pairs_of(task(), seed)).ideal_accuracy == 1:
            found.append(seed)
        seed += 1
    return found


def recipe(loss: str, rate: float, embedding_rate: float, decay: float, steps: int) -> TrainConfig:
    """AdamW, with a rate for the codes and one for the decoder, which alone decays."""
    options: dict[str, Any] = {"loss": loss, "weight_decay": decay, "decay_parts": ("mlp", "unembed") if decay else ()}
    if loss == "squared_error":
        options["output_temperature"] = TARGET
    marks = [step for step in (0, 100, 300, 1_000, 3_000, 10_000) if step < steps]
    return TrainConfig(
        steps=steps, warmup_steps=0, lr=rate, lr_parts=("embed",), lr_scale=embedding_rate / rate, betas=(0.9, 0.999),
        log_every=10, checkpoint_steps=(*marks, steps), **options,
    )  # fmt: skip


def base(chance: int | None = None, trained: int = TRAINED) -> RunConfig:
    """The toy model, before its recipe."""
    model = MlpSpec(inputs="summed", d_model=1, width=WIDTH, n_hidden=2, act_fn="tanh", biases=True, init="linear")
    return RunConfig(task=task(chance, trained), model=model)


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each cell of each sweep and seed."""
    if small:
        name = "decay, squared error"
        return cells({name: ((1e-5, 1e-4, 1e-2), (0.0, 5.0, 10.0))}, seeds=2, steps=2_000)
    null = {name: (NULL_RATES, NULL_DECAYS) for name, sweep in SWEEPS.items() if sweep.null}
    return cells(dict.fromkeys(SWEEPS, (RATES, DECAYS)) | {"rates": (RATES, RATES)} | null, SEEDS, STEPS)


def paper() -> Mapping[str, RunConfig]:
    """The source's: ten rates, ten of the codes and eleven decays, 100,000 updates; and null twins of every cell."""
    rates = tuple(float(f"{rate:.3g}") for rate in np.logspace(-5, -2, 10))
    decays = tuple(float(decay) for decay in range(11))
    return cells(dict.fromkeys(SWEEPS, (rates, decays)) | {"rates": (rates, rates)}, SEEDS, steps=100_000)


def cells(
    axes: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]], seeds: int, steps: int
) -> Mapping[str, RunConfig]:
    """A run for each seed of every cell; `axes` has the decoder's rates and what is varied beside, for each sweep."""
    found, chosen = {}, splits(seeds)
    for name, (rates, others) in axes.items():
        sweep = SWEEPS[name]
        for rate in rates:
            for other in others:
                embedding, decay = (other, 0.0) if name == "rates" else (EMBEDDING_RATE, other)
                for model, split in enumerate(chosen):
                    one = base(model if sweep.null else None)
                    word = f"{name.replace(', ', '-').replace(' ', '_')}+{rate:g}+{other:g}+{model}"
                    found[word] = one.but(
                        name=word,
                        train=recipe(sweep.loss, rate, embedding, decay, steps),
                        seeds=one.seeds.but(split=split, model=model),
                    )
    return found


def first(history: Any, name: str) -> float:
    """The first logged step at which an accuracy is reached; NaN if it never is."""
    at = history.index[history[name] >= REACHED]
    return float(at[0]) if len(at) else np.nan


def phase(train: float, test: float) -> str:
    """Name of the phase by the steps at which train and test accuracy are reached."""
    if np.isnan(train):
        return "confusion"
    if np.isnan(test):
        return "memorisation"
    return "comprehension" if test - train < GAP else "grokking"


def facts(run: Run) -> dict[str, Any]:
    """When a run learned, its phase, and the quality of its codes at the end, beside that of shuffles."""
    train, test = (first(run.history, f"{half}_accuracy") for half in ("train", "test"))
    last = interp.measure(run.select(last=1), "parallelograms")
    return {
        "train_step": train,
        "test_step": test,
        "phase": phase(train, test),
        "test_accuracy": float(run.history["test_accuracy"].iloc[-1]),
        "rqi": float(last["rqi"][0]),
        "rqi_null": float(last["rqi_null"][0]),
    }


def table_of_runs(runs: Mapping[str, Run]) -> pd.DataFrame:
    """A row for each run: its sweep, its cell, its seed, and what became of it."""
    words = {name.replace(", ", "-").replace(" ", "_"): name for name in SWEEPS}
    rows = []
    for name, run in runs.items():
        word, rate, other, seed = name.split("+")
        cell = {"sweep": words[word], "rate": float(rate), "other": float(other), "seed": int(seed)}
        rows.append(cell | facts(run))
    return pd.DataFrame(rows)


def cells_of(found: Any) -> pd.DataFrame:
    """A row for each cell: the phase of most seeds, how many have it, and medians."""
    rows = {}
    for cell, here in found.groupby(["sweep", "rate", "other"], sort=False):
        counts = here["phase"].value_counts().reindex(PHASES, fill_value=0)
        rows[cell] = {
            "phase": counts.iloc[::-1].idxmax(),  # of equally frequent ones the one that has learned least
            "seeds": int(counts.max()),
            **{word: int(counts[word]) for word in PHASES},
            "rqi": here["rqi"].median(),
            "test_accuracy": here["test_accuracy"].median(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["sweep", "rate", "other"])


def told(found: Any) -> pd.DataFrame:
    """A row for each sweep: runs in each phase, and how RQI and generalising go together."""
    rows = {}
    for name, here in found.groupby("sweep", sort=False):
        learned, high = here["test_step"].notna(), here["rqi"] > HIGH
        rows[name] = {
            "runs": len(here),
            **{word: int((here["phase"] == word).sum()) for word in PHASES},
            **{f"{word} %": 100 * float((here["phase"] == word).mean()) for word in PHASES},
            "generalised": int(learned.sum()),
            "high_rqi": int(high.sum()),
            "generalised_with_high_rqi": int((learned & high).sum()),
            "high_rqi_of_generalised": float(high[learned].mean()),
            "generalised_of_high_rqi": float(learned[high].mean()),
            "rqi_of_memorising": float(here.loc[here["phase"] == "memorisation", "rqi"].median()),
            "rqi_null": float(here["rqi_null"].mean()),
            "most_delay": float((here["test_step"] - here["train_step"]).max()),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("sweep")


def report(runs: Mapping[str, Run]) -> script.Report:
    """Phases by sweep and by cell, every run, and the diagrams."""
    found = table_of_runs(runs)
    cells = cells_of(found)
    tables = {"told": told(found), "cells": cells, "runs": found.set_index(["sweep", "rate", "other", "seed"])}
    return script.Report(tables, {"phases": draw(cells)})


def draw(cells: pd.DataFrame) -> go.Figure:
    """A row of panels for each sweep: the phase of most seeds, and the median RQI."""
    names = list(cells.index.unique("sweep"))
    titles = [title for name in names for title in (f"{name}: phase of most seeds", f"{name}: RQI, median")]
    figure = make_subplots(
        rows=len(names),
        cols=2,
        subplot_titles=titles,
        vertical_spacing=0.3 / max(2, len(names) ** 1.6),
        horizontal_spacing=0.13,
    )
    for row, name in enumerate(names, start=1):
        here = cells.loc[name].reset_index()
        draw_sweep(figure, here, row)
        figure.update_yaxes(title_text=SWEEPS[name].across, row=row, col=1)
    for number, (word, shade) in enumerate(zip(PHASES, SHADES, strict=True)):
        figure.add_scatter(
            x=[None], y=[None], mode="markers", name=word, marker={"color": shade, "symbol": "square", "size": 12},
            legendrank=number, row=1, col=1,
        )  # fmt: skip
    figure.update_xaxes(title_text="learning rate of the decoder", type="category", row=len(names))
    height = 150 + 330 * len(names)
    figure.update_layout(
        template="plotly_white", width=1100, height=height, title="Phases of learning",
        legend={"orientation": "h", "y": -80 / height, "yanchor": "top", "x": 0}, margin={"t": 90, "b": 130},
    )  # fmt: skip
    return figure


def draw_sweep(figure: go.Figure, here: pd.DataFrame, row: int) -> None:
    """The two panels of a sweep; a number says how many seeds agree where not all do."""
    wide = {name: here.pivot(index="other", columns="rate", values=name) for name in ("phase", "seeds", "rqi")}
    x, y = ([f"{value:.2g}" for value in axis] for axis in (wide["phase"].columns, wide["phase"].index))
    n, most = len(PHASES), int(here[list(PHASES)].sum(axis=1).max())
    scale = [[edge / n, SHADES[index]] for index in range(n) for edge in (index, index + 1)]
    few = wide["seeds"].map(lambda seeds: "" if seeds == most else f"{seeds}")
    figure.add_heatmap(
        x=x, y=y, z=wide["phase"].map(PHASES.index), zmin=-0.5, zmax=n - 0.5, colorscale=scale, showscale=False,
        text=few, texttemplate="%{text}", xgap=1, ygap=1, row=row, col=1,
    )  # fmt: skip
    figure.add_heatmap(
        x=x, y=y, z=wide["rqi"], zmin=0, zmax=1, colorscale="Viridis", showscale=row == 1, xgap=1, ygap=1,
        colorbar={"title": "RQI", "thickness": 12, "len": 200, "lenmode": "pixels", "y": 1, "yanchor": "top"}, row=row, col=2,
    )  # fmt: skip
    figure.update_xaxes(type="category", row=row)
    figure.update_yaxes(type="category", row=row)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report, paper=paper))
