"""Diagnostics of Markov chains: whether they agree, and how many independent draws they are worth."""

import torch
from jaxtyping import Float
from torch import Tensor


def split_r_hat(draws: Float[Tensor, "chain draw"]) -> Float[Tensor, ""]:
    """R̂ over the halves of all chains: √(total variance ÷ variance within), 1 where they agree (Gelman et al. 2013, 11.4).

    NaN of fewer than four draws; 1 if nothing varies.
    """
    half = draws.shape[1] // 2
    if half < 2:
        return draws.new_tensor(torch.nan)
    halves = torch.cat([draws[:, :half], draws[:, -half:]])
    within, between = halves.var(dim=1).mean(), halves.mean(dim=1).var()
    if within == 0:
        return draws.new_tensor(1.0 if between == 0 else torch.inf)
    return ((half - 1) / half + between / within).sqrt()


def effective_draws(draws: Float[Tensor, "chain draw"]) -> Float[Tensor, ""]:
    """Number of independent draws that tell the mean as well: all ÷ (1 + 2·Σ of autocorrelations) (Vehtari et al. 2021, eq. 10).

    Autocorrelations are over all chains, with the variance between them; they are summed in pairs while a pair is positive and
    does not grow (Geyer 1992). NaN of fewer than four draws.
    """
    chains, n = draws.shape
    if n < 4:
        return draws.new_tensor(torch.nan)
    centred = draws - draws.mean(dim=1, keepdim=True)
    spectrum = torch.fft.rfft(centred, n=2 * n)
    covariance = torch.fft.irfft(spectrum.abs().square(), n=2 * n)[:, :n].mean(dim=0) / n
    within = covariance[0] * n / (n - 1)
    total = covariance[0] + (draws.mean(dim=1).var() if chains > 1 else 0)
    if total == 0:
        return draws.new_tensor(float(chains * n))
    correlations = 1 - (within - covariance * n / (n - 1)) / total
    correlations[0] = 1
    pairs = correlations[: n // 2 * 2].view(-1, 2).sum(dim=1)
    positive = pairs.cummin(dim=0).values
    kept = positive[: int((positive <= 0).int().argmax())] if (positive <= 0).any() else positive
    return (chains * n / (2 * kept.sum() - 1)).clamp(max=chains * n * torch.log10(draws.new_tensor(float(chains * n))))
