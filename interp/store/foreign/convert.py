"""Conversion of runs of others to ordinary ones."""

from pathlib import Path
from typing import Any

from interp.store.directory import refuse_what_is_there
from interp.store.foreign import read_foreign, write_foreign
from interp.store.run import Run


def convert(
    source: str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
    step: str | int | None = None,
    skip_broken: bool = False,
    as_module: bool = False,
    split: str | Path | None = None,
    history: str | Path | None = None,
    **given: dict[str, Any],
) -> list[Run]:
    """The runs that others wrote in `source`, written as ordinary ones: into `out`, or where there are several, one
    directory each in it.

    Args:
        source: a file or folder; `python -m interp.convert` lists what is recognised.
        out: where to write.
        overwrite: replace the runs that are there.
        step: number of updates of weights that do not say it; or names of files with STEP for it, such as "model_STEP.pt".
        skip_broken: leave a broken file of a folder out, with a note.
        as_module: take weights as those of some module, by their own names, whatever network these tell.
        split: file with the prompts that were trained on: rows of the task's table, or columns x and y.
        history: file with learning curves, in CSV, JSON or JSONL.
        **given: fields of `task`, `model` and `train` that the files leave open or have wrong: `model={"act_fn": "relu"}`.

    Raises:
        CheckpointError: a file is truncated, hostile, or of a model that interp does not describe; nothing is written.
        UserError: nothing is recognised, what is given does not fit, or `out` cannot be written.
    """
    beside = {name: None if file is None else Path(file) for name, file in (("split", split), ("history", history))}
    found = read_foreign(source, given, None if step is None else str(step), skip_broken, as_module, **beside)
    out = Path(out)
    places = [out] if len(found) == 1 else [out / name for name in different([each.config.name for each in found])]
    for place in places:
        refuse_what_is_there(place, resume=False, overwrite=overwrite)
    return [write_foreign(foreign, place, overwrite) for foreign, place in zip(found, places, strict=True)]


def different(names: list[str]) -> list[str]:
    """Distinct names: one that occurs again gets a number."""
    return [f"{name}-{names[:i].count(name) + 1}" if name in names[:i] else name for i, name in enumerate(names)]
