"""Toy models of superposition as in the notebooks of Elhage et al. (2022) and of ARENA: `W` and `b_final`, of several instances.

x' = relu(WᵀW·x + b_final), W either way round: b_final has a number for each feature. An axis of instances, models that were
trained side by side with other sparsities, makes a run of each. Sparsities and importances are in no state dict. Every update
has new examples.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from interp.models import Family, ToySpec
from interp.store.files import CheckpointError
from interp.store.foreign.contents import Contents
from interp.store.foreign.states import State
from interp.store.tensors import Tensors
from interp.tasks import SparseFeaturesTask

LAYOUT = "PyTorch, toy models of superposition"
BATCH: dict[str, Any] = {"batch_size": 1024}
"""Batch size where none is told: that of the notebooks. An endless stream needs one."""
OPEN = ("sparsity", "importance", "sets", "normalised")
"""Fields of the task that no state dict tells."""
ASSUMED = "the output is taken as relu(WᵀWx + b_final), as in the notebooks; shapes do not tell its activation"


def is_toy(state: State) -> bool:
    """Whether a state dict has the names of a toy model."""
    return state.keys() == {"W", "b_final"}


def instances(contents: Contents) -> list[Contents]:
    """Contents of each instance, a run each; the contents themselves if there is no axis of instances.

    Raises:
        CheckpointError: the checkpoints have different numbers of instances.
    """
    counts = {len(state["b_final"]) if state["b_final"].ndim == 2 else 0 for _, state in contents.states.values()}
    if len(counts) > 1:
        raise CheckpointError(f"{contents.files[0]} has checkpoints with {min(counts)} and {max(counts)} instances")
    (count,) = counts
    contents.notes.append(ASSUMED)
    if not count:
        return [contents]
    note = "{} of {} instances, which were trained side by side; the sparsity of each is not in the files"
    if contents.rows:
        contents.notes.append("learning curves are left out: the files do not tell of which instance they are")
    return [
        replace(
            contents,
            name=f"{contents.name}-{i}",
            states={
                step: (path, {name: tensor[i] for name, tensor in state.items()})
                for step, (path, state) in contents.states.items()
            },
            rows={},
            notes=[note.format(i + 1, count), *contents.notes],
        )
        for i in range(count)
    ]


def toy(path: Path, state: State, model: dict[str, Any]) -> tuple[Tensors, Family]:
    """Weights and specification of one toy model.

    Raises:
        CheckpointError: no axis of W has as many numbers as b_final, or both have.
    """
    W, b = state["W"], state["b_final"]
    if b.ndim != 1 or W.ndim != 2 or (W.shape[0] == len(b)) == (W.shape[1] == len(b)):
        raise CheckpointError(
            f"{path} has W {tuple(W.shape)} and b_final {tuple(b.shape)}; of a toy model W has one axis of features, as long as "
            "b_final, and one of fewer hidden numbers"
        )
    W = W.mT if W.shape[0] == len(b) else W
    told: dict[str, Any] = {**model, "d_hidden": len(W), "tied": True, "hidden": "none", "bias": True}
    return {"W": W.float().contiguous(), "b": b.float().contiguous()}, ToySpec(**told)


def task(weights: Tensors, told: Mapping[str, Any]) -> SparseFeaturesTask:
    """The task as far as weights and what is told give it: vectors of so many features, new ones for every update."""
    fields: dict[str, Any] = {"examples": "endless", **told, "n_features": len(weights["b"])}
    return SparseFeaturesTask(**fields)
