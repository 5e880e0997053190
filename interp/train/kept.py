"""States of objects beside the weights, such as optimisers and generators, as tensors and JSON, and back again."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.base import UserError
from interp.store.tensors import Tensors


def state_of(thing: Any) -> Any:
    """State of an optimiser, a schedule of rates, a generator of torch or numpy, or anything else with a `state_dict`.

    Raises:
        UserError: it is no such thing.
    """
    match thing:
        case torch.Generator():
            return thing.get_state()
        case np.random.Generator():
            return dict(thing.bit_generator.state)
        case _:
            pass
    if hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
        return thing.state_dict()
    raise UserError(
        f"state has a {type(thing).__name__}; take what has a state_dict, as optimisers have, or generators of torch or numpy"
    )


def give_back(thing: Any, state: Any) -> None:
    """Put a thing into a state that `state_of` returned."""
    match thing:
        case torch.Generator():
            thing.set_state(state)
        case np.random.Generator():
            thing.bit_generator.state = state
        case _:
            thing.load_state_dict(state)


def taken_apart(value: Any, name: str) -> tuple[Any, Tensors]:
    """A nested state as JSON, in which tensors are named, and those tensors, copied to the CPU; names begin with `name`.

    Raises:
        UserError: it holds something beside numbers, words, tensors, lists, tuples and dictionaries.
    """
    tensors: Tensors = {}

    def plain(value: Any) -> Any:
        """JSON of one value."""
        match value:
            case None | bool() | int() | float() | str():
                return value
            case Tensor():
                key = f"{name}/{len(tensors)}"
                tensors[key] = value.detach().to("cpu", copy=True)
                return {"tensor": key}
            case Mapping():
                return {"dict": [[plain(key), plain(each)] for key, each in value.items()]}
            case tuple() | list():
                return {
                    type(value).__name__ if type(value) in (tuple, list) else "list": [plain(each) for each in value]
                }
            case _:
                raise UserError(f"{name} holds a {type(value).__name__}, which cannot be saved; leave it out of state")

    return plain(value), tensors


def put_together(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The nested state that `taken_apart` was given."""
    if not isinstance(plain, dict):
        return plain
    [(kind, inside)] = plain.items()
    if kind == "tensor":
        return tensors[inside].clone()
    if kind == "dict":
        return {put_together(key, tensors): put_together(each, tensors) for key, each in inside}
    values = [put_together(each, tensors) for each in inside]
    return tuple(values) if kind == "tuple" else values
