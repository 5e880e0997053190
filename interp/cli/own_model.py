"""`--model FILE.py:NAME`: the module that a function or class in a file of one's own makes."""

from pathlib import Path
from typing import Any

from interp.analyze.own import Loaded
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
    source = Loaded(Path(file)).module
    if name not in vars(source):
        known = [
            each for each, value in vars(source).items() if callable(value) and value.__module__ == source.__name__
        ]
        raise UserError(f"{file} has no {name}{near_miss(name, known) if known else f'; take {FORM}'}")
    thing = getattr(source, name)
    if not callable(thing):
        raise UserError(f"{name} of {file} is a {type(thing).__name__}; take {FORM}")
    try:
        return thing()
    except UserError:
        raise
    except Exception as error:  # whatever their code raises
        raise UserError(f"{name}() of {file} raised {type(error).__name__} ({error!s:.200}); take {FORM}") from error
