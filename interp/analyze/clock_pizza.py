"""Clock or pizza: does the network multiply the waves of a and b, or add them first?"""

from collections.abc import Mapping

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
    beforehand,
    by_step,
    bytes_read,
    dataset,
    each_checkpoint,
    fits,
    needs_numbers,
    number_rows,
)
from interp.analyze._sums import Square, square
from interp.maths import clock_pizza
from interp.maths import logits as forms
from interp.maths.fourier import frequency_power
from interp.models.shared import SharedForward
from interp.store import Run
from interp.store.tensors import Tensors

LISTED_UP_TO = 150
"""Residues up to which triples are drawn as for the published figures, which lists all of them: 2 s at 150."""

SYMMETRIC = 0.98
IRRELEVANT, RELEVANT = 0.6, 0.4
ACCURATE = 0.99
"""Bands of Zhong et al. (2023): a pizza has a gradient symmetricity from .98 and a distance irrelevance up to .4, a clock one
below .98 and one from .6. They are of networks that generalise and have circular embeddings (circularity from .995)."""

DEFINITION = (
    "Pairs and answers are those of the task's order: signs, tokens of b and the 0 of products are none. "
    "symmetricity: definition 4.1, mean cosine of ∂logit_c/∂E_a and ∂logit_c/∂E_b, in float64. irrelevance: definition 4.2,"
    " of the right answer's logit, population deviations. circularity: over four principal components. Circle m: principal "
    "components 2m − 1 and 2m of the number tokens' embedding. Isolated: that embedding with its mean and these components "
    "alone, other tokens as they are; accuracy and loss over all pairs. explained: squared correlation of the logits of the"
    " network with one circle, without the means of each prompt and of each answer, with cos(w(a+b−c)) (clock) and "
    "|cos(w(a−b)/2)|·cos(w(a+b−c)) (pizza) at the circle's strongest frequency. explained_standardised: 2r − 1, the same "
    "with both sides at deviation 1. verdict: pizza from a symmetricity of .98 and up to an irrelevance of .4, clock below "
    ".98 and from .6, between otherwise; nothing below 99 % accuracy"
)


class Options(AnalysisOptions):
    """How much is drawn, and how many circles are taken apart."""

    triples: int = Field(default=100, ge=1, le=100_000)
    """Triples (a, b, c) over which the gradient symmetricity is a mean."""
    seed: int = Field(default=42, ge=0, lt=2**63)
    """Seed of the triples; 42 draws those of the published figures."""
    circles: int = Field(default=3, ge=1, le=64)
    """Circles of the embedding (pairs of principal components) that are isolated, at most as many as there are."""
    control_seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of the untrained weights for comparison, where the run has no step 0 of its own."""


def measure(run: Run, options: Options) -> xr.Dataset:
    """The three measures of Zhong et al. and their isolation of circles at each step, beside those of an untrained network.

    They can mislead: an untrained network too can have a symmetricity and an irrelevance near 1; where b has tokens of its
    own, a and b can be added into dimensions of their own and multiplied there, at a symmetricity of 1; and where circles have
    nearly the same size, principal components mix them, which a circle_share below 1 tells.
    """
    run = run.with_checkpoints()
    grid = square(run, "clock_pizza")
    listed = grid.n <= LISTED_UP_TO
    draw_triples = clock_pizza.shuffled_triples if listed else clock_pizza.sampled_triples
    network = Probe(grid, draw_triples(grid.n, options.triples, options.seed), options.circles)
    needs = network.bytes + 40 * grid.n**3 * listed  # listing triples takes 40 bytes each
    fits(run, 2 * bytes_read(run) + needs)
    weights, control = untrained(run, options)
    beside = beforehand(lambda: network.measures(weights))
    found = each_checkpoint(run, network.measures, needs=needs)
    both = {
        name: np.stack([values, np.broadcast_to(beside[name].numpy(), values.shape)], axis=1)
        for name, values in found.items()
    }
    return dataset(
        run,
        options,
        {
            name: (
                ("step", "network", *dims(name)),
                values,
                {"long_name": LONG_NAMES[name], **UNITS.get(name, {"units": "1"})},
            )
            for name, values in both.items()
        },
        coords={
            "network": ["checkpoint", "untrained"],
            "circle": np.arange(1, network.n_circles + 1),
            "form": list(forms.FORMS[:2]),
        },
        definition=DEFINITION,
        source="Zhong et al. 2023 (arXiv 2306.17844), sections 3 and 4; their 99.2 to 99.3 % (pizza) and 75.4 to 75.6 % "
        "(clock) of Model A are explained_standardised",
    ).assign_attrs(control=control, triples_drawn="published shuffle" if listed else "sampled without listing all")


LONG_NAMES = {
    "accuracy": "accuracy over all pairs",
    "symmetricity": "gradient symmetricity",
    "irrelevance": "distance irrelevance",
    "circularity": "circularity",
    "circle_frequency": "strongest frequency of the circle",
    "circle_share": "share of the circle's power at that frequency",
    "accuracy_alone": "accuracy with one circle alone",
    "loss_alone": "loss with one circle alone",
    "accuracy_together": "accuracy with the circles up to this one",
    "loss_together": "loss with the circles up to this one",
    "explained": "variance of one circle's logits that the form explains",
    "explained_standardised": "the same with both sides scaled to deviation 1, 2r − 1",
}
UNITS = {"circle_frequency": {}, "loss_alone": {"units": "nats"}, "loss_together": {"units": "nats"}}
"""All others are shares and cosines."""
PER_CIRCLE = ("circle_frequency", "circle_share", "accuracy_alone", "loss_alone", "accuracy_together", "loss_together")
PER_FORM = ("explained", "explained_standardised")


def dims(name: str) -> tuple[str, ...]:
    """Of a variable, after step and network."""
    return ("circle",) if name in PER_CIRCLE else ("circle", "form") if name in PER_FORM else ()


def untrained(run: Run, options: Options) -> tuple[Tensors, str]:
    """Weights to compare with: the run's own step 0, or fresh ones where it was converted from later files."""
    if run.first.step == 0:
        return run.first.weights, "the run's own step 0"
    spec, seed = run.known_model, options.control_seed
    weights = spec.initial_weights(run.task.shape, seed)
    return weights, f"fresh initial weights, init {spec.init}, seed {seed}: the run has no step 0"


class Probe:
    """All measures of one set of weights over one square of prompts, and what is computed once for them."""

    def __init__(self, grid: Square, triples: Int[Tensor, "triple 3"], circles: int):
        self.task, spec = needs_numbers(grid.run, "clock_pizza"), grid.run.known_model
        self.grid, self.triples, task = grid, triples, self.task
        self.operands = [grid.residues] if task.operands == "shared" else [grid.residues, grid.residues + task.p]
        """Tokens of the numbers, in the order, for a and for b where those differ."""
        width = spec.d_model * len(self.operands)
        self.n_circles = min(circles, (grid.n - 1) // 2, max(1, width // 2))
        self.columns = [task.prompt.index("a"), task.prompt.index("b")]
        # Each prompt has tokens of its own for a and b, whose rows of W_E are the embeddings that are asked about; its signs have
        # the rows after those.
        self.signs = [column for column in range(len(task.prompt)) if column not in self.columns]
        tokens = torch.empty(len(triples), len(task.prompt), dtype=torch.long)
        tokens[:, self.columns] = torch.arange(2 * len(triples)).view(-1, 2)
        tokens[:, self.signs] = 2 * len(triples) + torch.arange(len(self.signs))
        self.apart = SharedForward(spec, tokens)

    @property
    def bytes(self) -> int:
        """What it takes at work."""
        grid, spec, triples = self.grid, self.grid.run.known_model, len(self.triples)
        width = spec.n_layers * (12 * spec.d_model + 6 * spec.d_mlp) + self.task.shape.d_vocab_out
        backward = 8 * triples * len(self.task.prompt) * width + 6 * bytes_read(grid.run)
        return max(grid.forward_bytes + grid.bytes(12 * grid.n), backward)

    def measures(self, weights: Tensors) -> Mapping[str, Tensor]:
        """Every measure of one checkpoint."""
        grid, n = self.grid, self.grid.n
        (logits,) = grid.activations(weights, "logits")
        right = logits.gather(1, grid.answers[:, None]).view(n, n)
        return {
            "accuracy": grid.accuracies(logits)[-1],
            "symmetricity": self.symmetricity(weights),
            "irrelevance": clock_pizza.distance_irrelevance(right),
            "circularity": clock_pizza.circularity(number_rows(weights["embed.W_E"], self.task)),
            **self.circles(weights),
        }

    def symmetricity(self, weights: Tensors) -> Float[Tensor, ""]:
        """In float64; of 100 prompts that takes a hundredth of the whole table."""
        with torch.inference_mode(False):  # tensors of inference mode cannot be differentiated through
            doubles = {name: tensor.clone().double() for name, tensor in weights.items()}
            W_E, prompts, residues = doubles["embed.W_E"], self.task.table().inputs, self.grid.residues
            a, b, c = residues[self.triples].unbind(dim=1)
            embedded = torch.stack([W_E[a], W_E[b + (self.operands[-1] - residues)[0]]], dim=1)
            signs = W_E[torch.from_numpy(prompts[0, self.signs])]
            return clock_pizza.gradient_symmetricity(
                lambda rows: self.apart({**doubles, "embed.W_E": torch.cat([rows.flatten(0, 1), signs])}), embedded, c
            )

    def circles(self, weights: Tensors) -> dict[str, Tensor]:
        """The network with one circle of its embedding, and with the first ones: [circle, …]."""
        W_E, n = weights["embed.W_E"], self.grid.n
        waves = clock_pizza.principal_waves(
            torch.cat([W_E[tokens] for tokens in self.operands], dim=-1), 2 * self.n_circles
        )
        found: dict[str, list[Tensor]] = {name: [] for name in (*PER_CIRCLE, *PER_FORM)}
        for m in range(self.n_circles):
            circle = waves[:, 2 * m : 2 * m + 2]
            power = frequency_power(circle)
            k = int(power.argmax()) + 1
            alone = self.with_waves(weights, circle)
            together = alone if m == 0 else self.with_waves(weights, waves[:, : 2 * m + 2])
            r = correlations(alone.unflatten(0, (n, n)), k)
            of_circle = {
                "circle_frequency": torch.tensor(k),
                "circle_share": power.max(),
                "accuracy_alone": self.grid.accuracies(alone)[-1],
                "loss_alone": self.grid.losses(alone)[-1],
                "accuracy_together": self.grid.accuracies(together)[-1],
                "loss_together": self.grid.losses(together)[-1],
                "explained": r.square(),
                "explained_standardised": 2 * r - 1,
            }
            for name, value in of_circle.items():
                found[name].append(value)
        return {name: torch.stack(values) for name, values in found.items()}

    def with_waves(self, weights: Tensors, waves: Float[Tensor, "p component"]) -> Float[Tensor, "n*n n"]:
        """Logits of the network that sees these components of the numbers' embedding alone."""
        W_E = weights["embed.W_E"].clone()
        for tokens in self.operands:
            W_E[tokens] = clock_pizza.isolated(W_E[tokens], waves)
        (logits,) = self.grid.activations({**weights, "embed.W_E": W_E}, "logits")
        return logits


def correlations(logits: Float[Tensor, "p p p"], k: int) -> Float[Tensor, " form"]:
    """Of the logits, without the means of prompts and answers, with the clock's and the pizza's form at frequency k."""
    moved = logits - logits.mean(dim=(0, 1))
    products = forms.form_products(forms.in_and_out_of_phase(moved)[0])
    centred = moved - moved.mean(dim=-1, keepdim=True)
    return products[:, k - 1] / centred.square().sum(dtype=torch.float64).sqrt()


def draw(found: xr.Dataset) -> go.Figure:
    """Accuracy above the three measures, above what single circles can."""
    figure = figures.panels(
        [
            "accuracy",
            f"the three measures (dotted: untrained, {found.attrs['control'].split(':')[0]})",
            "accuracy with circles of the embedding alone",
            "variance of one circle's logits that the form of a clock and of a pizza explains",
        ],
        heights=[3, 5, 4, 4],
        title="Clock or pizza",
    )
    figures.accuracies(figure, found, row=1)
    now, untrained = found.sel(network="checkpoint"), found.sel(network="untrained")
    for name, colour in zip(("symmetricity", "irrelevance", "circularity"), figures.PALETTE, strict=False):
        together = {"legendgroup": name}
        figures.line(figure, now[name], LONG_NAMES[name], colour, row=2, **together)
        figures.line(figure, untrained[name], name, colour, row=2, dash="dot", showlegend=False, **together)
    for circle, colour in zip(found["circle"].values, figures.PALETTE, strict=False):
        here, group = now.sel(circle=circle), {"legendgroup": f"circle {circle}"}
        k = int(here["circle_frequency"].values[-1])
        figures.line(figure, here["accuracy_alone"], f"circle {circle} (k = {k} at last)", colour, row=3, **group)
        if circle > 1:
            figures.line(figure, here["accuracy_together"], f"circles 1 to {circle}", colour, row=3, dash="dash")
        for form, dash in zip(found["form"].values, ("solid", "dot"), strict=True):
            figures.line(figure, here["explained"].sel(form=form), f"{form}, circle {circle}", colour, row=4, dash=dash)
    figure.update_yaxes(title_text="measure", row=2)
    figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=[-0.02, 1.04], row=3)
    figure.update_yaxes(title_text="explained", range=[-0.02, 1.04], row=4)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """The measures, what they are of the untrained network, and the verdict where the network is right, at each step."""
    table, now, untrained = by_step(found), found.sel(network="checkpoint"), found.sel(network="untrained")
    for name in ("symmetricity", "irrelevance", "circularity"):
        table[name] = now[name].values
        table[f"{name} untrained"] = untrained[name].values
    table["accuracy"] = now["accuracy"].values
    for circle in found["circle"].values:
        table[f"circle {circle} alone"] = now["accuracy_alone"].sel(circle=circle).values
    table["all these circles"] = now["accuracy_together"].isel(circle=-1).values
    measures = zip(now["symmetricity"].values, now["irrelevance"].values, now["accuracy"].values, strict=True)
    table["verdict"] = [verdict(*each) for each in measures]
    return table


def verdict(symmetricity: float, irrelevance: float, accuracy: float) -> str:
    """clock, pizza or between by the published bands; nothing for a network that is not right."""
    if accuracy < ACCURATE:
        return ""
    if symmetricity >= SYMMETRIC and irrelevance <= RELEVANT:
        return "pizza"
    return "clock" if symmetricity < SYMMETRIC and irrelevance >= IRRELEVANT else "between"
