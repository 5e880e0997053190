"""What weights compute, found by trying: which operation, activation, normalisation, by the answers to the whole table."""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from interp.base import UserError
from interp.maths.losses import accuracy, cross_entropy
from interp.models import Family, MlpSpec, TransformerSpec
from interp.models.network import over
from interp.store.foreign.numbering import in_each_numbering
from interp.store.tensors import Tensors
from interp.tasks import GROUP_OPERATIONS, OPERATIONS, GroupTask, ModularTask, UnknownTask

RIGHT = 0.9
"""Least accuracy on the whole table of a network that counts as having learned an operation."""

CLEARLY = 10
"""Least ratio of the second-best loss to the best one, over activations or normalisations, for the best to be believed."""

MOST_PROMPTS = 1 << 14
"""Most prompts that are tried: the whole table up to p = 128, otherwise this many, evenly spaced."""

FITS = 0.01
"""Largest relative distance of a loss to the logged one, of the same weights or those an update before, to count as equal."""


QUESTIONS = ("prompt", "operands", "answers", "operation")
"""Fields of a task that the shapes of weights leave open."""

OPTIONS: dict[type[Family], dict[str, tuple[str, ...]]] = {
    TransformerSpec: {
        "act_fn": ("relu", "gelu", "silu", "solu"),
        "normalization": ("none", "LNPre"),
        "attention": ("causal", "bidirectional"),
    },
    MlpSpec: {"act_fn": get_args(MlpSpec.model_fields["act_fn"].annotation)},
}
"""Values of the fields that shapes do not tell, by family. (LayerNorm with weights and solu_ln show in the shapes.)"""

Choice = dict[str, str]
"""A value from OPTIONS for each field that is open."""


class Trial(NamedTuple):
    """How well weights answer a task, if read with one choice of the open fields."""

    task: ModularTask | GroupTask
    choice: Choice
    accuracy: float
    loss: float
    misfit: float
    """Larger relative distance of train and test loss to those that were logged; NaN if none were."""


class Logged(NamedTuple):
    """Losses that were logged for the last weights, and the prompts that they are of."""

    train_loss: float
    test_loss: float
    train_index: Int[np.ndarray, " n_train"]


def tasks_of(shape: UnknownTask, told: Mapping[str, Any]) -> list[ModularTask | GroupTask]:
    """All tasks that have these numbers of tokens and answers, and agree with what is told: on a group if one is told, in every
    numbering of its elements; else modular ones."""
    if "group" in told:
        return [each for task in group_tasks_of(shape, told) for each, _ in in_each_numbering(task)]
    found = []
    for prompt, operands, answers, operation in itertools.product(*(values(ModularTask, name) for name in QUESTIONS)):
        fields: dict[str, Any] = {"prompt": prompt, "operands": operands, "answers": answers, "operation": operation}
        p = (shape.d_vocab - len(prompt) + 2) // (1 if operands == "shared" else 2)
        fields = {"p": p, **fields}
        twice = operands == "shared" and len(prompt) == 2 and answers == "tokens"  # all tokens are residues
        fits = all(fields.get(name, value) == value for name, value in told.items())
        if operation == "random" or twice or not fits:
            continue
        try:
            task = ModularTask(**{**fields, **told})
        except UserError:  # such as a modulus that this operation is not defined for
            continue
        if task.shape == shape.shape:
            found.append(task)
    return found


def group_tasks_of(shape: UnknownTask, told: Mapping[str, Any]) -> list[GroupTask]:
    """All tasks on the group that is told that have these numbers of tokens and answers, and agree with what is told."""
    open_ones = [name for name in QUESTIONS if name not in told]
    every = itertools.product(*(values(GroupTask, name) for name in open_ones))
    fields: list[dict[str, Any]] = [{**told, **dict(zip(open_ones, each, strict=True))} for each in every]
    tasks = [GroupTask(**each) for each in fields]
    return [task for task in tasks if task.shape == shape.shape]


def values(task: type[ModularTask | GroupTask], field: str) -> tuple[str, ...]:
    """Possible values of a field of a task."""
    if field == "operation":
        return tuple(OPERATIONS if task is ModularTask else GROUP_OPERATIONS)
    return get_args(task.model_fields[field].annotation)


def choices(told: Mapping[str, Any], spec: Family) -> list[Choice]:
    """All combinations of activation, normalisation without weights, and direction of attention, where not told.

    With a single layer the direction is not varied: the answer position sees the same either way.
    """
    open_ones = {name: options for name, options in OPTIONS.get(type(spec), {}).items() if name not in told}
    if isinstance(spec, TransformerSpec) and spec.n_layers == 1:
        open_ones.pop("attention", None)
    return [dict(zip(open_ones, each, strict=True)) for each in itertools.product(*open_ones.values())]


def trials(
    spec: Family,
    weights: Tensors,
    tasks: list[ModularTask | GroupTask],
    told: Mapping[str, Any],
    logged: Logged | None,
) -> Iterator[Trial]:
    """Trials of the weights with every choice of the open fields, on every prompt of every task."""
    by_table: dict[bytes, list[ModularTask | GroupTask]] = {}
    for task in tasks:
        by_table.setdefault(task.table().inputs.tobytes(), []).append(task)
    for same in by_table.values():
        table = same[0].table()
        rows = np.unique(np.linspace(0, len(table) - 1, min(len(table), MOST_PROMPTS)).astype(int))
        inputs = torch.from_numpy(table.inputs[rows])
        for choice in choices(told, spec):
            with torch.inference_mode():
                logits = over(spec.but(**choice), same[0].shape, inputs)(weights)
                for task in same:
                    targets = torch.from_numpy(task.table().targets[rows])
                    right, loss = float(accuracy(logits, targets)), float(cross_entropy(logits, targets))
                    yield Trial(task, choice, right, loss, misfit(logits, targets, logged))


def misfit(logits: Tensor, targets: Tensor, logged: Logged | None) -> float:
    """Larger relative distance of train and test loss to those that were logged; NaN if none were."""
    if logged is None or logged.train_index[-1] >= len(targets) or len(logged.train_index) == len(targets):
        return math.nan
    trained = torch.zeros(len(targets), dtype=torch.bool)
    trained[torch.from_numpy(logged.train_index)] = True
    found = {True: logged.train_loss, False: logged.test_loss}
    known = {part: loss for part, loss in found.items() if loss > 0}  # also leaves out NaN
    ours = {part: float(cross_entropy(logits[trained == part], targets[trained == part])) for part in known}
    return max((abs(ours[part] / loss - 1) for part, loss in known.items()), default=math.nan)


def best(found: list[Trial]) -> tuple[ModularTask | GroupTask | None, Choice, list[str]]:
    """The task that the weights have learned (None if none), the choice of open fields that is clear, and notes on both."""
    learned = [trial for trial in found if trial.accuracy >= RIGHT]
    tasks = list({trial.task: None for trial in learned})
    if len(tasks) != 1:
        return None, {}, []
    task = tasks[0]
    ranked = sorted((trial for trial in found if trial.task == task), key=lambda trial: trial.loss)
    first = ranked[0]
    fitting = [trial for trial in ranked if trial.misfit <= FITS]
    if len(fitting) == 1 and first.choice:
        reading = ", ".join(fitting[0].choice.values())
        others = min(trial.misfit for trial in ranked if trial is not fitting[0])
        return task, fitting[0].choice, [
            f"found by trial: {task.rule.formula} {task.place} and {reading}, whose losses are "
            f"within {fitting[0].misfit:.2%} of those that were logged; the next reading is {others:.2%} off"
        ]  # fmt: skip
    notes = [
        f"found by trial: {task.rule.formula} {task.place}, of which the last weights answer {first.accuracy:.2%} of "
        f"{task.n_prompts:,} prompts rightly"
    ]
    choice: Choice = {}
    for name, value in first.choice.items():
        others = [trial.loss for trial in ranked if trial.choice[name] != value]
        if min(others) > CLEARLY * first.loss:
            choice[name] = value
            notes.append(
                f"found by trial: {name} {value}, with a loss of {first.loss:.2g}; the next has {min(others):.2g}"
            )
    return task, choice, notes
