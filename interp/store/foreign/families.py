"""What kind of network a state dict of others is, told by the names and shapes of its tensors: its weights in interp's layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from interp.models import Family, MlpSpec, ToySpec, TransformerSpec
from interp.store.foreign import rep_theory, toys
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


LAYOUTS = (Layout(rep_theory.is_mlp, rep_theory.mlp), Layout(toys.is_toy, toys.toy))
"""Layouts beside those of transformers with HookedTransformer's names, of which the first that fits is taken."""

PARTS = ("embed.", "pos_embed.", "blocks.", "ln_final.", "unembed.")
"""What the names of a HookedTransformer's tensors begin with."""


def read(path: Path, state: State, model: dict[str, Any]) -> tuple[Tensors, Family]:
    """Weights in interp's layout, float32, and their specification; `left_out` tells which tensors are not among them.

    Raises:
        CheckpointError: names or shapes are not those of a network that interp describes.
    """
    layout = next((each for each in LAYOUTS if each.fits(state)), None)
    if layout is not None:
        return layout.read(path, state, model)
    return hooked(path, {name: state[name] for name in state.keys() - left_out(state)}, model)


def apart(contents: Contents) -> list[Contents]:
    """Contents of each run of its own among those that were read, its layout named for networks that are no HookedTransformer."""
    states = [state for _, state in contents.states.values()]
    if states and all(map(toys.is_toy, states)):
        contents.layout = toys.LAYOUT
        return toys.instances(contents)
    return [contents]


def is_known(found: Any) -> bool:
    """Whether something that a file holds is a state dict of a network that interp describes, as far as its names tell."""
    if not isinstance(found, dict) or not found or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        return False
    hooked_names = any(str(name).startswith(("blocks.", "embed.")) for name in found)
    return hooked_names or any(layout.fits(found) for layout in LAYOUTS)


def left_out(state: State) -> list[str]:
    """Names of the tensors beside those of a HookedTransformer; none where the state dict is of another network."""
    if not any(name.startswith("blocks.") for name in state) or any(layout.fits(state) for layout in LAYOUTS):
        return []
    return [name for name in state if not name.startswith(PARTS)]


def about_left_out(state: State) -> str:
    """A note on the tensors that are left out, with what each is a copy of; empty if none is."""
    names = left_out(state)
    if not names:
        return ""
    of = {
        name: next((other for other in state if other not in names and same(state, name, other)), "") for name in names
    }
    words = [
        f"{name}, a copy of {of[name]}" if of[name] else f"{name}, which no HookedTransformer has" for name in names
    ]
    return f"left out: {'; '.join(words)}"


def same(state: State, one: str, other: str) -> bool:
    """Whether two tensors of a state dict are equal."""
    return state[one].shape == state[other].shape and bool((state[one] == state[other]).all())


def shape_of(spec: Family, weights: dict[str, Tensor]) -> UnknownTask:
    """The task as far as weights tell it: numbers of tokens, positions and answers."""
    if isinstance(spec, MlpSpec):
        n_ctx, each, _ = weights["layers.0.W"].shape
        d_vocab = len(weights["embed.W_E"]) if spec.inputs == "embedded" else each
    else:
        n_ctx, d_vocab = len(weights["pos_embed.W_pos"]), len(weights["embed.W_E"])
    return UnknownTask(n_ctx=n_ctx, d_vocab=d_vocab, d_vocab_out=weights["unembed.W_U"].shape[1])


TOLD_BY_SHAPES: dict[type[Family], set[str]] = {
    TransformerSpec: {"n_layers", "n_heads", "d_model", "d_head", "d_mlp", "attn_only"},
    ToySpec: {"d_hidden", "tied", "hidden", "bias"},
    MlpSpec: {"inputs", "d_model", "width", "n_hidden", "biases"},
}
"""Fields of a specification that the names and shapes of tensors tell, by family."""
