"""When in training is the connected region found in which a network ends, and up to which symmetries?

    python analyses/connectivity/study.py            # x + y mod 53, five seeds, forks at eight steps, and null twins
    python analyses/connectivity/study.py --small    # mod 31, two seeds, forks at three steps, and one null twin
    python analyses/connectivity/study.py --size paper    # two layers mod 97, 12,000 updates, forks to step 12,000, for a GPU

At each fork two children go on from one checkpoint with other orders of batches. Barriers between them, and between networks
early and late in training, of one seed and of two: on the line, on the line after alignment, and on trained curves. The null
twin has wrong labels, which can be memorised and not understood.
"""

import itertools
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths.fourier import frequency_power
from interp.maths.paths import barrier
from interp.models.network import Weights, symmetries
from interp.store import Checkpoint, Run
from interp.store.between import Between, Curve
from interp.store.start import as_start
from interp.study import script
from interp.train.align import aligned
from interp.train.connect import Ends, Found

FORKS = (0, 50, 150, 250, 350, 500, 800, 1500)
"""Steps at which children are forked off; the last is the length of a parent's training."""
AFTER = 1200
"""Updates that each child makes after the fork, at whatever step it lies."""
BATCH = 250
"""Examples of an update, some fifth of the training set: the order of batches is what children differ in. Half of it does not
part children of an untrained network mod 31."""
SEEDS, NULL_SEEDS = 5, 3
SMALL_P, PAPER_P = 31, 97
SUM, NULL = "x + y", "wrong labels"
POINTS = 21
UPDATES = 300
"""Updates of a curve's bend."""
STABLE = 0.02
"""Barrier of train error below which two networks count as connected (Frankle et al. 2020: stable)."""
LINES: Mapping[str, tuple[str, ...]] = {
    "line": (),
    "line, neurons": ("neurons",),
    "line, neurons and heads": ("neurons", "heads"),
    "line, all symmetries": ("neurons", "heads", "residual"),
}
"""Straight paths by name, by the symmetries up to which B is brought to A: first words of their `about`."""
CURVES: Mapping[str, Mapping[str, Any]] = {"curve": {}, "curve, all symmetries": {"align": True}}
"""Trained paths by name, by fields of `interp.connect_runs`."""
FORK, ONE, EARLY, LATE = "fork", "one run, early to late", "two seeds, early", "two seeds, late"
"""Pairs of networks: children of a fork; the others are of parents, early at the first fork once they have memorised."""
BARRIERS = ("train_loss", "test_loss", "train_error", "test_error")


def configs(small: bool) -> Mapping[str, RunConfig]:
    """The parents: a run for each seed, with a checkpoint at each fork, and null twins. All have one training set."""
    base = interp.preset("quick").config
    if small:
        base = base.but(task=base.task.but(p=SMALL_P, train_fraction=0.6))
        return configs_of(base, (0, 200, 600), 100, seeds=2, nulls=1)
    return configs_of(base, FORKS, BATCH, SEEDS, NULL_SEEDS)


def paper() -> Mapping[str, RunConfig]:
    """The source's network, task, optimiser, batches and length; forks as here, by the order of batches."""
    base = interp.preset("nanda").config
    base = base.but(
        task=base.task.but(p=PAPER_P, train_fraction=0.4),
        model=base.model.but(n_layers=2),
        train=base.train.but(log_every=50),
    )
    return configs_of(base, (0, 500, 1_000, 2_000, 4_000, 8_000, 12_000), 2_048, SEEDS, NULL_SEEDS)


def configs_of(base: RunConfig, forks: tuple[int, ...], batch: int, seeds: int, nulls: int) -> Mapping[str, RunConfig]:
    """The parents of a size."""
    train = base.train.but(steps=forks[-1], batch_size=batch, checkpoint_steps=forks)
    found: dict[str, RunConfig] = {}
    for seed in range(seeds):
        config = base.but(name=f"sum+seed={seed}", train=train, seeds=base.seeds.but(model=seed, order=seed))
        twin = interp.null_twin(config).but(name=f"null+seed={seed}")
        found |= {each.name: each for each in ((config, twin) if seed < nulls else (config,))}
    return found


def further(parents: Mapping[str, Run]) -> Mapping[str, RunConfig]:
    """Two children of each parent at each fork, which differ in the order of batches alone; the optimiser begins anew."""
    found: dict[str, RunConfig] = {}
    for name, parent in parents.items():
        config, forks, after = parent.config, parent.config.train.checkpoint_steps, of_size(parent, AFTER)
        train = config.train.but(steps=after, checkpoint_steps=(after,))
        for at, child in itertools.product(forks, (1, 2)):
            order = config.seeds.order + 1000 * child
            found[f"{name}+at={at}+child={child}"] = config.but(
                name=f"{name}+at={at}+child={child}", train=train, seeds=config.seeds.but(order=order),
                start=interp.start_from(f"{parent.path}@{at}"),
            )  # fmt: skip
    return found


def of_size(run: Run, updates: int) -> int:
    """So many updates; a third of them in the small study, ten times as many in the paper's."""
    return {SMALL_P: updates // 3, PAPER_P: 10 * updates}.get(run.task.shape.outputs.n, updates)


class Pair(NamedTuple):
    """Two networks between which paths are looked for."""

    kind: str
    pair: str
    seed: int
    at: int
    """Step of the fork, or of the later of the two networks."""
    a: Checkpoint
    b: Checkpoint


def of_kind(run: Run) -> str:
    """Whether a run learns the sum, or wrong labels."""
    return NULL if run.config.corruption else SUM


def landmarks(run: Run) -> dict[str, float]:
    """Steps at which a parent has memorised and generalised; NaN where it has not."""
    told = interp.measure(run, "curves").attrs
    return {name: float(told[name]) for name in ("memorised", "generalised")}


def pairs(runs: Mapping[str, Run]) -> Iterator[Pair]:
    """Every pair: children of each fork, early and late of each parent, and parents of seeds that follow one another."""
    parents = [run for run in runs.values() if not run.config.start]
    for kind, each in itertools.groupby(sorted(parents, key=of_kind), of_kind):
        kept: list[tuple[int, Checkpoint, Checkpoint]] = []
        for run in sorted(each, key=lambda run: run.config.seeds.model):
            seed, forks = run.config.seeds.model, run.config.train.checkpoint_steps
            for at in forks:
                names = [f"{run.name}+at={at}+child={child}" for child in (1, 2)]
                if all(name in runs for name in names):  # a run that failed costs its fork alone
                    yield Pair(kind, FORK, seed, at, runs[names[0]].final, runs[names[1]].final)
            memorised = [at for at in forks if at >= landmarks(run)["memorised"]]
            if memorised and memorised[0] < run.final.step:
                kept.append((seed, run.at(memorised[0]), run.final))
        for seed, early, late in kept:
            yield Pair(kind, ONE, seed, late.step, early, late)
        for (seed, early, late), (_, other_early, other_late) in itertools.pairwise(kept):
            yield Pair(kind, EARLY, seed, early.step, early, other_early)
            yield Pair(kind, LATE, seed, late.step, late, other_late)


def report(runs: Mapping[str, Run]) -> script.Report:
    """Barriers of every pair by path, and from which fork on children are connected, beside when their parents understand."""
    key = ["kind", "pair", "seed", "at"]
    every = list(pairs(runs))
    table: Any = pd.DataFrame([row for pair in every for row in rows_of(pair)])
    networks: Any = pd.DataFrame([differences(pair) for pair in every])
    parents: Any = pd.DataFrame(
        [
            {"kind": of_kind(r), "seed": r.config.seeds.model, **landmarks(r)}
            for r in runs.values()
            if not r.config.start
        ]
    ).set_index(["kind", "seed"])
    forks, others = (table[(table["pair"] == FORK) == is_fork] for is_fork in (True, False))
    found = connections(forks, parents)
    by_fork, by_pair = spread(forks, ["kind", "at", "path"]), spread(others, ["kind", "pair", "path"])
    return script.Report(
        {
            "when": summarised(found),
            "told": told(by_fork, by_pair, networks),
            "by_fork": by_fork,
            "by_pair": by_pair,
            "seeds": found,
            "networks": networks.set_index(key),
            "paths": table.set_index([*key, "path"]),
            "parents": parents,
        },
        {"connectivity": draw(forks, networks[networks["pair"] == FORK], parents)},
    )


def spread(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Median and range of each barrier over the pairs of a cell, and how many of these are connected."""
    cells: Any = table.groupby(by, sort=False)
    found = cells[list(BARRIERS)].agg(["median", "min", "max"])
    found.columns = [" ".join(each) for each in found.columns]
    stable = cells["train_error"].apply(lambda each: int((each < STABLE).sum()))
    return found.assign(connected=stable, pairs=cells.size())


def told(by_fork: pd.DataFrame, by_pair: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """What the README tells: barriers of train error at the first two forks and of other pairs, and frequencies shared."""
    names = {f"train_error {each}": each for each in ("median", "min", "max")}
    forks: Any = by_fork.reset_index()
    early = forks[forks["at"].isin(sorted(set(forks["at"]))[:2])]
    rows: Any = pd.concat([early.assign(pair=[f"forked at {at}" for at in early["at"]]), by_pair.reset_index()])
    barriers = rows.rename(columns=names).assign(what="barrier of train error")
    pairs = [
        pair if pair != FORK else f"forked at {at}" for pair, at in zip(networks["pair"], networks["at"], strict=True)
    ]
    cells: Any = networks.assign(pair=pairs).groupby(["kind", "pair"], sort=False)["frequencies_shared"]
    shared: Any = cells.agg(["median", "min", "max"]).reset_index().assign(what="frequencies shared", path="")
    shared = shared[shared["pair"].isin(set(barriers["pair"]))]
    key = ["what", "kind", "pair", "path"]
    return pd.concat([barriers, shared])[[*key, "median", "min", "max"]].set_index(key)


def rows_of(pair: Pair) -> list[dict[str, Any]]:
    """Barriers of a pair, a row for each path: the largest value on it − that of the worse end, 0 if an end is the largest."""
    told = {"kind": pair.kind, "pair": pair.pair, "seed": pair.seed, "at": pair.at}
    found = {name: along_line(pair.a, pair.b, within) for name, within in LINES.items()}
    for name, curve in CURVES.items():
        run = connected(pair, name, curve)
        found[name] = barriers(run.history)
    return [{**told, "path": name, **each} for name, each in found.items()]


def along_line(a: Checkpoint, b: Checkpoint, within: Sequence[str]) -> dict[str, float]:
    """Barriers on the straight line from A to B, after B is brought to A by those symmetries whose first word is named."""
    known = symmetries(a.run.known_model, a.run.task.shape)
    chosen = [each for each in known if each.about.split()[0] in within]
    brought = aligned(a.weights, b.weights, chosen)[0] if chosen else b.weights
    between = Between(ends=(as_start(a), as_start(b)), curve=Curve(points=POINTS))
    return barriers(pd.DataFrame(Found(Ends(a, b), between, a.weights, a.weights, brought).rows()))


def barriers(points: pd.DataFrame) -> dict[str, float]:
    """Barriers of losses and errors from a row for each point of a path."""
    found = {name: points[name].to_numpy(float) for name in ("train_loss", "test_loss")}
    found |= {f"{split}_error": 1 - points[f"{split}_accuracy"].to_numpy(float) for split in ("train", "test")}
    return {name: barrier(found[name]).above_ends for name in BARRIERS}


def connected(pair: Pair, name: str, curve: Mapping[str, Any]) -> Run:
    """The trained curve between two networks, beside the runs; one that is there already is not made again."""
    a, b = pair.a, pair.b
    out: Path = a.run.path.parent / "paths" / f"{a.run.name}@{a.step}+{b.run.name}@{b.step}+{name.split(',')[0]}"
    out = out.with_name(out.name + "+aligned" * bool(curve))
    if (out / "run.json").exists():
        known = interp.open_run(out)
        if known.between is not None and known.between.ends == (as_start(a), as_start(b)):
            return known
    ends, updates = [f"{end.run.path}@{end.step}" for end in (a, b)], of_size(a.run, UPDATES)
    return interp.connect_runs(
        ends[0], ends[1], out, overwrite=True, points=POINTS, curve="bezier", steps=updates, **curve
    )


def differences(pair: Pair) -> dict[str, Any]:
    """How far two networks lie apart, as they are and aligned, which frequencies they share, and what they know."""
    a, b = pair.a.weights, pair.b.weights
    known = symmetries(pair.a.run.known_model, pair.a.run.task.shape)
    logged = [end.run.history.loc[end.step] for end in (pair.a, pair.b)]
    return {
        "kind": pair.kind, "pair": pair.pair, "seed": pair.seed, "at": pair.at,
        "distance": distance(a, b),
        "aligned_distance": distance(a, aligned(a, b, known)[0]),
        "frequencies_shared": frequencies_shared(a, b, pair.a.run.task.shape.outputs.n),
        **{f"{name}_{end}": float(row[name]) for name in ("train_accuracy", "test_accuracy", "train_loss")
           for end, row in zip("ab", logged, strict=True)},
    }  # fmt: skip


def distance(one: Weights, other: Weights) -> float:
    """‖A − B‖ ÷ √(‖A‖² + ‖B‖²): 0 of equal weights, 1 of orthogonal ones."""
    a, b = (torch.cat([weights[name].double().flatten() for name in sorted(one)]) for weights in (one, other))
    return float((a - b).norm() / (a.square().sum() + b.square().sum()).sqrt())


def frequencies_shared(one: Weights, other: Weights, p: int) -> float:
    """Σ_k min(p_k, q_k) of the power of both embeddings of 0 … p − 1 at each frequency: 1 if alike, 0 if disjoint.

    No symmetry of the weights takes one frequency to another, so networks with other key frequencies are other solutions.
    """
    a, b = (frequency_power(weights["embed.W_E"][:p]) for weights in (one, other))
    return float(torch.minimum(a, b).sum())


WHEN = ("before memorising", "between", "after generalising", "at a landmark", "after memorising", "never")


def connections(forks: pd.DataFrame, parents: pd.DataFrame) -> pd.DataFrame:
    """From which fork on the children of a parent are connected, at it and at all later ones, by path; and when that is."""
    rows: list[dict[str, Any]] = []
    grouped: Any = forks.groupby(["kind", "path", "seed"], sort=False)
    for (kind, path, seed), each in grouped:
        each = each.sort_values("at")
        steps, apart = each["at"].to_numpy(), np.flatnonzero(~(each["train_error"].to_numpy() < STABLE))
        first = int(apart[-1]) + 1 if len(apart) else 0
        last_apart = float(steps[first - 1]) if first else -math.inf
        since = float(steps[first]) if first < len(steps) else math.nan
        known = parents.loc[(kind, seed)]
        memorised, generalised = float(known["memorised"]), float(known["generalised"])
        rows.append(
            {
                "kind": kind, "path": path, "seed": seed, "connected_from": since, "apart_until": last_apart,
                "memorised": memorised, "generalised": generalised,
                "when": when(last_apart, since, memorised, generalised),
            }
        )  # fmt: skip
    return pd.DataFrame(rows).set_index(["kind", "path", "seed"])


def when(apart_until: float, since: float, memorised: float, generalised: float) -> str:
    """Where the step lies at which children begin to be connected: after `apart_until`, and at `since` at the latest.

    `at a landmark` says that one of the two steps lies between, so that the forks are too far apart to tell.
    """
    if math.isnan(since):
        return "never"
    if since <= memorised:
        return "before memorising"
    if apart_until < memorised:
        return "at a landmark"
    if math.isnan(generalised):
        return "after memorising"
    if since <= generalised:
        return "between"
    return "after generalising" if apart_until >= generalised else "at a landmark"


def summarised(found: pd.DataFrame) -> pd.DataFrame:
    """For each kind and path: number of seeds by when they are connected, and the median and range of the first such fork."""
    cells: Any = found.groupby(["kind", "path"], sort=False)
    counts = cells["when"].value_counts().unstack(fill_value=0).reindex(columns=list(WHEN), fill_value=0)
    # a seed that never is counts as later than all
    late = found.assign(connected_from=found["connected_from"].fillna(math.inf)).groupby(["kind", "path"], sort=False)
    ends: Any = late["connected_from"].agg(["median", "min", "max"]).add_prefix("connected_from ")
    marks: Any = cells[["memorised", "generalised"]].median().add_prefix("median ")
    return counts.join([ends.replace(math.inf, np.nan), marks]).assign(seeds=cells.size())


PANELS: Mapping[str, tuple[str, Sequence[str]]] = {
    "straight lines": ("train_error", tuple(LINES)),
    "trained curves": ("train_error", tuple(CURVES)),
    "lines and curves": ("train_loss", ("line", "line, all symmetries", *CURVES)),
    "networks": ("", ("distance", "aligned_distance", "frequencies_shared")),
}
"""Panels by title: column, and paths or columns that are lines."""
AXES = {"train_error": "barrier of train error", "train_loss": "barrier of train loss, nats", "": "share"}


def draw(forks: pd.DataFrame, networks: pd.DataFrame, parents: pd.DataFrame) -> go.Figure:
    """Barriers between the children of a fork against its step: median, and lowest to highest of the seeds."""
    kinds = [kind for kind in (SUM, NULL) if kind in set(forks["kind"])]
    titles = [f"{name}: {kind}" for name in PANELS for kind in kinds]
    title = "Are two children of one network connected? (marked: the parents memorise, generalise)"
    figure = figures.panels(titles, [4] * len(PANELS), title, columns=len(kinds), over_steps=False)
    lines = list(dict.fromkeys(line for _, every in PANELS.values() for line in every))
    colours = dict(zip(lines, itertools.cycle(figures.PALETTE), strict=False))
    for (row, (column, every)), (place, kind) in itertools.product(
        enumerate(PANELS.values(), start=1), enumerate(kinds, start=1)
    ):
        for line in every:
            table: Any = forks[forks["path"] == line] if column else networks
            cells: Any = table.loc[table["kind"] == kind].groupby("at")[column or line]
            middle, low, high = cells.median(), cells.min(), cells.max()
            figure.add_scatter(
                x=[max(at, 10) for at in middle.index], y=middle, mode="lines+markers", name=line.replace("_", " "),
                error_y={"array": high - middle, "arrayminus": middle - low, "width": 2}, line={"color": colours[line]},
                legend=figures.legend_of(row), showlegend=place == 1, row=row, col=place,
            )  # fmt: skip
        for _, step in parents.xs(kind)[["memorised", "generalised"]].median().dropna().items():
            figure.add_vline(x=step, line={"color": figures.INK, "width": 1, "dash": "dash"}, row=row, col=place)  # pyright: ignore
        figure.update_yaxes(title_text=AXES[column], row=row, col=1)
    steps = sorted(set(forks["at"]))
    figure.update_xaxes(type="log", tickvals=[max(at, 10) for at in steps], ticktext=[f"{at:,}" for at in steps])
    figure.update_xaxes(title_text="step of the fork", row=len(PANELS)).update_yaxes(rangemode="tozero")
    return figure.update_layout(margin={"r": 220}, width=1_100)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report, further=further, paper=paper))
