"""From what files hold to a run: weights in HookedTransformer's layout, a configuration, and what stays unknown."""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from interp.base import UserError
from interp.config import RunConfig, Seeds, TrainConfig
from interp.models import Family, ModuleSpec, ToySpec, TransformerSpec
from interp.recipe import LOGGED
from interp.store.files import CheckpointError
from interp.store.foreign import families, own_modules, toys
from interp.store.foreign.contents import Contents, listed
from interp.store.foreign.given import OURS, refuse_what_is_not_used
from interp.store.foreign.numbering import OWN, Numbering, in_each_numbering, renumbered
from interp.store.foreign.trial import OPTIONS, Logged, Trial, best, group_tasks_of, tasks_of, trials
from interp.store.history import Row
from interp.store.tensors import Tensors
from interp.tasks import GroupTask, ModularTask, Task, UnknownTask

TABLES = (ModularTask, GroupTask)
"""Kinds of task that files of others are found to be of."""

IRRELEVANT = tuple(f"train.{name}" for name in OURS)
"""Fields that say how interp would train and log. They mean nothing for a run that is only read."""


OF_INTERP = ("model.attention_rate", "model.norm_before", "model.norm_eps", "model.frozen_readout", "model.directions")
"""Fields of models whose default is what HookedTransformers and MLPs of others do."""


@dataclass(frozen=True)
class Foreign:
    """A run of others, ready to be written."""

    config: RunConfig
    layout: str
    files: list[Path]
    checkpoints: dict[int, Callable[[], Tensors]]
    """Functions that read a checkpoint, by step."""
    rows: list[Row]
    train_index: Int[np.ndarray, " n_train"] | None
    unknown: tuple[str, ...]
    notes: tuple[str, ...]


def describe(contents: Contents, given: Mapping[str, Mapping[str, Any]]) -> Foreign:
    """The run that the contents of some files describe.

    Args:
        contents: what a layout read.
        given: fields of `task`, `model` and `train` that the user tells. They override what the files say.

    Raises:
        CheckpointError: weights are not finite, of several models, or not of a transformer that interp describes.
        UserError: what is given does not fit the files.
    """
    told = {"task": contents.task, "model": contents.model, "train": contents.train}
    told = {part: {**fields, **given.get(part, {})} for part, fields in told.items()}
    notes = list(contents.notes)
    for part, fields in given.items():
        said = {name: value for name, value in getattr(contents, part).items() if name in fields}
        notes += [f"{part}.{name} {fields[name]} is given, where the files say {value}" for name, value in said.items()
                  if fields[name] != value]  # fmt: skip
    task, spec, checkpoints, numbering = UnknownTask(), TransformerSpec(), {}, None
    if contents.states:
        checkpoints, spec = with_given(contents, given.get("model", {}), told["model"], notes)
        reading = read_weights(contents, spec, checkpoints, told)
        task, numbering, told["model"] = reading.task, reading.numbering, told["model"] | reading.model
        notes += reading.notes
        spec = spec.but(**{name: value for name, value in told["model"].items() if name in OPTIONS.get(type(spec), {})})
        checkpoints = {step: partial(reading.weights, spec, read) for step, read in checkpoints.items()}
    else:
        task = told_task(told["task"])
    index = contents.train_index
    if index is not None and not (isinstance(task, TABLES) and index[-1] < task.n_prompts == task.n_values**2):
        if contents.split_file is not None:
            raise UserError(
                f"--split {contents.split_file} has rows up to {index[-1]:,}, and the task is {task.about}; give its rows, and "
                "the task by --task options, or leave it out"
            )
        index = None
        notes.append("the list of trained prompts in the files is left out: it does not fit the task")
    if index is not None and isinstance(task, TABLES):
        index = np.sort(numbering.rows(index)) if numbering else index
        task = with_share_of(index, task, told["task"], contents)
        told["task"] = {**told["task"], "train_fraction": task.train_fraction}
    steps, batch = max([*checkpoints, *contents.rows]), toys.BATCH if task.endless else {}
    config = RunConfig(
        name=plain(contents.name),
        task=task,
        model=spec,
        train=TrainConfig(**batch | told["train"], steps=steps),
        seeds=Seeds(),
    )
    rows = [
        {"step": step, **{name: contents.rows[step].get(name, float("nan")) for name in LOGGED[1:]}}
        for step in sorted(contents.rows)
    ]
    refuse_what_is_not_used(given, config, bool(contents.states), why_no_task(contents, task, told["task"]))
    notes += contents.leftovers() if contents.knows_steps else [*contents.leftovers(), no_step(contents)]
    unknown = (*not_told(config, told, contents), *(() if contents.knows_steps else ("step",)))
    return Foreign(config, contents.layout, contents.files, checkpoints, rows, index, unknown, tuple(notes))


def told_task(told: Mapping[str, Any]) -> Task:
    """The task that was told, where weights tell nothing of it; unknown if too little was."""
    if "group" in told:
        return GroupTask(**told)
    return ModularTask(**told) if {"p", "operation"} <= told.keys() else UnknownTask()


def no_step(contents: Contents) -> str:
    """A note that nothing states the steps of weights, with what tells them."""
    if len(contents.states) == 1:
        return (
            f"{contents.files[0].name} does not say after how many updates its weights are: step {next(iter(contents.states))} "
            "stands for that; give --step N for this file to tell it"
        )
    return f"{contents.files[0].name} does not say after how many updates its weights are; they are numbered in their order"


def why_no_task(contents: Contents, task: Task, told: Mapping[str, Any]) -> str:
    """What to say of an option of the task if the task remains unknown."""
    if not contents.states or not isinstance(task, UnknownTask):
        return "learning curves alone do not tell the task; give both --task.p and --task.operation"
    shape = f"{task.d_vocab} tokens, {task.d_vocab_out} answers and {task.n_ctx} positions"
    if not tasks_of(task, told):
        return f"{contents.files[0]} has {shape}, which no modular task has with such options; leave it out"
    return (
        f"{contents.files[0]} has {shape}, which several modular tasks have, and its weights tell none of them; give "
        "--task.operation too, or leave it out"
    )


def with_given(
    contents: Contents, given: Mapping[str, Any], model: dict[str, Any], notes: list[str]
) -> tuple[dict[int, Callable[[], Tensors]], Family]:
    """All checkpoints and their specification; UserError if it is what the user gives of the model that the weights refuse."""
    try:
        return all_checkpoints(contents, model, notes)
    except CheckpointError as error:
        try:
            all_checkpoints(contents, contents.model, [])
        except UserError:  # something else is wrong
            raise error from None
        options = listed((f"--model.{name.replace('_', '-')} {value}" for name, value in given.items()), 9)
        raise UserError(
            f"{options} cannot be used: {contents.files[0]} has no tensors for that; leave it out"
        ) from None


def all_checkpoints(
    contents: Contents, model: dict[str, Any], notes: list[str]
) -> tuple[dict[int, Callable[[], Tensors]], Family]:
    """All checkpoints that can be read, by step, and the one specification that they share."""
    spec, checkpoints, shapes = TransformerSpec(), {}, None
    read = families.as_module if contents.as_module else families.read
    alike: dict[bytes, list[str]] = {}
    for step, (path, state) in sorted(contents.states.items()):
        weights, spec = read(path, state, model)
        told = [own_modules.NOTE] if isinstance(spec, ModuleSpec) else families.notes(state)
        notes += [note for note in told if note not in notes]
        found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if shapes not in (None, found):
            raise CheckpointError(
                f"{path} has weights of another shape than the checkpoints before it; convert it alone"
            )
        shapes = found
        if all(bool(tensor.isfinite().all()) for tensor in weights.values()):
            checkpoints[step] = lambda path=path, state=state: read(path, state, model)[0]
            alike.setdefault(digest(weights), []).append(f"{step:,}")
        else:
            notes.append(f"the checkpoint of step {step} is left out: its weights are not finite")
    if not checkpoints:
        raise CheckpointError(f"{contents.files[0]} has no checkpoint whose weights are finite")
    notes += [f"the weights of steps {listed(steps, 6)} are identical" for steps in alike.values() if len(steps) > 1]
    return checkpoints, spec


def digest(weights: Tensors) -> bytes:
    """A digest of weights: equal for equal names and bits."""
    found = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(weights.items()):
        found.update(name.encode())
        found.update(tensor.contiguous().numpy().data)
    return found.digest()


class Reading(NamedTuple):
    """What the last weights tell of the run, beyond their shapes."""

    task: Task
    model: dict[str, str]
    notes: list[str]
    numbering: Numbering | None = None
    """How the files number the elements of a group; None where there are none."""

    def weights(self, spec: Family, read: Callable[[], Tensors]) -> Tensors:
        """The weights of a checkpoint in interp's numbering, given how they are read."""
        if self.numbering is None or not isinstance(self.task, GroupTask):
            return read()
        return renumbered(read(), spec, self.task, self.numbering)


def read_weights(
    contents: Contents,
    spec: Family,
    checkpoints: Mapping[int, Callable[[], Tensors]],
    told: Mapping[str, Mapping[str, Any]],
) -> Reading:
    """What the last weights tell of task and model, beyond their shapes.

    The task is the one that is told, if its shape fits. Otherwise it is the one whose answers the last weights give, if there
    is one. Otherwise it is unknown."""
    if isinstance(spec, ModuleSpec):
        return Reading(told_task(told["task"]), {}, [])
    last = checkpoints[max(checkpoints)]()
    if isinstance(spec, ToySpec):
        return Reading(toys.task(last, told["task"]), {}, [])
    shape, model = (
        families.shape_of(spec, last),
        {**families.usual(contents.states[max(checkpoints)][1]), **told["model"]},
    )
    candidates = tasks_of(shape, told["task"])
    if not candidates and ("group" in told["task"] or {"p", "operation"} <= told["task"].keys()):
        task = (GroupTask if "group" in told["task"] else ModularTask)(
            **told["task"]
        )  # which may say what is wrong with it
        what = f"task.group {task.group_name}" if isinstance(task, GroupTask) else f"task.p {task.p}"
        raise UserError(
            f"{contents.files[0]} has {shape.d_vocab} tokens, {shape.d_vocab_out} answers and {shape.n_ctx} positions, which "
            f"is not {what} with any prompt; give other --task options, or none"
        )
    if isinstance(spec, TransformerSpec) and spec.normalization == "LN":
        model |= {"normalization": "LN", "norm_before": spec.norm_before}
    if isinstance(spec, TransformerSpec) and spec.act_fn == "solu_ln":
        model["act_fn"] = "solu_ln"
    readings = list(trials(spec, last, candidates, model, last_losses(contents, max(checkpoints))))
    task, choice, notes = best(readings)
    model |= choice
    if task is None and len(candidates) == 1:
        task, share = candidates[0], max(reading.accuracy for reading in readings)
        notes = [f"of {task.rule.formula} {task.place} the last weights answer {share:.1%} of the prompts rightly"]
    if "group" in told["task"]:
        return in_a_numbering(Reading(task or shape, model, notes), shape, told["task"], readings)
    if "attention" not in model and isinstance(spec, TransformerSpec) and spec.n_layers == 1:
        model["attention"] = "causal"
        notes.append("with one layer the answers do not depend on the direction of attention; causal is taken")
    return Reading(task or shape, model, notes)


def in_a_numbering(reading: Reading, shape: UnknownTask, told: Mapping[str, Any], readings: list[Trial]) -> Reading:
    """The reading of weights for a task on a group, its elements as the files number them; in interp's order if the answers do
    not tell, which a note says."""
    named = group_tasks_of(shape, told)
    if isinstance(reading.task, GroupTask):
        every = ((task, table, way) for task in named for table, way in in_each_numbering(task))
        task, way = next((task, way) for task, table, way in every if table == reading.task)
        notes = [each.replace(reading.task.place, task.place) for each in reading.notes]
        note = f"the elements of {task.group_name} are numbered {way.about}; here they are {OWN}"
        return reading._replace(task=task, numbering=way, notes=notes + [note] * (way.about != OWN))
    if len(named) != 1:
        return reading
    task, best_share = named[0], max(trial.accuracy for trial in readings)
    note = (
        f"of {task.rule.formula} {task.place} the last weights answer at most {best_share:.1%} of the prompts rightly, in any "
        f"numbering of the elements that interp knows; they are taken as numbered {OWN}"
    )
    return reading._replace(task=task, notes=[*reading.notes, note])


def with_share_of(
    index: Int[np.ndarray, " n_train"], task: ModularTask | GroupTask, told: Mapping[str, Any], contents: Contents
) -> ModularTask | GroupTask:
    """The task with the train fraction that the list of trained prompts gives; UserError if the user gave another."""
    if int(told.get("train_fraction", 0) * task.n_prompts) == len(index):
        return task
    if "train_fraction" in told:
        raise UserError(
            f"{contents.files[0]} tells {len(index):,} of {task.n_prompts:,} prompts that were trained on, which is not "
            f"task.train_fraction {told['train_fraction']}; leave it out"
        )
    return task.but(train_fraction=len(index) / task.n_prompts) if len(index) < task.n_prompts else task


def last_losses(contents: Contents, step: int) -> Logged | None:
    """The losses that were logged for the weights of a step, or if there are none, for the weights one update before."""
    if contents.train_index is None:
        return None
    here = [row for row in (contents.rows.get(step), contents.rows.get(step - 1)) if row]
    train, test = (next((row[name] for row in here if name in row), math.nan) for name in ("train_loss", "test_loss"))
    return Logged(train, test, contents.train_index)


def not_told(config: RunConfig, told: dict[str, dict[str, Any]], contents: Contents) -> list[str]:
    """Names of the fields of the configuration that are defaults, because neither the files nor the user tell them."""
    if not contents.states:
        unknown = ["model"]
    else:
        derived = families.TOLD_BY_SHAPES[type(config.model)]
        unknown = [
            f"model.{name}" for name in type(config.model).model_fields if name not in derived | told["model"].keys()
        ]
    unknown = [name for name in unknown if name not in OF_INTERP]
    if isinstance(config.model, TransformerSpec) and config.model.attn_only:
        unknown = [name for name in unknown if name != "model.act_fn"]  # there is nothing that it could be of
    if isinstance(config.task, TABLES):
        if "train_fraction" not in told["task"]:
            unknown.append("task.train_fraction")
    elif isinstance(config.model, ToySpec):
        unknown += [f"task.{name}" for name in toys.OPEN if name not in told["task"]]
    else:
        unknown.append("task")
    fields = [f"train.{name}" for name in type(config.train).model_fields if name not in told["train"]]
    fields = [name for name in fields if name not in IRRELEVANT and not name.startswith("train.constraint_")]
    if config.train.optimizer != "muon" and "optimizer" in told["train"]:
        fields = [name for name in fields if not name.startswith("train.muon_")]
    if config.train.optimizer != "sgd" and "optimizer" in told["train"]:
        fields = [name for name in fields if name not in ("train.momentum", "train.nesterov")]
    unknown += fields if told["train"] else ["train"]
    return [name for name in [*unknown, "seeds"] if name != "model.kind"]


def plain(name: str) -> str:
    """A file's name in the characters that the name of a run may have."""
    return (
        "".join(letter if letter.isalnum() or letter in "._+=@-" else "-" for letter in name).lstrip(".")[:100] or "run"
    )
