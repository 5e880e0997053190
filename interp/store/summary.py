"""A run in a few words."""

import math
from typing import TYPE_CHECKING, Any

from interp.models import ToySpec
from interp.store.files import CheckpointError

if TYPE_CHECKING:
    from interp.store.run import Run


def summary(run: "Run") -> dict[str, str]:
    """Its task, model, training, checkpoints and last losses, each by its name; what is not known is called so."""
    last: Any = None
    done, fault = 0, ""
    try:
        for step, row in run.history.iloc[-1:].iterrows():
            last, done = row, int(step)
    except CheckpointError as error:  # what is damaged in a run should not keep it from saying what it is
        fault = str(error)
    words = {
        "run": f"{run.name} ({run.path})",
        "task": task(run),
        "model": model(run),
        "training": f"{training(run)}, {max(done, *run.steps, 0):,} of {run.config.train.steps:,} steps",
        "checkpoints": f"{len(run)}, steps {run.steps[0]:,} to {run.steps[-1]:,}" if run.steps else "none",
    }
    if last is not None:
        loss, accuracy = (pair(last[f"train_{what}"], last[f"test_{what}"], how) for what, how in FORMATS)
        words |= {"loss": f"{loss} {run.task.shape.loss_units} at step {done:,}"}
        words |= {"accuracy": accuracy} if run.task.shape.kind == "tokens" else {}
    if fault:
        words |= {"history": fault}
    if run.record.origin is not None:
        words |= {"converted": f"from {run.record.origin.layout}: {', '.join(run.record.origin.files)}"}
        words |= {"not known": ", ".join(run.record.origin.unknown) or "nothing"}
        words |= {f"note {number}": note for number, note in enumerate(run.record.origin.notes, start=1)}
    return words


FORMATS = (("loss", ".3g"), ("accuracy", ".1%"))


def pair(train: float, test: float, how: str) -> str:
    """Both values, in that format; one that was not logged is not known."""
    train_word, test_word = ("not known" if math.isnan(value) else f"{value:{how}}" for value in (train, test))
    return f"train {train_word}, test {test_word}"


def task(run: "Run") -> str:
    """What was learned, and from how much of it."""
    origin = run.record.origin
    if origin is None or origin.tells("task.train_fraction"):
        return run.task.about
    return f"{run.task.about.split(', ')[0]}, from a share of its prompts that is not known"


def model(run: "Run") -> str:
    """The widths, and what is applied to them."""
    spec, origin = run.config.model, run.record.origin
    if origin is not None and "model" in origin.unknown:
        return "not known"
    if isinstance(spec, ToySpec):
        ties, hidden = "" if spec.tied else ", untied", "" if spec.hidden == "none" else f" after {spec.hidden}"
        output = "linear output" if spec.output == "none" else f"{spec.output} output"
        return f"toy, {spec.d_hidden:,} hidden{hidden}{ties}, {output}{'' if spec.bias else ' without bias'}"
    activation = "activation not known" if origin and not origin.tells("model.act_fn") else spec.act_fn
    mlp = "attention only" if spec.attn_only else f"d_mlp {spec.d_mlp}, {activation}"
    return f"{spec.n_layers} layer{'s' * (spec.n_layers > 1)}, {spec.n_heads} heads, d_model {spec.d_model}, {mlp}"


def training(run: "Run") -> str:
    """The optimiser and its two most telling numbers."""
    train, origin = run.config.train, run.record.origin
    values = {"optimizer": train.optimizer, "lr": f"{train.lr:g}", "weight_decay": f"{train.weight_decay:g}"}
    known = {name: "not known" if origin and not origin.tells(f"train.{name}") else v for name, v in values.items()}
    return f"{known['optimizer']}, lr {known['lr']}, weight decay {known['weight_decay']}"
