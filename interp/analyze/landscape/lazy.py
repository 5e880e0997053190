"""Lazy training: does the network leave its linearisation?"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.base import IGNORED, once
from interp.maths.kernels import Estimate, alignment, alignment_with, centred_kernels
from interp.maths.sampling import generator
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.tasks import Examples
from interp.views.halves import HALVES, Halves
from interp.views.landscape import Flat, differentiable
from interp.views.walk import beforehand, each_checkpoint, evenly


class Options(AnalysisOptions):
    """Where the network is linearised, and how well its tangent kernel is known."""

    at: int | None = None
    """Step of the checkpoint at which the network is linearised and with whose kernel others are compared; if it is left out,
    the run's first one."""
    prompts: int = Field(default=64, ge=4)
    """Examples that are drawn for the kernel, from training and test set together."""
    probes: int = Field(default=32, ge=4)
    """Random directions in the weights for the kernel."""
    checkpoints: int = Field(default=16, ge=1)
    """How many are measured at most, evenly chosen among those in view."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of examples and directions, which are the same at every checkpoint."""


VARIABLES: Variables = {
    "kernel_distance": Var("step", "distance of the tangent kernel from that of step {at}: 1 − alignment", "1"),
    "kernel_distance_error": Var("step", "standard error of that distance over the probes", "1"),
    "kernel_change": Var(
        "step", "distance of the tangent kernel from that of the checkpoint before: 1 − alignment", "1"
    ),
    "kernel_change_error": Var("step", "standard error of that change over the probes", "1"),
    "label_alignment": Var("step", "alignment of the tangent kernel with the answers", "1"),
    "label_alignment_error": Var("step", "standard error of the alignment over the probes", "1"),
    "moved": Var("step", "distance of the weights from those of step {at} ÷ the norm of these", "1"),
    "loss": Var("step split", "loss", "{loss_units}"),
    "accuracy": Var("step split", "accuracy", "1"),
    "linear_loss": Var("step split", "loss of the network linearised at step {at}", "{loss_units}"),
    "linear_accuracy": Var("step split", "accuracy of the network linearised at step {at}", "1"),
    "nonlinearity": Var("step split", "norm of (outputs − linearised ones) ÷ norm of the outputs' change", "1"),
}


def measure(seen: Halves, options: Options) -> xr.Dataset:
    """Distance of the tangent kernel from an earlier one and alignment with the answers; the linearised network's loss.

    The linearised network f(θ₀) + J(θ₀)·(θ − θ₀) has the weights θ of the checkpoint.
    """
    start = seen.run.first if options.at is None else seen.run.at(options.at)
    seen = replace(seen, run=evenly(seen.run, options.checkpoints))
    tangent = Tangent(seen, options, start.weights)
    first = beforehand(lambda: tangent.kernels(start.weights))

    def at_checkpoint(weights: Weights) -> dict[str, Tensor]:
        """Every variable at one checkpoint, and the probes' kernels."""
        with differentiable():
            return tangent.linearised(weights) | {"kernels": tangent.kernels(weights)}

    found = each_checkpoint(seen.run, at_checkpoint, needs=bytes_at_work(seen, options))
    kernels = [torch.from_numpy(each) for each in found.pop("kernels")]
    if not seen.has_answers:
        found = {name: values for name, values in found.items() if "accuracy" not in name}
    return dataset(
        seen.run,
        options,
        found | compared(kernels, first.double(), tangent.of_targets),
        VARIABLES,
        coords={"split": list(HALVES)},
        words={"at": f"{start.step}"},
        definition=f"tangent kernel: Σ over outputs of ∂f(x)·∂f(x′) by the weights that learn, over {options.prompts} drawn "
        f"examples, from {options.probes} random sign vectors ω by Jω; centred; alignment: ⟨K, L⟩ ÷ (‖K‖·‖L‖) without bias, "
        "from pairs of different ω; answers: one-hot, or the vectors to be met; a change depends on how far apart the "
        f"checkpoints in view are; linearised: f(θ₀) + J(θ₀)·(θ − θ₀) with θ₀ of step {start.step}; nonlinearity: ‖f − "
        "linearised‖ ÷ ‖f − f(θ₀)‖ over a split, 0 where nothing changed; errors: jackknife over the probes",
        source="kernel distance: Fort et al. 2020 (arXiv 2010.15110); alignment: Cortes et al. 2012; lazy training: Chizat "
        "et al. 2019 (arXiv 1812.07956)",
    ).assign_attrs(linearised_at=start.step)


@dataclass(frozen=True)
class Tangent:
    """The network beside its linearisation at some weights, and the tangent kernel over some examples."""

    seen: Halves
    options: Options
    start: Weights

    @once
    def drawn(self) -> Examples:
        """The examples that the kernel is over."""
        every = self.seen.parts["all"]
        return every[
            torch.randperm(len(every), generator=generator(self.options.seed))[: self.options.prompts]
            .sort()
            .values.numpy()
        ]

    @once
    def known(self) -> np.ndarray:
        """Which of their outputs count, in order."""
        if not self.seen.has_answers:
            return np.arange(len(self.drawn))
        return np.flatnonzero(self.drawn.targets.reshape(-1) != IGNORED)

    @once
    def of_targets(self) -> Float[Tensor, "n n"]:
        """The centred kernel of the answers."""
        if self.seen.has_answers:
            targets = torch.from_numpy(self.drawn.targets).flatten()[self.known].long()
            vectors = torch.nn.functional.one_hot(targets, self.seen.run.task.shape.outputs.n)
        else:
            vectors = torch.from_numpy(self.drawn.targets)
        return centred_kernels(vectors.double()[None])[0]

    def kernels(self, weights: Weights) -> Float[Tensor, "probe n n"]:
        """Centred kernel of each probe."""
        with differentiable():
            surface = self.seen.over(self.drawn)
            _, along = surface.tangent(self.seen.flat(cloned(weights))[None], cloned(weights))
            random = generator(self.options.seed, 1)
            changes = []
            for _ in range(self.options.probes):
                signs = torch.randint(0, 2, (1, self.seen.n_weights), generator=random) * 2 - 1
                changes.append(along(signs.float())[0, self.known])
            return centred_kernels(torch.stack(changes).double())

    def linearised(self, weights: Weights) -> dict[str, Tensor]:
        """Loss and accuracy of the network and of its linearisation on both halves, and how far it has gone from that."""
        flat = self.seen.flat({name: tensor.clone() for name, tensor in weights.items()})[None]
        begin = self.seen.flat({name: tensor.clone() for name, tensor in self.start.items()})[None]
        parts = [self.on_half(half, flat, begin, weights) for half in HALVES]
        found = {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
        return found | {"moved": (flat - begin).double().norm() / begin.double().norm()}

    def on_half(self, half: str, flat: Flat, begin: Flat, weights: Weights) -> dict[str, Tensor]:
        """These numbers on one half."""
        surface = self.seen.over(self.seen.parts[half])
        start, along = surface.tangent(begin, self.start)
        before = start.detach()
        outputs, linear = surface.outputs(flat, cloned(weights)), before + along(flat - begin)
        rows = self.seen.known[half]
        gone, off = ((each - outputs)[0, rows].double().norm() for each in (before, linear))
        (loss, accuracy), (linear_loss, linear_accuracy) = (
            surface.objective.of_outputs(each)[:, 0] for each in (outputs, linear)
        )
        return {
            "loss": loss,
            "accuracy": accuracy,
            "linear_loss": linear_loss,
            "linear_accuracy": linear_accuracy,
            "nonlinearity": torch.where(gone > 0, off / gone, 0.0),
        }


def cloned(weights: Weights) -> dict[str, Tensor]:
    """Copies that derivatives can be taken of: checkpoints are walked in inference mode."""
    return {name: tensor.clone() for name, tensor in weights.items()}


def compared(
    kernels: list[Float[Tensor, "probe n n"]], first: Float[Tensor, "probe n n"], answers: Float[Tensor, "n n"]
) -> dict[str, np.ndarray]:
    """Distances of the kernels from the first and from the one before, and alignment with the answers, with errors."""
    unknown = Estimate(torch.tensor(torch.nan), torch.tensor(torch.nan))
    to_first = [alignment(each, first) for each in kernels]
    to_last = [unknown, *(alignment(one, other) for one, other in pairwise(kernels))]
    to_answers = [alignment_with(each, answers) for each in kernels]

    def arrays(name: str, found: list[Estimate], distance: bool = True) -> dict[str, np.ndarray]:
        values = np.array([float(each.value) for each in found])
        return {
            name: 1 - values if distance else values,
            f"{name}_error": np.array([float(each.error) for each in found]),
        }

    return (
        arrays("kernel_distance", to_first)
        | arrays("kernel_change", to_last)
        | arrays("label_alignment", to_answers, distance=False)
    )


def bytes_at_work(seen: Halves, options: Options) -> int:
    """Bytes of a checkpoint: the network and its derivative over a half, and every checkpoint's kernels."""
    shape = seen.run.task.shape
    answers = len(shape.classes.positions) if seen.has_answers else 1
    rows = min(options.prompts, len(seen.parts["all"])) * answers
    kernels = 8 * options.probes * rows * (rows + shape.outputs.n)
    return max(seen.bytes(seen.parts[half]) for half in HALVES) + (2 + len(seen.run)) * kernels


COLOURS = {"train": figures.TRAIN, "test": figures.TEST}
"""Colour of each split."""


def draw(found: xr.Dataset) -> go.Figure:
    """Losses of the network and its linearisation, accuracies, how far it has gone, and the tangent kernel."""
    at, answers = found.attrs["linearised_at"], "accuracy" in found
    both = [f"{name} (dashed: linearised at step {at:,})" for name in ("loss", *["accuracy"] * answers)]
    figure = figures.panels(
        [*both, "‖outputs − linearised ones‖ ÷ ‖change of the outputs‖", "distance between tangent kernels",
         "alignment of the tangent kernel with the answers"],
        heights=[3] * (len(both) + 3),
        title="Does the network leave its linearisation?",
    )  # fmt: skip
    for row, name in enumerate(["loss", *["accuracy"] * answers], start=1):
        for split, colour in COLOURS.items():
            here = found.sel(split=split)
            figures.line(figure, here[name], split, colour, row=row)
            figures.line(figure, here[f"linear_{name}"], f"{split}, linearised", colour, row=row, dash="dash")
    figure.update_yaxes(title_text=f"loss ({found['loss'].attrs['units']})", type="log", exponentformat="power", row=1)
    if answers:
        figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=[-0.02, 1.04], row=2)
    row = len(both) + 1
    for split, colour in COLOURS.items():
        figures.line(figure, found["nonlinearity"].sel(split=split), split, colour, row=row)
    figures.line(figure, found["moved"], "‖θ − θ₀‖ ÷ ‖θ₀‖", figures.QUIET, row=row, dash="dot")
    figure.update_yaxes(title_text="ratio", rangemode="tozero", row=row)
    curves = {
        "kernel_distance": (f"from step {at:,}", figures.INK, row + 1),
        "kernel_change": ("from the one before", figures.QUIET, row + 1),
        "label_alignment": ("with the answers", figures.INK, row + 2),
    }
    for name, (label, colour, where) in curves.items():
        figures.line(figure, found[name], label, colour, row=where)
        figures.error_band(figure, found[name], found[f"{name}_error"], colour, row=where)
    figure.update_yaxes(title_text="1 − alignment", range=[-0.05, 1.05], row=row + 1)
    figure.update_yaxes(title_text="alignment", rangemode="tozero", row=row + 2)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Loss and accuracy of the network and of its linearisation, and the kernel's distances and alignment, at each step."""
    table = by_step(found)
    for split in HALVES:
        here = found.sel(split=split)
        for name in ("loss", "accuracy"):
            if name in found:
                table[f"{split} {name}"] = here[name].values
                table[f"{split} linear {name}"] = here[f"linear_{name}"].values
        table[f"{split} nonlinearity"] = here["nonlinearity"].values
    for name in ("kernel_distance", "kernel_change", "label_alignment"):
        table[name.replace("_", " ")] = found[name].values
        table[f"{name.replace('_', ' ')} ±"] = found[f"{name}_error"].values
    return table
