"""Is there effectively one model that fits, at the interpolation threshold?

    python analyses/one_model_at_the_threshold/study.py            # 64-h-10 on 1,000 digits, 13 widths, five networks of each
    python analyses/one_model_at_the_threshold/study.py --small    # 300 digits, four widths, three networks of each

The networks of a cell have one training set, its wrong labels among it, and one order of batches: they differ in their initial
weights alone. In a second arm they begin alike, and the order of batches differs. The null has 90 % wrong labels of ten classes,
so that a label says nothing about its image.
"""

import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from jaxtyping import Float, Int

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths.contrasts import against
from interp.maths.disagreement import disagreement
from interp.maths.peaks import threshold
from interp.maths.permutation import holm
from interp.models.network import Weights, symmetries
from interp.store import Run
from interp.study import ends, script
from interp.study.peak import by_setting
from interp.train.align import aligned
from interp.views.prompts import Prompts

WIDTHS = (2, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 128, 512)
TOLD = (8, 32, 128, 512)
"""Widths that the README tells of."""
NULL = 0.9
"""Share of wrong labels at which each of ten classes is equally likely."""
NOISE = (0.0, 0.2, NULL)
OF_ORDER = 0.2
"""Share of wrong labels at which the order of batches is varied too."""
SEEDS = 5
FITS = 0.01
"""Train error below which a width fits."""
WEIGHTS, ORDER = "initial weights", "order of batches"
"""What the networks of a cell differ in."""
CELL = ["differ_in", "noise"]
ENDS = ((0, 1), (2, 3), (4, 0))
"""Networks that are connected by paths, by their places in a cell."""
CURVES: Mapping[str, Mapping[str, Any]] = {
    "line": {},
    "aligned line": {"align": True},
    "aligned curve": {"align": True, "curve": "bezier"},
}
"""Paths by name, by fields of `interp.connect_runs`."""
POINTS = 31
LLC_UP_TO = 128
"""Widest networks whose learning coefficient is measured: its chains take minutes at 512."""
STATISTICS = {
    "normalised": "normalised disagreement",
    "disagreement": "disagreement",
    "variance_share": "share of variance",
}
"""What is compared between widths; the first is what answers."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each width, share of wrong labels, and seed of the initial weights or of the order of batches."""
    base = interp.preset("digits-width").config
    widths, shares, number = WIDTHS, NOISE, SEEDS
    if small:
        widths, shares, number = (4, 8, 64, 128), (OF_ORDER, NULL), 3
        base = base.but(task=base.task.but(examples=300), train=base.train.but(steps=1_500, batch_size=100))
    train = base.train.but(checkpoint_steps=(base.train.steps,), log_every=base.train.steps // 40)
    found: dict[str, RunConfig] = {}
    for width, share in itertools.product(widths, shares):
        arms = ["model", *(["order"] if share == OF_ORDER else [])]
        # seed 0 of both is one run, of both arms
        for arm, seed in [("model", 0), *itertools.product(arms, range(1, number))]:
            name = f"width={width}+share={share}+{arm}={seed}"
            found[name] = base.but(
                name=name, model=base.model.but(width=width), train=train, seeds=base.seeds.but(**{arm: seed}),
                corruption=base.corruption.but(share=share),
            )  # fmt: skip
    return found


class Key(NamedTuple):
    """A cell: what its networks differ in, the share of wrong labels, and their width."""

    differ_in: str
    noise: float
    width: int


def cells(runs: Mapping[str, Run]) -> Mapping[Key, list[Run]]:
    """The networks of each cell in the order of their seeds, where there are two or more."""
    found: dict[Key, list[Run]] = {}
    for run in sorted(runs.values(), key=lambda run: (run.config.seeds.model, run.config.seeds.order)):
        seeds, width = run.config.seeds, run.config.model.model_dump()["width"]
        for arm, other in ((WEIGHTS, seeds.order), (ORDER, seeds.model)):
            if other == 0:
                found.setdefault(Key(arm, run.config.corruption.share, width), []).append(run)
    return {key: found[key] for key in sorted(found) if len(found[key]) > 1}


def report(runs: Mapping[str, Run]) -> script.Report:
    """How much networks of one width differ, by what they answer, by their weights, and by the paths between them."""
    of_cells, index = cells(runs), [*CELL, "width"]
    ended = {run.path: {**ends(run), **curvature(run)} for run in runs.values()}
    rows = [
        # one of both seeds is 0
        {**key._asdict(), "seed": run.config.seeds.model + run.config.seeds.order, **ended[run.path]}
        for key, each in of_cells.items()
        for run in each
    ]
    table: Any = pd.DataFrame(rows).set_index(index)
    pairs: Any = pd.DataFrame([row for key, each in of_cells.items() for row in paths(key, each)]).set_index(
        [*index, "path"]
    )
    barriers = (
        pairs[["train_loss_barrier", "test_error_barrier"]].groupby(level=[*index, "path"]).mean().unstack("path")
    )
    barriers = barriers.set_axis([f"{path}: {what}" for what, path in barriers], axis=1)
    found = [{**key._asdict(), **differences(each), **coefficient(each, key)} for key, each in of_cells.items()]
    medians: Any = table[["train_error", "test_error", "largest_eigenvalue"]].groupby(level=index).median()
    by_width = pd.DataFrame(found).set_index(index).join([medians, barriers])
    compared: Any = beside_the_threshold(by_width, table["train_error"])
    return script.Report(
        {"threshold": compared, "told": told(by_width), "by_width": by_width, "paths": pairs, "runs": table},
        {"one_model_at_the_threshold": draw(by_width, compared["threshold"])},
    )


def told(by_width: pd.DataFrame) -> pd.DataFrame:
    """What the README tells of some widths."""
    columns = [
        "test_error", "variance_share", "aligned_distance", "untrained_distance", "largest_eigenvalue", "llc", "llc ±", "llc R̂",
        *(name for name in by_width if str(name).endswith("_loss_barrier")),
    ]  # fmt: skip
    return by_width.loc[by_width.index.get_level_values("width").isin(TOLD), columns]


def differences(runs: Sequence[Run]) -> dict[str, float]:
    """How much the networks of a cell differ in what they answer, in probabilities, and in their weights."""
    found: dict[str, float] = {"networks": len(runs)}
    split = runs[0].split
    of_images = {
        "test": split.test,
        "right labels": split.train[np.flatnonzero(~split.corrupted)],
        "wrong labels": split.train[np.flatnonzero(split.corrupted)],
    }
    for images, examples in of_images.items():
        if not len(examples):
            continue
        each = disagreement(np.stack([answers(run, examples.inputs) for run in runs]), examples.targets)
        of = "" if images == "test" else f"{images}: "
        found |= {f"{of}disagreement": each.value.found, f"{of}disagreement ±": each.error}
        found |= {f"{of}independent": each.value.independent, f"{of}least": each.value.least}
        found |= {f"{of}normalised": each.value.normalised, f"{of}normalised ±": each.normalised_error}
    whole: Any = interp.compare([interp.measure(run.select(last=1), "variance") for run in runs])
    parts = whole.iloc[0]
    loss, share = "squared error", "squared error: share of variance"
    found |= {"squared_error": parts[loss], "bias²": parts[f"{loss}: bias²"], "variance": parts[f"{loss}: variance"]}
    return found | {"variance_share": parts[share], "variance_share ±": parts[f"{share} ±"]} | distances(runs)


def answers(run: Run, inputs: Float[np.ndarray, "n pixel"]) -> Int[np.ndarray, " n"]:
    """What a network answers to images at its last checkpoint."""
    return Prompts(run, torch.from_numpy(inputs)).outputs(run.final.weights).argmax(dim=-1).numpy()


def distances(runs: Sequence[Run]) -> dict[str, float]:
    """Distance of weights as means over pairs: of the networks as they are, aligned, and aligned as they were untrained."""
    moves = symmetries(runs[0].known_model, runs[0].task.shape)
    last, first = [run.final.weights for run in runs], [run.first.weights for run in runs]
    pairs = list(itertools.combinations(range(len(runs)), 2))
    return {
        "distance": float(np.mean([distance(last[a], last[b]) for a, b in pairs])),
        "aligned_distance": float(np.mean([distance(last[a], aligned(last[a], last[b], moves)[0]) for a, b in pairs])),
        "untrained_distance": float(
            np.mean([distance(first[a], aligned(first[a], first[b], moves)[0]) for a, b in pairs])
        ),
    }


def distance(one: Weights, other: Weights) -> float:
    """‖A − B‖ ÷ √(‖A‖² + ‖B‖²): 0 of equal weights, 1 of orthogonal ones."""
    a, b = (torch.cat([weights[name].double().flatten() for name in sorted(one)]) for weights in (one, other))
    return float((a - b).norm() / (a.square().sum() + b.square().sum()).sqrt())


def curvature(run: Run) -> dict[str, float]:
    """Largest eigenvalue of the Hessian of the train loss at the last checkpoint."""
    found = interp.measure(run.select(last=1), "curvature", eigenvalues=1, probes=2)
    return {"largest_eigenvalue": float(found["eigenvalue"].squeeze())}


def coefficient(runs: Sequence[Run], key: Key) -> dict[str, float]:
    """Learning coefficient of the first network of a cell at its last checkpoint, with its error and R̂; none of a wide one."""
    if key.differ_in != WEIGHTS or key.width > LLC_UP_TO:
        return {}
    found = interp.measure(runs[0].select(last=1), "llc")
    return {"llc": float(found["llc"][-1]), "llc ±": float(found["llc_error"][-1]), "llc R̂": float(found["r_hat"][-1])}


def paths(key: Key, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Barriers on the paths between some networks of a cell, a row for each."""
    rows = []
    for (a, b), (name, curve) in itertools.product(ENDS, CURVES.items()):
        # networks that begin alike are aligned from the start
        if max(a, b) < len(runs) and (key.differ_in == WEIGHTS or not curve):
            found = interp.measure(connected(runs[a], runs[b], name, curve), "path")
            rows.append(
                {
                    **key._asdict(), "path": name, "A": runs[a].name, "B": runs[b].name,
                    "train_loss_barrier": float(found["barrier"].sel(split="train")),
                    "test_loss_barrier": float(found["barrier"].sel(split="test")),
                    "train_error_barrier": float(found["error_barrier"].sel(split="train")),
                    "test_error_barrier": float(found["error_barrier"].sel(split="test")),
                }
            )  # fmt: skip
    return rows


def connected(a: Run, b: Run, name: str, curve: Mapping[str, Any]) -> Run:
    """The path from one network to another, beside the runs; one that is there already is not made again."""
    out: Path = a.path.parent / "paths" / f"{a.name}+to+{b.name.split('+')[-1]}+{name.replace(' ', '-')}"
    if (out / "run.json").exists():
        known = interp.open_run(out)
        between = known.between
        if between is not None and between.ends == (interp.start_from(a.path), interp.start_from(b.path)):
            return known
    return interp.connect_runs(a.path, b.path, out, overwrite=True, points=POINTS, **curve)


def beside_the_threshold(by_width: pd.DataFrame, train_error: pd.Series) -> pd.DataFrame:
    """Each statistic at the threshold, and what lies between it and the means of widths of at most half and at least twice.

    The threshold is the first width whose median train error is below 1 %. `p` is that of Welch's t, from errors that leave one
    network out at a time; `holm` is it corrected for all rows. Least or most is what both differences say at .05 after that.
    """
    rows = {}
    grouped: Any = by_width.groupby(CELL)
    for key, cell in grouped:
        widths = cell.index.get_level_values("width").to_numpy(dtype=float)
        fits: Any = train_error.loc[key].reset_index()
        at = threshold(widths, by_setting(fits, "width", "train_error", widths), FITS)
        for name, label in STATISTICS.items():
            values, errors, runs = (cell[column].to_numpy() for column in (name, f"{name} ±", "networks"))
            row = {"threshold": at, "lowest": widths[np.nanargmin(values)], "highest": widths[np.nanargmax(values)]}
            if not np.isnan(at):
                one = int(np.flatnonzero(widths == at)[0])
                row |= {"at": values[one], "at ±": errors[one]}
                for side, others in (("below", widths <= at / 2), ("beyond", widths >= 2 * at)):
                    found = against(values, errors, runs, one, np.flatnonzero(others))
                    row |= {f"{side} less at": found.value, f"{side} ±": found.error, f"{side} p": found.p}
            rows[(*key, label)] = row
    found = pd.DataFrame(rows).T.rename_axis([*CELL, "what"])
    sides = [side for side in ("below", "beyond") if f"{side} p" in found]
    for side in sides:
        known = found[f"{side} p"].notna()
        found.loc[known, f"{side} holm"] = holm(found.loc[known, f"{side} p"].to_numpy(dtype=float))
    return found.assign(answer=[verdict(row) for _, row in found.iterrows()])


def verdict(row: Any) -> str:
    """What the differences on both sides of the threshold say."""
    if not {"below holm", "beyond holm"} <= set(row.dropna().index):
        return "no width on one side"
    if max(row["below holm"], row["beyond holm"]) < 0.05:
        if min(row["below less at"], row["beyond less at"]) > 0:
            return "least at the threshold"
        if max(row["below less at"], row["beyond less at"]) < 0:
            return "most at the threshold"
    return "neither"


LINES: Mapping[str, Mapping[str, tuple[str, str, str]]] = {
    "test images, share": {
        "disagreement": ("answered differently", figures.PALETTE[0], "solid"),
        "independent": ("independent, of their errors", figures.QUIET, "dash"),
        "least": ("least, of their errors", figures.QUIET, "dot"),
        "test_error": ("test error", figures.TEST, "solid"),
    },
    "share": {
        "normalised": ("normalised: 0 least, 1 independent", figures.PALETTE[0], "solid"),
        "variance_share": ("share of variance in squared error", figures.PALETTE[1], "solid"),
    },
    "distance of weights": {
        "distance": ("as they are (1: orthogonal)", figures.PALETTE[2], "dot"),
        "aligned_distance": ("aligned", figures.PALETTE[2], "solid"),
        "untrained_distance": ("aligned, untrained", figures.QUIET, "dash"),
    },
    "barrier of train loss, nats": {
        f"{path}: train_loss_barrier": (path, colour, "solid")
        for path, colour in zip(CURVES, figures.PALETTE, strict=False)
    },
    "largest eigenvalue, nats": {"largest_eigenvalue": ("median of networks", figures.PALETTE[3], "solid")},
    "learning coefficient λ̂": {"llc": ("one network", figures.PALETTE[4], "solid")},
}
"""Rows of the figure, each with its columns of the table: label, colour and dash."""


OF_ORDER_DRAWN = ("disagreement", "normalised", "distance", "line: train_loss_barrier")
"""Columns that are drawn of the second arm too."""


def draw(by_width: pd.DataFrame, thresholds: pd.Series) -> go.Figure:
    """What differs between networks of one width, against the width, a column for each share; the threshold is marked."""
    shares: list[Any] = sorted(by_width.index.get_level_values("noise").unique())
    titles = [labels(share) if row == 0 else "" for row in range(len(LINES)) for share in shares]
    title = "How different are networks of one width? (dashed: the first width that fits)"
    figure = figures.panels(titles, [3.2] * len(LINES), title, columns=len(shares), over_steps=False)
    named: set[tuple[int, str]] = set()
    for (row, lines), (column, share) in itertools.product(
        enumerate(LINES.values(), start=1), enumerate(shares, start=1)
    ):
        for arm in (WEIGHTS, ORDER):
            if (arm, share) not in by_width.index.droplevel("width"):
                continue
            cell = by_width.loc[(arm, share)]
            for name, (label, colour, dash) in lines.items():
                told = label if arm == WEIGHTS else f"{label}; order alone"
                if name not in cell or (arm == ORDER and name not in OF_ORDER_DRAWN):
                    continue
                figure.add_scatter(
                    x=cell.index, y=cell[name], name=told, row=row, col=column, legend=figures.legend_of(row),
                    line={"color": colour if arm == WEIGHTS else figures.INK, "dash": dash}, legendgroup=f"{row} {told}",
                    mode="lines+markers", marker={"size": 4}, showlegend=(row, told) not in named,
                    error_y={"array": cell[f"{name} ±"], "width": 2} if f"{name} ±" in cell else None,
                )  # fmt: skip
                named.add((row, told))
        at = thresholds.loc[(WEIGHTS, share)].iloc[0]
        if not np.isnan(at):
            figure.add_vline(x=at, line={"color": figures.INK, "width": 1, "dash": "dash"}, row=row, col=column)  # pyright: ignore
    figure.update_xaxes(type="log", tickvals=[2, 8, 32, 128, 512], tickangle=0)
    figure.update_xaxes(title_text="width", row=len(LINES)).update_yaxes(rangemode="tozero")
    for row, title in enumerate(LINES, start=1):
        figure.update_yaxes(title_text=title, row=row, col=1)
    return figure.update_layout(margin={"r": 300}, width=1_500)


def labels(share: float) -> str:
    """A share of wrong labels in words."""
    return "labels by chance" if share == NULL else f"{100 * share:g} % wrong labels"


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
