"""Geometry: where do features and examples lie among the hidden numbers, and which polygons do the features form?"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from interp.figures.rays import in_planes
from interp.maths import geometry, polygons, superposition
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.store import Run
from interp.views import watched
from interp.views.features import SOURCE, Features
from interp.views.seeds import MATCHED, between_seeds
from interp.views.swept import AXES, swept, the_number
from interp.views.walk import needs_memory


class Options(AnalysisOptions):
    """What is shown, and what counts as a polygon."""

    represented_above: float = Field(default=0.1, gt=0, lt=1)
    """Feature dimensionality D from which a feature counts as represented."""
    features: int = Field(default=64, ge=1)
    """At most so many features are shown: those represented at the last step, then the others, the longest first."""
    examples: int = Field(default=256, ge=0)
    """At most so many training examples are shown, the longest at the last step."""
    overlap: float = Field(default=0.1, gt=0, lt=1)
    """|cos| of two represented features above which they belong to one polygon."""
    tolerance: float = Field(default=0.05, gt=0, lt=1)
    """How far D may lie from r/k for k features in r dimensions to bear a name, and their sum from 0, ÷ their lengths."""
    folds: int = Field(default=16, ge=2)
    """m-fold order is measured for m from 1 to this number."""


VARIABLES: Variables = {
    "feature_plane": Var("step feature axis", "features in the plane"),
    "feature_polygon": Var("step feature", "number of the feature's polygon at that step, -1 for none"),
    "feature_gap": Var("step feature", "degrees to the next represented feature, counterclockwise"),
    "example_plane": Var("step example axis", "training examples' hidden numbers in the plane"),
    "example_gap": Var("step example", "degrees to the next training example, counterclockwise"),
    "feature_fold_order": Var("step fold", "m-fold order of the represented features"),
    "feature_fold_order_null": Var("step", "mean m-fold order of as many directions drawn at random"),
    "example_fold_order": Var("step fold", "m-fold order of all training examples' hidden numbers"),
    "example_fold_order_null": Var("step", "mean m-fold order of as many directions drawn at random"),
    "example_fold_order_by_length": Var(
        "step fold", "m-fold order of all training examples' hidden numbers, by length"
    ),
    "example_fold_order_by_length_null": Var("step", "mean m-fold order of random directions with these lengths"),
    "plane_share": Var("step", "share of the shown features' squared lengths in the plane"),
    "polygons": Var("step form", "polygons"),
}


@dataclass(frozen=True)
class Scene:
    """What is shown of a run at every step alike."""

    seen: Features
    options: Options
    features: Int[Tensor, " feature"]
    examples: Int[Tensor, " example"]
    onto: Float[Tensor, "d_hidden axis"]
    """Orthonormal directions of the plane."""

    @staticmethod
    def of(seen: Features, options: Options) -> "Scene":
        """The scene of the last step, which chooses for all."""
        last = stack_of_one(seen.run, seen.run.steps[-1])
        V = seen.features.of(last)[0].double()
        represented, lengths = represents(V, options), V.norm(dim=-1)
        # Two keys: whatever its length, a represented feature comes before all others.
        features = torch.argsort(represented + lengths / (1 + lengths), descending=True)[: options.features]
        longest = seen.hidden(last)[0].norm(dim=-1).argsort(descending=True) if seen.n_examples else torch.arange(0)
        return Scene(
            seen, options, features.sort()[0], longest[: options.examples].sort()[0], geometry.plane(V[features])
        )

    def frame(self, step: int) -> tuple[dict[str, np.ndarray], Counter[str]]:
        """Where features and examples lie at one checkpoint, and how many polygons there are of each name."""
        weights = stack_of_one(self.seen.run, step)
        V = self.seen.features.of(weights)[0].double()
        represented = represents(V, self.options)
        found, polygon = polygons.polygons_of(V, represented, self.options.overlap, self.options.tolerance)
        shown = {"feature_plane": V @ self.onto, "feature_polygon": polygon}
        if self.in_the_plane:
            shown["feature_gap"] = gaps(V, represented)
        frame = {name: values[self.features].numpy() for name, values in shown.items()}
        if self.in_the_plane:
            frame |= fold_orders(V[represented], "feature_fold_order", self.options.folds)
        if len(self.examples):
            frame |= self.of_examples(weights)
        share = V[self.features] @ self.onto
        frame["plane_share"] = (share.square().sum() / V[self.features].square().sum()).numpy()
        return frame, Counter(each.name for each in found)

    def of_examples(self, weights: Weights) -> dict[str, np.ndarray]:
        """Where the shown examples lie, and m-fold orders of all."""
        hidden = self.seen.hidden(weights)[0].double()
        found = {"example_plane": (hidden[self.examples] @ self.onto).numpy()}
        if self.in_the_plane:
            found |= fold_orders(hidden, "example_fold_order", self.options.folds)
            found |= fold_orders(hidden, "example_fold_order_by_length", self.options.folds, by_length=True)
            if len(self.examples) == self.seen.n_examples:
                found["example_gap"] = gaps(hidden, hidden.norm(dim=-1) > 0)[self.examples].numpy()
        return found

    @property
    def in_the_plane(self) -> bool:
        """Whether the plane is all there is, so that angles in it are those of the model."""
        return self.seen.d_hidden == 2


def stack_of_one(run: Run, step: int) -> Weights:
    """The weights at a step, as a stack."""
    return {name: tensor[None] for name, tensor in run.at(step).weights.items()}


def represents(V: Float[Tensor, "n d"], options: Options) -> Bool[Tensor, " n"]:
    """Which features are represented."""
    return superposition.feature_dimensionality(V) > options.represented_above


def gaps(V: Float[Tensor, "n 2"], counted: Bool[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Degrees to the next of those that count; NaN for the others."""
    degrees = torch.full((len(V),), torch.nan, dtype=torch.float64)
    degrees[counted] = polygons.gaps(V[counted])
    return degrees


def fold_orders(V: Float[Tensor, "n 2"], name: str, folds: int, by_length: bool = False) -> dict[str, np.ndarray]:
    """m-fold order of these directions for every m, and its mean for random ones, by name of the variable."""
    each = polygons.fold_order(V, torch.arange(1, folds + 1), by_length)
    return {name: each.numpy(), f"{name}_null": polygons.random_fold_order(V, by_length).numpy()}


def measure(seen: Features, options: Options) -> xr.Dataset:
    """Features and training examples in the plane at every checkpoint, and the polygons that represented features form.

    Two hidden numbers are the plane. Of more it is that of the first two principal axes of the shown features at the last
    step, the same for all steps, so that nothing jumps. Represented features that overlap, or are joined by a chain of such,
    are a polygon: k of them in r dimensions (participation ratio of their unit vectors' spectrum, rounded), with a name where D
    of each among them is r/k and they sum to 0, `k in r` otherwise. In the plane gaps are told: degrees from each
    represented feature to the next, and from each example to the next where all are shown. So is m-fold order |Σ e^{imθ}|/n: of
    the represented features, and of all examples, these also with e^{imθ} weighted by length, beside √(π/4n), the mean
    for n random directions.
    """
    run = seen.run
    most = min(seen.n_features, int(seen.d_hidden / options.represented_above))  # represented, since ΣD ≤ d_hidden
    orders = 24 * options.folds * seen.n_examples
    needs_memory(run, seen.beside + 8 * seen.bytes + 24 * most**2 + orders)
    scene = Scene.of(seen, options)
    frames, counts = [], []
    for step in run.steps:
        frame, polygons_by_name = scene.frame(step)
        frames.append(frame)
        counts.append(polygons_by_name)
        watched.tell(len(frames), len(run))
    forms = [form.name for form in polygons.FORMS]
    forms += sorted({name for each in counts for name in each} - set(forms), key=in_numbers)
    return dataset(
        run,
        options,
        {
            **{name: np.stack([frame[name] for frame in frames]) for name in frames[0]},
            "polygons": [[each[form] for form in forms] for each in counts],
        },
        VARIABLES,
        coords={
            "form": forms,
            "feature": scene.features.numpy(),
            "axis": ["x", "y"],
            **({"fold": np.arange(1, options.folds + 1)} if scene.in_the_plane else {}),
            **({"example": scene.examples.numpy()} if len(scene.examples) else {}),
        },
        definition=f"{' '.join((measure.__doc__ or '').split())} Represented: D > {options.represented_above:g}; overlap: "
        f"|cos| > {options.overlap:g}; D and sum within {options.tolerance:g}.",
        source=SOURCE,
    ).assign_attrs(d_hidden=seen.d_hidden)


def in_numbers(name: str) -> list[int]:
    """Features and dimensions of a polygon without a name, by which those are put in order."""
    return [int(number) for number in name.split(" in ")]


def draw(found: xr.Dataset) -> go.Figure:
    """Features and examples in the plane, with a slider over steps."""
    steps = [found.isel(step=index) for index in range(found.sizes["step"])]
    return moving(steps, [f"step {each['step'].item():,}" for each in steps])


def draw_runs(found: list[xr.Dataset]) -> go.Figure:
    """Features and examples in the plane at the last step of every run, with a slider over the field in which the runs differ.

    Raises:
        UserError: they differ in no number, or in several fields.
    """
    field = the_number(found)
    values = swept(found)[field]
    order = values.argsort(kind="stable")
    label = AXES.get(field, field)
    return moving(
        [found[index].isel(step=-1) for index in order], [f"{label} = {values[index]:,.6g}" for index in order]
    )


def moving(scenes: list[xr.Dataset], labels: list[str]) -> go.Figure:
    """The figure of the last of these scenes, with a slider through all."""
    kinds = {
        "feature": "features, coloured by polygon (grey: not represented)",
        "example": "hidden numbers of training examples",
    }
    kinds = {kind: title for kind, title in kinds.items() if any(f"{kind}_plane" in each for each in scenes)}
    d_hidden = scenes[-1].attrs["d_hidden"]
    what = "the plane" if d_hidden <= 2 else f"the first two principal axes of {d_hidden}"
    captions = [f"{label} · {told(each)}" for each, label in zip(scenes, labels, strict=True)]
    axis = "hidden number" if d_hidden <= 2 else "principal axis"
    return in_planes(scenes, kinds, (f"{axis} 1", f"{axis} 2"), f"Polygons in {what}", captions)


def told(scene: xr.Dataset) -> str:
    """Polygons and gaps in a few words."""
    words = [in_words(scene["polygons"]) or "no feature represented"]
    for kind in ("feature", "example"):
        if f"{kind}_gap" in scene and scene[f"{kind}_gap"].notnull().any():
            gap = scene[f"{kind}_gap"]
            words.append(f"{kind}s {float(gap.min()):.0f}° to {float(gap.max()):.0f}° apart")
    return " · ".join(words)


def headline(found: xr.Dataset) -> dict[str, str]:
    """Polygons at the last step."""
    return {"polygons": in_words(found["polygons"].isel(step=-1)) or "none: no feature is represented"}


def in_words(counts: xr.DataArray) -> str:
    """`2 × digon, 1 × 3 in 2`."""
    return ", ".join(
        f"{int(count)} × {form}" for form, count in zip(counts["form"].values, counts.values, strict=True) if count
    )


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """How many of each polygon there are, those without a name in one column, and the gaps in degrees, at each step."""
    table = by_step(found)
    named = [form.name for form in polygons.FORMS]
    for form in named:
        table[form] = found["polygons"].sel(form=form).values
    nameless = found["polygons"].drop_sel(form=named)
    table["others"] = [in_words(nameless.isel(step=index)) or "–" for index in range(found.sizes["step"])]
    for kind in ("feature", "example"):
        if f"{kind}_fold_order" in found:
            table[f"{kind} order"] = [strongest(found.isel(step=index), kind) for index in range(found.sizes["step"])]
        if f"{kind}_gap" in found:
            gap = found[f"{kind}_gap"]
            table[f"{kind} gaps from"], table[f"{kind} gaps to"] = gap.min(dim=kind).values, gap.max(dim=kind).values
    return table


def strongest(scene: xr.Dataset, kind: str) -> str:
    """The strongest m-fold order from m = 2 on, beside that of random directions: `5-fold .98 (random .40)`.

    Of orders within 1 % of it the least m is told: a pentagon has order 1 at 10 and 15 too.
    """
    order = scene[f"{kind}_fold_order"].sel(fold=slice(2, None))
    if not bool(order.notnull().all()):
        return "–"
    best = np.flatnonzero(order.values >= 0.99 * order.values.max())[0]
    m, value, null = order["fold"].values[best], order.values[best], scene[f"{kind}_fold_order_null"].values
    return f"{m}-fold {value:.2f} (random {null:.2f})"


def compare(found: list[xr.Dataset]) -> pd.DataFrame:
    """How many of each polygon there are at the last step of every run, beside the fields in which the runs differ, and how far
    its features and examples are from those of the runs that differ in seeds alone: mean over these, 1 for random directions.
    """
    last = pd.concat([summarise(each.isel(step=[-1])) for each in found], ignore_index=True)
    pairs = between_seeds(found)
    for kind, label in MATCHED.items():
        if kind in pairs:
            of_run = [pairs.loc[(pairs["run"] == index) | (pairs["other"] == index), kind] for index in last.index]
            last[f"{label}, of other seeds"] = [each.mean() for each in of_run]
    return pd.concat([swept(found), last], axis=1)
