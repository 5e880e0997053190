"""Runs that others wrote, recognised by what their files hold; nothing in the files is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.base import UserError
from interp.store.files import CheckpointError
from interp.store.foreign import families, nanda, rep_theory, series, transformer_lens, zhong
from interp.store.foreign.contents import Contents
from interp.store.foreign.describe import Foreign, describe
from interp.store.foreign.pickles import in_a_sentence, load
from interp.store.foreign.write import write_foreign

KNOWN = (
    "a HookedTransformer's state dict (.pth, .pt, .safetensors), the grokking demo's file, a folder of *_STEP.pt, files or "
    "a folder of Nanda et al., config_ID.json with model_ID.pt of Zhong et al., a folder with cfg.json and model.pt of "
    "Chughtai et al., a dictionary {epoch: state dict}, W and b_final of toy models, nn.Linear layers, an nn.MultiheadAttention "
    "with an MLP"
)


def read_foreign(path: str | Path, given: Mapping[str, Mapping[str, Any]] | None = None) -> list[Foreign]:
    """Descriptions of the runs in a file or folder of others; nothing is written.

    `given` are fields of "task", "model" and "train" that the files do not tell, or tell wrongly.

    Raises:
        CheckpointError: a file is truncated, hostile, or of a model that interp does not describe.
        UserError: nothing that interp knows is there, or what is given does not fit.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; give a file or a folder that somebody's training wrote")
    with in_a_sentence(path):
        found = recognise_folder(path) if path.is_dir() else recognise_file(path)
    if not found:
        raise UserError(f"{path} holds nothing that interp recognises; known are {KNOWN}")
    for contents in found:
        if not contents.states and not contents.rows:
            raise CheckpointError(f"{path} has neither weights nor losses")
    return [describe(each, given or {}) for contents in found for each in families.apart(contents)]


def recognise_folder(path: Path) -> list[Contents] | None:
    """Contents of the runs in a folder, by the first layout that recognises it; None if none does."""
    return (
        rep_theory.recognise(path)
        or zhong.recognise(path)
        or nanda.recognise_folder(path)
        or transformer_lens.recognise_folder(path)
    )


def recognise_file(path: Path) -> list[Contents] | None:
    """Contents of the runs in a file, by the first layout that recognises it; None if none does."""
    if found := rep_theory.recognise(path) or zhong.recognise(path):
        return found
    content = load(path)
    return (
        series.by_epoch(path, content)
        or series.alone(path, content)
        or nanda.recognise(path, content)
        or transformer_lens.recognise(path, content)
    )


__all__ = ["Foreign", "read_foreign", "write_foreign"]
