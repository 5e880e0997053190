"""Ablations by name, the question that each answers, and all that is measured of one checkpoint."""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from interp.models.network import Change, Outputs
from interp.views.ablatable import Ablatable, rows_at_a_time
from interp.views.ablated import NONE, Network, Taken
from interp.views.draws import Own, to_mean, to_other_pairs
from interp.views.keys import final_bytes

Question = Literal["necessity", "sufficiency"]
"""Name of what an ablation asks: does it break without the part, or does it work with the part alone?"""

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""What is kept of the outcomes over the draws for one cluster: the least, the quartiles and the most."""


class Part(NamedTuple):
    """Frequencies or neurons that are taken out, or left alone."""

    asks: Question
    """The question."""
    about: str
    """What is left, in words."""
    taken: Callable[[Network, Own], Taken]
    """The network without what is asked about, or without what a draw has in its place."""


PARTS = {
    "embedding: keys kept": Part(
        "sufficiency",
        "W_E's number rows are their mean and their waves of the key frequencies",
        lambda network, draw: network.embedding(draw, keep=True),
    ),
    "embedding: keys removed": Part(
        "necessity", "those waves are subtracted", lambda network, draw: network.embedding(draw, keep=False)
    ),
    "neurons: keys kept": Part(
        "sufficiency",
        "the last MLP's activations are their mean and their parts along cos and sin(w(a+b)) of the key frequencies; what "
        "passes beside the MLP stays",
        lambda network, draw: network.neurons(draw, keep=True),
    ),
    "neurons: keys removed": Part(
        "necessity", "those parts are subtracted", lambda network, draw: network.neurons(draw, keep=False)
    ),
    "logits: keys kept": Part(
        "sufficiency",
        "every logit is its mean over all pairs and its parts along cos and sin(w(a+b)) of the key frequencies",
        lambda network, draw: network.logits(draw, keep=True),
    ),
    "logits: keys removed": Part(
        "necessity", "those parts are subtracted", lambda network, draw: network.logits(draw, keep=False)
    ),
    "clusters kept": Part(
        "sufficiency",
        "neurons of no cluster of a key frequency are set to 0",
        lambda network, draw: network.clusters(draw, keep=True),
    ),
    "clusters removed": Part(
        "necessity", "neurons of such a cluster are set to 0", lambda network, draw: network.clusters(draw, keep=False)
    ),
    "clusters as 3×3 blocks": Part(
        "sufficiency",
        "those neurons are their parts in the block {1, cos, sin}(k·a) ⊗ {1, cos, sin}(k·b)",
        Network.blocks,
    ),
    "W_L directions kept": Part(
        "sufficiency",
        "activations are projected on u_k = W_L·cos_k and v_k = W_L·sin_k of the key frequencies, W_L = W_out·W_U, nothing "
        "else kept of them",
        lambda network, draw: network.directions(draw, keep=True),
    ),
    "W_L directions removed": Part(
        "necessity", "that projection is subtracted", lambda network, draw: network.directions(draw, keep=False)
    ),
}
"""What is taken out of every network, by name. Its ways are asked for necessity."""

CLUSTERS = ("clusters kept", "clusters removed")
"""Ablations that set neurons to 0."""


def ablations(seen: Ablatable) -> dict[str, str]:
    """Every ablation of that run's network, with what it means: its parts, then its ways."""
    routes = {name: route.about for name, route in seen.roles.routes.items()}
    return {**{name: part.about for name, part in PARTS.items()}, **routes}


def questions(seen: Ablatable) -> list[str]:
    """The question of every ablation."""
    return [PARTS[name].asks if name in PARTS else "necessity" for name in ablations(seen)]


def replaced(seen: Ablatable) -> list[str]:
    """Ablations that set activations to 0, beside which these are set to their mean, and to those of another prompt."""
    return [*CLUSTERS, *seen.roles.routes]


def definitions(seen: Ablatable, share: float) -> list[str]:
    """How clusters, random removals, shares, specificity, losses and accuracies are defined."""
    ways = (
        "; for heads and skips, from each prompt's residual stream a vector of a random direction with the norm of what was "
        "removed"
    )
    return [
        "frequency_loss: the part of one frequency is subtracted from the activations",
        "cluster_loss: one frequency's cluster is set to 0; of a frequency without one, nothing",
        f"cluster: neurons with more than {share} of their variance in the 3×3 block of k, at the last checkpoint in view",
        "random, by number: as many other frequencies, of the non-key ones, or of all where fewer than that remain; as many "
        "neurons of those outside the cluster, or of all where fewer remain; the same neurons as blocks of those other "
        "frequencies" + (ways if seen.roles.routes else ""),
        "random_energy, by energy: the part is F·M + mean, with orthonormal functions F of (a, b), of W_E of one residue, in "
        "directions M; the same with F drawn anew, uniform among all of mean 0, is subtracted, or left alone: as much variance "
        "in the same directions. It was not there before: the network is disturbed as much, and its own waves stay",
        "mean, resample: what is set to 0 is set to its mean over all pairs, or to its values at another pair, by a permutation "
        "of the pairs",
        "share, the energy: variance over the pairs of what is subtracted, or left alone, over that of the whole (W_E's "
        "number rows, neurons, logits); of a way, over that of the sum it joins, which may be less than its terms",
        "own_lost: 1 − ⟨before, after⟩ / ⟨before, before⟩ over the components of the logits along cos and sin(w_k(a + b − c)), "
        "k the key frequencies, of a cluster its own; 1 when they are gone, 0 when they stay, whatever is added to them",
        "specificity: own_lost less the same at all other frequencies; 1 when its own waves alone are lost, 0 when all "
        "are lost alike",
        "losses and accuracies are over the pairs and answers of the task's order: signs, tokens of b and the 0 of products "
        "are none",
    ]


def outcomes(network: Network) -> dict[str, Float[Tensor, "... score"]]:
    """All that is measured of one checkpoint: scores by what was taken out, and by what was drawn in its place."""
    chosen, every = network.chosen, range(1, network.seen.n // 2 + 1)
    energy, mean, elsewhere = in_their_place(network)
    found = {
        "whole": network.untouched,
        "": parts_and_ways(network, chosen.own),
        "random": torch.stack([parts_and_ways(network, draw) for draw in chosen.by_number], dim=1),
        "random_energy": energy,
        "mean": mean,
        "resample": elsewhere,
        "frequency": torch.stack([network.outcome(network.one_frequency(k)) for k in every]),
    }
    clusters = [of_cluster(network, k) for k in every]
    return {
        **{name: network.scores(each) for name, each in found.items()},
        **{name: torch.stack([cluster[name] for cluster in clusters]) for name in clusters[0]},
    }


def parts_and_ways(network: Network, draw: Own) -> Float[Tensor, "ablation score"]:
    """Outcomes in the order of `ablations`: without what is asked about, or without as much by a draw by number."""
    found = [network.outcome(part.taken(network, draw)) for part in PARTS.values()]
    if routes := network.seen.roles.routes:
        ways = network.ways
        if draw.which >= 0:
            ways = ways.along(network.chosen.direction(draw.which))
        found += [network.outcome(Taken(ways.without(name), ways.share(name))) for name in routes]
    return torch.stack(found)


def in_their_place(network: Network) -> tuple[Tensor, Tensor, Tensor]:
    """Outcomes with something else in a part's place.

    By ablation and draw, removals of the same energy; by what `replaced` names, its mean; by that and draw, the values of another
    pair.
    """
    chosen, outcome, clusters = network.chosen, network.outcome, network.of_own_clusters
    energy = [torch.stack([outcome(part.taken(network, draw)) for draw in chosen.by_energy]) for part in PARTS.values()]
    mean, elsewhere = [], []

    def put(changed: Callable[[Change], Outputs]) -> None:
        """The mean in the part's place, and the values of other pairs."""
        mean.append(outcome(Taken(changed(to_mean), NONE)))
        changes = [to_other_pairs(chosen.pairs(draw)) for draw in range(chosen.draws)]
        elsewhere.append(torch.stack([outcome(Taken(changed(change), NONE)) for change in changes]))

    put(network.changed(network.added - clusters))
    put(network.changed(clusters))
    for name in network.seen.roles.routes:  # one after the other: what each gives the neurons is as large as they are
        put(network.ways.changed(name))
        energy.append(torch.stack([outcome(taken) for taken in network.ways_by_energy(name)]))
    return torch.stack(energy), torch.stack(mean), torch.stack(elsewhere)


def of_cluster(network: Network, k: int) -> dict[str, Float[Tensor, "... score"]]:
    """Scores without one frequency's cluster, and with other things in its place; without a cluster nothing changes."""
    chosen, cluster = network.chosen, network.chosen.cluster(k)
    if not len(cluster):
        whole = network.scores(network.untouched, (k,))
        alone = {"cluster": whole, "mean_cluster": whole}
        drawn = ("random_cluster", "random_energy_cluster", "resample_cluster")
        return alone | dict.fromkeys(drawn, whole.expand(len(QUANTILES), -1))
    added = network.in_full(network.written_by(cluster))
    part, changed, share = network.summand(added), network.changed(added), network.share_of(cluster)

    def scores(*found: Taken) -> Float[Tensor, "found score"]:
        """Scores of each."""
        return network.scores(torch.stack([network.outcome(taken) for taken in found]), (k,))

    def over_draws(found: Iterable[Taken]) -> Float[Tensor, "quantile score"]:
        """Quantiles: most frequencies have no cluster, and every draw of each would fill most of the results."""
        return scores(*found).quantile(torch.tensor(QUANTILES, dtype=torch.float64), dim=0)

    own, mean = scores(network.less(part.pieces, share), Taken(changed(to_mean), NONE))
    pairs = map(chosen.pairs, range(chosen.draws))
    return {
        "cluster": own,
        "mean_cluster": mean,
        "random_cluster": over_draws(network.others(k, draw) for draw in chosen.by_number),
        "random_energy_cluster": over_draws(network.less(draw.of_pairs(part), share) for draw in chosen.by_energy),
        "resample_cluster": over_draws(Taken(changed(to_other_pairs(order)), NONE) for order in pairs),
    }


def bytes_at_work(seen: Ablatable, draws: int) -> int:
    """What one checkpoint takes at most: activations, what each part writes, one more forward pass, and random functions."""
    n, ways = seen.n, [route.width for route in seen.roles.routes.values()]
    activations = seen.run.config.model.cost(seen.run.task.shape).work
    width = max(n, *ways, 0)  # of what reaches the answers
    kept = seen.bytes(activations + sum(ways) + 3 * max(ways, default=0) + 15 * width)
    by_frequency = 8 * (n // 2) * n * 3 * (width + len(seen.operands) * seen.embeds.width)
    at_a_time = 40 * rows_at_a_time(n) * (seen.neurons.width + width)
    functions = seen.bytes((draws + 8) * width)  # those of all draws, and one being made in float64
    replaced = seen.bytes(seen.neurons.width + 4 * width)
    total = seen.forward_bytes + max(kept + by_frequency + replaced, final_bytes(seen)) + at_a_time + functions
    return 5 * total // 4  # what is freed is kept, and not all of it fits what is asked for next
