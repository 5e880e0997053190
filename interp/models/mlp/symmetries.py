"""Symmetries of an MLP: neurons change places, with x² and tanh also signs; embeddings are turned."""

from interp.models.mlp.spec import MlpSpec
from interp.models.symmetry import Seat, Symmetry
from interp.shape import Shape


def symmetries(spec: MlpSpec, shape: Shape) -> list[Symmetry]:
    """Symmetries of the embedding, where there is one, and of each hidden layer. LNPre leaves only changes of places."""
    plain, found = spec.normalization == "none", []
    if spec.inputs in ("embedded", "summed"):
        seats = (Seat("embed.W_E", -1), Seat("layers.0.W", -2))
        found.append(Symmetry("embedding", spaces=(seats,)) if plain else Symmetry("embedding", units=seats))
    for layer in range(len(spec.layers)):
        last = layer == len(spec.layers) - 1
        read, bias, written = (
            f"layers.{layer}.W",
            f"layers.{layer}.b",
            "unembed.W_U" if last else f"layers.{layer + 1}.W",
        )
        inward = (read, *((bias,) if spec.biases else ()))
        # (−x)² = x², and tanh(−x) = −tanh x
        odd = {"quadratic": inward, "tanh": (*inward, written)}.get(spec.act_fn, ()) if plain else ()
        seats = (*(Seat(name, -1) for name in inward), Seat(written, -2))
        found.append(Symmetry(f"neurons of layer {layer}", units=seats, odd=odd))
    return found
