"""Which polygons do sparse features form in few dimensions, when, and does it make the model vulnerable?

    python analyses/toy_geometry/study.py            # 1,144 runs of toy models
    python analyses/toy_geometry/study.py --small    # 50 runs

After "Toy Models of Superposition" (Elhage et al. 2022). Five parts, told apart by the first word of a run's name.
"""

import math
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr

import interp
from interp import RunConfig, SparseFeaturesTask, ToySpec, figures
from interp.analyze.features.geometry import in_words
from interp.figures.rays import traces
from interp.maths.losses import squared_error
from interp.maths.polygons import FORMS, NONE, closed_forms
from interp.maths.toy_losses import phases
from interp.store import Run
from interp.study import script, trend

SPARSITY, IMPORTANCE, SETS = "task.sparsity", "task.importance", "task.sets"
LINES = {1: "1", 3 / 4: "3/4", 2 / 3: "2/3", 1 / 2: "1/2", 2 / 5: "2/5", 3 / 8: "3/8"}
"""D of the closed forms."""
NEAR = 0.02
"""How near a line a feature counts as on it."""
REPRESENTED = 0.1
"""D above which a feature is represented."""
EXAMPLES = 100_000
"""On which the runs of a cell of the phase diagram are compared, the same for all."""
ATTACK, ATTACKED, ASCENTS = 0.1, 1000, 20
"""Length of an attack, in mean lengths of an example; examples attacked; steps of each attack."""
CLASSES = ("not learned", "antipodal", "dedicated", "other")
"""What becomes of the second of two features."""
SHADES = ("#f0f1f3", "#5b3a9b", "#0f8a6d", "#e8730c")


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Runs of all parts; what is not said here is as in the preset toy-superposition."""
    preset = interp.preset("toy-superposition").config

    def part(
        name: str, n: int, m: int, steps: int, batch: int, seeds: int, vary: dict[str, Any], lr: float = 3e-3
    ) -> dict[str, RunConfig]:
        """n features in m dimensions."""
        task = SparseFeaturesTask(n_features=n, sparsity=0.9, examples="endless", test_examples=2000)
        how = preset.train.but(steps=steps, batch_size=batch, lr=lr, log_every=500, checkpoint_every=steps)
        base = preset.but(name=name, task=task, model=ToySpec(d_hidden=m), train=how.but(checkpoints_per_decade=1))
        return {f"{name}+{run}": config for run, config in interp.grid(base, seeds, vary).items()}

    def sparsities(*densities: float) -> dict[str, list[float]]:
        return {SPARSITY: [round(1 - density, 6) for density in densities]}

    if small:
        importances, cells = [0.2, 1.5, 7.0], sparsities(1, 0.3, 0.03)
        return {
            **part("packing", 100, 10, 1500, 256, 1, sparsities(1, 0.3, 0.1)),
            **part("plane", 5, 2, 1500, 512, 5, sparsities(0.5, 0.1)),
            **part("phase", 2, 1, 600, 256, 3, {IMPORTANCE: [(1.0, each) for each in importances], **cells}, lr=2e-2),
            **part("pairs", 6, 2, 1500, 512, 5, {SETS: ["together", "apart"], **sparsities(0.1)}),
        }
    importances = np.logspace(-1, 1, 10).round(4).tolist()
    cells = sparsities(*np.logspace(0, -2, 10).round(4))
    return {
        **part("packing", 100, 10, 4000, 512, 3, sparsities(1, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.01)),
        **part("plane", 5, 2, 5000, 1024, 8, sparsities(0.5, 0.2, 0.1, 0.05, 0.01)),
        **part("phase", 2, 1, 1500, 512, 10, {IMPORTANCE: [(1.0, each) for each in importances], **cells}, lr=2e-2),
        **part("pairs", 6, 2, 5000, 1024, 8, {SETS: ["together", "apart"], **sparsities(0.5, 0.2, 0.1, 0.05, 0.01)}),
    }


def report(runs: Mapping[str, Run]) -> script.Report:
    """Each part's table and figure."""
    parts: dict[str, list[Run]] = {}
    for name, run in runs.items():
        parts.setdefault(name.split("+")[0], []).append(run)
    packing, D = packed(parts["packing"])
    plane, scenes = in_the_plane(parts["plane"])
    phase = phase_diagram(parts["phase"])
    pairs, shown = partners(parts["pairs"])
    return script.Report(
        {
            "packing": packing.groupby("density").median().drop(columns="seed").sort_index(ascending=False),
            "packing_trend": trend(packing, "density", ["vulnerability", "D*"]),
            "packing_runs": packing.set_index(["density", "seed"]),
            "plane": plane,
            "phase_agreement": agreement(phase),
            "phase": phase,
            "pairs": pairs,
            "closed_forms": closed_forms(),
        },
        {
            "packing": draw_packing(packing, D),
            "plane": draw_planes(scenes, columns=len(scenes), title="Five features in the plane: best of all seeds"),
            "phase": draw_phases(phase),
            "pairs": draw_pairs(shown),
            "adversarial": draw_adversarial(packing),
        },
        {"densities": interp.draw_runs(list(scenes.values()))},
    )


def task_of(run: Run) -> SparseFeaturesTask:
    """What a run was trained on."""
    assert isinstance(run.task, SparseFeaturesTask)
    return run.task


def density(run: Run) -> float:
    """Chance that a feature is there."""
    return round(task_of(run).density, 6)


def at_the_end(run: Run, analysis: str) -> xr.Dataset:
    """What an analysis finds at the last step."""
    return interp.measure(run.select(last=1), analysis)


def packed(runs: list[Run]) -> tuple[pd.DataFrame, dict[float, np.ndarray]]:
    """A row for each run: how its features share dimensions, and how vulnerable that makes it; and D of all, by density."""
    rows, every = [], dict[float, list[np.ndarray]]()
    for run in runs:
        found, forms = (at_the_end(run, name).isel(step=-1) for name in ("superposition", "geometry"))
        of_features = found.sel(features="features")
        D = found["feature_dimensionality"].fillna(0).values
        every.setdefault(density(run), []).append(D)
        named = forms["polygons"].sel(form=[form.name for form in FORMS])
        rows.append(
            {
                "density": density(run),
                "seed": run.config.seeds.model,
                "D*": 1 / float(of_features["features_per_dimension"]),
                "ΣD": float(of_features["total_dimensionality"]),
                "ratio": float(of_features["ratio"]),
                "represented": int((represented := D > REPRESENTED).sum()),
                **{f"on {line}": float((abs(D[represented] - value) <= NEAR).mean()) for value, line in LINES.items()},
                **{str(form): int(count) for form, count in zip(named["form"].values, named.values, strict=True)},
                "vulnerability": vulnerability(run),
            }
        )
    return pd.DataFrame(rows), {key: np.concatenate(values) for key, values in every.items()}


def vulnerability(run: Run) -> float:
    """How much more the loss rises under the worst attack found than in a model with a dimension for each feature it has.

    The mean over examples of what the loss rises by when δ, ‖δ‖ = 0.1 of the mean length of an example, is added to what the
    model sees and not to what it is to give back. The loss is convex in δ wherever no ReLU switches, so δ ← ε·∇/‖∇‖ rises.
    It starts from a random direction and stops after 20 steps; the worst of them counts. With W = [1 0] the worst is ε².
    """
    task = task_of(run)
    x = torch.from_numpy(task.drawn(ATTACKED, np.random.default_rng(0)).inputs).double()
    W, b = (run.final.weights[name].double() for name in ("W", "b"))
    epsilon = ATTACK * x.norm(dim=-1).mean()

    def losses(delta: torch.Tensor) -> torch.Tensor:
        return (torch.relu((x + delta) @ W.T @ W + b) - x).square().sum(dim=-1)

    noise = torch.from_numpy(np.random.default_rng(1).normal(size=tuple(x.shape)))
    delta, before = epsilon * torch.nn.functional.normalize(noise, dim=-1), losses(torch.zeros_like(x))
    worst = before.clone()
    for _ in range(ASCENTS):
        delta.requires_grad_()
        now = losses(delta)
        (gradient,) = torch.autograd.grad(now.sum(), delta)
        worst = torch.maximum(worst, now.detach())
        delta = epsilon * torch.nn.functional.normalize(gradient, dim=-1)
    return float((worst - before).mean() / epsilon**2)


def best(runs: list[Run]) -> Run:
    """The one with the lowest train loss: of few dimensions many runs end in a poor minimum."""
    return min(runs, key=lambda run: run.final.metrics["train_loss"])


def in_the_plane(runs: list[Run]) -> tuple[pd.DataFrame, dict[str, xr.Dataset]]:
    """A row for each density, of the best seed, and its picture."""
    rows, scenes = {}, {}
    for chance in sorted({density(run) for run in runs}, reverse=True):
        here = [run for run in runs if density(run) == chance]
        found = [at_the_end(run, "geometry") for run in here]
        run = best(here)
        scene = found[here.index(run)]
        last = scene.isel(step=-1)
        words = [in_words(each["polygons"].isel(step=-1)) for each in found]
        represented = last["feature_polygon"].values != NONE
        lengths = run.final.weights["W"].norm(dim=0).numpy()
        D = at_the_end(run, "superposition")["feature_dimensionality"].values[-1]
        rows[chance] = {
            "polygons": in_words(last["polygons"]),
            "seeds with these": f"{Counter(words)[in_words(last['polygons'])]} of {len(here)}",
            "gaps from": float(last["feature_gap"].min()),
            "gaps to": float(last["feature_gap"].max()),
            "D": D[represented].mean(),
            "length": lengths[represented].mean(),
            "length of the others": lengths[~represented].mean() if not represented.all() else np.nan,
            "b": float(run.final.weights["b"].numpy()[represented].mean()),
            "train loss": run.final.metrics["train_loss"],
        }
        scenes[f"density {chance:g}"] = scene
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("density"), scenes


def draw_planes(
    scenes: Mapping[str, xr.Dataset], columns: int, title: str, colours: list[str] | None = None
) -> go.Figure:
    """A panel for each, all of one scale."""
    rows = -(-len(scenes) // columns)
    figure = figures.panels(
        list(scenes), heights=[17 / max(columns, 4)] * rows, title=title, columns=columns, over_steps=False
    )
    reach = 1.25 * max(float(abs(scene["feature_plane"]).max()) for scene in scenes.values())
    for number, scene in enumerate(scenes.values()):
        where: dict[str, Any] = {"row": number // columns + 1, "col": number % columns + 1}
        rays, dots = traces(scene.isel(step=-1), "feature")
        if colours:
            dots.update(marker={"color": colours})
        figure.add_trace(rays, **where).add_trace(dots, **where)
        across = f"x{number + 1}" if number else "x"
        figure.update_xaxes(range=[-reach, reach], constrain="domain", **where)
        figure.update_yaxes(range=[-reach, reach], scaleanchor=across, constrain="domain", **where)
    return figure.update_layout(margin={"r": 30})


def phase_diagram(runs: list[Run]) -> pd.DataFrame:
    """A row for each cell: what becomes of feature 2 in its runs, the worst left out, and by the closed forms."""
    cells: dict[tuple[float, float], list[Run]] = {}
    for run in runs:
        cells.setdefault((task_of(run).importance[1], density(run)), []).append(run)
    rows = {}
    for (importance, chance), here in cells.items():
        task = task_of(here[0])
        x = torch.from_numpy(task.drawn(EXAMPLES, np.random.default_rng(0)).inputs)
        W, b = (torch.stack([run.final.weights[name] for run in here]) for name in ("W", "b"))
        outputs = torch.relu(x @ W.mT @ W + b[:, None])
        losses = squared_error(outputs, x, torch.from_numpy(task.importances)).numpy()
        kept = losses.argsort()[:-1]
        found = [class_of(*each) for each in W[:, 0].tolist()]
        often = Counter(found[index] for index in kept)
        theory = phases(chance, (1.0, importance))
        expected = CLASSES[[theory.first, theory.both, theory.second].index(min(theory))]
        rows[importance, chance] = {
            "closed form": expected,
            "most of the kept": often.most_common(1)[0][0],
            "best": found[kept[0]],
            "kept": len(kept),
            "kept as the closed form": often[expected],
            "W1²": float(W[kept, 0, 0].square().mean()),
            "W2²": float(W[kept, 0, 1].square().mean()),
            "best loss": losses[kept[0]],
            "closed-form loss": min(theory),
            "next closed-form loss": sorted(theory)[1],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["importance", "density"])


def class_of(first: float, second: float) -> str:
    """What became of feature 2; a feature counts as learned where its weight is above a half."""
    learned = abs(first) > 0.5, abs(second) > 0.5
    if learned == (True, True):
        return "antipodal" if first * second < 0 else "other"
    return {(True, False): "not learned", (False, True): "dedicated"}.get(learned, "other")


def agreement(phase: pd.DataFrame) -> pd.DataFrame:
    """Shares of cells, and of kept runs, that are as the least of the closed forms says."""
    most, best_run = (phase[name].eq(phase["closed form"]).to_numpy() for name in ("most of the kept", "best"))
    clear = phase["next closed-form loss"].gt(1.1 * phase["closed-form loss"]).to_numpy()
    counts = {
        "cells by most of the kept runs": (most.sum(), len(most)),
        "cells by the best run": (best_run.sum(), len(best_run)),
        "cells by the best run where the next form is 10 % worse": (best_run[clear].sum(), clear.sum()),
        "kept runs": (phase["kept as the closed form"].sum(), phase["kept"].sum()),
    }
    rows = {name: {"agree": agree, "of": of, "share": agree / of} for name, (agree, of) in counts.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("what")


def draw_phases(phase: pd.DataFrame) -> go.Figure:
    """What most of the kept runs do, and where the closed forms have their borders."""
    cells = phase.reset_index().pivot(index="importance", columns="density", values="most of the kept")
    sparse, importances = 1 / np.array(cells.columns, dtype=float), np.array(cells.index, dtype=float)
    figure = figures.panels(
        ["what becomes of feature 2 in most runs; lines: borders of the closed forms"],
        heights=[8],
        title="Two features in one dimension",
        over_steps=False,
    )
    share = len(CLASSES)
    scale = [[edge / share, SHADES[index]] for index in range(share) for edge in (index, index + 1)]
    figure.add_heatmap(
        x=sparse, y=importances, z=cells.map(CLASSES.index), zmin=-0.5, zmax=share - 0.5, colorscale=scale,
        xgap=1, ygap=1, colorbar={"tickvals": list(range(share)), "ticktext": list(CLASSES), "thickness": 14, "x": 1.02},
        hovertemplate="1/density %{x:.3g}, importance %{y:.3g}<extra></extra>",
    )  # fmt: skip
    for border in borders(sparse.max()):
        figure.add_scatter(
            **border, mode="lines", line={"color": figures.INK, "width": 2.5}, showlegend=False, hoverinfo="skip"
        )
    figure.update_yaxes(range=[math.log10(importances.min()) - 0.15, math.log10(importances.max()) + 0.15])
    figure.update_xaxes(type="log", title_text="1 / density of both features", exponentformat="none", dtick="D2")
    return figure.update_yaxes(
        type="log", title_text="importance of feature 2 (of feature 1: 1)", exponentformat="none", dtick="D2"
    )


def borders(sparsest: float) -> list[dict[str, np.ndarray]]:
    """Where two of the closed forms cost the same, as x (1 / density) and y (importance of feature 2).

    One feature costs the other's L, a pair (1 + I₂)·f. A pair is better than the first alone from I₂ = f/(L − f) up, than the
    second alone to I₂ = (L − f)/f, where f < L/2; before that one alone is better, whichever matters more.
    """
    sparse = np.logspace(0, np.log10(sparsest), 400)
    alone, pair = np.array([[each.first, each.both / 2] for each in (phases(1 / x, (1.0, 1.0)) for x in sparse)]).T
    shared = pair < alone / 2
    x, y = sparse[shared], (pair / (alone - pair))[shared]
    dense = sparse[~shared]
    return [{"x": dense, "y": np.ones_like(dense)}, {"x": x, "y": y}, {"x": x, "y": 1 / y}]


def partners(runs: list[Run]) -> tuple[pd.DataFrame, dict[tuple[str, float], xr.Dataset]]:
    """A row for each kind of pairs and density: angles between partners, and between others, in the best seed."""
    cells: dict[tuple[str, float], list[Run]] = {}
    for run in runs:
        cells.setdefault((task_of(run).sets, density(run)), []).append(run)
    rows, scenes = {}, {}
    for (sets, chance), here in cells.items():
        run = best(here)
        W = run.final.weights["W"].double().T.numpy()
        lengths = np.linalg.norm(W, axis=1)
        unit = W / lengths[:, None]
        angle = np.degrees(np.arccos((unit @ unit.T).clip(-1, 1)))
        pairs = angle[::2, 1::2].diagonal()
        other = np.kron(np.eye(len(W) // 2), np.ones((2, 2))) == 0
        scenes[sets, chance] = at_the_end(run, "geometry")
        rows[sets, chance] = {
            "polygons": in_words(scenes[sets, chance]["polygons"].isel(step=-1)),
            "partners from": pairs.min(),
            "partners to": pairs.max(),
            "nearest others from": np.where(other, angle, 360).min(axis=1).min(),
            "nearest others to": np.where(other, angle, 360).min(axis=1).max(),
            "shortest": lengths.min(),
            "longest": lengths.max(),
            "train loss": run.final.metrics["train_loss"],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["sets", "density"]), scenes


def draw_pairs(scenes: Mapping[tuple[str, float], xr.Dataset]) -> go.Figure:
    """Partners in one colour."""
    densities = len({chance for _, chance in scenes})
    named = {f"{sets}, density {chance:g}": scene for (sets, chance), scene in scenes.items()}
    colours = [figures.PALETTE[feature // 2] for feature in range(6)]
    title = "Three pairs in the plane, partners always or never together: best of all seeds"
    return draw_planes(named, columns=densities, title=title, colours=colours)


def draw_packing(packing: pd.DataFrame, D: Mapping[float, np.ndarray]) -> go.Figure:
    """Dimensions per feature above the dimensionality of every feature, against sparsity."""
    figure = figures.panels(
        ["dimensions per feature, D* = m ÷ ‖W‖²", "dimensionality D of every feature"],
        heights=[4, 8],
        title="100 features in 10 dimensions",
        over_steps=False,
    )
    medians = packing.groupby("density")["D*"].median()
    figure.add_scatter(
        x=1 / medians.index, y=medians, mode="lines", line={"color": figures.PALETTE[0]}, name="median", row=1, col=1
    )
    points = {"color": figures.PALETTE[0], "symbol": "circle-open", "size": 8}
    figure.add_scatter(
        x=1 / packing["density"], y=packing["D*"], mode="markers", marker=points, name="a seed", row=1, col=1
    )
    for chance, values in D.items():
        spread = np.exp(np.random.default_rng(0).uniform(-0.08, 0.08, len(values)))
        figure.add_scatter(
            x=spread / chance, y=values, mode="markers", marker={"size": 4, "color": figures.PALETTE[0], "opacity": 0.35},
            showlegend=False, hoverinfo="skip", row=2, col=1,
        )  # fmt: skip
    names = {form.dimensionality: form.name for form in FORMS}
    for value, line in LINES.items():
        figures.level(figure, value, row=2)
        figure.add_annotation(
            x=1.01, xref="x2 domain", y=value, yref="y2", text=f"{line} {names[value]}", showarrow=False, xanchor="left",
            font={"size": 11, "color": figures.QUIET},
        )  # fmt: skip
    for value in (1, 1 / 2):
        figures.level(figure, value, row=1)
    reach = [-0.06, -math.log10(min(D)) + 0.06]
    figure.update_xaxes(type="log", exponentformat="none", dtick="D2", range=reach)
    figure.update_xaxes(title_text="1 / density", row=2)
    return figure.update_yaxes(rangemode="tozero").update_layout(margin={"r": 170})


def draw_adversarial(packing: pd.DataFrame) -> go.Figure:
    """Vulnerability and features per dimension, against sparsity."""
    figure = figures.panels(
        ["of a model with a dimension for each feature it has: 1"],
        heights=[6],
        title="How much more an attack raises the loss in superposition",
        over_steps=False,
    )
    named = {"vulnerability": "rise of the loss ÷ ε²", "features": "‖W‖² ÷ m", "squared": "(‖W‖² ÷ m)²"}
    table = packing.assign(features=1 / packing["D*"], squared=1 / packing["D*"] ** 2)
    for (column, label), colour in zip(named.items(), figures.PALETTE, strict=False):
        medians = table.groupby("density")[column].median()
        figure.add_scatter(x=1 / medians.index, y=medians, mode="lines", line={"color": colour}, name=label)
        points = {"color": colour, "symbol": "circle-open", "size": 8}
        figure.add_scatter(x=1 / table["density"], y=table[column], mode="markers", marker=points, showlegend=False)
    figure.update_xaxes(type="log", exponentformat="none", dtick="D2", title_text="1 / density")
    return figure.update_yaxes(title_text="times", type="log", exponentformat="none", dtick="D2").update_layout(
        margin={"r": 230}
    )


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
