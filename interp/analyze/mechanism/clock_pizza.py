"""Clock or pizza: does the network multiply the waves of a and b, or add them first?"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.maths import clock_pizza
from interp.maths import logits as forms
from interp.maths.fourier import frequency_power
from interp.maths.sampling import standard_error
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.store import Run
from interp.views.prompts import Prompts
from interp.views.square import EmbeddedSquare
from interp.views.untrained import untrained
from interp.views.walk import beforehand, bytes_read, each_checkpoint, needs_memory

LISTED_UP_TO = 150
"""Residues up to which triples are drawn as for the published figures, which lists all of them: 2 s at 150."""

SYMMETRIC = 0.98
IRRELEVANT, RELEVANT = 0.6, 0.4
ACCURATE = 0.99
"""Bands of Zhong et al. (2023): a pizza has a gradient symmetricity from .98 and a distance irrelevance up to .4, a clock one
below .98 and one from .6. They are of networks that generalise and have circular embeddings (circularity from .995)."""

DEFINITION = (
    "Pairs and answers are those of the task's order: signs, tokens of b and the 0 of products are none. "
    "symmetricity: definition 4.1, mean cosine of ∂logit_c/∂E_a and ∂logit_c/∂E_b over drawn triples, in float64; its standard "
    "error is s/√n, of n triples drawn from p³ without putting back. irrelevance: definition 4.2,"
    " of the right answer's logit, population deviations. circularity: over four principal components. Circle m: principal "
    "components 2m − 1 and 2m of the number tokens' embedding. Isolated: that embedding with its mean and these components "
    "alone, other tokens as they are; accuracy and loss over all pairs. explained: squared correlation of the logits of the"
    " network with one circle, without the means of each prompt and of each answer, with cos(w(a+b−c)) (clock) and "
    "|cos(w(a−b)/2)|·cos(w(a+b−c)) (pizza) at the circle's strongest frequency. explained_standardised: 2r − 1, the same "
    "with both sides at deviation 1. verdict: pizza from a symmetricity of .98 and up to an irrelevance of .4, clock below "
    ".98 and from .6, between otherwise; nothing below 99 % accuracy"
)

BY_CHECKPOINT = True


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


VARIABLES: Variables = {
    "accuracy": Var("step network", "accuracy over all pairs", "1"),
    "symmetricity": Var("step network", "gradient symmetricity", "1"),
    "symmetricity_error": Var("step network", "standard error of the gradient symmetricity over the triples", "1"),
    "irrelevance": Var("step network", "distance irrelevance", "1"),
    "circularity": Var("step network", "circularity", "1"),
    "circle_frequency": Var("step network circle", "strongest frequency of the circle"),
    "circle_share": Var("step network circle", "share of the circle's power at that frequency", "1"),
    "accuracy_alone": Var("step network circle", "accuracy with one circle alone", "1"),
    "loss_alone": Var("step network circle", "loss with one circle alone", "{loss_units}"),
    "accuracy_together": Var("step network circle", "accuracy with the circles up to this one", "1"),
    "loss_together": Var("step network circle", "loss with the circles up to this one", "{loss_units}"),
    "explained": Var("step network circle form", "variance of one circle's logits that the form explains", "1"),
    "explained_standardised": Var(
        "step network circle form", "variance that the form explains with both sides scaled to deviation 1, 2r − 1", "1"
    ),
}


def measure(seen: EmbeddedSquare, options: Options) -> xr.Dataset:
    """The three measures of Zhong et al. and their isolation of circles at each step, beside those of an untrained network.

    They can mislead: an untrained network too can have a symmetricity and an irrelevance near 1; where b has tokens of its
    own, a and b can be added into dimensions of their own and multiplied there, at a symmetricity of 1; and where circles have
    nearly the same size, principal components mix them, which a circle_share below 1 tells.
    """
    run, listed = seen.run, seen.n <= LISTED_UP_TO
    draw_triples = clock_pizza.shuffled_triples if listed else clock_pizza.sampled_triples
    network = Probe(seen, draw_triples(seen.n, options.triples, options.seed), options.circles)
    needs = network.bytes + 40 * seen.n**3 * listed  # listing triples takes 40 bytes each
    needs_memory(run, 2 * bytes_read(run) + needs)
    weights, control = compared_with(run, options)
    beside = beforehand(lambda: network.measures(weights))
    found = each_checkpoint(run, network.measures, needs=needs)
    both = {
        name: np.stack([values, np.broadcast_to(beside[name].numpy(), values.shape)], axis=1)
        for name, values in found.items()
    }
    return dataset(
        run,
        options,
        both,
        VARIABLES,
        coords={
            "network": ["checkpoint", "untrained"],
            "circle": np.arange(1, network.n_circles + 1),
            "form": list(forms.FORMS[:2]),
        },
        definition=DEFINITION,
        source="Zhong et al. 2023 (arXiv 2306.17844), sections 3 and 4; their 99.2 to 99.3 % (pizza) and 75.4 to 75.6 % "
        "(clock) of Model A are explained_standardised",
    ).assign_attrs(control=control, triples_drawn="published shuffle" if listed else "sampled without listing all")


def compared_with(run: Run, options: Options) -> tuple[Weights, str]:
    """Weights to compare with: the run's own step 0, or fresh ones where it was converted from later files."""
    if run.first.step == 0:
        return run.first.weights, "the run's own step 0"
    spec, seed = run.known_model, options.control_seed
    usual = spec.unstarted.model_dump()
    unusual = [f"{name} {value}" for name, value in spec.model_dump().items() if value != usual[name]]
    words = ", ".join(["fresh initial weights", *unusual, f"seed {seed}"])
    return untrained(run, seed), f"{words}: the run has no step 0"


class Probe:
    """All measures of one set of weights over one square of prompts, and what is computed once for them."""

    def __init__(self, seen: EmbeddedSquare, triples: Int[Tensor, "triple 3"], circles: int):
        self.seen, self.triples = seen, triples
        width = seen.embeds.width * len(seen.operands)
        self.n_circles = min(circles, (seen.n - 1) // 2, max(1, width // 2))
        columns, n_ctx = [seen.order.position_of_a, seen.order.position_of_b], len(seen.positions)
        # Each prompt has tokens of its own for a and b, whose rows of W_E are the embeddings that are asked about; its signs have
        # the rows after those.
        self.signs = [column for column in range(n_ctx) if column not in columns]
        tokens = torch.empty(len(triples), n_ctx, dtype=torch.long)
        tokens[:, columns] = torch.arange(2 * len(triples)).view(-1, 2)
        tokens[:, self.signs] = 2 * len(triples) + torch.arange(len(self.signs))
        self.apart = Prompts(seen.run, tokens)

    @property
    def bytes(self) -> int:
        """Bytes that it takes at work: over the square, or over the triples in float64 with what the gradient keeps."""
        seen = self.seen
        # Twice for float64, twice for what the gradient keeps, and twice since prompts with tokens of their own share no states.
        backward = 8 * self.apart.bytes + 6 * bytes_read(seen.run)
        return max(seen.forward_bytes + seen.bytes(12 * seen.n), backward)

    def measures(self, weights: Weights) -> dict[str, Tensor]:
        """Every measure of one checkpoint."""
        seen, n = self.seen, self.seen.n
        logits = seen.logits(weights)
        right = logits.gather(1, seen.answers[:, None]).view(n, n)
        return {
            "accuracy": seen.accuracies(logits)[-1],
            **self.symmetricity(weights),
            "irrelevance": clock_pizza.distance_irrelevance(right),
            "circularity": clock_pizza.circularity(seen.embedding(weights)),
            **self.circles(weights),
        }

    def symmetricity(self, weights: Weights) -> dict[str, Float[Tensor, ""]]:
        """The gradient symmetricity over the triples and its standard error, in float64; a hundredth of the table's time."""
        seen = self.seen
        with torch.inference_mode(False):  # tensors of inference mode cannot be differentiated through
            doubles = {name: tensor.clone().double() for name, tensor in weights.items()}
            W_E, prompt = doubles[seen.table], seen.prompts.inputs[0]
            a, b, c = seen.values[self.triples].unbind(dim=1)
            embedded = torch.stack([W_E[a], W_E[b + seen.order.first_b]], dim=1)
            signs = W_E[prompt[self.signs]]
            cosines = clock_pizza.gradient_cosines(
                lambda rows: self.apart.outputs(seen.embedded(doubles, torch.cat([rows.flatten(0, 1), signs]))),
                embedded,
                c,
            )
        error = standard_error(cosines, of=seen.n**3)
        return {"symmetricity": cosines.mean(dim=-1), "symmetricity_error": error}

    def circles(self, weights: Weights) -> dict[str, Tensor]:
        """The network with one circle of its embedding, and with the first ones: [circle, …]."""
        W_E = weights[self.seen.table]
        rows = torch.cat([W_E[tokens] for tokens in self.seen.operands], dim=-1)
        waves = clock_pizza.principal_waves(rows, 2 * self.n_circles)
        found = [self.circle(weights, waves, m) for m in range(self.n_circles)]
        return {name: torch.stack([each[name] for each in found]) for name in found[0]}

    def circle(self, weights: Weights, waves: Float[Tensor, "n component"], m: int) -> dict[str, Tensor]:
        """The network with the circle number m, from 0, alone, and with those before it."""
        seen, n, circle = self.seen, self.seen.n, waves[:, 2 * m : 2 * m + 2]
        power = frequency_power(circle)
        k = int(power.argmax()) + 1
        alone = self.with_waves(weights, circle)
        together = alone if m == 0 else self.with_waves(weights, waves[:, : 2 * m + 2])
        r = correlations(alone.unflatten(0, (n, n)), k)
        return {
            "circle_frequency": torch.tensor(k),
            "circle_share": power.max(),
            "accuracy_alone": seen.accuracies(alone)[-1],
            "loss_alone": seen.losses(alone)[-1],
            "accuracy_together": seen.accuracies(together)[-1],
            "loss_together": seen.losses(together)[-1],
            "explained": r.square(),
            "explained_standardised": 2 * r - 1,
        }

    def with_waves(self, weights: Weights, waves: Float[Tensor, "n component"]) -> Float[Tensor, "n*n n"]:
        """Logits of the network that sees these components of the numbers' embedding alone."""
        W_E = weights[self.seen.table].clone()
        for tokens in self.seen.operands:
            W_E[tokens] = clock_pizza.isolated(W_E[tokens], waves)
        return self.seen.logits(self.seen.embedded(weights, W_E))


def correlations(logits: Float[Tensor, "p p p"], k: int) -> Float[Tensor, " form"]:
    """Correlation of the logits, without the means of prompts and answers, with the clock's and pizza's form at frequency k."""
    moved = logits - logits.mean(dim=(0, 1))
    products = forms.form_products(forms.in_and_out_of_phase(moved)[0])
    centred = moved - moved.mean(dim=-1, keepdim=True)
    return products[:, k - 1] / centred.square().sum(dtype=torch.float64).sqrt()


def draw(found: xr.Dataset) -> go.Figure:
    """Accuracy above the three measures, above what single circles can."""
    figure = figures.panels(
        [
            "accuracy",
            f"the three measures (dotted: untrained, {found.attrs['control'].split(':')[0]}; shaded: ± standard error)",
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
        figures.line(figure, now[name], VARIABLES[name].long_name, colour, row=2, **together)
        figures.line(figure, untrained[name], name, colour, row=2, dash="dot", showlegend=False, **together)
    for network in (now, untrained):
        figures.error_band(
            figure,
            network["symmetricity"],
            network["symmetricity_error"],
            figures.PALETTE[0],
            2,
            legendgroup="symmetricity",
        )
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
        if name == "symmetricity":
            table["± error"] = now["symmetricity_error"].values
        table[f"{name} untrained"] = untrained[name].values
    table["accuracy"] = now["accuracy"].values
    for circle in found["circle"].values:
        table[f"circle {circle} alone"] = now["accuracy_alone"].sel(circle=circle).values
    table["all these circles"] = now["accuracy_together"].isel(circle=-1).values
    measures = zip(now["symmetricity"].values, now["irrelevance"].values, now["accuracy"].values, strict=True)
    table["verdict"] = [verdict(*each) for each in measures]
    return table


def headline(found: xr.Dataset) -> dict[str, str]:
    """Clock or pizza at the last step; nothing of a network that is not right."""
    last = found.sel(network="checkpoint").isel(step=-1)
    symmetricity, irrelevance, accuracy = (float(last[name]) for name in ("symmetricity", "irrelevance", "accuracy"))
    word = {"between": "between clock and pizza"}.get(
        found_as := verdict(symmetricity, irrelevance, accuracy), found_as
    )
    told = f"{word}: gradient symmetricity {symmetricity:.2f}, distance irrelevance {irrelevance:.2f}"
    return {"clock or pizza": told} if word else {}


def verdict(symmetricity: float, irrelevance: float, accuracy: float) -> str:
    """clock, pizza or between by the published bands; nothing for a network that is not right."""
    if accuracy < ACCURATE:
        return ""
    if symmetricity >= SYMMETRIC and irrelevance <= RELEVANT:
        return "pizza"
    return "clock" if symmetricity < SYMMETRIC and irrelevance >= IRRELEVANT else "between"
