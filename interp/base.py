"""What every other module uses: errors for the user, and frozen specifications."""

import difflib
import html
import re
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from pydantic import BaseModel, ConfigDict, ValidationError

Value = TypeVar("Value")


class once(Generic[Value]):
    """A property that is computed at first use, and kept.

    Up to Python 3.11 functools.cached_property holds one lock for all objects of a class while it computes. Threads that
    work on different objects would wait for each other.
    """

    def __init__(self, work: Callable[[Any], Value]):
        self._work, self.__doc__ = work, work.__doc__

    @overload
    def __get__(self, owner: None, kind: type | None = None) -> Self: ...
    @overload
    def __get__(self, owner: object, kind: type | None = None) -> Value: ...
    def __get__(self, owner: Any, kind: type | None = None) -> Self | Value:
        if owner is None:
            return self
        value = self._work(owner)
        owner.__dict__[self._work.__name__] = value  # which Python looks into first, the next time
        return value


IN_PYTHON = {
    "--resume": "resume=True",
    "--overwrite": "overwrite=True",
    "--skip-broken": "run.without_broken()[0]",
    "--out": "out",
}
"""Arguments and methods in Python by the option that sentences name."""


@contextmanager
def in_python() -> Generator[None]:
    """A context in which sentences name arguments and methods in place of options; the outermost layer of what people call."""
    try:
        yield
    except UserError as error:
        error.args = (reworded(str(error), IN_PYTHON),)
        raise


def reworded(sentence: str, instead: Mapping[str, str]) -> str:
    """A sentence with other words in place of some."""
    for words, others in instead.items():
        sentence = sentence.replace(words, others)
    return sentence


class UserError(Exception):
    """An error that the user must mend, in one sentence: what was given, what is allowed, what to do."""

    def _render_traceback_(self) -> list[str]:
        """The sentence alone, with arguments in place of options: what IPython shows in place of a traceback."""
        return [f"error: {reworded(str(self), IN_PYTHON)}"]


class DoesNotApply(UserError):
    """An error that says why something cannot be computed for a run."""


def near_miss(given: str, known: Iterable[str]) -> str:
    """Hint for a misspelt name: `; did you mean "fourier"?` if one is near, otherwise the list of known names."""
    known = sorted(known)
    lower = {name.lower(): name for name in known}
    close = [lower[name] for name in difflib.get_close_matches(given.lower(), lower, n=1)]
    return f'; did you mean "{close[0]}"?' if close else f"; known are {', '.join(known)}"


@contextmanager
def one_sentence(instead: Mapping[str, str] = {}) -> Generator[None]:
    """A context that turns a UserError into its sentence on stderr and exit code 2; the outermost layer of every command.

    `instead` has advice that the command cannot follow, such as an option that it lacks, with what to do there.
    """
    try:
        yield
    except UserError as error:
        print(f"error: {reworded(str(error), instead)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # `… | head` closed the pipe: not a fault of ours
        sys.stderr.close()
        raise SystemExit(0) from None


class Shown:
    """Base of what IPython and notebooks show as a short table: `cells()` has its rows.

    It stands before other bases: IPython takes the first class that says how to show itself.
    """

    def cells(self) -> list[tuple[str, ...]]:
        """Rows of the table; the first cell of each names it."""
        raise NotImplementedError

    def _text(self) -> str:
        rows = self.cells()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        left = " style='text-align:left'"
        rows = (
            f"<tr><th{left}>{html.escape(name)}</th>{''.join(f'<td{left}>{html.escape(cell)}</td>' for cell in others)}</tr>"
            for name, *others in self.cells()
        )
        return f"<table>{''.join(rows)}</table>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self._text())


class Frozen(BaseModel):
    """A validated, immutable specification: unknown fields are errors, JSON goes in and out unchanged.

    Raises UserError, not pydantic's report, when constructed with a value that is not allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    section: ClassVar[str] = ""
    """Name of the part of a run's configuration that has these fields, for error messages: "task", "model", …"""

    def __init__(self, **fields: Any):
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise UserError(explain(error, self.section)) from None

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated like a new object; `**{"train.steps": 5}` changes a field of a field."""
        for name in [name for name in changes if "." in name]:
            part, _, inner = name.partition(".")
            whole = changes.get(part, getattr(self, part, None))
            if not isinstance(whole, Frozen):
                raise UserError(f"{name} is not a known field")
            changes[part] = whole.but(**{inner: changes.pop(name)})
        fields = type(self).model_fields
        if (odd := next((name for name in changes if name not in fields), None)) is not None:
            raise UserError(
                f"{'.'.join(filter(None, [self.section, odd]))} is not a known field{near_miss(odd, fields)}"
            )
        return type(self)(**{**{name: getattr(self, name) for name in fields}, **changes})


NUMBERS = {"float_parsing": "a number", "int_parsing": "a whole number", "int_from_float": "a whole number"}
"""What should stand in place of a value, by the type of pydantic's error."""


def explain(error: ValidationError, section: str = "") -> str:
    """The first fault of a pydantic report as one sentence: `task.p is 1; it should be greater than or equal to 3`."""
    fault = error.errors()[0]
    where = ".".join([section] * bool(section) + [str(part) for part in fault["loc"]])
    where = where or "it"
    if fault["type"] == "missing":
        return f"{where} is missing"
    if fault["type"] == "extra_forbidden":
        return f"{where} is not a known field"
    if fault["type"] == "value_error" and not fault["loc"]:
        return fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "literal_error":
        given, allowed = fault["input"], literals(fault.get("ctx", {})["expected"])
        return f"{where} is {shortened(given)}{near_miss(str(given), allowed)}"
    if fault["type"] in NUMBERS:
        return f"{where} is {shortened(fault['input'])}; it should be {NUMBERS[fault['type']]}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ").strip()
    return f"{where} is {shortened(fault['input'])}; it {message[0].lower() + message[1:]}"


def literals(expected: str) -> list[str]:
    """The words or numbers in pydantic's `'add', 'subtract' or 'divide'`, as a list."""
    return re.findall(r"'([^']*)'", expected) or re.findall(r"\w+", expected)


def shortened(value: Any) -> str:
    """Python's representation of a value, cut if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


IGNORED = -100
"""Target that means "no answer": the answer cannot be known, or the row is padding and no prompt."""
