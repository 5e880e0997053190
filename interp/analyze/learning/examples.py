"""Example by example: which is learned when, and do its answer, its numbers or its mirror y ∘ x tell the step?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Bool, Float, Int
from pydantic import Field

from interp import figures
from interp.base import once
from interp.maths import learned
from interp.maths.curves import IN_A_ROW
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.views.examples import EachExample
from interp.views.walk import each_checkpoint

SETS = ("train", "test")
"""Examples to train on, and to test on."""

PAIRS = ("both trained", "one trained", "neither trained")
"""Mirrored pairs, by how many of the two were trained on."""

SCENES = 40
"""Most steps at which the slider of the figure stops."""


class Options(AnalysisOptions):
    """What counts as learned."""

    in_a_row: int = Field(default=IN_A_ROW, ge=1)
    """Checkpoints in view one after another at which the answer must be right."""


VARIABLES: Variables = {
    "learned": Var("example", "checkpoint from which it is answered rightly, so many in a row", "optimiser updates"),
    "for_good": Var("example", "checkpoint from which it stays right to the last", "optimiser updates"),
    "lapses": Var("example", "times that it goes from right to wrong after it was learned"),
    "share_learned": Var("step examples", "share that is learned by then", "1"),
    "set_learned": Var("examples quantile", "quartiles of that checkpoint", "optimiser updates"),
    "class_learned": Var("examples class quantile", "the same, by right answer", "optimiser updates"),
    "first_learned": Var("examples number quantile", "the same, by x of x ∘ y", "optimiser updates"),
    "second_learned": Var("examples number quantile", "the same, by y of x ∘ y", "optimiser updates"),
    "explained": Var("examples grouping", "share of the variance of the ranks between groups", "1"),
    "explained_by_chance": Var("examples grouping", "that share on average, if groups were at random", "1"),
    "pair_gap": Var("pair quantile", "checkpoint of x ∘ y to that of y ∘ x, quartiles", "optimiser updates"),
    "pair_gap_by_chance": Var("pair quantile", "the same, of any two such examples", "optimiser updates"),
}


def measure(seen: EachExample, options: Options) -> xr.Dataset:
    """The checkpoint from which each example is answered rightly; quartiles by set, answer, number; and mirrored pairs.

    Not learned is NaN, and so is a quartile that too few have reached.
    """
    found = each_checkpoint(seen.run, lambda weights: {"right": seen.right(weights)}, needs=seen.answered.bytes)
    each = Each(seen, found["right"], options.in_a_row)
    groups = each.groupings
    return dataset(
        seen.run,
        options,
        {**each.of_examples, **each.of_sets, **each.of_groups, **each.of_pairs},
        VARIABLES,
        coords={
            "example": np.arange(len(each.learned)),
            "examples": list(SETS),
            "trained": ("example", seen.trained, {"long_name": "is to train on"}),
            **{f"{name}_of_example": ("example", values) for name, values in groups.items()},
            "quantile": list(learned.QUANTILES),
            "grouping": list(groups),
            **{"number" if name == "first" else name: each.labels(name) for name in groups if name != "second"},
            **({"pair": list(PAIRS), "pairs": ("pair", each.counts)} if seen.mirrored_pairs is not None else {}),
        },
        definition="an example is learned at the first checkpoint in view from which it is answered rightly at "
        f"{options.in_a_row} in a row, against the right answer whatever label was trained; where a prompt has several answers, "
        "all of them; for good: from which it is right at every later one; quartiles count those that are not learned as later "
        "than the last; explained: η² of the ranks, H/(n − 1) of Kruskal and Wallis, which is (groups − 1)/(n − 1) at random; by "
        "chance a pair is any two examples of the same sets",
        source="lapses: forgetting events of Toneva et al. 2019 (arXiv 1812.05159); all else as defined here",
    )


@dataclass(frozen=True)
class Each:
    """When each example was learned, alone and in groups."""

    seen: EachExample
    right: Bool[np.ndarray, "step example"]
    in_a_row: int

    @once
    def steps(self) -> Int[np.ndarray, " step"]:
        """Steps of the checkpoints in view."""
        return np.array(self.seen.run.steps)

    @once
    def learned(self) -> Float[np.ndarray, " example"]:
        """The step at which each is learned, infinite where it is not."""
        return learned.first_in_a_row(self.right, self.steps, self.in_a_row)

    @once
    def sets(self) -> dict[str, Bool[np.ndarray, " example"]]:
        """Which examples are of each set."""
        return dict(zip(SETS, (self.seen.trained, ~self.seen.trained), strict=True))

    @once
    def groupings(self) -> dict[str, Int[np.ndarray, " example"]]:
        """Groups that each example belongs to: by its answer where it has one, by its numbers where it has two."""
        classes, values = self.seen.classes_of, self.seen.values
        named = {} if classes is None else {"class": classes}
        return named | ({} if values is None else dict(zip(("first", "second"), values, strict=True)))

    def labels(self, name: str) -> Int[np.ndarray, " group"]:
        """Groups of a grouping, ascending; of both numbers the same, where a quotient has no y = 0."""
        return np.unique(self.groupings[name] if name == "class" else np.concatenate(self.seen.values or ()))

    @property
    def of_examples(self) -> dict[str, np.ndarray]:
        """What is known of each example."""
        return {
            "learned": known(self.learned),
            "for_good": known(learned.for_good(self.right, self.steps)),
            "lapses": learned.lapses(self.right, self.steps, self.learned),
        }

    @property
    def of_sets(self) -> dict[str, np.ndarray]:
        """What is known of training and test examples."""
        by_set = [self.learned[those] for those in self.sets.values()]
        shares = [(some[None] <= self.steps[:, None]).mean(axis=1) for some in by_set]
        return {
            "share_learned": np.stack(shares, axis=1),
            "set_learned": np.stack([learned.quantiles(some) for some in by_set]),
        }

    @property
    def of_groups(self) -> dict[str, np.ndarray]:
        """What is known of groups: quartiles, and how much they tell."""
        found: dict[str, list[list[np.ndarray]]] = {name: [] for name in self.groupings}
        for those in self.sets.values():
            for name, groups in self.groupings.items():
                here = [self.learned[those & (groups == each)] for each in self.labels(name)]
                found[name].append([learned.quantiles(some) for some in here])
        told = [
            [learned.explained(self.learned[those], groups[those]) for groups in self.groupings.values()]
            for those in self.sets.values()
        ]
        both = np.array(told).reshape(len(SETS), len(self.groupings), 2)
        return {
            **{f"{name}_learned": np.array(values) for name, values in found.items()},
            "explained": both[..., 0],
            "explained_by_chance": both[..., 1],
        }

    @once
    def pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Both examples of the mirrored pairs of each kind; the trained one first."""
        assert self.seen.mirrored_pairs is not None
        one, other = self.seen.mirrored_pairs
        swap = ~self.seen.trained[one]
        one, other = np.where(swap, other, one), np.where(swap, one, other)
        trained = self.seen.trained[one].astype(int) + self.seen.trained[other]
        return [(one[trained == number], other[trained == number]) for number in (2, 1, 0)]

    @property
    def counts(self) -> list[int]:
        """How many mirrored pairs there are of each kind."""
        return [len(one) for one, _ in self.pairs]

    @property
    def of_pairs(self) -> dict[str, np.ndarray]:
        """What is known of mirrored pairs; nothing where the operation is not symmetric."""
        if self.seen.mirrored_pairs is None:
            return {}
        gaps = [learned.quantiles(learned.gaps(self.learned[one], self.learned[other])) for one, other in self.pairs]
        chance = []
        for (one, other), mixed in zip(self.pairs, (False, True, False), strict=True):
            # Any two of the same sets: of one set, both places of a pair are taken together.
            first, second = (one, other) if mixed else (np.concatenate([one, other]),) * 2
            chance.append(learned.gaps_by_chance(self.learned[first], self.learned[second], same=not mixed))
        return {"pair_gap": np.array(gaps), "pair_gap_by_chance": np.array(chance)}


def known(steps: Float[np.ndarray, " example"]) -> Float[np.ndarray, " example"]:
    """Steps with NaN for those that are not reached."""
    return np.where(np.isfinite(steps), steps, np.nan)


NAMES: Mapping[str, str] = {"class": "right answer", "first": "x of x ∘ y", "second": "y of x ∘ y"}
"""What examples are grouped by, in words."""


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above the share that is learned, by set; quartiles by answer and number; and the table, with a slider over steps."""
    groupings = list(found["grouping"].values)
    titles = ["loss", "share of the examples that is learned"]
    titles += [f"step at which they are learned, by {NAMES[name]}: quartiles{told(found, name)}" for name in groupings]
    titles += ["step at which each example is learned"] if "first" in groupings else []
    heights = [3.0, 3.0, *[3.0] * len(groupings), *([10.0] if "first" in groupings else [])]
    figure = figures.panels(titles, heights, title="Example by example", gap=70)
    figures.losses(figure, found, row=1)
    for examples, colour in zip(SETS, (figures.TRAIN, figures.TEST), strict=True):
        figures.line(figure, found["share_learned"].sel(examples=examples), examples, colour, row=2)
        for row, name in enumerate(groupings, start=3):
            figures.quartiles(figure, found[f"{name}_learned"].sel(examples=examples), examples, colour, row)
    figure.update_yaxes(title_text="learned", tickformat=".0%", range=[-0.02, 1.04], row=2)
    own = {row: NAMES[name] for row, name in enumerate(groupings, start=3)}
    if "first" in groupings:
        own[len(titles)] = NAMES["second"]
    if own:
        figures.own_axes(figure, own)
    for row in range(3, 3 + len(groupings)):
        figure.update_yaxes(title_text="step", rangemode="tozero", row=row)
    figure = figures.mark_transition(figure, found, rows=2)
    return table_with_slider(figure, found, row=len(titles)) if "first" in groupings else figure


def told(found: xr.Dataset, name: str) -> str:
    """How much a grouping tells of the test examples, in words; nothing if it is not known."""
    share, chance = (
        float(found[each].sel(examples="test", grouping=name)) for each in ("explained", "explained_by_chance")
    )
    return (
        "" if np.isnan(share) else f"; it tells {100 * share:.3g} % of the test ranks, by chance {100 * chance:.2g} %"
    )


def table_with_slider(figure: go.Figure, found: xr.Dataset, row: int) -> go.Figure:
    """The figure with the table of x and y coloured by the step at which each is learned, up to the step of the slider."""
    values, steps = found["number"].values, found["step"].values
    x, y = (np.searchsorted(values, found[f"{name}_of_example"].values) for name in ("first", "second"))
    table, trained = (
        np.full((len(values), len(values)), np.nan, dtype=np.float32),
        np.zeros((len(values),) * 2, dtype=int),
    )
    table[x, y], trained[x, y] = found["learned"].values, 1 + found["trained"].values
    words = np.array(["no example", "test", "train"])[trained]
    figures.field(figure, values, table, words, row, colorbar="learned at step")
    figure.update_yaxes(title_text=NAMES["first"], row=row)
    stops = np.unique(np.linspace(0, len(steps) - 1, min(SCENES, len(steps))).round().astype(int))
    number = len(figure.data) - 1  # pyright: ignore[reportArgumentType]
    frames = [
        go.Frame(data=[go.Heatmap(z=np.where(table <= steps[stop], table, np.nan))], traces=[number]) for stop in stops
    ]
    captions = [
        f"step {steps[stop]:,}: {np.mean(found['learned'].values <= steps[stop]):.1%} learned" for stop in stops
    ]
    return figures.player(figure, frames, captions)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Share of the examples that is learned by each step, and how many are wrong at the last."""
    table = by_step(found)
    for examples in SETS:
        table[f"{examples} learned"] = found["share_learned"].sel(examples=examples).values
    return table
