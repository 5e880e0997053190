"""What every analysis shares: its options, a walk over checkpoints in bounded memory, and labelled results."""

from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from interp.base import Frozen, UserError
from interp.maths.curves import first_lasting
from interp.models.shared import SharedForward
from interp.store import Checkpoint, Run
from interp.store.files import Tensors
from interp.tasks import ModularTask

MEMORY = 1 << 30
"""Bytes that a chunk of checkpoints and what is computed from it may take."""

WORKING_COPIES = 8
"""How many times its weights a measure is taken to need while it works: float64 doubles, products, decompositions."""


class AnalysisOptions(Frozen):
    """Options of an analysis: every field is one on the command line, with its docstring as help."""

    section: ClassVar[str] = ""


class DoesNotApply(UserError):
    """This analysis cannot read that run, and why."""


def over_checkpoints(
    run: Run,
    measure: Callable[[dict[str, Tensor]], Mapping[str, Tensor]],
    names: Callable[[str], bool] = lambda name: True,
) -> dict[str, np.ndarray]:
    """Apply `measure` to the weights of all checkpoints in view, stacked along a leading step axis.

    `measure` receives as many checkpoints at once as fit the memory bound, and returns named tensors with the same
    leading axis; the chunks are joined. Only tensors whose name passes `names` are stacked.
    """
    size = sum(int(np.prod(shape)) for name, shape in run.tensor_shapes.items() if names(name)) * 4
    chunk = max(1, MEMORY // (size * WORKING_COPIES))
    parts: list[Mapping[str, Tensor]] = []
    for begin in range(0, len(run), chunk):
        read = [finite_weights(checkpoint) for checkpoint in run.checkpoints[begin : begin + chunk]]
        stacked = {name: torch.stack([weights[name] for weights in read]) for name in read[0] if names(name)}
        parts.append(measure(stacked))
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]}


def finite_weights(checkpoint: Checkpoint) -> Tensors:
    """Weights that can be measured; DoesNotApply when training had diverged."""
    weights = checkpoint.weights
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise DoesNotApply(
            f"{checkpoint.path} has weights that are not finite: training had diverged; choose earlier steps by --steps"
        )
    return weights


Variables = Mapping[str, tuple[tuple[str, ...], Any, Mapping[str, str]]]
"""Name → (dimensions, values, attributes)."""


def dataset(
    run: Run, options: AnalysisOptions, variables: Variables, coords: Mapping[str, Any], definition: str, source: str
) -> xr.Dataset:
    """A measurement at the run's checkpoints: variables whose first dimension is `step`, and where they came from.

    The losses and accuracies of those steps come along, and the steps of memorisation and generalisation, so that any
    figure can show them.
    """
    history = run.history
    at_steps = history.reindex(run.steps)
    learning = {name: (("step",), at_steps[name].to_numpy(), units) for name, units in LEARNING.items()}
    every = learning | dict(variables)
    found = xr.Dataset(
        {name: xr.Variable(dims, values, dict(attrs)) for name, (dims, values, attrs) in every.items()},
        coords={"step": xr.Variable("step", list(run.steps), {"units": "optimiser updates"}), **coords},
    )
    return found.assign_attrs(provenance(run, options), definition=definition, source=source, **landmarks(history))


def by_step(found: xr.Dataset) -> pd.DataFrame:
    """An empty table with a row for each step."""
    return pd.DataFrame(index=pd.Index(found["step"].values, name="step"))


LEARNING = {
    "train_loss": {"long_name": "loss on the training set", "units": "nats"},
    "test_loss": {"long_name": "loss on the test set", "units": "nats"},
    "train_accuracy": {"long_name": "accuracy on the training set", "units": "1"},
    "test_accuracy": {"long_name": "accuracy on the test set", "units": "1"},
}
"""Columns of the history, with what they are."""


def provenance(run: Run, options: AnalysisOptions) -> dict[str, str]:
    """Attributes that say of which run, and with which options, a measurement is."""
    return {
        "run": run.name,
        "config": run.config.model_dump_json(),
        "options": options.model_dump_json(),
        "interp_version": metadata.version("interp"),
    }


def landmarks(history: pd.DataFrame, threshold: float = 0.99) -> dict[str, float]:
    """Steps from which train and test accuracy stay at or above the threshold; NaN when they never do."""
    steps = history.index.to_numpy()
    return {
        "memorised": first_lasting(steps, history["train_accuracy"].to_numpy(), threshold),
        "generalised": first_lasting(steps, history["test_accuracy"].to_numpy(), threshold),
    }


def needs_numbers(run: Run, analysis: str, at_least: int = 5) -> ModularTask:
    """The run's task when its tokens are the residues of a modulus that is large enough; DoesNotApply otherwise."""
    task = run.task
    if not isinstance(task, ModularTask):
        raise DoesNotApply(f'{run.path} was trained on "{task.kind}"; analysis "{analysis}" needs a modular task')
    if len(task.residues()) < at_least:
        raise DoesNotApply(
            f'{run.path} has p = {task.p}; analysis "{analysis}" needs at least {at_least} residues '
            "to tell frequencies apart"
        )
    return task


def number_rows(W_E: Tensor, task: ModularTask) -> Tensor:
    """Embeddings of the number tokens, in the order in which the task's operation is a sum: [..., period, d_model]."""
    return W_E[..., torch.from_numpy(task.residues()), :]


def answer_rows(W_U: Tensor, task: ModularTask) -> Tensor:
    """What points at each answer, in the same order: columns of [..., d, d_vocab_out] as rows [..., period, d]."""
    return W_U.mT[..., torch.from_numpy(task.residues()), :]


def last_mlp(weights: Mapping[str, Tensor], run: Run) -> Tensor:
    """W_L = W_out·W_U of the last layer: what its neurons write on the logits, [..., d_mlp, d_vocab_out]."""
    layer = run.config.model.n_layers - 1
    return weights[f"blocks.{layer}.mlp.W_out"] @ weights["unembed.W_U"]


def from_activations(run: Run, weights: Mapping[str, Tensor], hook: str, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """`measure` of one activation over the task's whole table [prompt, …], for each of a stack of checkpoints.

    The activation is that of the last layer at the answer position, by HookedTransformer's hook name. One checkpoint's
    activations are held at a time: at p = 113 they take thirty times the memory of its weights.
    """
    forward = SharedForward(run.config.model, torch.from_numpy(run.task.table().inputs))
    measured = []
    with torch.inference_mode():
        for index in range(len(next(iter(weights.values())))):
            at_step = {name: stack[index] for name, stack in weights.items()}
            measured.append(measure(forward.cache(at_step, names=lambda name: name == hook)[hook]))
    return torch.stack(measured)
