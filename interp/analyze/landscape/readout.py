"""Readout: is the answer in the representation before the network's own readout finds it?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.base import once
from interp.maths.ridge import Ridge
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.views.halves import HALVES
from interp.views.represented import Represented
from interp.views.untrained import untrained
from interp.views.walk import beforehand, bytes_read, each_checkpoint, evenly


class Options(AnalysisOptions):
    """How the readout is fitted, and what it is compared with."""

    ridge: float = Field(default=1e-3, gt=0)
    """Ridge penalty as a multiple of the mean eigenvalue of the features' centred Gram matrix."""
    draws: int = Field(default=4, ge=2, le=100)
    """Halves of the test set, shufflings of the labels and untrained networks that are drawn."""
    checkpoints: int = Field(default=24, ge=1)
    """How many are measured at most, evenly chosen among those in view."""
    seed: int = Field(default=0, ge=0, lt=2**62)
    """Seed of all draws, which are the same at every checkpoint."""


ROWS = ("train", "test", "held out")
"""Rows that a readout is tried on. held out: each half of the test set, by the readout of the other half."""

KINDS = {
    "": ("step place rows", "refitted readout"),
    "shuffled": ("step place rows", "readout fitted to shuffled labels"),
    "untrained": ("place rows", "readout fitted to an untrained network"),
}
"""What is fitted, with its dimensions."""

SCORES = {"accuracy": "accuracy", "explained": "explained share of the one-hot answers' variance"}


def variable(kind: str, score: str, error: bool = False) -> str:
    """Name of a variable."""
    return "_".join([*[kind] * bool(kind), score, *["error"] * error])


VARIABLES: Variables = {
    "own_accuracy": Var("step rows", "accuracy of the network's own readout", "1"),
    **{
        variable(kind, score, error): Var(dims, f"{what}: {'standard error of the ' * error}{text}", "1")
        for kind, (dims, what) in KINDS.items()
        for score, text in SCORES.items()
        for error in (False, True)
    },
}


def measure(seen: Represented, options: Options) -> xr.Dataset:
    """Accuracy of a linear readout refitted at every checkpoint, beside the network's own, shuffled labels, untrained networks.

    Fitted to the training set and tried on it and on the test set; and fitted to half of the test set and tried on the other.
    """
    seen = replace(seen, run=evenly(seen.run, options.checkpoints))
    labels = Labels.of(seen, options)

    def at_checkpoint(weights: Weights) -> dict[str, Tensor]:
        """Every variable that has steps, at one checkpoint."""
        places = [each.scores() for each in refits(seen, weights, options, labels)]
        return {"own_accuracy": own(seen, weights)} | by_name("", places, 0) | by_name("shuffled", places, 1)

    needs = seen.bytes_of_outputs + bytes_at_work(seen)
    found = each_checkpoint(seen.run, at_checkpoint, needs=needs)
    untrained = beforehand(lambda: of_untrained(seen, options, labels))
    return dataset(
        seen.run,
        options,
        found | {name: value.numpy() for name, value in untrained.items()},
        VARIABLES,
        coords={"place": list(seen.places), "rows": list(ROWS)},
        definition="readout: ridge regression, with an intercept, of the answers' one-hot vectors on the activations of the last "
        "hidden layer (neurons) or on the residual stream after the last layer (stream), where answers are read; penalty: "
        f"{options.ridge:g} × mean eigenvalue of the centred Gram matrix; train, test: fitted to the training set as it is "
        "trained on; held out: fitted to each half of the test set and tried on the other, mean over "
        f"{options.draws} drawn halvings; explained: 1 − Σ‖y − ŷ‖² ÷ that of the constant answer of the fitted rows; shuffled: "
        "labels permuted within the fitted rows (on train: tried on the permuted ones); untrained: networks with other initial "
        "weights, of the same widths; errors: standard errors of the mean over the draws, 0 where nothing is drawn",
        source="a refitted linear readout through grokking: arXiv 2605.27078; held-out halves, shuffled labels and untrained "
        "networks beside it are ours",
    )


@dataclass(frozen=True)
class Labels:
    """Answers of both halves, the drawn halvings of the test set, and the drawn permutations of all labels."""

    train: Int[Tensor, " n_train"]
    test: Int[Tensor, " n_test"]
    n: int
    halves: Bool[Tensor, "draw n_test"]
    orders: list[dict[str, Int[Tensor, " n"]]]
    """Of each draw, the labels of each half of the run, permuted; those of the test set within its halves."""

    @staticmethod
    def of(seen: Represented, options: Options) -> "Labels":
        """Labels of a run, and what is drawn of them."""
        generator = torch.Generator().manual_seed(options.seed)
        train, test = (seen.labels(half) for half in HALVES)
        halves, orders = [], []
        for _ in range(options.draws):
            first = torch.zeros(len(test), dtype=torch.bool)
            first[torch.randperm(len(test), generator=generator)[: len(test) // 2]] = True
            permuted = test.clone()
            for part in (first, ~first):
                rows = part.nonzero()[:, 0]
                permuted[rows] = test[rows[torch.randperm(len(rows), generator=generator)]]
            halves.append(first)
            orders.append({"train": train[torch.randperm(len(train), generator=generator)], "test": permuted})
        return Labels(train, test, seen.run.task.shape.outputs.n, torch.stack(halves), orders)


@dataclass(frozen=True)
class Refit:
    """Readouts of one place at one checkpoint, with a decomposition for each set of rows that they are fitted to."""

    train: Float[Tensor, "n_train d"]
    test: Float[Tensor, "n_test d"]
    labels: Labels
    penalty: float

    @once
    def of_train(self) -> Ridge:
        """For the training set."""
        return Ridge.of(self.train, self.penalty)

    @once
    def products(self) -> Float[Tensor, "d d"]:
        """Products of the features over the test set."""
        return self.test.T @ self.test

    def known(self, train: Int[Tensor, " n_train"]) -> Float[Tensor, "2 score"]:
        """Scores on training and test set of the readout of these labels of the training set; on train against the same."""
        readout = self.of_train.fit(train, self.labels.n)
        return torch.stack([readout.score(self.train, train), readout.score(self.test, self.labels.test)])

    def held_out(self, draw: int, *labellings: Int[Tensor, " n_test"]) -> list[Float[Tensor, "1 score"]]:
        """Scores on both halves of the readouts of each of these labellings of the other half, against the right labels."""
        first = self.labels.halves[draw]
        products = self.test[first].T @ self.test[first]
        found = torch.zeros(len(labellings), len(SCORES), dtype=torch.float64)
        for rows, of_rows in ((first, products), (~first, self.products - products)):
            ridge, others = Ridge.of(self.test[rows], self.penalty, of_rows), self.test[~rows]
            readouts = [ridge.fit(labels[rows], self.labels.n) for labels in labellings]
            scores = [readout.score(others, self.labels.test[~rows]) for readout in readouts]
            found = found + len(others) / len(self.test) * torch.stack(scores)
        return list(found[:, None])

    def scores(self) -> tuple[Float[Tensor, "draw rows score"], Float[Tensor, "draw rows score"]]:
        """Scores with right and with permuted labels. With the right ones nothing is drawn on training and test set."""
        known, right, permuted = self.known(self.labels.train), [], []
        for draw, order in enumerate(self.labels.orders):
            held, held_permuted = self.held_out(draw, self.labels.test, order["test"])
            right.append(torch.cat([known, held]))
            permuted.append(torch.cat([self.known(order["train"]), held_permuted]))
        return torch.stack(right), torch.stack(permuted)

    def one(self, draw: int) -> Float[Tensor, "rows score"]:
        """Scores with the right labels and one halving."""
        return torch.cat([self.known(self.labels.train), *self.held_out(draw, self.labels.test)])


def refits(seen: Represented, weights: Weights, options: Options, labels: Labels) -> list[Refit]:
    """Readouts of one network, place after place."""
    train, test = (seen.features(half, weights) for half in HALVES)
    return [Refit(train[place], test[place], labels, options.ridge) for place in seen.places]


def by_name(kind: str, places: list[tuple[Tensor, ...]], which: int) -> dict[str, Tensor]:
    """Means over the draws and their standard errors, [place, rows], by the name of the variable."""
    drawn = torch.stack([each[which] for each in places])
    mean, error = drawn.mean(dim=1), drawn.std(dim=1) / drawn.shape[1] ** 0.5
    return {
        variable(kind, score, of_error): values[..., place].contiguous()
        for place, score in enumerate(SCORES)
        for of_error, values in ((False, mean), (True, error))
    }


def of_untrained(seen: Represented, options: Options, labels: Labels) -> dict[str, Tensor]:
    """Scores of the readouts of networks with initial weights from other seeds, one for each draw."""
    networks = [
        [each.one(draw) for each in refits(seen, untrained(seen.run, options.seed + 1 + draw), options, labels)]
        for draw in range(options.draws)
    ]
    return by_name("untrained", [(torch.stack(each),) for each in zip(*networks, strict=True)], 0)


def own(seen: Represented, weights: Weights) -> Float[Tensor, " rows"]:
    """Accuracy of the network itself on training and test set; held out are all rows of the test set."""
    train, test = (seen.objectives[half].of_outputs(seen.outputs(half, weights))[1, 0] for half in HALVES)
    return torch.stack([train, test, test])


def bytes_at_work(seen: Represented) -> int:
    """Bytes of a checkpoint's features, their halves, decompositions, and the outputs of a readout."""
    n, outputs = max(len(targets) for targets in seen.targets.values()), seen.run.task.shape.outputs.n
    widest = max(hook.width for hook in seen.places.values())
    return 2 * seen.bytes_of_features + 8 * (20 * widest**2 + 3 * n * outputs) + bytes_read(seen.run)


TITLES = {"neurons": "the last hidden layer", "stream": "the residual stream after the last layer"}
"""Each place in words."""


def draw(found: xr.Dataset) -> go.Figure:
    """Accuracies on the test set and on the training set by place, and the explained share."""
    places = found["place"].values.tolist()
    figure = figures.panels(
        [
            "loss",
            *(f"{on}, read from {TITLES[place]}" for place in places for on in ("test accuracy", "train accuracy")),
            *(f"explained share of the one-hot answers, {TITLES[place]}" for place in places),
        ],
        heights=[3, *[3.4, 2.6] * len(places), *[3] * len(places)],
        title="Is the answer in the representation before the readout finds it?",
    )
    figures.losses(figure, found, row=1)
    for number, place in enumerate(places):
        here, row = found.sel(place=place), 2 + 2 * number
        curves(figure, here, row, {"test": "fitted to train", "held out": "fitted to half of test"})
        curves(figure, here, row + 1, {"train": "fitted to train"})
        row = 2 + 2 * len(places) + number
        for rows, colour in COLOURS.items():
            figures.line(figure, here["explained"].sel(rows=rows), rows, colour, row=row)
        figures.level(figure, 0, row=row)
        figure.update_yaxes(title_text="share", range=[-1.05, 1.05], row=row)
    return figures.mark_transition(figure, found)


COLOURS = {"train": figures.TRAIN, "test": figures.TEST, "held out": figures.PALETTE[0]}
"""Colour of what is read from each set of rows."""


def curves(figure: go.Figure, here: xr.Dataset, row: int, shown: Mapping[str, str]) -> None:
    """Accuracies of the network, the readouts, and both controls, on some rows."""
    figures.line(figure, here["own_accuracy"].sel(rows=next(iter(shown))), "the network", figures.INK, row=row)
    for rows, name in shown.items():
        colour, on = COLOURS[rows], here.sel(rows=rows)
        figures.line(figure, on["accuracy"], name, colour, row=row)
        figures.error_band(figure, on["accuracy"], on["accuracy_error"], colour, row=row)
        figures.line(figure, on["shuffled_accuracy"], "… labels shuffled", colour, row=row, dash="dot")
        untrained = on["untrained_accuracy"].expand_dims(step=here["step"].values)
        figures.line(figure, untrained, "… untrained network", colour, row=row, dash="dash")
    figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=[-0.02, 1.04], row=row)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Test accuracy of the network and of each readout, at each step."""
    table = by_step(found)
    table["own train"] = found["own_accuracy"].sel(rows="train").values
    table["own test"] = found["own_accuracy"].sel(rows="test").values
    for place in found["place"].values:
        here = found.sel(place=place)
        for rows in ROWS:
            table[f"{place} {rows}"] = here["accuracy"].sel(rows=rows).values
    return table
