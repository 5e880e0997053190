"""A plane through a checkpoint of a run: its two directions, the run's way in it, and losses over a grid of its points."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.models.family import TensorSpec
from interp.models.network import Weights
from interp.tasks import Examples
from interp.views.landscape import Landscape, Surface
from interp.views.walk import needs_memory, over_checkpoints, single_threads

LARGE = 1 << 23
"""Bytes of the weights of networks side by side, about: more leave the processor's cache."""

MOST = 16
"""Most networks side by side."""

Two = Float[Tensor, "2 n"]
"""Type of two directions in the space of the weights that learn."""


def filters(tensor: TensorSpec) -> tuple[int, ...]:
    """Axes over which the norm of a filter is taken: the weights that lead into one unit, a column of the tensor as a matrix."""
    return tuple(range(len(tensor.size) - 1)) if tensor.rows is None else tensor.rows


def filter_normalised(tensor: TensorSpec, weight: Tensor, draw: Tensor) -> Tensor:
    """A direction of which each filter has the norm of the weight's; 0 for biases, scales and vectors (Li et al. 2018)."""
    if tensor.role != "weight" or weight.ndim < 2:
        return torch.zeros_like(weight)
    axes = filters(tensor)
    ours, drawn = (torch.linalg.vector_norm(each, dim=axes, keepdim=True) for each in (weight, draw))
    return draw * (ours / drawn)


@dataclass(frozen=True)
class Plane:
    """A plane in the space of the weights that learn, through the last checkpoint in view."""

    seen: Landscape
    at_centre: Weights
    """Weights of that checkpoint."""
    directions: Two
    """Steps of 1 along x and along y."""

    @once
    def centre(self) -> Float[Tensor, " n"]:
        """The weights that learn at the centre."""
        return self.seen.flat(self.at_centre)

    @once
    def way(self) -> dict[str, np.ndarray]:
        """The run in the plane: x and y of each checkpoint's projection, and the share of its squared distance that they hold.

        The share is 1 at the centre. `squares` are those of the distances from the centre.
        """
        basis = self.directions.double()
        inverse, n = torch.linalg.inv(basis @ basis.T), self.seen.n_weights

        def placed(weights: Weights) -> dict[str, Tensor]:
            """Coordinates and squared lengths of a stack of checkpoints."""
            away = (self.seen.flat(weights) - self.centre).double()
            along = away @ basis.T
            held = torch.einsum("si,ij,sj->s", along, inverse, along)
            return {"place": along @ inverse, "held": held, "squares": away.square().sum(dim=1)}

        names = set(self.seen.learned)
        found = over_checkpoints(self.seen.run, placed, each=24 * n, names=names.__contains__)
        share = np.divide(found["held"], found["squares"], out=np.ones(len(found["held"])), where=found["squares"] > 0)
        return {"x": found["place"][:, 0], "y": found["place"][:, 1], "share": share, "squares": found["squares"]}

    @property
    def held(self) -> float:
        """Share of the squared distances of all checkpoints from the centre that lies in the plane; NaN if there is one alone."""
        total = self.way["squares"].sum()
        return float((self.way["share"] * self.way["squares"]).sum() / total) if total else float("nan")

    def heights(self, examples: Examples, axis: Float[np.ndarray, " x"]) -> Float[np.ndarray, "2 y x"]:
        """Logged loss and accuracy over these examples at all points of a square grid, several at a time on each thread."""
        y, x = np.meshgrid(axis, axis, indexing="ij")
        places = torch.from_numpy(np.stack([x.ravel(), y.ravel()], axis=1)).float()
        workers, copies = self._shares(examples)
        parts = places.split(copies)
        others = {name: tensor for name, tensor in self.at_centre.items() if name not in self.seen.slices}
        surface = self.seen.over(examples, copies)
        with single_threads() as initialise, ThreadPoolExecutor(workers, initializer=initialise) as pool:
            found = list(pool.map(self._measured(surface, copies, others), parts))
        return torch.cat(found, dim=1).view(2, len(axis), len(axis)).numpy()

    def _measured(self, surface: Surface, copies: int, others: Weights) -> Callable[[Tensor], Tensor]:
        """A function that gives losses and accuracies [2, point] at some points, at most `copies` of them."""

        def measured(places: Float[Tensor, "point 2"]) -> Float[Tensor, "2 point"]:
            """The last points are repeated where there are fewer than usual."""
            with torch.inference_mode():
                rows = torch.arange(copies).clamp(max=len(places) - 1)
                weights = self.seen.weights(self.centre + places[rows] @ self.directions, others)
                return surface.objective.logged(weights)[:, : len(places)]

        return measured

    def _shares(self, examples: Examples) -> tuple[int, int]:
        """How many threads measure at a time, and how many points each, in the run's memory."""
        one, run = self.seen.bytes(examples, graph=1), self.seen.run
        needs_memory(run, one)
        workers = min(torch.get_num_threads(), run.memory // one)
        fitting = run.memory // (workers * one)
        return workers, max(1, min(MOST, LARGE // (4 * self.seen.n_weights), fitting))


def at_random(seen: Landscape, seed: int) -> Plane:
    """The plane of two normal random directions, each filter with the norm of the checkpoint's (Li et al. 2018, section 4)."""
    # Not torch's generator: with the run's own seed it would draw the run's initial weights again.
    rng, weights, tensors = np.random.default_rng(seed), seen.run.final.weights, seen.run.tensors

    def direction() -> Float[Tensor, " n"]:
        """A direction."""
        draws = {name: torch.from_numpy(rng.standard_normal(weights[name].shape)) for name in seen.learned}
        return seen.flat({name: filter_normalised(tensors[name], weights[name], draw) for name, draw in draws.items()})

    return Plane(seen, weights, torch.stack([direction(), direction()]))


def of_principal_components(seen: Landscape) -> Plane:
    """The plane of the two directions along which the checkpoints in view lie farthest from the last (Li et al. 2018, section 7).

    Raises:
        DoesNotApply: fewer than three checkpoints are in view, or they lie on a line.
    """
    at_least_three(seen)
    moves = torch.stack([part @ part.T for part in differences(seen)]).sum(dim=0)
    squares, vectors = torch.linalg.eigh(moves)
    if not float(squares[-2]) > 1e-12 * float(squares[-1]):
        raise DoesNotApply(f"the checkpoints of {seen.run.path} in view lie on a line; take --directions random")
    # eigh leaves the sign open: the first checkpoint lies to the right and above
    vectors = vectors[:, [-1, -2]] / squares[[-1, -2]].sqrt()
    vectors = vectors * torch.where((moves[0] @ vectors) < 0, -1.0, 1.0)
    return Plane(seen, seen.run.final.weights, combined(seen, vectors.T))


def through_checkpoints(seen: Landscape) -> Plane:
    """The plane through the first, the middle and the last checkpoint in view; x leads toward the first.

    Raises:
        DoesNotApply: fewer than three checkpoints are in view, or those three lie on a line.
    """
    at_least_three(seen)
    steps = seen.run.steps
    chosen = [0, (len(steps) - 1) // 2]
    moves = torch.stack([part[chosen] @ part[chosen].T for part in differences(seen)]).sum(dim=0)
    length = moves[0, 0].sqrt()
    beyond = (moves[1, 1] - moves[0, 1] ** 2 / moves[0, 0]).clamp(min=0).sqrt()
    if not float(beyond) > 1e-5 * float(moves.diagonal().max().sqrt()):
        raise DoesNotApply(
            f"the checkpoints of {seen.run.path} at steps {steps[0]:,}, {steps[chosen[1]]:,} and {steps[-1]:,} lie on a line; "
            "choose others by --steps, or take --directions random"
        )
    parts = torch.zeros(2, len(steps), dtype=torch.float64)
    parts[0, 0] = 1 / length
    parts[1, chosen[1]], parts[1, 0] = 1 / beyond, -moves[0, 1] / moves[0, 0] / beyond
    return Plane(seen, seen.run.final.weights, combined(seen, parts))


def at_least_three(seen: Landscape) -> None:
    """Raise DoesNotApply if fewer than three checkpoints are in view."""
    if len(seen.run) < 3:
        raise DoesNotApply(
            f"{seen.run.path} has {len(seen.run)} checkpoint{'s' * (len(seen.run) > 1)} in view, and such a plane needs three; "
            "take --directions random"
        )


def differences(seen: Landscape) -> Iterator[Float[Tensor, "step size"]]:
    """What each checkpoint in view has more than the last, one tensor that learns at a time, float64."""
    needs_memory(seen.run, 20 * len(seen.run) * max(seen.sizes))
    for name in seen.learned:
        stack = seen.run.stacked(name.__eq__)[name].flatten(1).double()
        yield stack - stack[-1]


def combined(seen: Landscape, parts: Float[Tensor, "2 step"]) -> Two:
    """Directions made of such parts of the checkpoints' differences from the last."""
    return torch.cat([parts @ part for part in differences(seen)], dim=1).float()


PLANES: dict[str, Callable[[Landscape, int], Plane]] = {
    "random": at_random,
    "pca": lambda seen, seed: of_principal_components(seen),
    "checkpoints": lambda seen, seed: through_checkpoints(seen),
}
"""Planes by what their directions are, from a run and a seed."""
