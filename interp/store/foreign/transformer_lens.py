"""The grokking demo of TransformerLens, and the configuration of a HookedTransformer.

The demo saves `model`, `config`, `checkpoints`, `checkpoint_epochs`, `train_losses`, `test_losses` and the indices of the
training set. Its loop takes the train loss, updates, takes the test loss, and then saves. So the train loss of epoch e is that
of the weights after e updates; the test loss and the checkpoint of epoch e are those after e + 1.
"""

import math
import reprlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from interp.store.files import CheckpointError
from interp.store.foreign.contents import Contents, whole_number
from interp.store.foreign.curves import leave_rest, take_curves
from interp.store.foreign.pickles import dense
from interp.store.foreign.stand_ins import Settings

LAYOUT = "TransformerLens"
NOTHING_ELSE = {
    "gated_mlp": False, "positional_embedding_type": "standard", "use_attn_scale": True,
    "scale_attn_by_inverse_layer_idx": False, "parallel_attn_mlp": False, "use_local_attn": False, "final_rms": False,
    "n_key_value_heads": None, "num_experts": None, "uses_rms_norm": False, "use_qk_norm": False, "eps": 1e-5,
    "post_embedding_ln": False, "use_normalization_before_and_after": False, "attn_scores_soft_cap": -1.0,
    "output_logits_soft_cap": -1.0, "use_logn_attn": False, "clip_qkv": None,
}  # fmt: skip
"""Fields of a HookedTransformerConfig that change what is computed, with the value that interp's transformer has."""

ASSUMED = (
    "the files hold no HookedTransformerConfig: an attention scale of √d_head and an ε of 1e-5 in LayerNorm are taken"
)
FIELDS = {"act_fn": "act_fn", "attention": "attention_dir"}
"""Names of fields of TransformerSpec, each with its name in a HookedTransformerConfig."""


def recognise(path: Path, found: Any) -> list[Contents] | None:
    """Contents of the grokking demo's file, given loaded; None for another file."""
    if not isinstance(found, dict) or not {"checkpoints", "checkpoint_epochs"} <= found.keys():
        return None
    contents = Contents(path.stem, f"{LAYOUT}, the grokking demo's file", [path])
    add_demo(contents, path, found)
    return [contents]


def add_demo(contents: Contents, path: Path, found: dict[str, Any]) -> None:
    """Add every checkpoint, the curves and the training set of the grokking demo's dictionary."""
    epochs, states = found["checkpoint_epochs"], found["checkpoints"]
    if not isinstance(epochs, list) or not isinstance(states, list) or len(epochs) != len(states):
        raise CheckpointError(f"{path} has checkpoints and checkpoint_epochs of different lengths")
    for epoch, state in zip(epochs, states, strict=True):
        contents.add_state(whole_number(path, "checkpoint epoch", epoch) + 1, path, state)
    others = ["model", "checkpoints", "checkpoint_epochs", "config", "train_indices", "test_indices"]
    used = take_curves(contents, path, found, later=["test_loss", "test_accuracy"], ignoring=others)
    if "model" in found and isinstance(found.get("train_losses"), list):
        contents.add_state(len(found["train_losses"]), path, found["model"])
        used.add("model")
    if "train_indices" in found:
        contents.train_index = indices(path, found["train_indices"])
        used |= {"train_indices", "test_indices"}
    used |= add_config(contents, path, found)
    leave_rest(contents, path, found, used | {"checkpoints", "checkpoint_epochs"})


def indices(path: Path, index: Any) -> Int[np.ndarray, " n"]:
    """The demo's indices of prompts, ascending; CheckpointError if they are not indices, or not distinct."""
    if not isinstance(index, torch.Tensor) or index.dtype not in (torch.int64, torch.int32) or index.ndim != 1:
        raise CheckpointError(f"{path} has train_indices that are no list of whole numbers")
    found = np.unique(dense(path, "train_indices", index, path.stat().st_size).to(torch.int64).numpy())
    if not len(found) or found[0] < 0 or len(found) < len(index):
        raise CheckpointError(f"{path} has train_indices that are no list of different prompts")
    return found


def add_config(contents: Contents, path: Path, found: Any) -> set[str]:
    """Add a HookedTransformerConfig, or its fields as a dictionary, if the file has one; returns the name of its entry.

    Raises:
        CheckpointError: it describes a model that interp's transformer cannot be.
    """
    name = next((name for name in ("config", "cfg") if isinstance(found, dict) and name in found), "")
    config = found[name] if name else None
    config = vars(config) if isinstance(config, Settings) else config
    if not isinstance(config, dict) or "act_fn" not in config:
        contents.tell(ASSUMED)
        return set()
    for field, value in NOTHING_ELSE.items():
        given = config.get(field, value)
        if given != value and not (field == "n_key_value_heads" and given == config.get("n_heads")):
            raise CheckpointError(f"{path} has a model with {field} {reprlib.repr(given)}; interp's has {value!r}")
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
    return {name}
