"""Clock or pizza: by which of two ways a network adds modulo p (Zhong et al. 2023, arXiv 2306.17844).

A clock multiplies the waves of a and of b, a pizza adds them first and so depends on a + b and on |cos(πk(a − b)/p)|.
Untrained networks too can have a gradient symmetricity and a distance irrelevance near 1: compare with step 0.
Leading axes ("...") are carried along, so that one call serves a stack of checkpoints.
"""

import random
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.maths.fourier import frequency_power


def shuffled_triples(p: int, n: int = 100, seed: int = 42) -> Int[Tensor, "n 3"]:
    """The first n of all triples (a, b, c) of residues, shuffled; with seed 42 those of the published figures.

    That is Python's shuffle of all p³ in lexicographic order: a second and 60 MB at p = 113.
    """
    numbers = list(range(p**3))
    random.Random(seed).shuffle(numbers)
    first = torch.tensor(numbers[:n])
    return torch.stack([first // p**2, first // p % p, first % p], dim=-1)


def sampled_triples(p: int, n: int = 100, seed: int = 42) -> Int[Tensor, "n 3"]:
    """n different triples (a, b, c) of residues, drawn without listing all p³: for a p that makes `shuffled_triples` slow."""
    drawn = torch.tensor(random.Random(seed).sample(range(p**3), min(n, p**3)))
    return torch.stack([drawn // p**2, drawn // p % p, drawn % p], dim=-1)


def gradient_symmetricity(
    logits: Callable[[Float[Tensor, "... n 2 d_model"]], Float[Tensor, "... n d_vocab_out"]],
    embedded: Float[Tensor, "... n 2 d_model"],
    answers: Int[Tensor, " n"],
) -> Float[Tensor, "..."]:
    """Mean cosine of ∂logit_c/∂E_a and ∂logit_c/∂E_b over n triples (a, b, c), −1 to 1 (definition 4.1).

    Near 1 when a and b enter as E_a + E_b (pizza .99), lower when they are multiplied (clock .33). A triple with a
    gradient of 0 counts as 0.

    Args:
        logits: the network from the embeddings of a and b, before positions are added, to the logits; row i of these
            depends on row i of those alone. It is differentiated, so its weights are no inference tensors.
        embedded: E_a and E_b of each triple; what is computed has their precision.
        answers: c of each triple, right or wrong.
    """
    with torch.inference_mode(False), torch.enable_grad():
        inputs = embedded.detach().clone().requires_grad_()
        outputs = logits(inputs)
        chosen = outputs.gather(-1, answers.expand(outputs.shape[:-1])[..., None])
        (gradient,) = torch.autograd.grad(chosen.sum(), inputs)
    of_a, of_b = gradient.double().unbind(dim=-2)
    lengths = of_a.norm(dim=-1) * of_b.norm(dim=-1)  # torch.cosine_similarity takes a length below 1e-8 for 1e-8
    return torch.where(lengths > 0, (of_a * of_b).sum(dim=-1) / lengths, 0.0).mean(dim=-1)


def distance_irrelevance(right: Float[Tensor, "... p p"]) -> Float[Tensor, "..."]:
    """Mean over the distances d of the standard deviation of the right logit at a − b = d, ÷ that over all pairs.

    `right` holds the logit of the right answer by a and b. 0 when the logit is a function of the distance alone, 1 when the
    distance says nothing; pizza .17, clock .85 (definition 4.2). Deviations are those of the population. NaN for a constant.
    """
    p, table = right.shape[-1], right.double() - right[..., :1, :1]  # so that a constant is exactly nothing
    a = torch.arange(p, device=right.device)
    at_distance = table[..., a, (a - a[:, None]) % p]  # [..., d, a]
    return at_distance.std(dim=-1, correction=0).mean(dim=-1) / table.flatten(-2).std(dim=-1, correction=0)


def circularity(W_E: Float[Tensor, "... p d_model"], n_components: int = 4) -> Float[Tensor, "..."]:
    """Mean, over the first principal components of the embedding, of each one's power at its strongest frequency.

    1 when the residues lie on circles, each plane with a frequency of its own; Zhong et al. (2023) keep networks from .995
    on. Rows are the residues in the order of the group. Components of no variance are any directions and count as others.
    """
    centred = W_E.double() - W_E.double().mean(dim=-2, keepdim=True)
    components = torch.linalg.svd(centred, full_matrices=False).U[..., :n_components]
    return frequency_power(components.mT[..., None]).amax(dim=-1).mean(dim=-1)


def principal_waves(W_E: Float[Tensor, "p d_model"], n_components: int) -> Float[Tensor, "p component"]:
    """The first principal components of the embedding as unit functions of the residue, most variance first, in float64.

    In pairs they are the circles of Zhong et al. (2023): components 1 and 2 the first, 3 and 4 the second, …
    """
    centred = W_E.double() - W_E.double().mean(dim=-2, keepdim=True)
    return torch.linalg.svd(centred, full_matrices=False).U[:, :n_components]


def isolated(W_E: Float[Tensor, "p d_model"], waves: Float[Tensor, "p component"]) -> Float[Tensor, "p d_model"]:
    """The embedding with these of its principal components alone, and with its mean: the others' variance removed.

    With the mean, two circles of the published Model A are right at 91.4 % of all pairs and its second alone at 32.8 %;
    without, at 91.1 % and 31.5 %.
    """
    mean = W_E.double().mean(dim=0)
    return (mean + waves @ (waves.mT @ (W_E.double() - mean))).to(W_E.dtype)
