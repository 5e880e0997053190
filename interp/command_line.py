"""Words of a command line as options; words that are not allowed are one sentence, with the option that was meant."""

import difflib
import importlib
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypeVar

import tyro
from tyro import _errors as refusals
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from interp.base import UserError, near_miss

Kind = TypeVar("Kind")

NUMBERS = ConstructorRegistry()
"""How numbers are read: also as 1e4, where they are whole."""

KINDS = {"INT": "a whole number", "FLOAT": "a number", "PATH": "a path", "STR": "a word"}
"""What stands for a value in the help of an option, in words."""

OTHER_WORDS = {
    "epochs": ("train.steps",),
    "epoch": ("train.steps",),
    "iterations": ("train.steps",),
    "wd": ("train.weight-decay",),
    "learning-rate": ("train.lr",),
    "bs": ("train.batch-size",),
    "batch": ("train.batch-size",),
    "modulus": ("task.p",),
    "layers": ("model.n-layers",),
    "heads": ("model.n-heads",),
    "width": ("model.d-mlp", "model.widths", "model.width"),
    "gpu": ("device",),
    "cuda": ("device",),
    "output": ("out",),
    "o": ("out",),
    "force": ("overwrite",),
}
"""Options by words that other programs have for them."""

SHOWN = 5
"""Most options that a sentence offers."""


@NUMBERS.primitive_rule
def whole_numbers(info: PrimitiveTypeInfo) -> "PrimitiveConstructorSpec[int] | None":
    """How whole numbers are read; None for any other type."""
    if info.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: whole_number(words[0]),
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    )


def whole_number(word: str) -> int:
    """The whole number that a word stands for, such as 10000, 1e4 or 10_000; ValueError if it is none."""
    try:
        return int(word)
    except ValueError:
        number = float(word)
        if not number.is_integer():
            raise ValueError(f"{word} is no whole number") from None
        return int(number)


def parsed(kind: type[Kind], words: Sequence[str], prog: str, default: Kind | None = None, about: str = "") -> Kind:
    """Options from the words of a command line.

    Args:
        kind: dataclass of the options.
        words: words after the command.
        prog: the command, as it is typed.
        default: values of the options that the words do not name, if they are not those of `kind`.
        about: what the command does, for its help.

    Raises:
        UserError: a word is no option, or a value is not allowed.
    """
    how: dict[str, Any] = {
        "prog": prog,
        "config": (tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands),
        "registry": NUMBERS,
        **({} if default is None else {"default": default}),
    }

    def refuse(event: refusals.ParseErrorEvent) -> None:
        if isinstance(event, refusals.UnrecognizedArgs):
            refuse_unknown(event.tokens, options_of(kind, how), prog)
        elif isinstance(event, refusals.InvalidChoice):
            hint = near_miss(event.value, event.choices)
            raise UserError(f'{event.argument.display_name()} is "{event.value}"{hint}')
        elif isinstance(event, refusals.MissingArgs):
            missing = [each.arg for each in event.missing_arguments]
            names = [str(each.lowered.metavar) if each.is_positional() else each.display_name() for each in missing]
            are = "is" if len(names) == 1 else "are"
            raise UserError(f"{listed(names, 'and')} {are} missing; {prog} --help tells what to give")
        elif isinstance(event, refusals.BadValue | refusals.InstantiationFailure) and event.argument is not None:
            refuse_value(event.argument, words)

    try:
        with refusals.on_parse_error(refuse):
            return tyro.cli(kind, args=list(words), description=about or None, **how)
    except UserError as error:  # of a configuration that is made from the words
        raise UserError(as_typed(str(error), options_of(kind, how))) from None


def options_of(kind: type[Any], how: dict[str, Any]) -> list[str]:
    """Every option of a command, in the order of its help."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(kind, **how)  # type: ignore[reportDeprecated]
    actions = parser._actions  # type: ignore[reportPrivateUsage]
    return [word for action in actions for word in action.option_strings if word.startswith("--")]


def loaded(*modules: str) -> None:
    """Import modules that take seconds to load; in a terminal, say so meanwhile."""
    missing = [module for module in modules if module not in sys.modules]
    told = bool(missing) and sys.stderr.isatty()
    if told:
        print("loading …", end="", file=sys.stderr, flush=True)
    try:
        for module in missing:
            importlib.import_module(module)
    finally:
        if told:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def refuse_empty(words: Sequence[str], options: Sequence[str]) -> None:
    """Raise UserError if one of these options, which take several values, is given none."""
    for option in options:
        if option in words and not values_of([option], words):
            raise UserError(f"{option} has no value; give one or more, or leave it out")


def refuse_unknown(tokens: Sequence[str], options: Sequence[str], prog: str) -> NoReturn:
    """Raise UserError for the first word that is no option, with the options that may be meant."""
    odd = next((token for token in tokens if token.startswith("-")), None)
    if odd is None:
        raise UserError(f'"{tokens[0]}" belongs to no option; leave it out, or see {prog} --help')
    name = odd.partition("=")[0]
    meant = near_options(name, options)
    hint = f"did you mean {listed(meant, 'or')}?" if meant else f"{prog} --help lists all"
    raise UserError(f"no option {name}; {hint}")


def near_options(given: str, options: Iterable[str]) -> list[str]:
    """Options that somebody may have meant by a word such as `--seed`, `-p`, `--epochs` or `--train.weight-dekay`."""
    word, names = given.lstrip("-").replace("_", "-"), {option.lstrip("-"): option for option in options}
    last: dict[str, list[str]] = {}
    for name in names:
        last.setdefault(name.rpartition(".")[2], []).append(name)
    section, _, end = word.rpartition(".")
    in_section = {name.rpartition(".")[2]: name for name in names if section and name.startswith(f"{section}.")}
    alike = [name for near in difflib.get_close_matches(end, last, n=1) for name in last[near]]
    for meant in (
        last.get(word, []),
        [name for name in OTHER_WORDS.get(word, OTHER_WORDS.get(end, ())) if name in names],
        [in_section[near] for near in difflib.get_close_matches(end, in_section, n=1)],
        difflib.get_close_matches(word, names, n=1, cutoff=0.8) if not in_section else [],
        [name for name in names if len(end) > 1 and (name.startswith(word) or f".{word}" in name)],
        alike,
    ):
        if meant:
            return [names[name] for name in meant[:SHOWN]]
    return []


def refuse_value(argument: Any, words: Sequence[str]) -> NoReturn:
    """Raise UserError for the value of an option: what was given, what it should be."""
    lowered, metavar = argument.lowered, str(argument.lowered.metavar)
    pieces: dict[str, None] = dict.fromkeys(re.findall(r"\{[^}]*\}|\w+", metavar))
    kinds = [KINDS.get(piece, piece.strip("{}").replace(",", ", ")) for piece in pieces if piece != "None"]
    choices = [word for word in metavar.strip("{}").split(",") if word != "None"]
    one_of = listed(choices, "or") if re.fullmatch(r"\{[^{}]*\}", metavar) else metavar
    allowed = listed(kinds, "or") if pieces.keys() & KINDS else one_of
    if lowered.nargs not in (None, 1):
        allowed = ("values" if lowered.nargs == "*" else f"{lowered.nargs} values") + f", each {allowed}"
    name, given = argument.display_name(), values_of(lowered.name_or_flags, words)
    what = f"{name} is {given}" if given else f"{name} has no value"
    raise UserError(f"{what}; it should be {allowed}")


def values_of(flags: Iterable[str], words: Sequence[str]) -> str:
    """Words that an option was given, the last time."""
    apart = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]
    at = max((place for place, word in enumerate(apart) if word.replace("_", "-") in flags), default=len(apart))
    after = apart[at + 1 :]
    end = next((place for place, word in enumerate(after) if word.startswith("--")), len(after))
    return " ".join(after[:end])


def as_typed(sentence: str, options: Iterable[str]) -> str:
    """A sentence on fields of a configuration, with each as its option: task.train_fraction as --task.train-fraction.

    A field without a section, such as `name`, is known only where the sentence begins with it.
    """
    known = set(options)

    def typed(field: "re.Match[str]") -> str:
        option = "--" + field[0].replace("_", "-")
        return option if option in known else field[0]

    return re.sub(r"(?<![\w./-])[a-z]\w*\.\w+(?![\w/]|\.\w)|^[a-z]\w*(?= is )", typed, sentence)


def listed(words: Sequence[str], joint: str) -> str:
    """Words in a row: `a, b or c`."""
    return f" {joint} ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""
