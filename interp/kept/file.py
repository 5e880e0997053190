"""Measurements in files: arrays as safetensors, all else as JSON. What is read is what was written, or it is refused."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from interp.base import Frozen, UserError
from interp.kept.source import Source
from interp.store.files import CheckpointError
from interp.store.tensors import read_tensors, write_tensors

FORMAT = {"format": "interp kept 1"}

MAX_BYTES = 1 << 28
"""Most bytes of a measurement that is kept."""

DESCRIPTION = "description"
"""Tensor with the JSON; the header of a safetensors file has no room for the digests of a thousand checkpoints."""

REMEDY = "it is measured anew"


class NotKept(Exception):
    """A measurement holds something that a file would not give back as it was."""


class Array(Frozen):
    """A variable or coordinate, without its numbers."""

    dims: tuple[str, ...]
    attrs: dict[str, Any]
    coordinate: bool
    texts: tuple[str, ...] | None = None
    """Its values, if they are texts; numbers are in the tensor of its name."""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    """Type of texts: "object", or as numpy writes it."""


class Kept(Frozen):
    """A kept measurement without its numbers, and what it was made from."""

    source: Source
    attrs: dict[str, Any]
    arrays: dict[str, Array]


def write(path: Path, source: Source, found: xr.Dataset) -> None:
    """Write a measurement.

    Raises:
        NotKept: the file would not give it back as it is.
        UserError: the file cannot be written.
    """
    arrays, tensors = dict[str, Array](), dict[str, Tensor]()
    for name, variable in found.variables.items():
        array, values = described(variable, name in found.coords)
        arrays[str(name)] = array
        if values is not None:
            tensors[f"values/{name}"] = values
    text = json.dumps(Kept(source=source, attrs=plain(found.attrs), arrays=arrays).model_dump()).encode()
    if len(text) + sum(tensor.nbytes for tensor in tensors.values()) > MAX_BYTES:
        raise NotKept
    if not restored(Kept.model_validate(json.loads(text)), tensors).identical(found):
        raise NotKept
    write_tensors(path, {DESCRIPTION: torch.frombuffer(bytearray(text), dtype=torch.uint8), **tensors}, FORMAT)


def read(path: Path) -> tuple[Source, xr.Dataset]:
    """A kept measurement, and what it was made from; CheckpointError if the file is missing, damaged, or none of ours."""
    tensors = read_tensors(path, FORMAT, remedy=REMEDY, at_most=MAX_BYTES + (1 << 20))
    try:
        kept = Kept.model_validate(json.loads(tensors.pop(DESCRIPTION).numpy().tobytes()))
        copies = {name: tensor.clone() for name, tensor in tensors.items()}  # of a mapped file, which may be replaced
        return kept.source, restored(kept, copies)
    except (KeyError, ValueError, TypeError, RecursionError, UserError) as error:
        raise CheckpointError(f"{path} is damaged ({error!s:.200}); {REMEDY}") from error


def described(variable: xr.Variable, coordinate: bool) -> tuple[Array, Tensor | None]:
    """A variable without its numbers, and these; NotKept if its values are neither numbers nor texts."""
    values = variable.values
    head = Array(dims=tuple(map(str, variable.dims)), attrs=plain(variable.attrs), coordinate=coordinate)
    if values.dtype.kind in "UO":
        texts = values.ravel().tolist()
        if not all(isinstance(text, str) for text in texts):
            raise NotKept
        return head.but(texts=tuple(texts), shape=values.shape, dtype=str(values.dtype)), None
    try:
        tensor = torch.from_numpy(np.array(values, order="C"))
    except (TypeError, ValueError) as error:
        raise NotKept from error
    return head, tensor if tensor.numel() else torch.zeros(values.shape, dtype=tensor.dtype)  # whose strides are usual


def restored(kept: Kept, tensors: Mapping[str, Tensor]) -> xr.Dataset:
    """The measurement of a description and its numbers; ValueError, KeyError or TypeError if they do not go together."""
    variables = {name: variable_of(array, tensors.get(f"values/{name}")) for name, array in kept.arrays.items()}
    coordinates = {name for name, array in kept.arrays.items() if array.coordinate}
    data = {name: variable for name, variable in variables.items() if name not in coordinates}
    return xr.Dataset(data, {name: variables[name] for name in variables if name in coordinates}, kept.attrs)


def variable_of(array: Array, values: Tensor | None) -> xr.Variable:
    """A variable from its description and its numbers."""
    if array.texts is None:
        if values is None:
            raise ValueError("numbers are missing")
        return xr.Variable(array.dims, values.numpy(), array.attrs)
    if not re.fullmatch(r"object|<U\d{1,6}", array.dtype) or math.prod(array.shape) != len(array.texts):
        raise ValueError(f"texts of type {array.dtype!r:.40} and shape {array.shape!r:.40}")
    return xr.Variable(array.dims, np.array(array.texts, dtype=array.dtype).reshape(array.shape), array.attrs)


def plain(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as JSON has them; NotKept if one is neither text nor a number, nor several of these."""

    def one(value: Any) -> Any:
        value = value.item() if isinstance(value, np.generic) else value
        if not isinstance(value, str | int | float | bool | None):
            raise NotKept
        return value

    lists = (list, tuple, np.ndarray)
    return {str(name): [one(each) for each in v] if isinstance(v, lists) else one(v) for name, v in attrs.items()}
