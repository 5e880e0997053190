"""Runs that others wrote, recognised by what their files hold; nothing in the files is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.base import UserError
from interp.store.files import CheckpointError
from interp.store.foreign import (
    families,
    folders,
    nanda,
    own_modules,
    rep_theory,
    saved,
    series,
    step_folders,
    transformer_lens,
    zhong,
)
from interp.store.foreign.asked import Asked, with_step
from interp.store.foreign.beside import add_beside
from interp.store.foreign.contents import Contents, listed
from interp.store.foreign.curves import is_state
from interp.store.foreign.describe import Foreign, describe
from interp.store.foreign.given import check
from interp.store.foreign.pickles import WRAPPERS, in_a_sentence, load
from interp.store.foreign.write import write_foreign

KNOWN = (
    "a HookedTransformer's state dict (.pth, .pt, .ckpt, .safetensors), the grokking demo's file, a folder of *_stepN.pt or of "
    "stepN/model.safetensors, files "
    "or a folder of Nanda et al., config_ID.json with model_ID.pt of Zhong et al., a folder with cfg.json and model.pt of "
    "Chughtai et al., a dictionary {epoch: state dict}, W and b_final of toy models, nn.Linear layers, an "
    "nn.MultiheadAttention with an MLP, any other state dict with a matrix, learning curves in CSV, JSON or JSONL"
)


def read_foreign(
    path: str | Path,
    given: Mapping[str, Mapping[str, Any]] | None = None,
    step: str | None = None,
    skip_broken: bool = False,
    as_module: bool = False,
    split: Path | None = None,
    history: Path | None = None,
) -> list[Foreign]:
    """Descriptions of the runs in a file or folder of others; nothing is written.

    Args:
        path: the file or folder.
        given: fields of "task", "model" and "train" that the files do not tell, or tell wrongly.
        step: number of updates of weights that do not say it, or a pattern of file names such as model_STEP.pt.
        skip_broken: leave a broken file of a folder out, with a note.
        as_module: take weights as those of some module, whatever network their names tell.
        split: file with the prompts that were trained on, as `beside.FORM` has it.
        history: file with learning curves.

    Raises:
        CheckpointError: a file is truncated, hostile, or of a model that interp does not describe.
        UserError: nothing that interp knows is there, or what is given does not fit.
    """
    path, asked = Path(path), Asked.of(step, skip_broken)
    check(given or {})
    if not path.exists():
        raise UserError(f"{path} does not exist; give a file or a folder that somebody's training wrote")
    if skip_broken and not path.is_dir():
        raise UserError(f"--skip-broken cannot be used: {path} is one file; leave it out")
    recognise = recognise_folder if path.is_dir() else recognise_file
    with in_a_sentence(path):
        found = None if as_module else recognise(path, asked)
        if not found and not asked.left_out:
            with own_modules.allowed():
                found = recognise(path, asked)
    if not found and asked.left_out:
        raise CheckpointError(f"{path} has no readable file: {asked.left_out[0]}")
    if not found:
        inside = [each.name for each in path.iterdir() if each.is_dir()] if path.is_dir() else []
        more = f" (give one of its folders: {listed(sorted(inside), 4)})" if inside else ""
        raise UserError(f"{path} holds nothing that interp recognises{more}; known are {KNOWN}")
    add_beside(found, split, history, (given or {}).get("task", {}))
    for contents in found:
        contents.as_module = as_module
        if not contents.states and not contents.rows:
            raise CheckpointError(f"{path} has neither weights nor losses")
    with_step(found, asked, path)
    return [describe(each, given or {}) for contents in found for each in parts_of(contents)]


def parts_of(contents: Contents) -> list[Contents]:
    """Contents of each run among those of some files."""
    return [contents] if contents.as_module else families.apart(contents)


def recognise_folder(path: Path, asked: Asked) -> list[Contents] | None:
    """Contents of the runs in a folder, by the first layout that recognises it; None if none does."""
    found = (
        rep_theory.recognise(path)
        or zhong.recognise(path, asked)
        or nanda.recognise_folder(path, asked)
        or folders.recognise(path, asked)
        or step_folders.recognise(path, asked)
        or folders.tables_alone(path, asked)
    )
    folders.add_tables(path, found, asked)
    return found


def recognise_file(path: Path, asked: Asked) -> list[Contents] | None:
    """Contents of the runs in a file, by the first layout that recognises it; None if none does."""
    if found := rep_theory.recognise(path) or zhong.recognise(path, asked):
        return found
    content = load(path)
    return (
        series.by_epoch(path, content)
        or nanda.recognise(path, content)
        or transformer_lens.recognise(path, content)
        or saved.several(path, content)
        or saved.alone(path, content, asked)
        or unknown_weights(path, content)
        or folders.curves_alone(path, content)
    )


def unknown_weights(path: Path, content: Any) -> list[Contents] | None:
    """Contents of weights that no layout knows, which are refused by their names later; None if there are no weights."""
    name = next((name for name in WRAPPERS if isinstance(content, dict) and isinstance(content.get(name), dict)), None)
    if name is None or (content[name] and not is_state(content[name])):
        return None
    contents = Contents(path.stem, "state dict", [path])
    contents.add_state(0, path, content[name])
    return [contents]


__all__ = ["Foreign", "read_foreign", "write_foreign"]
