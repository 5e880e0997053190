"""Runs for TransformerLens 4, which has TransformerBridge in place of HookedTransformer. Imports no TransformerLens.

    DIR/config.json                   what TransformerBridge.boot_native takes
    DIR/steps/00000900.safetensors    what convert_tl_checkpoint takes: weights in HookedTransformer's names and shapes

and there, with TransformerLens 4:

    bridge = TransformerBridge.boot_native(json.loads(Path("DIR/config.json").read_text()))
    weights = load_file("DIR/steps/00000900.safetensors")
    bridge.load_state_dict(convert_tl_checkpoint(weights, bridge.cfg), strict=True)

Hooks keep their names and values, with two exceptions: blocks.L.attn.hook_attn_scores holds the pattern there, and
blocks.L.mlp.hook_mid of solu_ln is gone. Training a bridge further differs: all of its parameters learn, except b_U.
"""

import json
from pathlib import Path

import torch

from interp.base import UserError
from interp.models import TransformerSpec
from interp.models.transformer.spec import PLACES
from interp.shape import Shape
from interp.store.files import told_in_a_sentence, write_whole
from interp.store.layout import checkpoint_file
from interp.store.run import Run
from interp.store.tensors import Header, Tensors, write_tensors

CONFIG = "config.json"


def write_bridge(run: Run, out: Path) -> list[Path]:
    """Write every checkpoint in view for TransformerLens 4; returns the files written, config.json last.

    The bridge that loads them gives the logits of the HookedTransformer (`make test-bridge`). An export is complete if its
    directory has a config.json. Takes the memory of one checkpoint.

    Raises:
        UserError: the model has no counterpart in TransformerLens 4, or `out` is not empty or cannot be written.
        CheckpointError: a checkpoint is missing, damaged or of another model.
    """
    spec, shape = run.with_checkpoints().known_model, run.task.shape
    if not isinstance(spec, TransformerSpec):
        raise UserError(
            f'{run.path} has a model of kind "{spec.kind}"; only transformers are exported to TransformerLens 4'
        )
    refuse_what_has_no_bridge(run.path, spec)
    make_empty(out)
    files = [checkpoint_file(out, checkpoint.step) for checkpoint in run.checkpoints]
    for file, checkpoint in zip(files, run.checkpoints, strict=True):
        header: Header = {"format": "interp bridge 1", "step": checkpoint.step, "config": run.record.config_sha256}
        write_tensors(file, bridge_weights(spec, checkpoint.weights), header)
    write_whole(out / CONFIG, json.dumps(bridge_config(spec, shape), indent=2).encode() + b"\n")
    return [*files, out / CONFIG]


def refuse_what_has_no_bridge(run: Path, spec: TransformerSpec) -> None:
    """Raise UserError for a model that boot_native cannot compute with any configuration, or is not known to."""
    if spec.attn_only:
        raise UserError(
            f"{run} has layers of attention alone, which are not exported to TransformerLens 4; probe it here, or export a "
            "run whose layers have an MLP"
        )
    if spec.norm_before != PLACES:
        raise UserError(
            f"{run} has a LayerNorm before {' and '.join(spec.norm_before)} only, and TransformerLens 4 has all or none; "
            "probe it here, or export another run"
        )
    if spec.attention_rate != 1:
        raise UserError(
            f"{run} has model.attention_rate {spec.attention_rate:g}, and TransformerLens 4 has attention of rate 1 only; "
            "probe it here, or export a run of rate 1"
        )


def make_empty(out: Path) -> None:
    """Make the directory that is to be written; UserError if it exists and is not empty."""
    with told_in_a_sentence(out):
        if out.exists() and not out.is_dir():
            raise UserError(f"{out} is a file; give --out a directory")
        if out.is_dir() and any(out.iterdir()):
            raise UserError(f"{out} is not empty; delete it, or choose another --out")
        checkpoint_file(out, 0).parent.mkdir(parents=True)


def bridge_config(spec: TransformerSpec, shape: Shape) -> dict[str, str | int | float | bool | None]:
    """The fields of a TransformerBridgeConfig that decide what the model computes; its dtype is float32 by default.

    Names must be exact: boot_native ignores those that it does not know.
    """
    return {
        "architecture": "TransformerLensNative",
        **spec.model_dump(include={"n_layers", "n_heads", "d_model", "d_head", "d_mlp", "act_fn"}),
        **shape.tokens.model_dump(),
        "d_vocab_out": shape.outputs.n,
        "normalization_type": None if spec.normalization == "none" else spec.normalization,
        "eps": 1e-5,
        "attention_dir": spec.attention,
        "positional_embedding_type": "standard",
        "init_weights": False,
    }


def bridge_weights(spec: TransformerSpec, weights: Tensors) -> Tensors:
    """A checkpoint's weights, with all further tensors that the bridge has.

    The bridge's LayerNorm after SoLU always has weights, whatever the other LayerNorms have. They are set to 1 and 0, which
    change no value.
    """
    if spec.act_fn != "solu_ln" or spec.normalization == "LN":
        return weights
    layers = range(spec.n_layers)
    scale = {f"blocks.{layer}.mlp.ln.w": torch.ones(spec.d_mlp) for layer in layers}
    shift = {f"blocks.{layer}.mlp.ln.b": torch.zeros(spec.d_mlp) for layer in layers}
    return weights | scale | shift
