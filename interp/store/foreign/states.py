"""State dicts of others in HookedTransformer's layout, and the specification that their shapes tell."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp.base import UserError
from interp.models import TransformerSpec
from interp.models.transformer.spec import PLACES
from interp.shape import Shape
from interp.store.files import CheckpointError
from interp.store.tensors import Tensors

State = dict[str, Tensor]


def axes_of_W_O(found: Any) -> int:
    """Number of axes of the first layer's W_O: 3 in HookedTransformer's layout, 2 in that of Nanda et al., 0 if there is none."""
    W_O = found.get("blocks.0.attn.W_O") if isinstance(found, dict) else None
    return W_O.ndim if isinstance(W_O, Tensor) else 0


def turned(state: State, n_heads: int) -> State:
    """Weights in the layout of Nanda et al., transposed to HookedTransformer's. They have no biases in attention and W_U.

    Transposed: W_E [d_model, d_vocab], W_Q, W_K, W_V [head, d_head, d_model], W_O [d_model, head·d_head],
    W_in [d_mlp, d_model], W_out [d_model, d_mlp]. Kept: W_pos and W_U.
    """
    found = {}
    for name, tensor in state.items():
        last = name.rsplit(".", 1)[-1]
        if last in ("W_E", "W_Q", "W_K", "W_V", "W_in", "W_out"):
            found[name] = tensor.mT
        elif last == "W_O":
            found[name] = tensor.T.unflatten(0, (n_heads, -1))
        else:
            found[name] = tensor
    return found


def hooked(path: Path, state: State, model: dict[str, Any]) -> tuple[Tensors, TransformerSpec]:
    """Weights in HookedTransformer's layout and names, float32, and their specification.

    Args:
        path: the file, for error messages.
        state: a state dict in either layout.
        model: what is known of the specification beside the shapes.

    Raises:
        CheckpointError: names or shapes are not those of a transformer that interp describes.
    """
    try:
        if axes_of_W_O(state) == 2:
            state = turned(state, len(state["blocks.0.attn.W_Q"]))
        spec = spec_of(state, model)
        wanted = shapes(spec, state)
        missing = wanted.keys() - state.keys()
        state = state | {name: torch.zeros(size) for name, size in wanted.items() if is_absent(name, missing)}
    except (KeyError, IndexError, RuntimeError, ValueError, UserError) as error:
        raise unfit(path, state, error) from None
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if found != wanted:
        odd = min(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise CheckpointError(
            f"{path} is no transformer that interp describes: {odd!r:.80} has shape {found.get(odd, 'none')}, and "
            f"{wanted.get(odd, 'none')} is expected of {spec.n_layers} layers with positions and attention, and an MLP in each "
            "or none"
        )
    return {name: state[name].to(torch.float32).contiguous() for name in wanted}, spec


def is_absent(name: str, missing: set[str]) -> bool:
    """Whether a missing tensor is a bias that the layout of Nanda et al., or an option of HookedTransformer, does not have."""
    return name in missing and bool(re.search(r"attn\.b_[QKVO]$|unembed\.b_U$", name))


def spec_of(state: State, model: dict[str, Any]) -> TransformerSpec:
    """Specification of a transformer from the shapes of its state dict (HookedTransformer's layout) and from `model`."""
    layers = [int(found[1]) for name in state if (found := re.match(r"blocks\.(\d{1,3})\.", name))]
    n_layers = 1 + max(layers, default=0)
    n_heads, d_model, d_head = state["blocks.0.attn.W_Q"].shape
    told: dict[str, Any] = {}
    norms = {"attention": "blocks.0.ln1.w", "mlp": "blocks.0.ln2.w", "unembedding": "ln_final.w"}
    if places := tuple(place for place, name in norms.items() if name in state):
        told["normalization"] = "LN"
        whole = "blocks.0.mlp.W_in" not in state and places == ("attention", "unembedding")
        told["norm_before"] = PLACES if whole else places
    if "blocks.0.mlp.ln.w" in state:
        told["act_fn"] = "solu_ln"
    if "blocks.0.mlp.W_in" in state:
        told["d_mlp"] = state["blocks.0.mlp.W_in"].shape[1]
    else:
        told["attn_only"] = True
    widths: dict[str, Any] = {"n_layers": n_layers, "n_heads": n_heads, "d_model": d_model, "d_head": d_head}
    return TransformerSpec(**{**model, **told, **widths})


def shapes(spec: TransformerSpec, state: State) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter that a model of these widths has, by name."""
    n_ctx, d_vocab, answers = len(state["pos_embed.W_pos"]), len(state["embed.W_E"]), state["unembed.W_U"].shape[1]
    return spec.tensor_shapes(Shape.of_tokens(n_ctx, d_vocab, answers))


def unfit(path: Path, state: State, error: Exception) -> CheckpointError:
    """The error for weights that are not those of a transformer whose layers have attention."""
    names = ", ".join(sorted(state)[:4])
    match error:
        case KeyError():
            why = f"has no {error.args[0]!s:.80}"
        case UserError():
            why = f"says that {error!s:.120}"
        case _:
            why = "has tensors whose shapes do not belong together"
    return CheckpointError(f"{path} is no transformer that interp describes: it has {names:.150}, …, and {why}")
