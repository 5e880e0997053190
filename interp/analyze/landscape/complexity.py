"""Complexity: how simple is the function, near its examples and in bits of its weights?"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.base import once
from interp.maths.sampling import generator
from interp.maths.simplicity import code_length, crossed, frames, vertices
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Forward, Matrix, Weights, over
from interp.views.halves import HALVES, Halves
from interp.views.landscape import GRAPH, differentiable
from interp.views.walk import beforehand, bytes_read, each_checkpoint, evenly

FINEST = 60
"""Half powers of 2 from the coarsest grid, on which every weight is 0, to the finest that is tried."""


class Options(AnalysisOptions):
    """Where and how finely the function is looked at."""

    prompts: int = Field(default=64, ge=2)
    """Examples of each split that are drawn."""
    directions: int = Field(default=16, ge=1)
    """Orthonormal directions around each example, at most as many as there are."""
    radius: float = Field(default=0.1, gt=0)
    """Radius around what the layer reads, as a share of its root mean square distance from its mean over the examples."""
    probes: int = Field(default=16, ge=2)
    """Random signs on the outputs for the norm of the Jacobian."""
    tolerance: float = Field(default=0.01, gt=0)
    """Rise of the training loss that counts as none, as a share of the loss at the run's first checkpoint."""
    checkpoints: int = Field(default=24, ge=1)
    """How many are measured at most, evenly chosen among those in view."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of examples, directions and signs, which are the same at every checkpoint."""


VARIABLES: Variables = {
    "local_complexity": Var("step split", "neurons whose sign differs among the vertices around an example"),
    "local_complexity_error": Var("step split", "standard error of the local complexity over the examples"),
    "jacobian": Var("step split", "root mean square over the examples of ‖∂outputs/∂embedding‖"),
    "jacobian_error": Var("step split", "standard error of the Jacobian's norm over the probes"),
    "elasticity": Var("step split", "Jacobian's norm × norm of an embedding ÷ standard deviation of the outputs", "1"),
    "elasticity_error": Var("step split", "standard error of the elasticity over the probes", "1"),
    "bits": Var("step", "bits of the weights on the coarsest grid of equal loss", "bits"),
    "bits_per_weight": Var("step", "bits ÷ number of weights that learn", "bits"),
    "grid": Var("step", "step of the coarsest grid of equal loss"),
    "relative_grid": Var("step", "step of the grid ÷ root mean square of the weights", "1"),
    "rise": Var("step", "training loss on the grid − training loss", "{loss_units}"),
}


def measure(seen: Halves, options: Options) -> xr.Dataset:
    """Local complexity of the last hidden layer, norm of the outputs' Jacobian, and bits of the weights at equal loss."""
    first = beforehand(lambda: loss_of(seen, seen.run.first.weights))
    seen = replace(seen, run=evenly(seen.run, options.checkpoints))
    drawn = {half: Drawn(seen, half, options) for half in HALVES}
    layer, tables = seen.known_roles.layer, has_tables(seen)

    def at_checkpoint(weights: Weights) -> dict[str, Tensor]:
        """Every variable at one checkpoint."""
        found = coarsest(seen, weights, options.tolerance * float(first))
        found |= near_examples(seen, drawn, weights) if layer else {}
        return found | (by_half([drawn[half].jacobian(weights) for half in HALVES]) if tables else {})

    found = each_checkpoint(seen.run, at_checkpoint, needs=bytes_at_work(seen, options))
    return dataset(
        seen.run,
        options,
        found,
        VARIABLES,
        coords={"split": list(HALVES)},
        definition=f"{options.prompts} examples of each split, drawn; local complexity: {LOCAL if layer else NO_LAYER}; "
        f"Jacobian: {JACOBIAN if tables else NO_TABLE}; grid: weights that learn are rounded to multiples of 2^(j/2), the "
        f"coarsest at which the training loss rises by at most {options.tolerance:g} × the first checkpoint's loss; bits: n·H of "
        "the rounded weights, all tensors together, + ½(k − 1)·log₂ n for the frequencies of k values (no compressor is used and "
        "no rank is lowered)",
        source="local complexity: Humayun et al. 2024 (arXiv 2402.15555); bits at equal loss: after DeMoss et al. 2024 (arXiv "
        "2412.09810), who lower ranks too and compress with bzip2; random signs: Hutchinson 1990",
    )


LOCAL = (
    "number of neurons of the last layer with an activation function whose pre-activation differs in sign among the vertices "
    "x ± r·v of what the layer reads, v orthonormal and random at every example; r is in units of the root mean square distance "
    "of x from its mean. For activation functions without a kink it counts zeros of the pre-activation all the same"
)
NO_LAYER = "none, since the model tells no layer with an activation function"
JACOBIAN = (
    "of the outputs (÷ temperature) by the rows of the embedding, or by the input vectors; Frobenius norm by random signs on the "
    "outputs, ‖J‖² = E‖Jᵀz‖²; elasticity: × root mean square norm of an embedding ÷ mean standard deviation of the outputs"
)
NO_TABLE = "none, since the model tells no embedding that can be put back"


@dataclass(frozen=True)
class Drawn:
    """Some examples of a half of the run, with all that is drawn for them."""

    seen: Halves
    half: str
    options: Options

    def generator(self, use: int) -> torch.Generator:
        """Random numbers of this half for one use."""
        return generator(self.options.seed, use, HALVES.index(self.half))

    @once
    def inputs(self) -> Tensor:
        """The examples that were drawn."""
        every = torch.from_numpy(self.seen.parts[self.half].inputs)
        return every[torch.randperm(len(every), generator=self.generator(0))[: self.options.prompts]]

    @once
    def forward(self) -> Forward:
        """The network over them."""
        return over(self.seen.run.known_model, self.seen.run.task.shape, self.inputs)

    def read(self, weights: Weights) -> Float[Tensor, "rows width"]:
        """What the last layer reads of them."""
        layer = self.seen.known_roles.layer
        assert layer is not None
        values = self.forward.cache(weights, layer.reads.__eq__)[layer.reads]
        return values.flatten(-layer.axes).flatten(0, -2)

    def local(self, weights: Weights, x: Float[Tensor, "rows width"], radius: Tensor) -> Float[Tensor, " rows"]:
        """Local complexity around each of the rows that are read."""
        layer = self.seen.known_roles.layer
        assert layer is not None
        around = vertices(x, frames(len(x), x.shape[1], self.options.directions, self.generator(1)).to(x), radius)
        return crossed(layer.pre(weights, around.flatten(0, 1)).unflatten(0, around.shape[:2])).double()

    def jacobian(self, weights: Weights) -> dict[str, Tensor]:
        """Norm of the Jacobian and elasticity, with their errors."""
        with differentiable():
            outputs, leaves = self.differentiated({name: tensor.clone() for name, tensor in weights.items()})
            outputs = outputs.flatten(0, -2)
            random, squares = self.generator(2), []
            for _ in range(self.options.probes):
                signs = (torch.randint(0, 2, outputs.shape, generator=random) * 2 - 1).to(outputs)
                gradients = torch.autograd.grad(outputs, leaves, signs, retain_graph=True)
                squares.append(torch.stack([each.double().square().sum() for each in gradients]).sum() / len(outputs))
        drawn, kept = torch.stack(squares), [leaf.detach().double() for leaf in leaves]
        norm = drawn.mean().sqrt()
        error = torch.where(norm > 0, drawn.std() / len(drawn) ** 0.5 / (2 * norm), 0.0)
        length = torch.cat([leaf.square().sum(dim=1) for leaf in kept]).mean().sqrt()
        sd = outputs.detach().double().std(dim=1, correction=0).mean()
        factor = torch.where(sd > 0, length / sd, 0.0)
        names = ("jacobian", "jacobian_error", "elasticity", "elasticity_error")
        return dict(zip(names, (norm, error, norm * factor, error * factor), strict=True))

    def differentiated(self, weights: Weights) -> tuple[Float[Tensor, "n ..."], list[Tensor]]:
        """Outputs, and what they are differentiated by: the tables of embeddings, or the input vectors."""
        run = self.seen.run
        temperature, tables = run.config.train.output_temperature, list(tables_of(self.seen))
        if not tables:
            inputs = self.inputs.clone().requires_grad_()
            return over(run.known_model, run.task.shape, inputs)(weights) / temperature, [inputs]
        leaves = [table.of(weights).detach().clone().requires_grad_() for table in tables]
        for table, leaf in zip(tables, leaves, strict=True):
            assert table.put is not None
            weights = table.put(weights, leaf)
        # a plan that was made elsewhere may hold tensors of inference mode
        return over(run.known_model, run.task.shape, self.inputs.clone())(weights) / temperature, leaves


def tables_of(seen: Halves) -> Iterator[Matrix]:
    """Tables of embeddings: one, or one for each position of a prompt."""
    roles = seen.known_roles
    if roles.embedding_at is not None:
        yield from map(roles.embedding_at, range(seen.run.task.shape.tokens.n_ctx))
    elif roles.embedding is not None:
        yield roles.embedding


def has_tables(seen: Halves) -> bool:
    """Whether outputs can be differentiated by what goes in."""
    if seen.run.task.shape.inputs.kind == "vectors":
        return True
    tables = list(tables_of(seen))
    return bool(tables) and all(table.put is not None for table in tables)


def by_half(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Numbers of both halves side by side."""
    return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}


def near_examples(seen: Halves, drawn: dict[str, Drawn], weights: Weights) -> dict[str, Tensor]:
    """Local complexity of both halves, with standard errors over the examples."""
    read = {half: drawn[half].read(weights) for half in HALVES}
    together = torch.cat(list(read.values()))
    radius = drawn["train"].options.radius * (together - together.mean(dim=0)).square().sum(dim=1).mean().sqrt()
    counts = [drawn[half].local(weights, read[half], radius) for half in HALVES]
    errors = [each.std() / len(each) ** 0.5 if len(each) > 1 else each.new_tensor(math.nan) for each in counts]
    return {
        "local_complexity": torch.stack([each.mean() for each in counts]),
        "local_complexity_error": torch.stack(errors),
    }


def loss_of(seen: Halves, weights: Weights) -> Float[Tensor, ""]:
    """Training loss."""
    return seen.objectives["train"].of_outputs(seen.outputs("train", weights))[0, 0]


def coarsest(seen: Halves, weights: Weights, allowed: float) -> dict[str, Tensor]:
    """The coarsest grid on which the training loss rises by at most so much, and the bits of the weights on it."""
    flat, loss = seen.flat(weights), loss_of(seen, weights)
    largest = float(flat.abs().max())
    top = math.ceil(2 * math.log2(2 * largest)) + 1 if largest > 0 else 0
    grid, rise, symbols = math.nan, loss.new_tensor(math.nan), flat.new_zeros(len(flat), dtype=torch.int64)
    for power in range(top, top - FINEST, -1):
        grid = 2 ** (power / 2)
        symbols = (flat / grid).round().long()
        rise = loss_of(seen, seen.weights(symbols * grid, weights)) - loss
        if rise <= allowed:
            break
    bits = code_length(symbols)
    size = flat.double().square().mean().sqrt()
    return {
        "bits": bits,
        "bits_per_weight": bits / len(flat),
        "grid": torch.tensor(grid, dtype=torch.float64),
        "relative_grid": grid / size if size > 0 else torch.tensor(0.0),
        "rise": rise,
    }


def bytes_at_work(seen: Halves, options: Options) -> int:
    """Bytes of a checkpoint: outputs of the training set on a grid; neurons at all vertices; the graph of some outputs."""
    shape, config = seen.run.task.shape, seen.run.config
    cost = config.model.cost(shape)
    one = 4 * (cost.work + cost.states)
    prompts = min(options.prompts, max(len(seen.parts[half]) for half in HALVES))
    rows = prompts * (len(shape.classes.positions) if seen.has_answers else 1)
    around = 2 * options.directions * rows * (one + 8 * math.prod(seen.parts["train"].inputs.shape[1:]))
    return seen.bytes_of_outputs + max(around, GRAPH * one * prompts) + 8 * bytes_read(seen.run)


COLOURS = {"train": figures.TRAIN, "test": figures.TEST}
"""Colour of each split."""

BY_SPLIT = {
    "local_complexity": ("neurons whose sign differs around an example", "neurons"),
    "jacobian": ("‖∂outputs/∂embedding‖, root mean square over examples", "norm"),
    "elasticity": ("the same × norm of an embedding ÷ standard deviation of the outputs", "elasticity"),
}
"""Title of each panel with a curve a split, and of its axis."""


def draw(found: xr.Dataset) -> go.Figure:
    """Losses above local complexity, the Jacobian and bits at equal loss."""
    shown = [name for name in BY_SPLIT if name in found]
    figure = figures.panels(
        [
            "loss",
            *(BY_SPLIT[name][0] for name in shown),
            "bits a weight on the coarsest grid of equal training loss",
            "its step",
        ],
        heights=[3] * (len(shown) + 3),
        title="How simple is the function?",
    )
    figures.losses(figure, found, row=1)
    for row, name in enumerate(shown, start=2):
        for split, colour in COLOURS.items():
            here = found.sel(split=split)
            figures.line(figure, here[name], split, colour, row=row)
            figures.error_band(figure, here[name], here[f"{name}_error"], colour, row=row)
        figure.update_yaxes(title_text=BY_SPLIT[name][1], rangemode="tozero", row=row)
    row = len(shown) + 2
    figures.line(figure, found["bits_per_weight"], "bits a weight", figures.INK, row=row, showlegend=False)
    figure.update_yaxes(title_text="bits a weight", rangemode="tozero", row=row)
    figures.line(figure, found["grid"], "step", figures.INK, row=row + 1)
    figures.line(figure, found["relative_grid"], "÷ rms weight", figures.QUIET, row=row + 1, dash="dash")
    figure.update_yaxes(title_text="step of the grid", type="log", exponentformat="power", dtick=1, row=row + 1)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Local complexity and Jacobian by split, with errors, and bits at equal loss, at each step."""
    table = by_step(found)
    for name in (name for name in BY_SPLIT if name in found):
        for split in HALVES:
            table[f"{split} {name.replace('_', ' ')}"] = found[name].sel(split=split).values
            table[f"{split} {name.replace('_', ' ')} ±"] = found[f"{name}_error"].sel(split=split).values
    table["bits a weight"] = found["bits_per_weight"].values
    table["grid"] = found["grid"].values
    return table
