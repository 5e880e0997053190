"""Do the output weights form a ring for modular addition, and clusters at cosets for S5, once the network understands?

    python analyses/embeddings_tsne/study.py            # x + y mod 97 from two shares, x · y on S5, with decay and without
    python analyses/embeddings_tsne/study.py --small    # x + y mod 23 and S4, with weight decay, one seed

Power et al. (2022, figure 3) show both by t-SNE of the output layer's weights; Chughtai et al. (2023) found no clusters that way.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths import groups
from interp.maths.cosets import Cosets
from interp.maths.fourier import frequency_norms
from interp.maths.geometry import circle, principal_components
from interp.maths.neighbours import Best, best_of, coset_excess, nearest, ring_shares
from interp.models import TransformerSpec
from interp.recipe import TrainConfig
from interp.store import Run
from interp.study import script
from interp.tasks import GroupTask, ModularTask
from interp.views.points import Points

DECAY = "train.weight_decay"
CLAIMED = {"S5": ("34201", "02143"), "S4": ("1032", "2301")}
"""Generators of the subgroup whose cosets are looked for by name, as permutations: of S5 (0 3)(1 4) and (1 2)(3 4), as in
Power et al.; of S4 (0 1)(2 3) and (0 2)(1 3), for the small size."""
SPACES = ("weights", "pca", "t-SNE")
"""Where neighbours are looked for: in all dimensions of W_U, in its first two principal components, and in the plane of t-SNE."""
STEPS = 12
"""Checkpoints that are measured, evenly in the logarithm of the step, beside the four moments."""
PERPLEXITIES = (5, 10, 15, 30)
"""Of t-SNE at the last step; 15 everywhere else."""
MOMENTS = ("start", "memorised", "generalising", "end")
MOST = 0.9
"""Share of the table of sums from which networks generalise without decay too, so that decay and generalising are told apart."""
BY = ["task", "decay", "seed", "step"]


def configs(small: bool) -> Mapping[str, RunConfig]:
    """Both tasks, with weight decay and without."""
    if small:
        train = TrainConfig(steps=1200, lr=3e-3, weight_decay=2.0, checkpoint_every=100)
        model = TransformerSpec(d_mlp=256)
        tasks = {"addition": ModularTask(p=23, train_fraction=0.8), "group": GroupTask(group="S4", train_fraction=0.9)}
        return {
            name: RunConfig(name=f"embeddings+{name}", task=task, model=model, train=train)
            for name, task in tasks.items()
        }
    every = TrainConfig(lr=1e-3, batch_size=512, checkpoint_every=500, log_every=50)
    bases = {
        "addition": RunConfig(
            name="addition",
            task=ModularTask(p=97, train_fraction=0.5),
            train=every.but(steps=15_000),
        ),
        "addition_most": RunConfig(
            name="addition",
            task=ModularTask(p=97, train_fraction=MOST),
            train=every.but(steps=15_000),
        ),
        "S5": RunConfig(
            name="S5",
            task=GroupTask(group="S5", train_fraction=0.8),
            train=every.but(steps=20_000),
        ),
    }
    return {
        f"{task}+{name}": config
        for task, base in bases.items()
        for name, config in interp.grid(base, 3, {DECAY: [1, 0]}).items()
    }


def report(runs: Mapping[str, Run]) -> script.Report:
    """Every number at every step, those of the last step over seeds, and the planes at four moments."""
    rows = pd.DataFrame([row for run in runs.values() for row in of_run(run)]).set_index([*BY, "space", "what"])
    planes = {f"planes_{task_of(run)}": [] for run in runs.values()}
    for run in runs.values():
        if run.config.seeds.model == 0:
            planes[f"planes_{task_of(run)}"].append(run)
    return script.Report(
        {"summary": summary(rows), "numbers": rows, "perplexity": perplexities(runs)},
        {
            **{name: draw_planes(each, rows) for name, each in planes.items()},
            **{f"curves_{task}": draw_curves(of_task) for task, of_task in rows.groupby(level="task")},
        },
    )


def task_of(run: Run) -> str:
    """addition, addition_most, or the group's name."""
    task = run.config.task
    assert isinstance(task, ModularTask | GroupTask)
    if isinstance(task, GroupTask):
        return task.group
    return "addition_most" if task.train_fraction == MOST else "addition"


TITLES = {"addition": "x + y", "addition_most": f"x + y from {MOST:.0%} of the table"}
"""What a task is called in figures; groups by their name."""


def key_of(run: Run) -> dict[str, object]:
    """What it is told by in every table."""
    return {"task": task_of(run), "decay": run.config.train.weight_decay, "seed": run.config.seeds.model}


def of_run(run: Run) -> Iterator[dict[str, object]]:
    """A row for each step, space and question."""
    moments = {step: name for name, step in moments_of(run).items()}
    for step in steps_of(run):
        view = run.select(steps=[step])
        accuracy = run.history.loc[step]
        for space, points in spaces_of(view).items():
            for what, (best, name) in found_in(view, space, points).items():
                yield {
                    **key_of(run),
                    "step": step,
                    "space": space,
                    "what": what,
                    "moment": moments.get(step, ""),
                    "value": best.value,
                    "best": name,
                    "by_chance": best.by_chance,
                    "p_value": best.p_value,
                    "train_accuracy": accuracy["train_accuracy"],
                    "test_accuracy": accuracy["test_accuracy"],
                }


def moments_of(run: Run) -> dict[str, int]:
    """Checkpoints at step 0, with train accuracy at 99 %, with test accuracy at 50 %, and the last.

    A network that never comes so far gives the checkpoint half way, in the logarithm of the step, to the last.
    """
    history = run.history.loc[list(run.steps)]
    found = {"start": run.steps[0]}
    for name, accuracy, threshold in (("memorised", "train_accuracy", 0.99), ("generalising", "test_accuracy", 0.5)):
        before = max(found.values())
        reached = history.index[(history[accuracy] >= threshold) & (history.index > before)]
        middle = np.sqrt(max(before, 1) * run.steps[-1])
        found[name] = int(reached[0]) if len(reached) else min(run.steps, key=lambda step: abs(step - middle))
    return found | {"end": run.steps[-1]}


def steps_of(run: Run) -> list[int]:
    """Steps that are measured: the moments, and so many evenly in the logarithm of the step."""
    wanted = np.geomspace(10, run.steps[-1], STEPS)
    even = {min(run.steps, key=lambda step: abs(np.log(max(step, 1) / each))) for each in wanted}
    return sorted(even | set(moments_of(run).values()))


def spaces_of(view: Run, perplexity: float = 15.0) -> dict[str, Float[Tensor, "point d"]]:
    """W_U of the one checkpoint in view: a point for each answer, in every space. t-SNE starts anew at every step."""
    weights = Points.of(view).clouds(view.final.weights)["W_U"]
    plane = interp.measure(view, "tsne", perplexity=perplexity)["tsne"].sel(matrix="W_U")[0]
    return {"weights": weights, "pca": principal_components(weights)[0], "t-SNE": torch.from_numpy(plane.values.copy())}


def found_in(view: Run, space: str, points: Float[Tensor, "point d"]) -> dict[str, tuple[Best, str]]:
    """The answer to every question about one cloud, and which stride, frequency or subgroup it is."""
    near, n = nearest(points), len(points)
    if isinstance(view.task, GroupTask):
        return {
            question: named(lambda names, of=of: coset_excess(near, of[:, names]), n, titles.__getitem__)
            for question, (of, titles) in partitions(view.task.group).items()
        }
    found = {"ring": named(lambda names: ring_shares(near, names), n, lambda place: f"±{place + 1}")}
    if space == "weights":
        found["frequency"] = named(lambda names: power(points[names]), n, lambda place: f"k = {place + 1}")
        k = found["frequency"][0].place + 1
        found["circle"] = named(lambda names: roundness(points[names], k)[None], n, lambda _: f"k = {k}")
    return found


def named(
    scores: Callable[[Int[Tensor, " n"]], Float[Tensor, " candidate"]], n: int, title: Callable[[int], str]
) -> tuple[Best, str]:
    """The best of all candidates by the scores under one naming, and its title."""
    best = best_of(lambda namings: torch.stack([scores(names) for names in namings]), n)
    return best, title(best.place)


def power(points: Float[Tensor, "period d"]) -> Float[Tensor, " freq"]:
    """Share of the variance over residues at each frequency."""
    squares = frequency_norms(points.double()).square()
    return squares / squares.sum()


def roundness(points: Float[Tensor, "period d"], k: int) -> Float[Tensor, ""]:
    """1 − σ/mean of the distances to the centre in the plane of frequency k: 1 on a circle, .48 for a Gaussian cloud."""
    radii = circle(points, k).norm(dim=1)
    return 1 - radii.std(correction=0) / radii.mean()


@cache
def partitions(group: str) -> dict[str, tuple[Int[Tensor, "partition n"], list[str]]]:
    """Cosets that are looked for, with a title for each partition: of any subgroup and of the claimed one, left and right."""
    table = groups.named_group(group)
    cosets = Cosets(table)
    rows = ["".join(map(str, row)) for row in groups.permutations(int(group[1:]))]
    members = groups.generated(table, [rows.index(row) for row in CLAIMED[group]])
    claimed = next(
        number
        for number, every in enumerate(cosets.classes)
        if any(set(np.flatnonzero(mask)) == set(members) for mask in every)
    )
    sides, numbers = cosets.place // len(cosets.classes), cosets.place % len(cosets.classes)
    proper = torch.tensor([bool(labels.any()) for labels in cosets.labels])
    names = [
        f"{name} ⟨{', '.join(rows[int(x)] for x in generators.split())}⟩"
        for name, generators in zip(cosets.coords["subgroup"], cosets.coords["subgroup_generators"][1], strict=True)
    ]
    found = {}
    for what, chosen in (("any subgroup", proper), ("claimed", proper & (numbers == claimed))):
        for side, title in enumerate(("left", "right")):
            here = chosen & (sides == side)
            found[f"{what}, {title}"] = cosets.labels[here], [names[number] for number in numbers[here].tolist()]
    return found


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """At the first step and at the last, over seeds: median and range, chance, the largest p, and what was best."""
    ends = rows[rows["moment"].isin(["start", "end"])].reset_index()
    cells = ends.groupby(["task", "what", "space", "decay", "moment"], sort=False)
    return pd.DataFrame(
        {
            "seeds": cells.size(),
            "median": cells["value"].median(),
            "lowest": cells["value"].min(),
            "highest": cells["value"].max(),
            "by chance": cells["by_chance"].median(),
            "largest p": cells["p_value"].max(),
            "best": cells["best"].agg(", ".join),
            "test accuracy": cells["test_accuracy"].median(),
        }
    )


def perplexities(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Numbers of the t-SNE plane at the last step, by perplexity."""
    rows = []
    for run in runs.values():
        view = run.select(last=1)
        for perplexity in PERPLEXITIES:
            points = spaces_of(view, perplexity)["t-SNE"]
            rows += [
                {**key_of(run), "perplexity": perplexity, "what": what, "value": best.value, "best": name}
                for what, (best, name) in found_in(view, "t-SNE", points).items()
            ]
    return pd.DataFrame(rows).set_index(["task", "decay", "seed", "what", "perplexity"])


def draw_planes(runs: list[Run], rows: pd.DataFrame) -> go.Figure:
    """The plane of t-SNE of W_U at four moments, a row for each decay.

    Residues have the colour of their place on the line through the residues that are the best stride apart at the end;
    elements that of their coset of the subgroup that is best then. Both are so at every step.
    """
    clouds, titles, colours, lines = [], [], [], []
    for run in runs:
        colour, line, about = colouring(run, rows)
        for step in moments_of(run).values():
            view = run.select(steps=[step])
            clouds.append(spaces_of(view)["t-SNE"].numpy())
            accuracy = run.history.loc[step]
            titles.append(
                f"decay {run.config.train.weight_decay:g}, step {step:,}<br>"
                f"train {accuracy['train_accuracy']:.0%}, test {accuracy['test_accuracy']:.0%}<br>{about}"
            )
            colours.append(colour)
            lines.append(line)
    figure = figures.panels(
        titles,
        heights=[4.6] * len(runs),
        columns=len(MOMENTS),
        over_steps=False,
        title=f"t-SNE of the output weights, {TITLES.get(task_of(runs[0]), f'x · y on {task_of(runs[0])}')}",
    )
    figure.for_each_annotation(lambda annotation: annotation.update(text=annotation.text.replace("&lt;br&gt;", "<br>")))
    for number, (cloud, colour, line) in enumerate(zip(clouds, colours, lines, strict=True)):
        where: Any = {"row": number // len(MOMENTS) + 1, "col": number % len(MOMENTS) + 1}
        if line is not None:
            x, y = cloud[line].T
            figure.add_scatter(
                x=x, y=y, mode="lines", line={"color": figures.QUIET, "width": 0.7}, showlegend=False, **where
            )
        marker = {"size": 7, "color": colour, "colorscale": "HSV", "cmin": 0, "cmax": colour.max() + 1}
        figure.add_scatter(x=cloud[:, 0], y=cloud[:, 1], mode="markers", marker=marker, showlegend=False, **where)
        reach = 1.1 * abs(cloud).max()
        figure.update_xaxes(range=[-reach, reach], showticklabels=False, **where)
        figure.update_yaxes(range=[-reach, reach], showticklabels=False, **where)
    return figure.update_layout(margin={"r": 30, "l": 30, "t": 115}).update_annotations(font_size=11)


def colouring(run: Run, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Each point's colour, the order in which a line joins the points, and in a few words what they are."""
    last = rows.sort_index().loc[(*key_of(run).values(), run.steps[-1], "t-SNE")]
    if isinstance(run.task, GroupTask):
        # The partition itself: the best of those by whose name there are several conjugates.
        near = nearest(spaces_of(run.select(last=1))["t-SNE"])
        what = str(last["value"].idxmax())
        labels, titles = partitions(run.task.group)[what]
        best = int(coset_excess(near, labels).argmax())
        return labels[best].numpy(), None, f"{titles[best]}, {what.split(', ')[1]}"
    stride, p = int(last.loc["ring", "best"].removeprefix("±")), Points.of(run).n
    order = np.arange(p + 1) * stride % p
    colour = np.empty(p)
    colour[order[:-1]] = np.arange(p)
    return colour, order, f"line: ±{stride}"


def draw_curves(rows: pd.DataFrame) -> go.Figure:
    """Every number over steps with what chance gives, below train and test accuracy; each decay has its line."""
    task = rows.index.get_level_values("task")[0]
    questions = list(dict.fromkeys(rows.index.get_level_values("what")))
    figure = figures.panels(
        ["train and test accuracy", *(QUESTIONS[what] for what in questions)],
        heights=[3.2] * (1 + len(questions)),
        title=f"Structure in the output weights, {TITLES.get(task, task)}",
    )
    for decay, dash in zip(sorted(rows.index.unique("decay"), reverse=True), ("solid", "dot"), strict=False):
        here: Any = rows.xs(decay, level="decay")
        first = here.xs((questions[0], "weights"), level=("what", "space"))
        for split, colour in (("train", figures.TRAIN), ("test", figures.TEST)):
            add(figure, first[f"{split}_accuracy"], f"{split}, decay {decay:g}", colour, 1, dash)
        for row, what in enumerate(questions, start=2):
            for space, colour in zip(SPACES, (figures.PALETTE[0], figures.PALETTE[1], figures.PALETTE[2]), strict=True):
                if (what, space) in set(
                    zip(here.index.get_level_values("what"), here.index.get_level_values("space"), strict=True)
                ):
                    cell = here.xs((what, space), level=("what", "space"))
                    add(figure, cell["value"], f"{space}, decay {decay:g}", colour, row, dash)
            chance = here.xs(what, level="what")["by_chance"]
            if dash == "solid":
                add(figure, chance, "by chance", figures.QUIET, row, "dash")
            figure.update_yaxes(title_text="share", rangemode="tozero", row=row)
    figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=[-0.02, 1.04], row=1)
    return figure.update_xaxes(type="log", exponentformat="none", dtick=1).update_layout(
        updatemenus=[], margin={"r": 190}
    )


QUESTIONS = {
    "ring": "two nearest neighbours ±d residues away, best d",
    "frequency": "share of the variance at one frequency",
    "circle": "roundness in the plane of that frequency",
    "any subgroup, left": "nearest neighbours in the same left coset, beyond chance, best of all subgroups",
    "any subgroup, right": "nearest neighbours in the same right coset, beyond chance, best of all subgroups",
    "claimed, left": "the same, left cosets of the claimed subgroup and its conjugates",
    "claimed, right": "the same, right cosets of the claimed subgroup and its conjugates",
}


def add(figure: go.Figure, values: pd.Series, name: str, colour: str, row: int, dash: str) -> None:
    """The median of the seeds over steps at which at least half of them are measured, without step 0."""
    seeds = values.groupby(level="step")
    most = values.index.unique("seed").size
    often = (seeds.size() * 2 >= most) & (seeds.size().index > 0)
    median: Any = seeds.median()[often]
    curve = xr.DataArray(median.to_numpy(), dims="step", coords={"step": median.index.to_numpy()})
    figures.line(figure, curve, name, colour, row, dash)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
