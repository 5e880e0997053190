"""Which layer's width makes the peak of test error and the descent beyond it: the last one's, an earlier one's, or all?

    python analyses/last_layer/study.py            # MLPs of two and three hidden layers, CNNs; digits, MNIST
    python analyses/last_layer/study.py --small    # two hidden layers on 200 digits, five widths

One layer's width is swept while the others stay, once wide and once so narrow that they leave the network short of parameters.
"""

import itertools
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

import interp
from interp import figures
from interp.config import RunConfig
from interp.store import Run
from interp.study import ends, means, peaks, script

WIDTHS = (1, 2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 64, 128, 512)
FEWER = (1, 4, 8, 12, 16, 24, 64, 512)
"""Widths of what stands beside, and of what costs more."""
AROUND = range(6, 25)
"""Widths around the thresholds, which have more seeds."""
TRUNKS, HEADS = (1, 2, 3, 4, 6, 8, 12, 16), (1, 2, 4, 8, 16, 64, 256)
"""Widths of a CNN."""
NOISE, NULL = 0.2, 0.9
"""Shares of wrong labels: of the question, and that at which each of ten classes is equally likely."""
ALL = "all"
RATIO = {"head": 8}
"""Width of a part of a network whose others have width 1."""
CELL = ["network", "noise", "others", "swept"]
MEASURES = {
    "test_error": "test error",
    "best_test_error": "test error at the best step",
    "refitted_test_error": "test error of a refitted readout",
    "test_loss": "test loss, nats",
}


class Network(NamedTuple):
    """What is trained, and the parts whose widths are told apart, first to last."""

    preset: str
    parts: tuple[str, ...]


NETWORKS = {
    "two layers, digits": Network("digits-width", ("first", "last")),
    "three layers, digits": Network("digits-width", ("first", "middle", "last")),
    "two layers, MNIST": Network("mnist-width", ("first", "last")),
    "CNN, digits": Network("digits-convnet", ("trunk", "head")),
}


class Sweep(NamedTuple):
    """A width that is swept, in one network."""

    network: str
    noise: float
    others: int
    """Width of the parts that are not swept; 0 if all are."""
    swept: str
    widths: tuple[int, ...]
    seeds: int
    """Seeds of a width around the thresholds; others have at most three."""
    pixel_noise: float = 0.0

    def runs(self, small: bool) -> Iterator[tuple[int, RunConfig]]:
        """Widths and configurations. The same widths have the same name, whatever was swept to come there."""
        parts = NETWORKS[self.network].parts
        for width in self.widths:
            others = width if self.swept == ALL else self.others
            layers = [width if part == self.swept else others * RATIO.get(part, 1) for part in parts]
            base = start(self.network, layers, small)
            name = f"{self.network.replace(', ', '_').replace(' ', '_')}+{'-'.join(map(str, layers))}"
            if self.pixel_noise:
                base, name = base.but(task=base.task.but(pixel_noise=self.pixel_noise)), f"{name}+{self.pixel_noise:g}"
            base = base.but(name=name)
            seeds = self.seeds if width in AROUND else min(self.seeds, 3)
            for config in interp.grid(base, seeds, {"corruption.share": [self.noise]}).values():
                yield width, config


def sweeps(small: bool) -> list[Sweep]:
    """All of them, the question's first."""
    if small:
        return [*every("two layers, digits", NOISE, (64, 4), (1, 4, 12, 64, 256), 2)]
    return [
        *every("two layers, digits", NOISE, (64, 12), WIDTHS, 5),
        *every("three layers, digits", NOISE, (64,), FEWER, 5),
        *every("two layers, digits", 0.0, (64,), FEWER, 3),
        *every("two layers, digits", NULL, (64,), FEWER, 3),
        *every("two layers, MNIST", NOISE, (64, 12), FEWER, 5),
        *(Sweep("CNN, digits", NOISE, others, "head", HEADS, 3) for others in (8, 2)),
        Sweep("CNN, digits", NOISE, 8, "trunk", TRUNKS, 3),
        Sweep("CNN, digits", NOISE, 0, ALL, TRUNKS, 3),
    ]


def every(network: str, noise: float, others: tuple[int, ...], widths: tuple[int, ...], seeds: int) -> list[Sweep]:
    """Each part alone at each width of the others, and all parts together."""
    alone = [*itertools.product(others, NETWORKS[network].parts), (0, ALL)]
    return [Sweep(network, noise, width, part, widths, seeds) for width, part in alone]


def start(network: str, layers: list[int], small: bool) -> RunConfig:
    """A run with parts of these widths."""
    preset, parts = NETWORKS[network]
    base = interp.preset(preset).config
    if "head" in parts:
        trunk, head = layers
        return base.but(
            model=base.model.but(width=trunk, head_width=head),
            train=base.train.but(steps=3_000, log_every=100, checkpoint_every=3_000, checkpoints_per_decade=1),
            corruption=interp.Corruption(share=NOISE),
        )
    task, train = base.task, base.train.but(steps=8_000, log_every=50)
    if small:
        task, train = task.but(examples=200), train.but(steps=1_200, batch_size=100)
    if "MNIST" in network:
        task = task.but(pooled=2)
    train = train.but(checkpoint_every=train.steps, checkpoints_per_decade=1)
    return base.but(task=task, model=base.model.but(widths=tuple(layers)), train=train)


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for every combination of widths that a sweep comes to, share of wrong labels and seed."""
    return configs_of(sweeps(small), small)


def configs_of(wanted: list[Sweep], small: bool) -> Mapping[str, RunConfig]:
    """Runs of sweeps by name."""
    return {config.name: config for sweep in wanted for _, config in sweep.runs(small)}


def report(runs: Mapping[str, Run]) -> script.Report:
    """Errors over the width that is swept, whether they peak, and whether they fall beyond the threshold."""
    return report_of(sweeps, runs)


def report_of(sweeps: Callable[[bool], list[Sweep]], runs: Mapping[str, Run]) -> script.Report:
    """What was found in the runs of sweeps, those of a small size or all."""
    known = {name: told(run) for name, run in runs.items()}
    small = not {config.name for _, config in sweeps(False)[0].runs(False)} <= set(known)
    rows = [
        {**dict(zip(CELL, sweep, strict=False)), "width": width, **known[config.name]}
        for sweep in sweeps(small)
        for width, config in sweep.runs(small)
        if config.name in known
    ]
    table = pd.DataFrame(rows)
    by_width = means(table.drop(columns="seed"), [*CELL, "width"])
    found = peaks(table, "width", list(MEASURES), each=CELL, fits="train_error")
    fallen = falls(table, found)
    return script.Report(
        {
            "answers": answers(found, fallen, by_width),
            "peaks": found,
            "falls": fallen,
            "by_width": by_width,
            "runs": table.set_index([*CELL, "width", "seed"]),
        },
        {
            "last_layer": draw(by_width, "width"),
            "by_parameters": draw(by_width, "parameters"),
        },
    )


def told(run: Run) -> dict[str, Any]:
    """How a run ended, and how it would with another readout of its last hidden layer."""
    tensors = run.config.model.tensors(run.config.task.shape).values()
    refits: Any = interp.measure(run.select(last=1), "readout", draws=2).isel(step=0, place=0)
    return {
        "seed": run.config.seeds.model,
        "parameters": sum(math.prod(tensor.size) for tensor in tensors if tensor.learns),
        **ends(run),
        "refitted_test_error": 1 - float(refits["accuracy"].sel(rows="test")),
        "refitted_train_error": 1 - float(refits["accuracy"].sel(rows="train")),
        "untrained_test_error": 1 - float(refits["untrained_accuracy"].sel(rows="test")),
    }


def falls(table: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """The fall of test error from the threshold on, tested against a curve that never falls: a second descent.

    Sweeps with fewer than three widths from their threshold on are left out, as are those that do not fit.
    """
    known: Any = found.xs("test_error", level="what")["threshold"]
    thresholds = table.set_index(CELL).index.map(known.to_dict()).to_numpy(dtype=float)
    beyond: Any = table[table["width"].to_numpy() >= thresholds]
    beyond = beyond.groupby(CELL).filter(lambda cell: cell["width"].nunique() >= 3)
    fallen = peaks(beyond.assign(narrow=-beyond["width"]), "narrow", ["test_error", "test_loss"], each=CELL)
    ends_at = {"valley": "to", "peak": "from"}
    fallen[list(ends_at)] = -fallen[list(ends_at)]
    names = {**ends_at, "valley_mean": "to_mean", "peak_mean": "from_mean"}
    return fallen.rename(columns=names).drop(columns=["last_mean", "last_error"])


def answers(found: Any, fallen: Any, by_width: Any) -> pd.DataFrame:
    """A row for each sweep: the rise of test error to its peak, the fall from the threshold on, and what a refitted readout has
    where the error is highest."""
    peak, fall = (each.xs("test_error", level="what") for each in (found, fallen))
    rows = peak[
        ["valley", "peak", "valley_mean", "peak_mean", "height", "height_error", "p_value", "holm", "threshold"]
    ]
    rows = rows.rename(columns={"height": "rise", "height_error": "rise ±", "p_value": "rise p", "holm": "rise Holm"})
    names = {
        "from_mean": "from",
        "to_mean": "to",
        "height": "fall",
        "height_error": "fall ±",
        "p_value": "fall p",
        "holm": "fall Holm",
    }
    rows = rows.join(fall[list(names)].rename(columns=names))
    there = by_width.loc[[(*cell, peak) for cell, peak in rows["peak"].items()]]
    for name in ("refitted_test_error", "untrained_test_error", "parameters"):
        rows[f"{name} there"] = there[name].to_numpy()
    return rows


def draw(by_width: pd.DataFrame, along: str) -> go.Figure:
    """Test error against the swept width, or the number of parameters: a panel for each network and width of the others."""
    panels: list[tuple[Any, ...]] = sorted(
        {key[:3] for key in by_width.index if key[2]},
        key=lambda key: (key[1] != NOISE, list(NETWORKS).index(key[0]), *key),
    )
    names = {0.0: ", no label wrong", NULL: ", labels by chance"}
    titles = [f"{network}{names.get(noise, '')}: others {others}" for network, noise, others in panels]
    rows = -(-len(panels) // 3)
    figure = figures.panels(
        titles, heights=[4.5] * rows, columns=3, title="Which width makes the peak?", over_steps=False
    )
    parts = [*dict.fromkeys(part for network in NETWORKS.values() for part in network.parts), ALL]
    shown: set[str] = set()
    for place, (network, noise, others) in enumerate(panels):
        at = {"row": 1 + place // 3, "col": 1 + place % 3}
        for part in (*NETWORKS[network].parts, ALL):
            key = (network, noise, 0 if part == ALL else others, part)
            if key not in by_width.index.droplevel("width"):
                continue
            cell = by_width.loc[key]
            figure.add_scatter(
                x=cell.index if along == "width" else cell["parameters"], y=cell["test_error"], **at,
                error_y={"array": cell["test_error ±"], "width": 2}, name=part, legendgroup=part,
                line={"color": figures.PALETTE[parts.index(part)]}, showlegend=part not in shown,
            )  # fmt: skip
            shown.add(part)
    figure.update_xaxes(type="log", tickformat="~s", dtick=1)
    figure.update_xaxes(title_text="swept width" if along == "width" else along, row=rows)
    return figure.update_yaxes(title_text="test error", col=1).update_layout(width=1_250)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
