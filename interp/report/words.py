"""Words for a page: how a figure is read, and the terms of the glossary that it uses, from the documents of the package."""

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markupsafe import Markup

DOCS = Path(__file__).parent / "docs"
"""The documents: a link in the repository, copies in an installed package."""
LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")
BREAK = re.compile(r"[;.] (?=\S)")
NO_END = ("al.", "e.g.", "p.", "vs.", "Fig.", "sec.")


class Term(NamedTuple):
    """A term of the glossary."""

    key: str
    """What a link to it ends in."""
    name: str
    text: Markup
    """What it means, as HTML."""
    uses: tuple[str, ...]
    """Keys of the terms that this text links to."""


def slug(heading: str) -> str:
    """What a link to a heading ends in: lower case, a hyphen for each space, no other signs."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def as_html(markdown: str, inline: bool = False) -> Markup:
    """Text of a document as HTML: links to terms lead to those on the page, of other links the words alone stay."""

    def link(found: re.Match[str]) -> str:
        words, target = found.groups()
        return f"[{words}](#term-{target.partition('#')[2]})" if to_a_term(target) else words

    parser = MarkdownIt("js-default")
    return Markup((parser.renderInline if inline else parser.render)(LINK.sub(link, markdown)))


def to_a_term(target: str) -> bool:
    """Whether a link of a document leads to a term of the glossary."""
    return target.startswith("#") or "glossary.md#" in target


def terms_in(markdown: str) -> tuple[str, ...]:
    """Keys of the terms that a text links to, once each."""
    return tuple(dict.fromkeys(to.partition("#")[2] for _, to in LINK.findall(markdown) if to_a_term(to)))


@functools.cache
def glossary() -> dict[str, Term]:
    """Every term of the glossary by its key, in the order of the document."""
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    parts = re.findall(r"^### (.+)\n+((?:.+\n?)+)", text, re.MULTILINE)
    return {slug(name): Term(slug(name), name, as_html(words), terms_in(words)) for name, words in parts}


def terms(keys: Iterable[str]) -> list[Term]:
    """These terms and those that their texts use, in the order of the glossary."""
    wanted, waiting = set[str](), list(keys)
    while waiting:
        key = waiting.pop()
        if key in glossary() and key not in wanted:
            wanted.add(key)
            waiting += glossary()[key].uses
    return [term for term in glossary().values() if term.key in wanted]


class Guide(NamedTuple):
    """How the figure of an analysis is read."""

    parts: dict[str, Markup]
    """Paragraphs by what they tell: Drawn, Look for, Which figure, When it goes wrong."""
    terms: tuple[str, ...]
    """Keys of the terms that they use."""


@functools.cache
def guide(name: str) -> Guide:
    """How the figure of an analysis is read; empty for an analysis of others, which has no document here."""
    file = DOCS / "figures-explained" / f"{name}.md"
    if not re.fullmatch(r"\w+", name) or not file.exists():
        return Guide({}, ())
    parts = re.findall(r"^\*\*(.+?)\.\*\* ((?:.+\n?)+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    told = {title: as_html(text, inline=True) for title, text in parts}
    return Guide(told, tuple(dict.fromkeys(key for _, text in parts for key in terms_in(text))))


def statements(definition: str) -> list[tuple[str, str]]:
    """A definition as its statements, each with the term that it defines; empty where it defines none.

    Statements end with a full stop or semicolon outside brackets.
    """
    found, start = list[tuple[str, str]](), 0
    ends = [end.end() for end in BREAK.finditer(definition) if ends_there(definition, start, end.end() - 1)]
    for end in [*ends, len(definition)]:
        text = definition[start:end].strip().rstrip(";.")
        head, colon, rest = text.partition(": ")
        is_term = bool(colon) and len(head) <= 60 and "(" not in head
        found.append((head, rest) if is_term else ("", text))
        start = end
    return [each for each in found if each[1]]


def ends_there(text: str, start: int, end: int) -> bool:
    """Whether a statement ends before this place: no bracket is open, and the stop is none of an abbreviation."""
    before = text[start:end]
    return before.count("(") <= before.count(")") and not before.endswith(NO_END)
