"""Inert objects that stand in for classes and functions of others in a pickle: they keep what they are given, and run nothing.

The pickle says what is called with what. So each of these takes any arguments, and none of them imports, opens or computes.
"""

import math
from typing import Any

import numpy as np

KINDS = {f"{kind}{size}" for kind, sizes in {"b": "1", "i": "1248", "u": "1248", "f": "248"}.items() for size in sizes}
"""Types of numbers that are read from numpy's pickles: truth values, whole numbers and floats, by numpy's names."""


class Settings:
    """Stands in for an object of settings, such as a configuration or argparse.Namespace: has its fields, not its code."""

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update({name: value for name, value in pairs(state) if isinstance(name, str)})


def pairs(state: Any) -> list[tuple[Any, Any]]:
    """Names and values of an object's state; none if it is no dictionary."""
    return list(state.items()) if isinstance(state, dict) else []


class Dtype:
    """Stands in for numpy's dtype in a pickle."""

    def __init__(self, name: Any = "", *_: Any):
        self.name, self.order = name, "<"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    @property
    def known(self) -> np.dtype[Any] | None:
        """numpy's type of numbers; None for one that is not read, such as objects and text."""
        readable = isinstance(self.name, str) and self.name in KINDS
        return np.dtype(self.order + self.name) if readable else None


class Array:
    """Stands in for a numpy array in a pickle: shape, type and bytes, which become an array only when it is asked for."""

    def __init__(self, *_: Any):
        self.state: Any = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def numpy(self) -> np.ndarray | None:
        """The array; None if it holds no numbers, or not as many bytes as its shape says."""
        match self.state:
            case (_, tuple(shape), Dtype(known=np.dtype() as dtype), by_columns, bytes(content)):
                whole = all(isinstance(size, int) and size >= 0 for size in shape)
            case _:
                return None
        if not whole or math.prod(shape) * dtype.itemsize != len(content):
            return None
        return np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")


def scalar(dtype: Any = None, content: Any = None, *_: Any) -> float | int | bool | None:
    """Stands in for numpy's constructor of a number in a pickle; the number, None if it is none."""
    array = Array()
    array.state = (1, (), dtype, False, content)
    found = array.numpy()
    return None if found is None else found.item()


def array(*_: Any) -> Array:
    """Stands in for numpy's constructor of an array in a pickle, whose content comes later."""
    return Array()


def dictionary(*_: Any) -> dict[Any, Any]:
    """Stands in for collections.defaultdict in a pickle; a plain dictionary, whose entries come later."""
    return {}


def words(*given: Any) -> tuple[Any, ...]:
    """Stands in for a path, a time or a queue in a pickle; what it was made of."""
    return given


class Factory:
    """Stands in for a type of Python's own that a defaultdict names: makes nothing."""

    def __init__(self, *_: Any):
        pass


PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")

STAND_INS: list[Any] = [
    (Settings, "transformer_lens.config.hooked_transformer_config.HookedTransformerConfig"),
    (Settings, "transformer_lens.config.HookedTransformerConfig.HookedTransformerConfig"),
    (Settings, "transformer_lens.HookedTransformerConfig.HookedTransformerConfig"),
    (Settings, "easy_transformer.EasyTransformerConfig.EasyTransformerConfig"),
    (Settings, "argparse.Namespace"),
    (Settings, "types.SimpleNamespace"),
    *[(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")],
    *[(array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")],
    (Array, "numpy.ndarray"),
    (Dtype, "numpy.dtype"),
    (dictionary, "collections.defaultdict"),
    *[(Factory, f"builtins.{name}") for name in ("int", "float", "bool", "str", "list", "dict", "tuple")],
    *[(words, f"pathlib.{module}{name}") for name in PATHS for module in ("", "_local.")],
    *[(words, f"datetime.{name}") for name in ("datetime", "date", "time", "timedelta")],
]
"""Objects that stand in for names in pickles, which would otherwise be refused. torch.load calls nothing else."""
