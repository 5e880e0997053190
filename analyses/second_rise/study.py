"""Does test error rise a second time, if a network is widened far beyond the width that fits its training set?

    python analyses/second_rise/study.py            # widths 4 to 10,240 on digits, four shares of wrong labels, four recipes
    python analyses/second_rise/study.py --small    # widths 4 to 512 on 200 digits, two shares, two seeds

The null has 90 % wrong labels of ten classes, so that a label says nothing about its image. Beside the networks stand what they
become: regression with the kernels of infinite width, and with up to 100,000 random features.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
import torch
from jaxtyping import Float
from torch import Tensor

import interp
from interp import figures
from interp.config import RunConfig
from interp.maths.permutation import holm
from interp.maths.wide import regression, relu_kernels
from interp.store import Run
from interp.study import ends, means, peaks, script

WIDTHS = (4, 8, 12, 16, 20, 24, 32, 48, 64, 128, 256, 512, 1_024, 2_048, 4_096, 10_240)
AROUND = range(8, 49)
"""Widths around the threshold, which have more seeds."""
FAR = (64, 512, 2_048)
"""Widths of the other recipes: from where everything is fitted on."""
WIDEST = 10_240
"""Width that is trained for a quarter of the updates alone, by Adam: its updates take longest."""
NOISE = (0.0, 0.2, 0.4, 0.6)
NULL = 0.9
"""Share of wrong labels at which each of ten classes is equally likely."""
OF_NULL = (4, 16, 64, 128, 512, 2_048, 10_240)
"""Widths of the null, with three seeds each."""
BASE = 64
"""Width at which all recipes of a kind are one."""
CELL = ["recipe", "noise"]
EARLY = ["early_test_error", "early_test_loss"]
LATE = ["test_error", "test_loss", "best_test_error"]
"""What is looked at after a quarter of the updates, and after all of them."""
FEATURES = (10, 30, 100, 200, 400, 700, 1_000, 1_400, 2_000, 4_000, 10_000, 30_000, 100_000)
PENALTIES = (0.0, 1e-3, 1e-1)
"""Ridge penalties, times the mean of the kernel's diagonal."""
WRONG = "corruption.share"
CLASSES = 10
FITS = 0.01
"""Train error below which a width fits."""
KERNELS = ("last layer learns", "every layer learns")
"""Kernels of infinite width: arc-cosine, and neural tangent."""


class Recipe(NamedTuple):
    """How a network is trained at a width, by fields of train."""

    label: str
    optimizer: str
    lr: float
    rate: float = 0.0
    """Power of the width that the rate goes with."""
    temperature: float = 0.0
    """Power of the width that the outputs are divided by."""
    same_at_base: str = ""
    """Recipe that is the same at the base width, where it is trained only once."""

    def at(self, width: int) -> dict[str, Any]:
        """The fields at a width."""
        wider = width / BASE
        return {
            "optimizer": self.optimizer,
            "lr": self.lr * wider**self.rate,
            "output_temperature": wider**self.temperature,
        }


RECIPES = {
    "adam": Recipe("Adam, one rate", "adam", 1e-3),
    "adam-mup": Recipe("Adam, µP", "adam", 1e-3, temperature=1, same_at_base="adam"),
    "sgd": Recipe("SGD, rate ∝ 1/width", "sgd", 0.1, rate=-1),
    "sgd-mup": Recipe("SGD, µP", "sgd", 0.1, rate=1, temperature=1, same_at_base="sgd"),
}
"""By the word for it in the runs' names. Outputs divided by the width, with Adam at one rate and with SGD at one that grows with
it, are the maximal update parametrisation (Yang and Hu 2021) of one hidden layer: features move as far at every width."""


def configs(small: bool) -> Mapping[str, RunConfig]:
    """A run for each recipe, width, share of wrong labels and seed."""
    base = interp.preset("digits-width").config
    if small:
        base = base.but(task=base.task.but(examples=200), train=base.train.but(batch_size=100))
    steps = 1_200 if small else 8_000
    found: dict[str, RunConfig] = {}
    for word, recipe in RECIPES.items():
        first = word == "adam"
        of_small = (4, 16, 64, 128, 256, 512) if first else (64, 256)
        farthest = (WIDEST,) if word == "adam-mup" else ()
        widths = of_small if small else WIDTHS if first else (*FAR, *farthest)
        for width in widths:
            if width == BASE and recipe.same_at_base:
                continue
            until = steps // 4 if width == WIDEST else steps
            train = base.train.but(
                **recipe.at(width), steps=until, log_every=25, checkpoint_every=until, checkpoints_per_decade=5
            )
            of_width = base.but(name=f"{word}+width={width}", model=base.model.but(width=width), train=train)
            seeds = 2 if small else 5 if width in AROUND else 3
            grid = interp.grid(of_width, seeds, {WRONG: (0.2, 0.6) if small or not first else NOISE})
            if first and width in OF_NULL:
                grid |= interp.grid(of_width, min(seeds, 3), {WRONG: [NULL]})
            found |= {config.name: config for config in grid.values()}
    return found


def report(runs: Mapping[str, Run]) -> script.Report:
    """Errors and losses by width, whether they rise beyond the threshold, and what infinite width gives."""
    steps = max(run.config.train.steps for run in runs.values())
    table = with_shared(pd.DataFrame([told(name, run, steps) for name, run in runs.items()]))
    wide, features = limits(runs), random_features(runs)
    far, by_width = beyond(table), means(table.drop(columns="seed"), ["noise", "recipe", "width"])
    rises = [peaks(each, "width", of, each=CELL) for of, each in ((EARLY, far), (LATE, whole(far))) if len(each)]
    late: Any = whole(table)
    infinite = means(wide.drop(columns="seed"), ["noise", "kernel", "penalty"])
    by_number = means(features.drop(columns="seed"), ["noise", "penalty", "features"])
    return script.Report(
        {
            **({"second_rise": together(rises)} if rises else {}),
            "peak": peaks(
                late[late["recipe"] == RECIPES["adam"].label], "width", LATE, each=["noise"], fits="train_error"
            ),
            "by_width": by_width,
            "infinite_width": infinite,
            "random_features": by_number,
            "runs": table.set_index([*CELL, "width", "seed"]),
        },
        {
            "second_rise": draw(by_width, infinite),
            "random_features": draw_features(by_number, infinite),
        },
    )


def told(name: str, run: Run, steps: int) -> dict[str, Any]:
    """What a run is, what it had after a quarter of so many updates, and how it ended, if it took them all."""
    early: Any = run.history.loc[steps // 4]
    ended = ends(run) if run.config.train.steps == steps else {}
    return {
        "recipe": RECIPES[name.split("+")[0]].label,
        "noise": run.config.corruption.share,
        "width": run.config.model.model_dump()["width"],
        "seed": run.config.seeds.model,
        "early_train_error": 1 - float(early["train_accuracy"]),
        "early_test_error": 1 - float(early["test_accuracy"]),
        "early_test_loss": float(early["test_loss"]),
        **ended,
    }


def whole(table: pd.DataFrame) -> pd.DataFrame:
    """The runs that took all updates."""
    return table.dropna(subset="test_error")


def together(rises: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of rises as one, with p corrected by Holm over all of them."""
    found = pd.concat(rises)
    return found.assign(holm=holm(found["p_value"].to_numpy(dtype=float)))


def with_shared(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the runs at the base width under every recipe that they are of."""
    shared = [
        table[(table["recipe"] == RECIPES[recipe.same_at_base].label) & (table["width"] == BASE)].assign(
            recipe=recipe.label
        )
        for recipe in RECIPES.values()
        if recipe.same_at_base
    ]
    cells = set(zip(table["recipe"], table["noise"], strict=True))
    kept = [row for rows in shared for row in rows.to_dict("records") if (row["recipe"], row["noise"]) in cells]
    return pd.concat([table, pd.DataFrame(kept)], ignore_index=True)


def beyond(table: pd.DataFrame) -> pd.DataFrame:
    """The runs of at least twice the width from which on the median run of their cell fits 99 % of its training set.

    Where the narrowest width that was tried fits already, they are all runs of the cell. Cells in which that leaves fewer than
    three widths tell of no rise, and are left out.
    """
    kept: list[pd.DataFrame] = [table.iloc[:0]]
    for _, cell in table.groupby(CELL):
        errors: Any = whole(cell).groupby("width")["train_error"].median()
        fitting = min((float(width) for width, error in errors.items() if error < FITS), default=float("inf"))
        narrowest = float(errors.index.min())
        far: Any = cell[cell["width"] >= (fitting if fitting == narrowest else 2 * fitting)]
        late: Any = whole(far)
        kept += [far] if late["width"].nunique() >= 3 else []
    return pd.concat(kept)


class Data(NamedTuple):
    """Images of a seed, and their labels at every share of wrong ones."""

    x: Float[Tensor, "n pixel"]
    asked: Float[Tensor, "m pixel"]
    right: Float[Tensor, " m"]
    """Classes of the images that are asked for."""
    labels: Mapping[float, Tensor]
    """Labels that are trained on, by the share of wrong ones."""

    @property
    def targets(self) -> Float[Tensor, "n output"]:
        """One-hot vectors of the labels less their mean, ten columns for each share."""
        hot = [torch.nn.functional.one_hot(labels, CLASSES).double() - 1 / CLASSES for labels in self.labels.values()]
        return torch.cat(hot, dim=1)

    def scores(self, outputs: Float[Tensor, "m output"], fitted: Float[Tensor, "n output"]) -> list[dict[str, float]]:
        """Errors of these outputs, a row for each share."""
        rows = []
        for place, (share, labels) in enumerate(self.labels.items()):
            mine = slice(CLASSES * place, CLASSES * (place + 1))
            hot = torch.nn.functional.one_hot(self.right, CLASSES) - 1 / CLASSES
            rows.append(
                {
                    "noise": share,
                    "train_error": float((fitted[:, mine].argmax(dim=1) != labels).double().mean()),
                    "test_error": float((outputs[:, mine].argmax(dim=1) != self.right).double().mean()),
                    "test_squared_error": float((outputs[:, mine] - hot).square().sum(dim=1).mean()),
                }
            )
        return rows


def data(runs: Mapping[str, Run]) -> Mapping[int, Data]:
    """The images and labels that the runs with one rate had, by seed."""
    found: dict[int, Data] = {}
    configs = {
        (run.config.seeds.split, run.config.corruption.share): run.config
        for name, run in runs.items()
        if name.startswith("adam+")
    }
    for seed in sorted({seed for seed, _ in configs}):
        splits = {share: config.split() for (of, share), config in sorted(configs.items()) if of == seed}
        one = next(iter(splits.values()))
        found[seed] = Data(
            torch.from_numpy(one.train.inputs).double(),
            torch.from_numpy(one.test.inputs).double(),
            torch.from_numpy(one.test.targets),
            {share: torch.from_numpy(split.train.targets) for share, split in splits.items()},
        )
    return found


def limits(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Errors of regression with the kernels of infinite width, a row for each seed, share, kernel and penalty."""
    rows = []
    for seed, of_seed in data(runs).items():
        known, between = relu_kernels(of_seed.x, of_seed.x), relu_kernels(of_seed.asked, of_seed.x)
        for kernel, at, asked in zip(KERNELS, known, between, strict=True):
            rows += [{"kernel": kernel, "seed": seed, **row} for row in regressed(of_seed, at, asked)]
    return pd.DataFrame(rows)


def regressed(of_seed: Data, known: Float[Tensor, "n n"], asked: Float[Tensor, "m n"]) -> list[dict[str, float]]:
    """Errors of regression with a kernel, a row for each penalty and share."""
    outputs = regression(known, torch.cat([asked, known]), of_seed.targets, PENALTIES)
    return [
        {"penalty": penalty, **row}
        for penalty, each in zip(PENALTIES, outputs, strict=True)
        for row in of_seed.scores(each[: len(asked)], each[len(asked) :])
    ]


def random_features(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Errors of regression on random ReLU features, a row for each seed, share, penalty and number of features."""
    small = max(run.config.train.steps for run in runs.values()) < 8_000
    sizes = [size for size in FEATURES if not small or size <= 4_000]
    rows = []
    for seed, of_seed in data(runs).items():
        for size, (known, asked) in zip(sizes, kernels_of_features(of_seed, sizes, seed), strict=True):
            rows += [{"features": size, "seed": seed, **row} for row in regressed(of_seed, known, asked)]
    return pd.DataFrame(rows)


def kernels_of_features(of_seed: Data, sizes: Sequence[int], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Kernels of the first so many random ReLU features, for each size: among training images, and of others with those."""
    generator = torch.Generator().manual_seed(seed)
    n, pixels = of_seed.x.shape
    both = torch.cat([of_seed.x, of_seed.asked])
    sums, done = torch.zeros(len(both), n, dtype=torch.float64), 0
    for size in sizes:
        while done < size:
            part = min(4_000, size - done)
            # Variance 2 of a weight times the pixels, as in the kernels of infinite width.
            A = torch.randn(pixels, part, generator=generator, dtype=torch.float64) * (2 / pixels) ** 0.5
            features = (both @ A).relu()
            sums.addmm_(features, features[:n].T)
            done += part
        kernel = 2 * sums / size
        yield kernel[:n], kernel[n:]


def draw(by_width: pd.DataFrame, infinite: pd.DataFrame) -> go.Figure:
    """Test error and loss against the width: mean over seeds with their standard errors, and the limits as crosses."""
    shares: list[Any] = sorted(by_width.index.get_level_values("noise").unique())
    what = {
        "test_error": "test error",
        "early_test_error": "after a quarter",
        "best_test_error": "at the best step",
        "test_loss": "loss, nats",
    }
    titles = [f"{100 * share:g} %: {label}" for share in shares for label in what.values()]
    figure = figures.panels(
        titles,
        heights=[4.5] * len(shares),
        columns=len(what),
        title="Far beyond the width that fits, by share of wrong labels",
        over_steps=False,
    )
    end = 4 * WIDTHS[-1]
    named: set[str] = set()
    for row, share in enumerate(shares, start=1):
        for column, name in enumerate(what, start=1):
            at = {"row": row, "col": column}
            here = by_width.xs(share)
            for colour, recipe in zip(figures.PALETTE, RECIPES.values(), strict=False):
                if recipe.label in here.index:
                    mine = here.xs(recipe.label)
                    figure.add_scatter(
                        x=mine.index, y=mine[name], error_y={"array": mine[f"{name} ±"], "width": 2}, **at,
                        name=recipe.label, line={"color": colour}, legendgroup=recipe.label,
                        showlegend=recipe.label not in named,
                    )  # fmt: skip
                    named.add(recipe.label)
            if name == "test_error":
                for symbol, kernel in zip(("x", "star"), KERNELS, strict=True):
                    figure.add_scatter(
                        x=[end], y=[infinite.loc[(share, kernel, 0.0), "test_error"]], mode="markers",
                        name=f"infinite width, {kernel}", legendgroup=kernel, showlegend=row == 1, **at,
                        marker={"symbol": symbol, "size": 10, "color": figures.INK},
                    )  # fmt: skip
    ticks = {10: "10", 100: "100", 1_000: "1k", 10_000: "10k", end: "∞"}
    figure.update_xaxes(type="log", tickvals=[*ticks], ticktext=[*ticks.values()], tickangle=0, matches="x")
    for column in range(1, len(what) + 1):
        figure.update_xaxes(title_text="width", row=len(shares), col=column)
    return figure.update_layout(margin={"r": 250}, width=1_600)


def draw_features(by_number: pd.DataFrame, infinite: pd.DataFrame) -> go.Figure:
    """Test error against the number of random features: mean over seeds by penalty, and the kernel that they become."""
    shares: list[Any] = sorted(by_number.index.get_level_values("noise").unique())
    end = 4 * FEATURES[-1]
    figure = figures.panels(
        [f"{100 * share:g} % wrong labels" for share in shares],
        heights=[5] * -(-len(shares) // 2),
        columns=2,
        title="Random ReLU features: only the readout learns",
        over_steps=False,
        gap=80,
    )
    for place, share in enumerate(shares):
        at = {"row": 1 + place // 2, "col": 1 + place % 2}
        for colour, penalty in zip(figures.PALETTE, PENALTIES, strict=False):
            mine = by_number.xs(share).xs(penalty)
            figure.add_scatter(
                x=mine.index, y=mine["test_error"], error_y={"array": mine["test_error ±"], "width": 2}, **at,
                name=f"ridge {penalty:g}", line={"color": colour}, legendgroup=str(penalty), showlegend=not place,
            )  # fmt: skip
            last = infinite.loc[(share, KERNELS[0], penalty), "test_error"]
            figure.add_scatter(
                x=[end], y=[last], mode="markers", **at,
                name="infinitely many", marker={"symbol": "x", "size": 10, "color": colour}, legendgroup="limit",
                showlegend=not place and penalty == PENALTIES[0],
            )  # fmt: skip
    ticks = {10: "10", 100: "100", 1_000: "1k", 10_000: "10k", 100_000: "100k", end: "∞"}
    figure.update_xaxes(type="log", tickvals=[*ticks], ticktext=[*ticks.values()], title_text="random features")
    return figure.update_yaxes(title_text="test error", col=1).update_layout(margin={"r": 170})


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, configs, report))
