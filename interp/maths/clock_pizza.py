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
    """The first n triples (a, b, c) of residues after a shuffle of all p³; seed 42 gives those of the published figures.

    Python's shuffle of the p³ triples in lexicographic order. Takes a second and 60 MB at p = 113.
    """
    numbers = list(range(p**3))
    random.Random(seed).shuffle(numbers)
    first = torch.tensor(numbers[:n])
    return torch.stack([first // p**2, first // p % p, first % p], dim=-1)


def sampled_triples(p: int, n: int = 100, seed: int = 42) -> Int[Tensor, "n 3"]:
    """n different triples (a, b, c) of residues, drawn without listing all p³: for p too large for `shuffled_triples`."""
    drawn = torch.tensor(random.Random(seed).sample(range(p**3), min(n, p**3)))
    return torch.stack([drawn // p**2, drawn // p % p, drawn % p], dim=-1)


def gradient_cosines(
    logits: Callable[[Float[Tensor, "... n 2 d_model"]], Float[Tensor, "... n d_vocab_out"]],
    embedded: Float[Tensor, "... n 2 d_model"],
    answers: Int[Tensor, " n"],
) -> Float[Tensor, "... n"]:
    """Cosine of ∂logit_c/∂E_a and ∂logit_c/∂E_b at each of n triples (a, b, c), −1 to 1; 0 where a gradient is 0.

    Args:
        logits: the network from the embeddings of a and b, before positions are added, to the logits. Row i of the logits
            depends on row i of the embeddings alone. It is differentiated: its weights must not be inference tensors.
        embedded: E_a and E_b of each triple. Everything is computed in their precision.
        answers: c of each triple, right or wrong.
    """
    with torch.inference_mode(False), torch.enable_grad():
        inputs = embedded.detach().clone().requires_grad_()
        outputs = logits(inputs)
        chosen = outputs.gather(-1, answers.expand(outputs.shape[:-1])[..., None])
        (gradient,) = torch.autograd.grad(chosen.sum(), inputs)
    of_a, of_b = gradient.double().unbind(dim=-2)
    lengths = of_a.norm(dim=-1) * of_b.norm(dim=-1)  # torch.cosine_similarity takes a length below 1e-8 for 1e-8
    return torch.where(lengths > 0, (of_a * of_b).sum(dim=-1) / lengths, 0.0)


def gradient_symmetricity(
    logits: Callable[[Float[Tensor, "... n 2 d_model"]], Float[Tensor, "... n d_vocab_out"]],
    embedded: Float[Tensor, "... n 2 d_model"],
    answers: Int[Tensor, " n"],
) -> Float[Tensor, "..."]:
    """Mean of `gradient_cosines` over n triples (a, b, c), −1 to 1 (definition 4.1).

    Near 1 when a and b enter as E_a + E_b (pizza .99), lower when their waves are multiplied (clock .33).
    """
    return gradient_cosines(logits, embedded, answers).mean(dim=-1)


def distance_irrelevance(right: Float[Tensor, "... p p"]) -> Float[Tensor, "..."]:
    """Standard deviation of the right logit among pairs with one a − b, mean over a − b, ÷ that over all pairs; 0 to 1.

    `right` [a, b] is the logit of the right answer. 0: the logit depends on a − b alone. 1: it does not depend on a − b.
    Pizza .17, clock .85 (definition 4.2). Standard deviations of the population (÷ n). NaN for a constant logit.
    """
    p, table = right.shape[-1], right.double() - right[..., :1, :1]  # so that a constant is exactly nothing
    a = torch.arange(p, device=right.device)
    at_distance = table[..., a, (a - a[:, None]) % p]  # [..., d, a]
    return at_distance.std(dim=-1, correction=0).mean(dim=-1) / table.flatten(-2).std(dim=-1, correction=0)


def circularity(W_E: Float[Tensor, "... p d_model"], n_components: int = 4) -> Float[Tensor, "..."]:
    """Mean, over the first principal components of the embedding, of each one's power at its strongest frequency.

    1 when the residues lie on circles, one frequency a plane. Zhong et al. (2023) keep networks with .995 or more. Rows are
    the residues in the order of the group. Components without variance are arbitrary directions, and count like others.
    """
    centred = W_E.double() - W_E.double().mean(dim=-2, keepdim=True)
    components = torch.linalg.svd(centred, full_matrices=False).U[..., :n_components]
    return frequency_power(components.mT[..., None]).amax(dim=-1).mean(dim=-1)


def principal_waves(W_E: Float[Tensor, "p d_model"], n_components: int) -> Float[Tensor, "p component"]:
    """The first principal components of the embedding, as functions of the residue with norm 1; largest variance first, float64.

    Pairs of them are the circles of Zhong et al. (2023): components 1 and 2 are the first circle, 3 and 4 the second, …
    """
    centred = W_E.double() - W_E.double().mean(dim=-2, keepdim=True)
    return torch.linalg.svd(centred, full_matrices=False).U[:, :n_components]


def isolated(W_E: Float[Tensor, "p d_model"], waves: Float[Tensor, "p component"]) -> Float[Tensor, "p d_model"]:
    """The embedding with only the given principal components and its mean; the variance along all others is removed.

    Accuracy over all pairs of the published Model A: 91.4 % with its first two circles, 32.8 % with its second alone.
    Without the mean: 91.1 % and 31.5 %.
    """
    mean = W_E.double().mean(dim=0)
    return (mean + waves @ (waves.mT @ (W_E.double() - mean))).to(W_E.dtype)
