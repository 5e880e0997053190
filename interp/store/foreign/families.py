"""What kind of network a state dict of others is, told by the names and shapes of its tensors: its weights in interp's layout."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from interp.base import UserError
from interp.models import Family, MlpSpec, ModuleSpec, ToySpec, TransformerSpec
from interp.store.foreign import own_modules, plain_torch, rep_theory, toys
from interp.store.foreign.contents import Contents
from interp.store.foreign.states import State, hooked
from interp.store.tensors import Tensors
from interp.tasks import UnknownTask


class Layout(NamedTuple):
    """How some people name and shape the tensors of one kind of network."""

    fits: Callable[[State], bool]
    """Whether a state dict has these names."""
    read: Callable[[Path, State, dict[str, Any]], tuple[Tensors, Family]]
    """Weights and specification of a state dict, given its file and what is known of the model beside the shapes."""
    notes: Callable[[State], list[str]] = lambda state: []
    """Notes on what is assumed of a state dict."""
    tells: Mapping[str, str] = {}
    """Fields of the model that are such in every network of this layout, unless its weights say otherwise."""


LAYOUTS = (
    Layout(rep_theory.is_mlp, rep_theory.mlp),
    Layout(toys.is_toy, toys.toy),
    Layout(plain_torch.is_transformer, plain_torch.transformer, plain_torch.about_transformer, plain_torch.USUAL),
    Layout(plain_torch.is_mlp, plain_torch.mlp, plain_torch.about_mlp),
)
"""Layouts beside those of transformers with HookedTransformer's names, of which the first that fits is taken."""

PARTS = ("embed.", "pos_embed.", "blocks.", "ln_final.", "unembed.")
"""What the names of a HookedTransformer's tensors begin with."""


def layout_of(state: State) -> Layout | None:
    """The layout that a state dict has; None for a HookedTransformer, and for what is not known."""
    if any(map(is_block, state)):
        return None
    return next((each for each in LAYOUTS if each.fits(state)), None)


def read(path: Path, state: State, model: dict[str, Any]) -> tuple[Tensors, Family]:
    """Weights in interp's layout, float32, and their specification; `notes` tells what is assumed, and what is left out.

    Raises:
        CheckpointError: names or shapes are not those of a network that interp describes.
        UserError: a number of heads is given, and the shapes tell another.
    """
    layout = layout_of(state)
    if layout is not None:
        return layout.read(path, state, model)
    if not any(name.startswith(PARTS) for name in state):
        return as_module(path, state, model)
    weights, spec = hooked(path, {name: state[name] for name in state.keys() - left_out(state)}, model)
    if model.get("n_heads", spec.n_heads) != spec.n_heads:
        raise UserError(f"{path} has {spec.n_heads} heads, and model.n_heads {model['n_heads']} is given; leave it out")
    return weights, spec


def usual(state: State) -> Mapping[str, str]:
    """Fields of the model that names and shapes do not tell, and that are such in every network of this layout."""
    layout = layout_of(state)
    return {} if layout is None else layout.tells


def notes(state: State) -> list[str]:
    """Notes on a state dict: what is assumed of it, as names and shapes do not tell it, and which tensors are left out."""
    layout = layout_of(state)
    return layout.notes(state) if layout is not None else about_left_out(state)


def apart(contents: Contents) -> list[Contents]:
    """Contents of each run of its own among those that were read, its layout named for networks that are no HookedTransformer."""
    states = [state for _, state in contents.states.values()]
    if states and all(map(toys.is_toy, states)):
        contents.layout = toys.LAYOUT
        return toys.instances(contents)
    return [contents]


def is_known(found: Any) -> bool:
    """Whether something that a file holds is a state dict of a network that interp describes, as far as its names tell."""
    if not isinstance(found, dict):
        return False
    if any(str(name).startswith(("blocks.", "embed.W")) for name in found):
        return True  # reading it refuses by its name what else there is
    tensors = bool(found) and all(isinstance(name, str) and isinstance(part, Tensor) for name, part in found.items())
    return tensors and (layout_of(found) is not None or own_modules.is_module(found))


def as_module(path: Path, state: State, model: dict[str, Any]) -> tuple[Tensors, Family]:
    """Weights by their own names and the table of them, whatever network they are of; what is known of it is not asked for."""
    return own_modules.module(state)


def left_out(state: State) -> list[str]:
    """Names of the tensors beside those of a HookedTransformer."""
    return [name for name in state if not name.startswith(PARTS)] if any(map(is_block, state)) else []


def is_block(name: str) -> bool:
    """Whether a tensor of that name belongs to a layer of a HookedTransformer."""
    return name.startswith("blocks.")


def about_left_out(state: State) -> list[str]:
    """A note on the tensors of a HookedTransformer's file that are left out, with what each is a copy of."""
    names = left_out(state)
    kept = [name for name in state if name not in names]
    of = {name: next((other for other in kept if same(state, name, other)), "") for name in names}
    words = [
        f"{name}, a copy of {of[name]}" if of[name] else f"{name}, which no HookedTransformer has" for name in names
    ]
    return [f"left out: {'; '.join(words)}"] if words else []


def same(state: State, one: str, other: str) -> bool:
    """Whether two tensors of a state dict are equal."""
    return state[one].shape == state[other].shape and bool((state[one] == state[other]).all())


def shape_of(spec: Family, weights: dict[str, Tensor]) -> UnknownTask:
    """The task as far as weights tell it: numbers of tokens, positions and answers."""
    if isinstance(spec, MlpSpec):
        n_ctx, each, _ = weights["layers.0.W"].shape
        d_vocab = len(weights["embed.W_E"]) if spec.inputs != "one_hot" else each
    else:
        n_ctx, d_vocab = len(weights["pos_embed.W_pos"]), len(weights["embed.W_E"])
    return UnknownTask(n_ctx=n_ctx, d_vocab=d_vocab, d_vocab_out=weights["unembed.W_U"].shape[1])


TOLD_BY_SHAPES: dict[type[Family], set[str]] = {
    TransformerSpec: {"n_layers", "n_heads", "d_model", "d_head", "d_mlp", "attn_only"},
    ToySpec: {"d_hidden", "tied", "hidden", "bias"},
    ModuleSpec: set(ModuleSpec.model_fields),
    MlpSpec: {"inputs", "d_model", "width", "n_hidden", "widths", "biases"},
}
"""Fields of a specification that the names and shapes of tensors tell, by family."""
