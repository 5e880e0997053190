"""Bias and variance: how much of the error do runs share, and how much differs between seeds or samples?"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
import xarray as xr
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from interp import figures
from interp.base import DoesNotApply, UserError
from interp.maths import variance as maths
from interp.measurement import AnalysisOptions, Var, Variables, by_step, dataset
from interp.models.network import Weights
from interp.views.answers import Answers
from interp.views.prompts import Prompts
from interp.views.same_examples import Group, answers, groups, names
from interp.views.swept import AXES
from interp.views.walk import bytes_read, each_checkpoint, evenly


class Options(AnalysisOptions):
    """What is kept of each run."""

    checkpoints: int = Field(default=1, ge=1)
    """Checkpoints whose answers are kept, at most, evenly chosen among those in view. 1: the last."""
    examples: int = Field(default=1_000, ge=1)
    """Test examples whose answers are kept, at most; chosen by their content, so that runs keep the same."""


VARIABLES: Variables = {
    "output": Var(
        "step example answer", "log-probability of each answer, or the output itself where squared error was minimised"
    ),
    "squared": Var("step", "squared error to the right answer as a one-hot vector, mean over test examples", "1"),
    "cross_entropy": Var("step", "cross-entropy, mean over test examples", "nats"),
}


def measure(seen: Answers, options: Options) -> xr.Dataset:
    """What comes out of the network for test examples, each known by its content; several runs are decomposed over these."""
    run = evenly(seen.run, options.checkpoints)
    if seen.run.task.answer_names() is not None or seen.run.split.test.targets.ndim > 1:
        raise DoesNotApply(f"{run.path} has several answers a prompt; {seen.asked} needs one")
    test = seen.run.split.test
    if not len(test):
        raise DoesNotApply(f"{run.path} has no examples to test on; {seen.asked} needs some")
    known, rows = np.unique([digest(row) for row in test.inputs], return_index=True)
    known, rows = known[: options.examples], rows[: options.examples]
    right = torch.from_numpy(test.targets[rows])
    prompts, of_log = Prompts(run, torch.from_numpy(test.inputs[rows])), run.config.loss_units == "nats"

    def at_checkpoint(weights: Weights) -> dict[str, Tensor]:
        """Outputs of one checkpoint, and their losses."""
        outputs = prompts.outputs(weights).double() / run.config.train.output_temperature
        outputs = outputs.log_softmax(dim=-1) if of_log else outputs
        one_hot = torch.nn.functional.one_hot(right, outputs.shape[-1])
        squared = ((outputs.exp() if of_log else outputs) - one_hot).square().sum(dim=-1).mean()
        entropy = -outputs[torch.arange(len(right)), right].mean()
        return {"output": outputs, "squared": squared} | ({"cross_entropy": entropy} if of_log else {})

    needs = prompts.bytes + 40 * len(rows) * run.task.shape.outputs.n + 3 * bytes_read(run)
    return dataset(
        run,
        options,
        each_checkpoint(run, at_checkpoint, needs=needs),
        VARIABLES,
        coords={
            "example": ("example", known, {"long_name": "digest of the example"}),
            "right": ("example", right.numpy(), {"long_name": "right answer"}),
            "answer": np.arange(run.task.shape.outputs.n),
        },
        definition="over runs on the same test examples: bias² and variance of softmax outputs for squared error, unbiased for "
        "any number of runs; KL(y ‖ π̄) and E KL(π̄ ‖ π), π̄ ∝ exp E log π, for cross-entropy, with the jackknife in the number of "
        "runs; standard errors by leaving one run out; seeds: runs on one sample; samples: runs with one seed",
        source="Yang et al. 2020 (arXiv 2002.11328)",
    )  # fmt: skip


def digest(row: np.ndarray) -> int:
    """A number by which an example is known."""
    return int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), "big", signed=True)


def draw(found: xr.Dataset) -> go.Figure:
    """Losses as logged, and over the test examples that are kept."""
    rows = [name for name in ("squared", "cross_entropy") if name in found]
    titles = ["loss", *(found[name].attrs["long_name"] for name in rows)]
    figure = figures.panels(
        titles, heights=[3.6, *[2.4] * len(rows)], title="One run; bias and variance are of several"
    )
    figures.losses(figure, found)
    for row, name in enumerate(rows, start=2):
        figures.line(figure, found[name], name.replace("_", " "), figures.TEST, row)
        figure.update_traces(mode="lines+markers", selector={"name": name.replace("_", " ")})
        figure.update_yaxes(title_text="loss", rangemode="tozero", row=row)
    return figures.mark_transition(figure, found)


def summarise(found: xr.Dataset) -> pd.DataFrame:
    """Losses of one run over the test examples that are kept, and their number."""
    table = by_step(found)
    for name in ("squared", "cross_entropy"):
        if name in found:
            table[name.replace("_", " ")] = found[name].values
    return table.assign(examples=found.sizes["example"])


def compare(found: list[xr.Dataset]) -> pd.DataFrame:
    """For each setting and step: loss, bias and variance over seeds, and over samples, with standard errors and shares.

    Raises:
        UserError: runs have too few test examples in common.
    """
    rows = [row for group in groups(found) for row in of_group(group, names(found))]
    by = [*names(found), "over", "step"]
    table = pd.DataFrame(rows)
    # several groups of one setting, such as the seeds on each of several samples: means, with the errors of independent ones
    return table.groupby(by, sort=False, dropna=False).agg(
        {
            name: "sum" if name == "runs" else pooled if name.endswith("±") else "mean"
            for name in table
            if name not in by
        }
    )


def pooled(errors: pd.Series) -> float:
    """Standard error of a mean of independent numbers."""
    return float(np.sqrt(np.sum(errors.to_numpy() ** 2)) / len(errors))


def of_group(group: Group, fields: Sequence[str]) -> list[dict[str, object]]:
    """A row for each step that all runs of a group have."""
    steps = sorted(set.intersection(*(set(each["step"].values.tolist()) for each in group.runs)))
    rows: list[dict[str, object]] = []
    for step in steps:
        outputs, right = answers(group.runs, step)
        row: dict[str, object] = {**dict(zip(fields, group.fields, strict=True)), "over": group.over, "step": step}
        rows.append(row | {"runs": len(outputs), "examples": len(right)} | decomposed(group, outputs, right))
    return rows


def decomposed(group: Group, outputs: maths.Outputs, right: Int[np.ndarray, " example"]) -> dict[str, float]:
    """Loss, bias and variance by both losses; the loss alone of one run."""
    of_log, found = "cross_entropy" in group.runs[0], {}
    probabilities = np.exp(outputs) if of_log else outputs
    both = {"squared error": (maths.squared_error, probabilities)}
    both |= {"cross-entropy": (maths.cross_entropy, outputs)} if of_log else {}
    for name, (decompose, values) in both.items():
        if len(outputs) < 2:
            found |= {name: float(group.runs[0]["squared" if name == "squared error" else "cross_entropy"][-1])}
            continue
        each = maths.estimate(decompose, values, right)
        bias = "bias²" if name == "squared error" else "bias"
        found |= {name: each.value.total, f"{name} ±": each.error.total}
        found |= {f"{name}: {bias}": each.value.bias, f"{name}: {bias} ±": each.error.bias}
        found |= {f"{name}: variance": each.value.variance, f"{name}: variance ±": each.error.variance}
        found |= {
            f"{name}: share of variance": each.value.variance / each.value.total,
            f"{name}: share of variance ±": each.share_error,
        }
    return found


def draw_runs(found: list[xr.Dataset]) -> go.Figure:
    """Loss, bias and variance over the field in which the runs differ, or over steps if they differ in seeds alone.

    Raises:
        UserError: they differ in several fields, in one that is no number, or only one step is there.
    """
    whole, fields = compare(found).reset_index(), names(found)
    over = fields[0] if len(fields) == 1 else "step"
    table = whole if over == "step" else whole.loc[whole["step"] == whole["step"].max()]
    if len(fields) > 1 or not pd.api.types.is_numeric_dtype(table[over]) or len(table[over].unique()) < 2:
        raise UserError(
            f"the runs differ in {', '.join(fields) or 'seeds alone'}; a figure over runs needs one field that is a number, "
            "such as model.width, or --checkpoints 10"
        )
    losses = [name for name in ("squared error", "cross-entropy") if name in table]
    titles = [
        title for name in losses for title in (f"{name}, its bias and variance", f"share of the variance in {name}")
    ]
    figure = figures.panels(titles, [3.6, 2.4] * len(losses), "What do runs share, and what differs?", over_steps=False)
    for number, name in enumerate(losses):
        for what, dash in DASHES:
            part = table.loc[table["over"] == what]
            for column, colour in lines_of(name) if len(part) else []:
                row = 2 * number + 1 + column.endswith("share of variance")
                x, values, errors = (part[each].to_numpy(dtype=float) for each in (over, column, f"{column} ±"))
                figure.add_scatter(
                    x=x, y=values, name=f"{column.split(': ')[-1]}, {what}", mode="lines+markers",
                    legend=figures.legend_of(row), line={"color": colour, "dash": dash}, row=row, col=1,
                )  # fmt: skip
                if not np.isnan(errors).any():
                    figures.shade(figure, x, values - errors, values + errors, colour, row)
        figure.update_yaxes(title_text="loss", rangemode="tozero", row=2 * number + 1)
        figure.update_yaxes(title_text="share", tickformat=".0%", rangemode="tozero", row=2 * number + 2)
    figures.scale_of_settings(figure, table.set_index(over), AXES.get(over, over), len(titles))
    return figure


DASHES = (("seeds", "solid"), ("samples", "dash"), ("seeds and samples", "solid"))
"""Line of what runs differ in."""


def lines_of(loss: str) -> list[tuple[str, str]]:
    """Columns of one loss that are drawn, with their colours."""
    bias = "bias²" if loss == "squared error" else "bias"
    return [
        (loss, figures.TEST),
        (f"{loss}: {bias}", figures.PALETTE[0]),
        (f"{loss}: variance", figures.PALETTE[1]),
        (f"{loss}: share of variance", figures.PALETTE[1]),
    ]
