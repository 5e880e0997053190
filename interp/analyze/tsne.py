"""t-SNE, principal components and circles of embedding and unembedding: do residues form a ring, or elements clusters?"""

import warnings
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.analyze._common import (
    AnalysisOptions,
    by_step,
    bytes_read,
    dataset,
    evenly,
    fits,
    needs_numbers,
)
from interp.base import UserError
from interp.maths import geometry
from interp.maths.fourier import frequency_norms
from interp.store import Run
from interp.tasks import GroupTask

LATER_ITERATIONS = 300
"""Of frames that start from the one before; scikit-learn reports no divergence for 250 and fewer."""

EXACT_UP_TO = 2000
"""Points up to which the exact gradient is used; at these sizes it is the faster one too."""


class Options(AnalysisOptions):
    """How the planes are found."""

    frames: int = Field(default=60, ge=1)
    """At most so many steps, evenly chosen among those in view."""
    perplexity: float = Field(default=15.0, gt=0)
    """Effective number of neighbours of a point, in t-SNE; capped at a third of the points."""
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """Of t-SNE's gradient descent; auto is the number of points over 48, at least 50."""
    iterations: int = Field(default=1000, ge=300)
    """Gradient steps of the first frame; later ones start from the frame before and take 300."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of t-SNE, and of the random matrix for comparison."""
    frequency: int | Literal["strongest"] = "strongest"
    """Frequency k whose circle is shown, of residues; strongest is that of the largest power in the last frame."""


def measure(run: Run, options: Options) -> xr.Dataset:
    """Residues in the plane at each step: t-SNE, the first two principal components, and the plane of one frequency.

    Of a group the elements, which have no frequency. Each frame of t-SNE starts from the one before and is then turned onto
    it, so that movement is the network's. Trustworthiness (1: neighbours in the plane are neighbours in the network) and the
    divergence that t-SNE minimises stand beside it, with the same for a random matrix: t-SNE draws clusters in noise.
    """
    point, values = points_of(run)
    run = evenly(run.with_checkpoints(), options.frames)
    clouds = point_clouds(run, values)
    n = clouds.shape[2]
    ks = frequencies(clouds, options) if point == "residue" else [None] * len(clouds)
    planes = [project(cloud, k, options) for cloud, k in zip(clouds, ks, strict=True)]
    noise = torch.randn(1, *clouds.shape[2:], generator=torch.Generator().manual_seed(options.seed))
    random = project(noise, None, options)
    plane, scalar = ("step", "matrix", point, "axis"), ("step", "matrix")
    told = {
        "tsne": (plane, {"long_name": f"t-SNE of the {point}s, aligned to the frame before"}),
        "pca": (plane, {"long_name": "first two principal components, aligned to the frame before"}),
        "circle": (plane, {"long_name": "projection on the plane of one frequency"}),
        "pca_share": (scalar, {"long_name": "share of variance of two components"}),
        "kl": (scalar, {"long_name": "divergence of t-SNE", "units": "nats"}),
        "trustworthiness": (scalar, {"long_name": "trustworthiness of t-SNE"}),
    }
    return dataset(
        run,
        options,
        {
            name: (dims, np.stack([one[name] for one in planes], axis=1), attrs)
            for name, (dims, attrs) in told.items()
            if name in planes[0]
        },
        coords={
            "matrix": ["W_E", "W_U"],
            **({"frequency": ("matrix", ks)} if point == "residue" else {}),
            point: values,
            "axis": ["x", "y"],
        },
        definition="exact t-SNE, PCA start, then each frame from the one before and orthogonal Procrustes onto it; "
        f"{neighbours(n)} neighbours for trustworthiness",
        source="van der Maaten & Hinton 2008; unembedding's ring and cosets: Power et al. 2022, figure 3; circles: Nanda et al. "
        "2023",
    ).assign_attrs(
        perplexity=perplexity(options, n),
        random_kl=float(random["kl"][0]),
        random_trustworthiness=float(random["trustworthiness"][0]),
    )


def points_of(run: Run) -> tuple[str, Int[np.ndarray, " point"]]:
    """What the points are, residues in the order of the group or elements, and their tokens; DoesNotApply for other tasks."""
    if isinstance(run.task, GroupTask):
        return "element", np.arange(run.task.n_values)
    return "residue", needs_numbers(run, "tsne").residues()


def point_clouds(run: Run, values: Int[np.ndarray, " point"]) -> Float[Tensor, "2 step point d_model"]:
    """Rows of W_E and columns of W_U for the points; those of other tokens are left out."""
    names = ("embed.W_E", "unembed.W_U").__contains__
    fits(run, 4 * len(run) * bytes_read(run, names) + 100 * len(values) ** 2)  # exact t-SNE: ten matrices
    weights, tokens = run.stacked(names), torch.from_numpy(values)
    return torch.stack([weights["embed.W_E"][:, tokens], weights["unembed.W_U"].mT[:, tokens]])


def frequencies(clouds: Float[Tensor, "matrix step period d"], options: Options) -> list[int]:
    """The frequency whose plane is shown, of each matrix."""
    ks = [strongest(cloud[-1]) if options.frequency == "strongest" else options.frequency for cloud in clouds]
    period = clouds.shape[2]
    if not all(1 <= k <= period // 2 for k in ks):
        raise UserError(f"frequency is {options.frequency}; with {period} residues it should be 1 to {period // 2}")
    return ks


def strongest(cloud: Float[Tensor, "period d"]) -> int:
    """The frequency with the largest power."""
    return int(frequency_norms(cloud).argmax()) + 1


def project(cloud: Float[Tensor, "step point d"], k: int | None, options: Options) -> dict[str, np.ndarray]:
    """Every kind of plane for one matrix over steps, each frame laid onto the one before; without k no circle."""
    frames: dict[str, list] = {"tsne": [], "pca": [], "pca_share": [], "kl": [], "trustworthiness": []}
    for points in cloud:
        before = frames["tsne"][-1] if frames["tsne"] else None
        embedded, kl = tsne(points, before, options)
        components, shares = geometry.principal_components(points)
        frames["tsne"].append(embedded if before is None else geometry.aligned(embedded, before))
        frames["pca"].append(geometry.aligned(components, frames["pca"][-1]) if frames["pca"] else components)
        frames["pca_share"].append(float(shares.sum()))
        frames["kl"].append(kl)
        frames["trustworthiness"].append(trusted(points, embedded))
    if k is not None:
        frames["circle"] = [geometry.circle(points, k) for points in cloud]
    return {name: np.stack([np.asarray(frame) for frame in values]) for name, values in frames.items()}


def tsne(
    points: Float[Tensor, "n d"], start: Float[Tensor, "n 2"] | None, options: Options
) -> tuple[Float[Tensor, "n 2"], float]:
    """The points in the plane, and the Kullback–Leibler divergence that is left (nats)."""
    from sklearn.manifold import TSNE  # here: importing scikit-learn takes seconds

    settings: dict[str, Any] = {
        "perplexity": perplexity(options, len(points)),
        "learning_rate": options.learning_rate,
        "method": "exact" if len(points) <= EXACT_UP_TO else "barnes_hut",
        "random_state": options.seed,
    }
    if start is None:
        settings |= {"init": "pca", "max_iter": options.iterations}
    else:  # without the early exaggeration, which would tear the frame before apart
        settings |= {"init": start.numpy(), "max_iter": LATER_ITERATIONS, "early_exaggeration": 1.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # PCA start of points that all coincide divides by zero
        mapper = TSNE(**settings)
        embedded = mapper.fit_transform(points.double().numpy())
    return torch.from_numpy(embedded).double(), float(mapper.kl_divergence_)


def perplexity(options: Options, n: int) -> float:
    """The perplexity that is used for n points."""
    return min(options.perplexity, (n - 1) / 3)


def neighbours(n: int) -> int:
    """How many neighbours trustworthiness looks at: 5, or what few points allow."""
    return min(5, max(1, (n - 1) // 2 - 1))


def trusted(points: Float[Tensor, "n d"], embedded: Float[Tensor, "n 2"]) -> float:
    """Trustworthiness of the plane, 0 to 1 (Venna & Kaski 2001)."""
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(points.double().numpy(), embedded.numpy(), n_neighbors=neighbours(len(points))))


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
    figure = figures.planes(clouds, names, columns=len(kinds), colour=found[point], title=title)
    return figures.step_slider(figure, clouds, [caption(found, index) for index in range(found.sizes["step"])])


def caption(found: xr.Dataset, index: int) -> str:
    """What the slider says of one frame."""
    here = found.isel(step=index)
    trust = ", ".join(
        f"{name} {value:.2f}"
        for name, value in zip(found["matrix"].values, here["trustworthiness"].values, strict=True)
    )
    return (
        f"step {here['step'].item():,} · test accuracy {here['test_accuracy'].item():.0%} · "
        f"trustworthiness of t-SNE: {trust} (random matrix {found.attrs['random_trustworthiness']:.2f})"
    )


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Divergence, trustworthiness and share of two components at each step."""
    table = by_step(found)
    for matrix in found["matrix"].values:
        here = found.sel(matrix=matrix)
        table[f"{matrix} KL"] = here["kl"].values
        table[f"{matrix} trust"] = here["trustworthiness"].values
        table[f"{matrix} PCA share"] = here["pca_share"].values
    return table
