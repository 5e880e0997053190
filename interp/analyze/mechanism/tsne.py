"""t-SNE, principal components and circles of embedding and unembedding: do residues form a ring, or elements clusters?"""

import math
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.base import UserError
from interp.maths import geometry
from interp.maths.fourier import frequency_norms
from interp.maths.neighbours import best_of, nearest, ring_shares
from interp.maths.residues import discrete_logarithms
from interp.maths.sampling import standard_error
from interp.maths.tsne import neighbours, trusted, tsne
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.views.points import Points
from interp.views.walk import bytes_read, evenly, needs_memory, single_threads


class Options(AnalysisOptions):
    """How the planes are found."""

    frames: int = Field(default=60, ge=1)
    """How many steps are shown at most, evenly chosen among those in view."""
    perplexity: float = Field(default=15.0, gt=0)
    """Effective number of neighbours of a point, in t-SNE; capped at a third of the points."""
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """Step size of t-SNE's gradient descent; auto is the number of points over 48, at least 50."""
    iterations: int = Field(default=1000, ge=300)
    """Gradient steps of the first frame; later ones start from the frame before and take 300."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of t-SNE, and of the random matrices for comparison."""
    random_draws: int = Field(default=1, ge=1, le=1000)
    """Random matrices that are averaged for comparison; several have a standard error, and each takes a t-SNE of its own."""
    frequency: int | Literal["strongest"] = "strongest"
    """Frequency k whose circle is shown, of residues; strongest is that of the largest power in the last frame."""


VARIABLES: Variables = {
    "tsne": Var("step matrix {point} axis", "t-SNE of the {point}s, aligned to the frame before"),
    "pca": Var("step matrix {point} axis", "first two principal components, aligned to the frame before"),
    "circle": Var("step matrix {point} axis", "projection on the plane of one frequency"),
    "pca_share": Var("step matrix", "share of variance of two components", "1"),
    "kl": Var("step matrix", "divergence of t-SNE", "nats"),
    "trustworthiness": Var("step matrix", "trustworthiness of t-SNE", "1"),
    "ring": Var("step matrix naming space", "share of the two nearest neighbours that are ±stride away", "1"),
    "ring_stride": Var("step matrix naming space", "that stride, the best"),
    "ring_by_chance": Var("step matrix naming space", "best share when residues are named at random", "1"),
    "ring_p": Var("step matrix naming space", "share of random names that do as well", "1"),
}

SPACES = ("all", "pca", "tsne")
"""Where neighbours are looked for: in all dimensions of the matrix, in its first two principal components, by t-SNE."""


def measure(seen: Points, options: Options) -> xr.Dataset:
    """Residues in the plane at each step: t-SNE, the first two principal components, and the plane of one frequency.

    Of a group the elements, which have no frequency. Each frame of t-SNE starts from the one before and is then turned onto
    it, so that movement is the network's. Trustworthiness (1: neighbours in the plane are neighbours in the network) and the
    divergence that t-SNE minimises stand beside it, with those of random matrices: t-SNE draws clusters in noise.

    Whether residues lie on a ring is told in numbers, whatever the operation: under their values, as for x + y, and under their
    discrete logarithms, as for x · y.
    """
    run, n = evenly(seen.run, options.frames), seen.n
    reads = seen.reads.__contains__
    needs_memory(run, 4 * len(run) * bytes_read(run, reads) + 100 * n**2)  # exact t-SNE: ten matrices
    clouds = seen.clouds(run.stacked(reads))
    ks = {name: None if seen.are_elements else frequency(cloud, options) for name, cloud in clouds.items()}
    generator = torch.Generator().manual_seed(options.seed)
    noise = [torch.randn(1, n, seen.embeds.width, generator=generator) for _ in range(options.random_draws)]
    with single_threads():  # a decomposition of so few points takes thirty times as long on two
        planes = [project(cloud, ks[name], options) for name, cloud in clouds.items()]
        random = [project(each, None, options) for each in noise]
    found = {name: np.stack([one[name] for one in planes], axis=1) for name in planes[0]}
    if seen.namings:
        found |= rings(seen, {"all": list(clouds.values()), **of_planes(found)}, options.seed)
    return dataset(
        run,
        options,
        found,
        {name: var._replace(dims=var.dims.format(point=seen.point)) for name, var in VARIABLES.items()},
        coords={
            "matrix": list(clouds),
            **({} if seen.are_elements else {"frequency": ("matrix", list(ks.values()))}),
            **({"naming": list(seen.namings), "space": list(SPACES)} if seen.namings else {}),
            seen.point: seen.values.numpy(),
            **({"kind": (seen.point, seen.kinds)} if seen.kinds else {}),
            "axis": ["x", "y"],
        },
        definition="exact t-SNE, PCA start, then each frame from the one before and orthogonal Procrustes onto it; "
        f"{neighbours(n)} neighbours for trustworthiness; ring: of the two nearest neighbours of each residue, beside 200 random "
        "namings",
        source="van der Maaten & Hinton 2008; unembedding's ring and cosets: Power et al. 2022, figure 3; circles: Nanda et al. "
        "2023",
        words={"point": seen.point},
    ).assign_attrs(
        perplexity=perplexity(options, n),
        **of_random({name: np.concatenate([each[name] for each in random]) for name in ("kl", "trustworthiness")}),
    )


def of_planes(found: dict[str, np.ndarray]) -> dict[str, list[Float[Tensor, "step n axis"]]]:
    """The planes in which neighbours are looked for, by name, one for each matrix."""
    return {space: list(torch.from_numpy(found[space]).unbind(dim=1)) for space in SPACES[1:]}


def rings(seen: Points, clouds: dict[str, list[Float[Tensor, "step n d"]]], seed: int) -> dict[str, np.ndarray]:
    """The share of neighbours at the best stride, the stride, and what chance gives, [step, matrix, naming, space]."""
    matrices = clouds["all"]  # which may differ in width
    shape = (len(matrices[0]), len(matrices), len(seen.namings), len(SPACES))
    found = {name: np.full(shape, np.nan) for name in ("ring", "ring_stride", "ring_by_chance", "ring_p")}
    for where in np.ndindex(shape):
        step, matrix, naming, space = where
        points, places, period = list(seen.namings.values())[naming]
        near = nearest(clouds[SPACES[space]][matrix][step, points])
        best = best_of(
            lambda names, of=near, at=places, n=period: ring_shares(of, at[names], n), len(points), seed=seed
        )
        found["ring"][where], found["ring_stride"][where] = best.value, best.place + 1
        found["ring_by_chance"][where], found["ring_p"][where] = best.by_chance, best.p_value
    return found


def of_random(drawn: dict[str, Float[np.ndarray, " draw"]]) -> dict[str, float]:
    """Mean over the random matrices by name, and its standard error where there are several."""
    means = {f"random_{name}": float(values.mean()) for name, values in drawn.items()}
    errors = {f"random_{name}_error": standard_error(torch.from_numpy(values)).item() for name, values in drawn.items()}
    return means | {name: error for name, error in errors.items() if not math.isnan(error)}


def frequency(cloud: Float[Tensor, "step n d"], options: Options) -> int:
    """The frequency whose plane is shown of a matrix; UserError when residues have none of that number."""
    k, n = strongest(cloud[-1]) if options.frequency == "strongest" else options.frequency, cloud.shape[1]
    if not 1 <= k <= n // 2:
        raise UserError(f"frequency is {options.frequency}; with {n} residues it should be 1 to {n // 2}")
    return k


def strongest(cloud: Float[Tensor, "period d"]) -> int:
    """The frequency with the largest power."""
    return int(frequency_norms(cloud).argmax()) + 1


def project(cloud: Float[Tensor, "step point d"], k: int | None, options: Options) -> dict[str, np.ndarray]:
    """Every kind of plane for one matrix over steps, each frame laid onto the one before; without k no circle."""
    frames: dict[str, list[Any]] = {"tsne": [], "pca": [], "pca_share": [], "kl": [], "trustworthiness": []}
    for points in cloud:
        before = frames["tsne"][-1] if frames["tsne"] else None
        embedded, kl = tsne(
            points,
            before,
            perplexity=perplexity(options, len(points)),
            learning_rate=options.learning_rate,
            iterations=options.iterations,
            seed=options.seed,
        )
        components, shares = geometry.principal_components(points)
        frames["tsne"].append(embedded if before is None else geometry.aligned(embedded, before))
        frames["pca"].append(geometry.aligned(components, frames["pca"][-1]) if frames["pca"] else components)
        frames["pca_share"].append(float(shares.sum()))
        frames["kl"].append(kl)
        frames["trustworthiness"].append(trusted(points, embedded))
    if k is not None:
        frames["circle"] = [geometry.circle(points, k) for points in cloud]
    return {name: np.stack([np.asarray(frame) for frame in values]) for name, values in frames.items()}


def perplexity(options: Options, n: int) -> float:
    """The perplexity that is used for n points."""
    return min(options.perplexity, (n - 1) / 3)


AXES = {
    "tsne": ("t-SNE axis 1 (no scale)", "t-SNE axis 2"),
    "pca": ("component 1", "component 2"),
    "circle": ("cosine at k", "sine at k"),
}
"""Names of the axes of each kind of plane. Components and the circle are turned onto the frame before, so that nothing jumps."""


def draw(found: xr.Dataset) -> go.Figure:
    """t-SNE, principal components and, of residues, the circle of each matrix, with a slider over steps."""
    kinds = {"tsne": "t-SNE", "pca": "principal components", "circle": "circle of k = {k}"}
    kinds = {kind: title for kind, title in kinds.items() if kind in found}
    matrices = [found.sel(matrix=matrix) for matrix in found["matrix"].values]
    names = [
        f"{here['matrix'].item()}: {title.format(k=here['frequency'].item() if 'frequency' in here.coords else None)}"
        for here in matrices
        for title in kinds.values()
    ]
    clouds = [here[kind] for here in matrices for kind in kinds]
    point = str(found["tsne"].dims[2])
    title = f"Where the {point}s lie"
    axes = [AXES[kind] for _ in matrices for kind in kinds]
    figure = figures.planes(clouds, names, axes, len(kinds), colours(found), title, labels=found[point])
    return figures.step_slider(figure, clouds, [caption(found, index) for index in range(found.sizes["step"])])


def colours(found: xr.Dataset) -> xr.DataArray:
    """A number for each point: its place on the ring that is clearest at the last step; its value where one has no place.

    Strides that do not meet every residue give none, and 0 has none under logarithms. An element of a group that is not cyclic
    has a word instead: numbers of such elements are no places.
    """
    if "kind" in found.coords:
        return found["kind"]
    values = found[str(found["tsne"].dims[2])]
    if "ring" not in found:
        return values
    last = found.isel(step=-1).sel(space="all")
    best = last.isel(last["ring"].argmax(...))
    naming, stride = best["naming"].item(), int(best["ring_stride"])
    names = values.values if naming == "sum" else discrete_logarithms(int(values.max()) + 1)[values.values]
    period = int(names.max()) + 1
    if names.min() < 0 or math.gcd(stride, period) > 1:
        return values
    along = names * pow(stride, -1, period) % period
    return xr.DataArray(along, dims=values.dims, name=f"place in steps of ±{stride}, by {naming}")


def caption(found: xr.Dataset, index: int) -> str:
    """What the slider says of one frame."""
    here = found.isel(step=index)
    trust = ", ".join(
        f"{name} {value:.2f}"
        for name, value in zip(found["matrix"].values, here["trustworthiness"].values, strict=True)
    )
    error = found.attrs.get("random_trustworthiness_error")
    return (
        f"step {here['step'].item():,} · test accuracy {here['test_accuracy'].item():.0%} · "
        f"trustworthiness: {trust} (random {found.attrs['random_trustworthiness']:.2f}"
        f"{'' if error is None else f' ± {error:.2f}'}){ring(here) if 'ring' in here else ''}"
    )


def ring(here: xr.Dataset) -> str:
    """In how far neighbours lie on a ring in all dimensions, under the naming and of the matrix where they do most."""
    best = here.sel(space="all")
    best = best.isel(best["ring"].argmax(...))
    return (
        f" · ring: {best['matrix'].item()} {best['ring'].item():.2f} at ±{best['ring_stride'].item():.0f} by "
        f"{best['naming'].item()} (chance {best['ring_by_chance'].item():.2f})"
    )


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Divergence, trustworthiness and share of two components at each step."""
    table = by_step(found)
    for matrix in found["matrix"].values:
        here = found.sel(matrix=matrix)
        table[f"{matrix} KL"] = here["kl"].values
        table[f"{matrix} trust"] = here["trustworthiness"].values
        table[f"{matrix} PCA share"] = here["pca_share"].values
        for naming in found["naming"].values if "ring" in found else ():
            table[f"{matrix} ring, {naming}"] = in_words(here.sel(naming=naming, space="all"))
    return table


def in_words(here: xr.Dataset) -> list[str]:
    """The share of neighbours on the ring at each step with its stride, and p where some random naming does as well."""
    parts = zip(here["ring"].values, here["ring_stride"].values, here["ring_p"].values, strict=True)
    return [f"{share:.2f} at ±{stride:.0f}{'' if p < 0.005 else f', p {p:.2g}'}" for share, stride, p in parts]
