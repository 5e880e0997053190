"""HookedTransformers that others saved: one state dict, the grokking demo's dictionary, or a folder of `*_{step}.pt`.

The demo saves `model`, `config`, `checkpoints`, `checkpoint_epochs`, `train_losses`, `test_losses` and the indices of the
training set. Its loop takes the train loss, updates, takes the test loss, and then saves. So the train loss of epoch e is that
of the weights after e updates; the test loss and the checkpoint of epoch e are those after e + 1.
"""

import math
import re
import reprlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from interp.store.files import CheckpointError
from interp.store.foreign.contents import Contents, whole_number
from interp.store.foreign.pickles import Settings, dense, load, unwrapped
from interp.store.foreign.states import axes_of_W_O

LAYOUT = "TransformerLens"
STEP_FILE = re.compile(r"((?:.*[^0-9])?)([0-9]{1,9})\.(pt|pth|safetensors)")
NOTHING_ELSE = {
    "gated_mlp": False, "positional_embedding_type": "standard", "use_attn_scale": True,
    "scale_attn_by_inverse_layer_idx": False, "parallel_attn_mlp": False, "use_local_attn": False, "final_rms": False,
    "n_key_value_heads": None, "num_experts": None, "uses_rms_norm": False, "use_qk_norm": False, "eps": 1e-5,
    "post_embedding_ln": False, "use_normalization_before_and_after": False, "attn_scores_soft_cap": -1.0,
    "output_logits_soft_cap": -1.0, "use_logn_attn": False, "clip_qkv": None,
}  # fmt: skip
"""Fields of a HookedTransformerConfig that change what is computed, with the value that interp's transformer has."""

ASSUMED = "the files hold no configuration: an attention scale of √d_head and an ε of 1e-5 in LayerNorm are taken"
FIELDS = {"act_fn": "act_fn", "attention": "attention_dir"}
"""Names of fields of TransformerSpec, each with its name in a HookedTransformerConfig."""


def recognise_folder(path: Path) -> list[Contents] | None:
    """Contents of a folder of files whose names end in their step; None if it has no such files."""
    series: dict[tuple[str, str], dict[int, Path]] = {}
    for file in sorted(path.iterdir()):
        if found := STEP_FILE.fullmatch(file.name):
            series.setdefault((found[1], found[3]), {})[int(found[2])] = file
    if len(series) > 1:  # such as model_0.pt beside optimizer_0.pt
        series = {
            name: files for name, files in series.items() if axes_of_W_O(unwrapped(load(next(iter(files.values())))))
        }
    if not series:
        return None
    if len(series) > 1:
        names = " and ".join(f"{before}STEP.{suffix}" for before, suffix in sorted(series)[:2])
        raise CheckpointError(f"{path} has several series of models, {names}; keep one of them")
    files = dict(sorted(next(iter(series.values())).items()))
    contents = Contents(path.name, f"{LAYOUT}, a folder of state dicts", list(files.values()))
    for step, file in files.items():
        found = load(file)
        contents.add_state(step, file, found)
        if axes_of_W_O(unwrapped(found)):  # other networks have no HookedTransformerConfig
            add_config(contents, file, found)
    return [contents]


def recognise(path: Path, found: Any) -> list[Contents] | None:
    """Contents of a single file with a HookedTransformer, given loaded; None for another file."""
    if not isinstance(found, dict):
        return None
    contents = Contents(path.stem, LAYOUT, [path])
    if "checkpoints" in found and "checkpoint_epochs" in found:
        contents.layout = f"{LAYOUT}, the grokking demo's file"
        add_demo(contents, path, found)
        return [contents]
    inside = unwrapped(found)
    if not (isinstance(inside, dict) and any(str(name).startswith(("blocks.", "embed.")) for name in inside)):
        return None
    numbered = STEP_FILE.fullmatch(path.name)
    contents.add_state(int(numbered[2]) if numbered else 0, path, inside)
    told = f"step {numbered[2]} is taken from its name" if numbered else "step 0 stands for that"
    contents.notes.append(f"the file does not say after how many updates its weights are; {told}")
    add_config(contents, path, found)
    return [contents]


def add_demo(contents: Contents, path: Path, found: dict[str, Any]) -> None:
    """Add every checkpoint, the curves and the training set of the grokking demo's dictionary."""
    epochs, states = found["checkpoint_epochs"], found["checkpoints"]
    if not isinstance(epochs, list) or not isinstance(states, list) or len(epochs) != len(states):
        raise CheckpointError(f"{path} has checkpoints and checkpoint_epochs of different lengths")
    for epoch, state in zip(epochs, states, strict=True):
        contents.add_state(whole_number(path, "checkpoint epoch", epoch) + 1, path, state)
    if "train_losses" in found:
        contents.add_losses(path, "train_loss", found["train_losses"])
    if "test_losses" in found:
        contents.add_losses(path, "test_loss", found["test_losses"], first=1)
    if "model" in found and "train_losses" in found:
        contents.add_state(len(found["train_losses"]), path, found["model"])
    if "train_indices" in found:
        contents.train_index = indices(path, found["train_indices"])
    add_config(contents, path, found)


def indices(path: Path, index: Any) -> Int[np.ndarray, " n"]:
    """The demo's indices of prompts, ascending; CheckpointError if they are not indices, or not distinct."""
    if not isinstance(index, torch.Tensor) or index.dtype not in (torch.int64, torch.int32) or index.ndim != 1:
        raise CheckpointError(f"{path} has train_indices that are no list of whole numbers")
    found = np.unique(dense(path, "train_indices", index, path.stat().st_size).to(torch.int64).numpy())
    if not len(found) or found[0] < 0 or len(found) < len(index):
        raise CheckpointError(f"{path} has train_indices that are no list of different prompts")
    return found


def add_config(contents: Contents, path: Path, found: Any) -> None:
    """Add a HookedTransformerConfig, or its fields as a dictionary, if the file has one.

    Raises:
        CheckpointError: it describes a model that interp's transformer cannot be.
    """
    config = found.get("config", found.get("cfg")) if isinstance(found, dict) else None
    config = vars(config) if isinstance(config, Settings) else config
    if not isinstance(config, dict) or "act_fn" not in config:
        if ASSUMED not in contents.notes:
            contents.notes.append(ASSUMED)
        return
    for name, value in NOTHING_ELSE.items():
        given = config.get(name, value)
        if given != value and not (name == "n_key_value_heads" and given == config.get("n_heads")):
            raise CheckpointError(f"{path} has a model with {name} {reprlib.repr(given)}; interp's has {value!r}")
    scale, d_head = config.get("attn_scale"), config.get("d_head")
    if (
        isinstance(scale, float)
        and scale > 0
        and isinstance(d_head, int)
        and not math.isclose(scale, math.sqrt(d_head))
    ):
        raise CheckpointError(
            f"{path} has a model with attn_scale {scale:g}; interp's has √d_head, {math.sqrt(d_head):g}"
        )
    normalization = config.get("normalization_type")
    contents.model["attn_only"] = config.get("attn_only") is True
    contents.model["normalization"] = "none" if normalization is None else str(normalization)
    contents.model |= {ours: str(config[theirs]) for ours, theirs in FIELDS.items() if theirs in config}
