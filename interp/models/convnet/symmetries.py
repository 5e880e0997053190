"""Symmetries of a convolutional network: channels change places."""

from interp.models.convnet.spec import PIXELS, Conv, ConvnetSpec
from interp.models.symmetry import Seat, Symmetry
from interp.shape import Shape


def symmetries(spec: ConvnetSpec, shape: Shape) -> list[Symmetry]:
    """Symmetry of the channels of each name: all that writes, normalises and reads them.

    Residual blocks share the channels of their stage. Where a group normalisation has several groups, its channels stay.
    """
    every = dict.fromkeys(layer.writes for layer in spec.layers if isinstance(layer, Conv))
    found = [of_channels(spec, name) for name in every if name != PIXELS]
    if spec.normalization == "group":
        return [each for name, each in zip(every, found, strict=True) if spec.groups(spec.channels(name, shape)) == 1]
    return found


def of_channels(spec: ConvnetSpec, name: str) -> Symmetry:
    """The symmetry of the channels of one name."""
    units: list[Seat] = []
    carried: list[Seat] = []
    for layer in spec.layers:
        if not isinstance(layer, Conv):
            if layer.of == name:
                units += [Seat(f"{layer.name}.w", -1), Seat(f"{layer.name}.b", -1)]
                running = ("mean", "var") if spec.normalization == "batch" else ()
                carried += [Seat(f"{layer.name}.{each}", -1) for each in running]
            continue
        if layer.writes == name:
            units += [Seat(f"{layer.name}.W", -4), *([Seat(f"{layer.name}.b", -1)] if spec.biases else [])]
        if layer.reads == name:
            units.append(Seat(f"{layer.name}.W", -3))
    if name == spec.last:
        units.append(Seat("unembed.W_U", -2))
    return Symmetry(f"channels of {name}", units=tuple(units), carried=tuple(carried))
