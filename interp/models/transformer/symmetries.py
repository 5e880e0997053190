"""Symmetries of a transformer: the residual stream is turned, heads and neurons change places, and heads are turned inside."""

from collections.abc import Container

from interp.models.symmetry import Seat, Symmetry
from interp.models.transformer.spec import TransformerSpec
from interp.shape import Shape


def symmetries(spec: TransformerSpec, shape: Shape) -> list[Symmetry]:
    """Symmetries of the residual stream, and of heads and neurons in each layer.

    A LayerNorm fixes the direction of the mean, and with weights each dimension: dimensions then only change places. Inside a
    head any invertible matrix would do between queries and keys, and between values and outputs; those that keep lengths are
    named.
    """
    names = spec.tensors(shape)
    found = [residual(spec, names)]
    for layer in range(spec.n_layers):
        found.append(heads(f"blocks.{layer}.attn"))
        if not spec.attn_only:
            mlp = f"blocks.{layer}.mlp"
            seats = (("W_in", -1), ("b_in", -1), ("W_out", -2), ("ln.w", -1), ("ln.b", -1))
            units = (Seat(f"{mlp}.{name}", axis) for name, axis in seats)
            found.append(Symmetry(f"neurons of layer {layer}", tuple(unit for unit in units if unit.tensor in names)))
    return found


def residual(spec: TransformerSpec, names: Container[str]) -> Symmetry:
    """The symmetry of the residual stream."""
    read = {"attn.W_Q": -2, "attn.W_K": -2, "attn.W_V": -2, "mlp.W_in": -2}
    written = {"attn.W_O": -1, "attn.b_O": -1, "mlp.W_out": -1, "mlp.b_out": -1}
    normal = {"ln1.w": -1, "ln1.b": -1, "ln2.w": -1, "ln2.b": -1}
    ends = {"embed.W_E": -1, "pos_embed.W_pos": -1, "ln_final.w": -1, "ln_final.b": -1, "unembed.W_U": -2}
    inside = (read | written | normal).items()
    seats = [Seat(f"blocks.{layer}.{name}", axis) for layer in range(spec.n_layers) for name, axis in inside]
    seats = tuple(seat for seat in (*seats, *(Seat(*end) for end in ends.items())) if seat.tensor in names)
    about = "residual stream"
    return Symmetry(about, spaces=(seats,)) if spec.normalization == "none" else Symmetry(about, units=seats)


def heads(attn: str) -> Symmetry:
    """The symmetry of the heads of a layer."""
    weights = [Seat(f"{attn}.{name}", -3) for name in ("W_Q", "W_K", "W_V", "W_O")]
    biases = [Seat(f"{attn}.{name}", -2) for name in ("b_Q", "b_K", "b_V")]
    asks = tuple(Seat(f"{attn}.{name}", -1) for name in ("W_Q", "b_Q", "W_K", "b_K"))
    gives = (Seat(f"{attn}.W_V", -1), Seat(f"{attn}.b_V", -1), Seat(f"{attn}.W_O", -2))
    return Symmetry(f"heads of {attn}", units=(*weights, *biases), spaces=(asks, gives))
