"""Summary of a run in a few words."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interp.store.between import Between
from interp.store.files import CheckpointError
from interp.store.layout import RESUME, checkpoint_steps, steps_in
from interp.store.record import Record

if TYPE_CHECKING:
    import pandas as pd


def summary(path: Path, record: Record, steps: Sequence[int], history: "Callable[[], pd.DataFrame]") -> dict[str, str]:
    """Task, model, training, checkpoints and last losses of a run in words, by topic; what is unknown is called not known."""
    config, last = record.config, None
    done, fault = 0, ""
    try:
        for step, row in history().iloc[-1:].iterrows():
            last, done = row, int(step)  # type: ignore[arg-type]
    except CheckpointError as error:  # what is damaged in a run should not keep it from saying what it is
        fault = str(error)
    words = {
        "run": f"{config.name} ({path})",
        "task": task(record),
        "model": model(record),
        **trained(record, max(done, *steps, 0)),
        **(
            {"start": f"weights of {config.start.path} at step {config.start.step:,}, optimiser anew"}
            if config.start
            else {}
        ),
        "checkpoints": (f"{len(steps)}, steps {steps[0]:,} to {steps[-1]:,}" if steps else "none") + beyond(path),
    }
    if last is not None:
        loss, accuracy = (pair(last[f"train_{what}"], last[f"test_{what}"], how) for what, how in FORMATS)
        words |= {"loss": f"{loss} {config.loss_units} at step {done:,}"}
        words |= {"accuracy": accuracy} if config.task.shape.outputs.kind == "classes" else {}
    if fault:
        words |= {"history": fault}
    if record.origin is not None and record.origin.between is not None:
        words |= path_of(record.origin.between)
    elif record.origin is not None and not record.origin.recorded:
        words |= {"converted": f"from {record.origin.layout}: {', '.join(record.origin.files)}"}
        words |= {"not known": ", ".join(record.origin.unknown) or "nothing"}
    if record.absent:
        words |= {"not known": f"{'; '.join(record.absent.values())}; the weights can be measured"}
    if record.origin is not None:
        words |= {f"note {number}": note for number, note in enumerate(record.origin.notes, start=1)}
    return words


def path_of(between: Between) -> dict[str, str]:
    """A path between two networks in words."""
    a, b = (f"{end.path} at step {end.step:,}" for end in between.ends)
    return {"path": between.curve.about, "A": a, "B": b}


def beyond(path: Path) -> str:
    """How far weights are saved beyond the last checkpoint, in words; empty if they are not."""
    newest, last = max(steps_in(path / RESUME), default=0), max(checkpoint_steps(path), default=0)
    return f"; with --with-newest up to the saved step {newest:,}" if newest > last else ""


FORMATS = (("loss", ".3g"), ("accuracy", ".1%"))


def pair(train: float, test: float, how: str) -> str:
    """Train and test value as text, in format `how`; a value that was not logged is called not known."""
    train_word, test_word = ("not known" if math.isnan(value) else f"{value:{how}}" for value in (train, test))
    return f"train {train_word}, test {test_word}"


def task(record: Record) -> str:
    """The task in words, and the share of it that is trained on."""
    origin, about = record.origin, record.config.task.about
    if origin is not None and "task.sparsity" in origin.unknown:
        return f"vectors of {record.config.task.shape.vectors.width:,} features, of a sparsity that is not known"
    if origin is None or origin.recorded or origin.tells("task.train_fraction"):
        return about
    return f"{about.split(', ')[0]}, from a share of its prompts that is not known"


def model(record: Record) -> str:
    """The model in words; what files of others leave open is called not known."""
    spec, origin = record.config.model, record.origin
    if origin is not None and "model" in origin.unknown:
        return "not known"
    open_fields = [name for name in spec.computes if origin and not origin.tells(f"model.{name}")]
    if not spec.has_code:
        return f"{spec.about}, whose code is not known"
    return f"{spec.about}; assumed: {', '.join(open_fields)}" if open_fields else spec.about


def trained(record: Record, steps: int) -> dict[str, str]:
    """The training in words, and how far it is; of a path, how its ends were trained."""
    if record.origin is not None and record.origin.between is not None:
        return {"A was trained by": training(record)}
    if record.origin is not None and record.origin.recorded:
        return {"training": f"by a loop of its own, {steps:,} steps so far"}
    return {"training": f"{training(record)}, {steps:,} of {record.config.train.steps:,} steps"}


def training(record: Record) -> str:
    """The training in words: optimiser, learning rate and weight decay."""
    train, origin = record.config.train, record.origin
    values = {"optimizer": train.optimizer, "lr": f"{train.lr:g}", "weight_decay": f"{train.weight_decay:g}"}
    known = {name: "not known" if origin and not origin.tells(f"train.{name}") else v for name, v in values.items()}
    return f"{known['optimizer']}, lr {known['lr']}, weight decay {known['weight_decay']}"
