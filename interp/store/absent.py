"""Runs whose task or model is of a package that is not installed: what stands in for it, so that the run opens."""

from pathlib import Path
from typing import Any

from interp.base import UserError, shortened
from interp.config import RunConfig, Start
from interp.models import FAMILIES, ModuleSpec
from interp.models.module.spec import Entry, role_of
from interp.plugins import Registry
from interp.recipe import Seeds, TrainConfig
from interp.store.layout import checkpoint_file, checkpoint_header, checkpoint_steps
from interp.tasks import TASKS, AbsentTask, Corruption


def absent(config: dict[str, Any]) -> dict[str, str]:
    """Parts of a configuration, as JSON, whose class is not here, each with a sentence that says so; most often none."""
    parts: dict[str, Registry[Any]] = {"task": TASKS, "model": FAMILIES}
    found = {part: why_absent(registry, config.get(part)) for part, registry in parts.items()}
    return {part: why for part, why in found.items() if why}


def why_absent(registry: Registry[Any], part: Any) -> str:
    """Why a class is not here, in a sentence; empty if it is, and of what is no specification at all."""
    kind = part.get("kind") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        return ""
    try:
        if kind in registry:
            _ = registry[kind]
            return ""
    except UserError as error:
        return str(error)
    return f'{registry.what} "{kind}" is of a package that is not installed'


def with_stand_ins(path: Path, config: dict[str, Any], digest: str, why: dict[str, str]) -> RunConfig:
    """Configuration of the run in `path` with what stands in for its absent parts: a task of which nothing is known, and in
    place of the model, whose tensors follow from both, a module with the tensors of the first checkpoint.

    It is not validated as a whole: its recipe was checked against the model that is not here.

    Raises:
        CheckpointError: that checkpoint is damaged.
        UserError: another part of the configuration is not as any version of interp wrote it.
    """
    task, model = config["task"], config["model"]
    return RunConfig.model_construct(
        name=config["name"],
        task=AbsentTask(named=named(task), why=why["task"]) if "task" in why else TASKS.read(task),
        model=ModuleSpec(module=model["kind"], entries=entries_of(path, digest)),
        train=TrainConfig(**config["train"]),
        corruption=Corruption(**config.get("corruption", {})),
        seeds=Seeds(**config.get("seeds", {})),
        start=Start(**config.get("start", {})),
    )


def named(part: dict[str, Any]) -> str:
    """The kind of a specification and its other fields, in words."""
    fields = ", ".join(f"{name} {shortened(value)}" for name, value in part.items() if name != "kind")
    return f"{part['kind']} ({fields})" if fields else part["kind"]


def entries_of(path: Path, digest: str) -> tuple[Entry, ...]:
    """The tensors of a run's first checkpoint; none if it has no checkpoint."""
    from interp.store.tensors import map_tensors  # here: a run of which all is known costs no torch

    steps = checkpoint_steps(path)[:1]
    found = [map_tensors(checkpoint_file(path, step), checkpoint_header(digest, step))[0] for step in steps]
    return tuple(
        Entry(name, tuple(tensor.shape), name.split(".")[0], role_of(name, tensor.ndim, learns=True))
        for tensors in found
        for name, tensor in tensors.items()
    )
