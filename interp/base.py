"""The words that every other module speaks: errors a person reads, frozen specifications, the shape of a task."""

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, overload

from pydantic import BaseModel, ConfigDict, ValidationError

Value = TypeVar("Value")


class once(Generic[Value]):
    """A property that is computed when first asked for, and kept.

    functools.cached_property until Python 3.11 holds one lock for all objects of a class while it computes: threads that
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


class UserError(Exception):
    """What a person must mend, in one sentence: what was given, what is allowed, what to do."""


class DoesNotApply(UserError):
    """What was asked for cannot be had of that run, and why."""


def near_miss(given: str, known: Iterable[str]) -> str:
    """`; did you mean "fourier"?` for a slip of the pen, otherwise the list of what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(given, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else f"; known are {', '.join(known)}"


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn a UserError into its sentence on stderr and exit code 2: the outermost layer of every command."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # `… | head` closed the pipe: not a fault of ours
        sys.stderr.close()
        raise SystemExit(0) from None


def memory_size(text: str | int) -> int:
    """Bytes in an amount of memory as people write it: `2GiB` (1024³), `512MB` (1000²), or a number of bytes."""
    found = re.fullmatch(r"\s*([0-9]{1,18}(?:\.[0-9]+)?)\s*(?:([kmgt]?)(i?)b)?\s*", str(text), re.IGNORECASE)
    if found is None or (found[3] and not found[2]):
        raise UserError(f'memory is "{text}"; write a number and a unit, such as 2GiB or 512MB')
    number, prefix, binary = found.groups()
    size = int(float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() if prefix else " "))
    if size < 1:
        raise UserError(f'memory is "{text}"; it should be more than nothing, such as 2GiB')
    return size


def readable_size(size: float) -> str:
    """Bytes as people read them, rounded up: `1.5 GiB`, `13 MiB`."""
    for unit, at_least in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= at_least:
            return f"{-(-10 * size // at_least) / 10:.1f} {unit}"
    return f"{-(-size // 1024):.0f} KiB"


def quarter_of_ram() -> int:
    """Bytes in a quarter of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4


class Frozen(BaseModel):
    """A validated, immutable specification: unknown fields are errors, JSON goes in and out unchanged.

    Raises UserError, not pydantic's report, when constructed with a value that is not allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    section: ClassVar[str] = ""
    """Where the fields stand in a run's configuration, for error messages: "task", "model", …"""

    def __init__(self, **fields: Any):
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise UserError(explain(error, self.section)) from None

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated like a new one."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


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
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ").strip()
    return f"{where} is {shortened(fault['input'])}; it {message[0].lower() + message[1:]}"


def literals(expected: str) -> list[str]:
    """The words in pydantic's `'add', 'subtract' or 'divide'`, or its numbers."""
    return re.findall(r"'([^']*)'", expected) or re.findall(r"\w+", expected)


def shortened(value: Any) -> str:
    """The value as Python writes it, cut where it would fill the screen."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


IGNORED = -100
"""Target where there is no answer: it cannot be known, or the row is no prompt and fills a shorter batch."""


class TaskShape(Frozen):
    """All that a model may know of its task."""

    n_ctx: int
    """Tokens in a prompt; one vector."""
    d_vocab: int
    """Distinct input tokens; numbers in a vector."""
    d_vocab_out: int
    """Answers that have a logit; numbers in the vector that is to come out."""
    kind: Literal["tokens", "vectors"] = "tokens"
    """What an example is made of."""
    positions: tuple[int, ...] = (-1,)
    """Where answers are read; −1 is the last token."""

    @property
    def loss_units(self) -> str:
        """Of a loss: cross-entropy of answers is in nats."""
        return "nats" if self.kind == "tokens" else "squared error"
