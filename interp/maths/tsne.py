"""t-SNE: points in the plane that keep their neighbours, and how far it can be trusted. Importing scikit-learn takes seconds."""

import warnings
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

LATER_ITERATIONS = 300
"""Gradient steps from a given start; scikit-learn reports no divergence for 250 and fewer."""

EXACT_UP_TO = 2000
"""Points up to which the exact gradient is used; at these sizes it is the faster one too."""


def tsne(
    points: Float[Tensor, "n d"],
    start: Float[Tensor, "n 2"] | None = None,
    *,
    perplexity: float,
    learning_rate: float | Literal["auto"] = "auto",
    iterations: int = 1000,
    seed: int = 0,
) -> tuple[Float[Tensor, "n 2"], float]:
    """The points in the plane, and the Kullback–Leibler divergence that is left (nats).

    With a start LATER_ITERATIONS from there; without one `iterations` from the first two principal components.
    """
    from sklearn.manifold import TSNE

    settings: dict[str, Any] = {
        "perplexity": perplexity,
        "learning_rate": learning_rate,
        "method": "exact" if len(points) <= EXACT_UP_TO else "barnes_hut",
        "random_state": seed,
    }
    if start is None:
        settings |= {"init": "pca", "max_iter": iterations}
    else:  # without the early exaggeration, which would tear the frame before apart
        settings |= {"init": start.numpy(), "max_iter": LATER_ITERATIONS, "early_exaggeration": 1.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # PCA start of points that all coincide divides by zero
        mapper = TSNE(**settings)
        embedded = mapper.fit_transform(points.double().numpy())
    return torch.from_numpy(embedded).double(), float(mapper.kl_divergence_)


def neighbours(n: int) -> int:
    """How many neighbours trustworthiness looks at: 5, or what few points allow."""
    return min(5, max(1, (n - 1) // 2 - 1))


def trusted(points: Float[Tensor, "n d"], embedded: Float[Tensor, "n 2"]) -> float:
    """Trustworthiness of the plane, 0 to 1 (Venna & Kaski 2001)."""
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(points.double().numpy(), embedded.numpy(), n_neighbors=neighbours(len(points))))
