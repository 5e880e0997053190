"""`--model FILE.py:NAME`: the module that a function or class in a file of one's own makes."""

import importlib.util
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from interp.base import UserError, near_miss

FORM = "FILE.py:NAME, where NAME is a class or a function without arguments that gives a torch module, or interp.adapt of one"
"""What may be given, for messages."""


def made(given: str) -> Any:
    """What NAME in FILE.py makes, for `interp.open_run`. The file is run as Python: it is one's own, and was asked for.

    Raises:
        UserError: there is no such file or name, or either fails.
    """
    file, colon, name = given.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise UserError(f"--model is {given!r:.100}; take {FORM}")
    source = ran(Path(file))
    if name not in vars(source):
        known = [
            each for each, value in vars(source).items() if callable(value) and value.__module__ == source.__name__
        ]
        raise UserError(f"{file} has no {name}{near_miss(name, known) if known else f'; take {FORM}'}")
    thing = getattr(source, name)
    if not callable(thing):
        raise UserError(f"{name} of {file} is a {type(thing).__name__}; take {FORM}")
    try:
        with neighbours(Path(file)):
            return thing()
    except UserError:
        raise
    except Exception as error:  # whatever their code raises
        raise UserError(f"{name}() of {file} raised {type(error).__name__} ({error!s:.200}); take {FORM}") from error


def ran(file: Path) -> ModuleType:
    """The module of a file, which may import its neighbours; UserError if it is not there or raises."""
    if not file.is_file():
        raise UserError(f"--model names {file}, and there is no such file; take {FORM}")
    spec = importlib.util.spec_from_file_location(f"_interp_model_{file.stem}", file)
    assert spec is not None and spec.loader is not None  # for a file that ends with .py
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found  # where dataclasses look for it
    try:
        with neighbours(file):
            spec.loader.exec_module(found)
    except UserError:
        raise
    except Exception as error:  # whatever their code raises
        raise UserError(
            f"{file} raised {type(error).__name__} ({error!s:.200}); mend it, or take another file"
        ) from error
    return found


@contextmanager
def neighbours(file: Path) -> Generator[None]:
    """Within, the files beside a file can be imported."""
    folder = str(file.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
