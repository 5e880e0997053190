"""What the user tells of runs of others: refused if it is no field or no value, or if it comes to nothing."""

from collections.abc import Mapping
from typing import Any

from interp.base import UserError, near_miss
from interp.config import RunConfig, TrainConfig
from interp.models import MlpSpec, ToySpec, TransformerSpec
from interp.tasks import GroupTask, ModularTask, SparseFeaturesTask

PARTS: dict[str, tuple[type[Any], ...]] = {
    "task": (ModularTask, GroupTask, SparseFeaturesTask),
    "model": (TransformerSpec, MlpSpec, ToySpec),
    "train": (TrainConfig,),
}
"""Specifications of which each part of a configuration may be, of runs of others."""

OURS = (
    "kind",
    "steps",
    "examples",
    "log_every",
    "log_norms",
    "checkpoint_every",
    "checkpoints_per_decade",
    "checkpoint_steps",
    "precision",
)
"""Fields that say how interp trains and logs. They mean nothing for a run that is only read."""

Given = Mapping[str, Mapping[str, Any]]


def check(given: Given) -> None:
    """Raise UserError if a part, a field or a value cannot be of any run."""
    for part, fields in given.items():
        if part not in PARTS:
            raise UserError(f"{part!r:.40} is no part of a run{near_miss(part, PARTS)}")
        known = {name for kind in PARTS[part] for name in kind.model_fields if name not in OURS}
        for name in fields:
            if name not in known:
                raise UserError(f"{part}.{name:.40} is no field that can be given{near_miss(name, known)}")
        kinds = [kind for kind in PARTS[part] if fields.keys() <= kind.model_fields.keys()]
        if fields and not kinds:
            raise UserError(f"{' and '.join(f'{part}.{name}' for name in fields)} are not of one {part}; leave one out")
        if fields:
            kinds[0](**fields)


def refuse_what_is_not_used(given: Given, config: RunConfig, has_weights: bool, why: str) -> None:
    """Raise UserError for a given field that the run described does not have, or has with another value.

    Args:
        given: what the user tells.
        config: the run as described, with it.
        has_weights: whether the files hold weights.
        why: what the files are, to say why a field of the task is not used.
    """
    for part, fields in given.items():
        found = getattr(config, part)
        for name, value in fields.items():
            option = f"--{part}.{name.replace('_', '-')} {value}"
            if part == "model" and not has_weights:
                raise UserError(f"{option} cannot be used: the files hold learning curves and no weights; leave it out")
            if part == "model" and not hasattr(found, name):
                raise UserError(
                    f"{option} cannot be used: the weights are of kind {found.kind}, which has none; leave it out"
                )
            if not hasattr(found, name):
                raise UserError(f"{option} cannot be used: {why}")
            if part != "task" and getattr(found, name) != value:
                raise UserError(f"{option} contradicts the weights, which have {getattr(found, name)}; leave it out")
