"""MLPs and one-layer transformers of plain torch modules, recognised by the names and shapes of their tensors.

MLPs: nn.Linear layers, one after the other, over one-hot pairs or over nn.Embedding. Transformers: nn.MultiheadAttention, two
nn.Linear layers, and an nn.Linear to the answers. In a state dict each module has a `weight` [outputs, inputs], and mostly a
`bias`. Modules stand in the order in which they were made, which is taken to be that in which they compute.
"""

import itertools
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp.models import Family, MlpSpec, TransformerSpec
from interp.store.files import CheckpointError
from interp.store.foreign.states import State
from interp.store.tensors import Tensors

EMBEDDING = re.compile(r"(?i)emb|tok|wte|(^|\.)e(_|$)")
"""Pattern of an embedding's name."""
POSITION = re.compile(r"(?i)pos|wpe")
"""Pattern of the name of an embedding of positions."""


USUAL = {"normalization": "none", "biases": "trained"}
"""Fields of a transformer that are such in plain torch: a LayerNorm has weights, which show, and biases learn."""


class Module(NamedTuple):
    """A module of a state dict: its name, its weight, and its bias if it has one."""

    name: str
    weight: Tensor
    bias: Tensor | None

    @property
    def size(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return tuple(self.weight.shape)


def modules(state: State) -> list[Module]:
    """Modules with a `weight` of two axes, in the order of the state dict."""
    names = [name.removesuffix("weight").rstrip(".") for name in state if re.search(r"(^|\.)weight$", name)]
    keys = {name: f"{name}." if name else "" for name in names}
    every = [Module(name, state[f"{keys[name]}weight"], state.get(f"{keys[name]}bias")) for name in names]
    return [each for each in every if each.weight.ndim == 2]


def linear(state: State) -> list[Module]:
    """Modules that are no embeddings: those of attention left out."""
    return [each for each in modules(state) if not is_embedding(each) and not each.name.endswith("out_proj")]


def is_embedding(module: Module) -> bool:
    """Whether a module is an nn.Embedding, by its name: it has no bias."""
    unembeds = re.search(r"(?i)unemb|out|head", module.name)
    return module.bias is None and not unembeds and bool(EMBEDDING.search(module.name) or POSITION.search(module.name))


# MLPs


def is_mlp(state: State) -> bool:
    """Whether a state dict is of nn.Linear layers and embeddings alone, each layer as wide as the one before it gives."""
    layers, every = linear(state), modules(state)
    known = {id(tensor) for each in every for tensor in (each.weight, each.bias) if tensor is not None}
    if len(layers) < 2 or any(id(tensor) not in known for tensor in state.values()):
        return False
    biases = all(each.bias is None or tuple(each.bias.shape) == each.size[:1] for each in layers)
    return biases and all(one.size[0] == other.size[1] for one, other in itertools.pairwise(layers))


def mlp(path: Path, state: State, model: dict[str, Any]) -> tuple[Tensors, Family]:
    """Weights and specification of an MLP of plain torch.

    Raises:
        CheckpointError: its inputs are no tokens that its shapes tell.
    """
    layers, embeddings = linear(state), [each for each in modules(state) if is_embedding(each)]
    widths = [each.size[0] for each in layers[:-1]]
    W_E, n_ctx, each = inputs(path, layers[0].size[1], layers[-1].size[0], embeddings)
    first = layers[0].weight.T
    weights = {} if W_E is None else {"embed.W_E": W_E}
    # Of embeddings that are added, every position has the same weights.
    weights["layers.0.W"] = first.expand(n_ctx, -1, -1) if is_added(state) else first.unflatten(0, (n_ctx, each))
    weights |= {f"layers.{i}.W": layer.weight.T for i, layer in enumerate(layers[1:-1], start=1)}
    biased = any(layer.bias is not None for layer in layers)
    if biased:
        weights |= {f"layers.{i}.b": bias(layer) for i, layer in enumerate(layers[:-1])}
        weights["unembed.b_U"] = bias(layers[-1])
    weights["unembed.W_U"] = layers[-1].weight.T
    one_hot, same = W_E is None, len({*widths}) == 1
    told: dict[str, Any] = {
        **model,
        "inputs": "one_hot" if one_hot else "embedded",
        "n_hidden": len(widths),
        "biases": biased,
    }
    told |= {"width": widths[0], "widths": ()} if same else {"widths": tuple(widths)}
    told |= {} if one_hot else {"d_model": each}
    return {name: tensor.float().contiguous() for name, tensor in weights.items()}, MlpSpec(**told)


def bias(module: Module) -> Tensor:
    """The bias of a module, 0 where it has none."""
    return torch.zeros(module.size[0]) if module.bias is None else module.bias


def inputs(path: Path, width: int, answers: int, embeddings: list[Module]) -> tuple[Tensor | None, int, int]:
    """W_E (None of one-hot inputs), number of tokens in a prompt, and numbers that each token gives the first layer.

    Raises:
        CheckpointError: shapes do not tell these, or tell several.
    """
    what = f"{path} has a first layer of {width} inputs and {answers} answers"
    if not embeddings:
        fits = [(n_ctx, d_vocab) for n_ctx in (2, 3) for d_vocab in (answers, answers + 1) if n_ctx * d_vocab == width]
        if len(fits) != 1:
            raise CheckpointError(
                f"{what}, and no embedding; one-hot prompts a, b have 2 × answers, a, b, = have 3 × (answers + 1) or 3 × answers"
            )
        return None, *fits[0]
    d_model = embeddings[0].size[1]
    if len(embeddings) > 2 or any(each.size != embeddings[0].size for each in embeddings) or width % d_model:
        sizes = ", ".join(f"{each.name} {each.size}" for each in embeddings)
        raise CheckpointError(f"{what}, and embeddings {sizes}; one for all tokens is read, or one for a and one for b")
    W_E = torch.cat([each.weight for each in embeddings])
    n_ctx = 2 if width == d_model else width // d_model
    if len(embeddings) == 2 and n_ctx != 2:
        raise CheckpointError(
            f"{what}: {n_ctx} tokens of {d_model} numbers, and embeddings of two; one for each token is read"
        )
    return W_E, n_ctx, d_model


def is_added(state: State) -> bool:
    """Whether the first layer of an MLP is as wide as one embedding, so that those of a prompt are added."""
    embeddings = [each for each in modules(state) if is_embedding(each)]
    return bool(embeddings) and linear(state)[0].size[1] == embeddings[0].size[1]


def about_mlp(state: State) -> list[str]:
    """Notes on what is assumed of an MLP, as its shapes do not tell it."""
    layers = linear(state)
    notes = [f"layers are taken in the order of the file: {', '.join(each.name for each in layers)}"]
    absent = [each.name for each in layers if each.bias is None]
    if absent and len(absent) < len(layers):
        notes.append(f"{', '.join(absent)} without a bias: one of 0 stands for it")
    if is_added(state):
        notes.append(
            "the first layer is as wide as one embedding: a prompt is taken to be two tokens, their embeddings added"
        )
    return notes


# Transformers


def is_transformer(state: State) -> bool:
    """Whether a state dict has the weights of one nn.MultiheadAttention."""
    return len([name for name in state if re.search(r"(^|\.)in_proj_weight$", name)]) == 1


class Parts(NamedTuple):
    """The tensors of a transformer by what they are."""

    W_E: Tensor
    W_pos: Tensor
    before: str
    """What the names of attention's tensors begin with."""
    mlp: tuple[Module, Module]
    head: Module
    norms: list[str]
    """Names of LayerNorms, in the order of the file."""


def parts(path: Path, state: State) -> Parts:
    """The parts of a transformer.

    Raises:
        CheckpointError: a part is missing, or there are several that it could be.
    """
    before = next(name for name in state if re.search(r"(^|\.)in_proj_weight$", name)).removesuffix("in_proj_weight")
    d = state[f"{before}in_proj_weight"].shape[-1]
    tokens = [each for each in modules(state) if is_embedding(each) and not POSITION.search(each.name)]
    rows = [
        t.reshape(-1, d) for name, t in state.items() if POSITION.search(name) and t.ndim in (2, 3) and t.shape[-1] == d
    ]
    layers = linear(state)
    found = {
        "an embedding of tokens": len(tokens),
        "a table of positions": len(rows),
        "two MLP layers and a head": len(layers) / 3,
    }
    odd = next((what for what, count in found.items() if count != 1), None)
    norms = [
        name.removesuffix(".weight") for name, tensor in state.items() if name.endswith(".weight") and tensor.ndim == 1
    ]
    if odd is None and not [each.size[1] for each in layers] == [d, layers[0].size[0], d] == [
        d,
        layers[0].size[0],
        layers[1].size[0],
    ]:
        odd = "an MLP from and to the width of attention"
    if odd is not None:
        raise CheckpointError(
            f"{path} has an nn.MultiheadAttention of width {d} and not just one of: {odd}; it has {', '.join(state)!s:.200}"
        )
    return Parts(tokens[0].weight, rows[0], before, (layers[0], layers[1]), layers[2], norms)


def transformer(path: Path, state: State, model: dict[str, Any]) -> tuple[Tensors, Family]:
    """Weights and specification of a transformer with one nn.MultiheadAttention.

    Raises:
        CheckpointError: a part is missing, the number of heads is not given, or LayerNorms stand where interp's do not.
    """
    found = parts(path, state)
    d, heads = found.W_E.shape[1], model.get("n_heads")
    if len(found.norms) not in (0, 3):
        raise CheckpointError(
            f"{path} has {len(found.norms)} LayerNorms ({', '.join(found.norms):.100}); interp's transformer has none, or one "
            "each before attention, MLP and unembedding, and not after them as nn.TransformerEncoderLayer without norm_first"
        )
    if heads is None or d % heads:
        divisors = ", ".join(str(n) for n in range(1, d + 1) if d % n == 0)
        raise CheckpointError(
            f"{path} has an nn.MultiheadAttention, whose shapes do not tell its number of heads; give it by --model.n-heads, one "
            f"of {divisors:.80}"
        )
    weights = {
        "embed.W_E": found.W_E, "pos_embed.W_pos": found.W_pos, **attention(state, found.before, d, heads),
        "blocks.0.mlp.W_in": found.mlp[0].weight.T, "blocks.0.mlp.b_in": bias(found.mlp[0]),
        "blocks.0.mlp.W_out": found.mlp[1].weight.T, "blocks.0.mlp.b_out": bias(found.mlp[1]),
        "unembed.W_U": found.head.weight.T, "unembed.b_U": bias(found.head),
    }  # fmt: skip
    for ours, theirs in zip(("blocks.0.ln1", "blocks.0.ln2", "ln_final"), found.norms, strict=False):
        weights |= {f"{ours}.w": state[f"{theirs}.weight"], f"{ours}.b": state[f"{theirs}.bias"]}
    told: dict[str, Any] = {
        **model, "n_layers": 1, "n_heads": heads, "d_model": d, "d_head": d // heads, "d_mlp": found.mlp[0].size[0],
        "attn_only": False, "biases": "trained", "normalization": "LN" if found.norms else "none",
    }  # fmt: skip
    return {name: tensor.float().contiguous() for name, tensor in weights.items()}, TransformerSpec(**told)


def attention(state: State, before: str, d: int, heads: int) -> Tensors:
    """Weights of an nn.MultiheadAttention in HookedTransformer's layout: rows of in_proj are of queries, keys, then values."""
    inward, outward = state[f"{before}in_proj_weight"], state[f"{before}out_proj.weight"]
    zeros = {"in": torch.zeros(3 * d), "out": torch.zeros(d)}
    inner, outer = state.get(f"{before}in_proj_bias", zeros["in"]), state.get(f"{before}out_proj.bias", zeros["out"])
    found = {"blocks.0.attn.W_O": outward.T.unflatten(0, (heads, -1)), "blocks.0.attn.b_O": outer}
    for letter, W, b in zip("QKV", inward.chunk(3), inner.chunk(3), strict=True):
        found[f"blocks.0.attn.W_{letter}"] = W.unflatten(0, (heads, -1)).mT
        found[f"blocks.0.attn.b_{letter}"] = b.unflatten(0, (heads, -1))
    return found


def about_transformer(state: State) -> list[str]:
    """Notes on what is assumed of a transformer, as its shapes do not tell it."""
    normed = any(name.endswith(".weight") and tensor.ndim == 1 for name, tensor in state.items())
    norms = "LayerNorms are taken to stand before attention, MLP and unembedding (norm_first), with an ε of 1e-5"
    return [
        "attention and MLP are taken to be added to the residual stream, without a factor on the embedding, and the answer to be "
        "read at the last position",
        *([norms] if normed else []),
    ]
