"""Ridge regression of answers' one-hot vectors on features: one decomposition for any number of labellings."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Ridge:
    """Ridge regression on some rows of features, for labels that are still to come.

    Minimises Σ‖y − b − x·W‖² + λ‖W‖² over W and the intercept b, which is not penalised. λ is `penalty` × the mean eigenvalue of
    the centred features' Gram matrix, so that their scale does not matter.
    """

    features: Float[Tensor, "n d"]
    mean: Float[Tensor, " d"]
    factor: Float[Tensor, "d d"]
    """Cholesky factor of the Gram matrix with λ on its diagonal."""

    @staticmethod
    def of(features: Float[Tensor, "n d"], penalty: float, products: Float[Tensor, "d d"] | None = None) -> "Ridge":
        """Ridge regression on these rows, in the precision that they have; `products` are featuresᵀ·features, if known."""
        mean = features.mean(dim=0)
        gram = (features.T @ features if products is None else products) - len(features) * mean[:, None] * mean
        level = gram.diagonal().mean()
        # Of features that do not vary any λ gives W = 0.
        gram.diagonal().add_(penalty * level if level > 0 else 1.0)
        return Ridge(features, mean, torch.linalg.cholesky(gram))

    def fit(self, labels: Int[Tensor, " n"], n_labels: int) -> "Readout":
        """The readout of the labels' one-hot vectors."""
        sums = self.features.new_zeros(n_labels, self.features.shape[1]).index_add_(0, labels, self.features)
        share = torch.bincount(labels, minlength=n_labels).to(self.mean) / len(labels)
        W = torch.cholesky_solve((sums - len(labels) * share[:, None] * self.mean).T, self.factor)
        return Readout(W, share - self.mean @ W, share)


@dataclass(frozen=True)
class Readout:
    """A linear readout of answers: x·W + b."""

    W: Float[Tensor, "d label"]
    b: Float[Tensor, " label"]
    share: Float[Tensor, " label"]
    """Share of each label among the rows that it was fitted on: the best answer that does not look at x."""

    def score(self, features: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, "2"]:
        """Accuracy on these rows; and the explained share, 1 − Σ‖y − x·W − b‖² ÷ Σ‖y − `share`‖², which may be negative."""
        outputs = torch.addmm(self.b, features, self.W)
        right = outputs.gather(1, labels[:, None])[:, 0]
        error = outputs.square().sum() - 2 * right.sum() + len(labels)
        constant = len(labels) * (1 + self.share.square().sum()) - 2 * self.share[labels].sum()
        accuracy = (outputs.argmax(dim=1) == labels).double().mean()
        return torch.stack([accuracy, 1 - error / constant])
