"""Analyses of one's own: a file or a module becomes one, or a sentence says what it lacks."""

import hashlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from interp.base import UserError, once

TEMPLATE = "docs/how-to/own-analysis.md has a template"

PARTS = {
    "Options": "a class Options(AnalysisOptions) of its options",
    "VARIABLES": "a table VARIABLES of what it measures",
    "measure": "measure(seen, options)",
    "draw": "draw(found)",
    "summarise": "summarise(found)",
}
"""What an analysis has, in words."""


class Loaded:
    """A file of somebody's own, as Python ran it."""

    def __init__(self, path: Path):
        """Run the file.

        Raises:
            UserError: there is no such file, it is no Python, or running it raises.
        """
        self.path = path
        try:
            self.content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
        self.module = self._run()

    @once
    def name(self) -> str:
        """Name under which Python knows the module: no other file's."""
        return f"interp_own_{hashlib.sha256(str(self.path.absolute()).encode()).hexdigest()[:16]}.{self.path.stem}"

    def _run(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location(self.name, self.path.absolute())
        if spec is None:
            raise UserError(f"{self.path} is no file of Python; give one whose name ends in .py")
        module = importlib.util.module_from_spec(spec)
        # Options read their help from the source, which pydantic finds by the name of the module.
        sys.modules[self.name] = module
        if (folder := str(self.path.absolute().parent)) not in sys.path:
            sys.path.append(folder)  # as a script's folder is; behind all others, so that nothing of theirs is hidden
        try:
            exec(compile(self.content, str(self.path.absolute()), "exec"), module.__dict__)
        except (Exception, SystemExit) as error:  # whatever the file does
            raise UserError(self._why_not(error)) from error
        return module

    def _why_not(self, error: BaseException) -> str:
        """Why the file could not be run, in a sentence."""
        if isinstance(error, SyntaxError):
            line = f" in line {error.lineno}" if error.lineno else ""
            return f"{self.path} is no Python ({error.msg:.200}{line}); mend it, or give another file"
        return f"{self.path} cannot be run ({type(error).__name__}: {error!s:.200}); mend it"

    @property
    def is_current(self) -> bool:
        """Whether the file is still as it was when Python ran it."""
        try:
            return self.path.read_bytes() == self.content
        except OSError:
            return False


FILES: dict[Path, Loaded] = {}
"""Files that were run, by absolute path."""


def loaded(path: Path) -> ModuleType:
    """The module in a file, run again if the file has changed; UserError if it is no analysis."""
    found = FILES.get(path.absolute())
    if found is None or not found.is_current:
        found = Loaded(path)
        check(found.module, str(path))
        FILES[path.absolute()] = found
    return found.module


def content_of(module: ModuleType) -> bytes | None:
    """Content of the file that a module was run from, as it was then; None unless it was run by `loaded`."""
    return next((found.content for found in FILES.values() if found.module is module), None)


def check(module: Any, where: str) -> None:
    """Raise UserError unless a module has all that an analysis needs; `where` is its name in the sentence."""
    if not isinstance(module, ModuleType):
        raise UserError(f"{module!r:.60} is no analysis; give a name, the path of a file, or a module")
    for name, what in PARTS.items():
        if not hasattr(module, name):
            raise UserError(f"{where} is no analysis, since it lacks {what}; {TEMPLATE}")
    if not (module.__doc__ or "").strip():
        raise UserError(f"{where} has no docstring, whose first line is the question that it asks; {TEMPLATE}")
    check_measure(module, where)


def check_measure(module: ModuleType, where: str) -> None:
    """Raise UserError unless `Options` are options, and the type of measure's first parameter is a view."""
    from interp.measurement import AnalysisOptions  # here: to list the analyses costs no torch
    from interp.views.view import View

    if not (isinstance(module.Options, type) and issubclass(module.Options, AnalysisOptions)):
        raise UserError(f"Options of {where} is no class of options; write class Options(AnalysisOptions)")
    names = list(inspect.signature(module.measure).parameters)
    try:
        kind = get_type_hints(module.measure).get(names[0]) if names else None
    except Exception as error:  # of a name in quotes that is not there
        raise UserError(f"the types of measure in {where} cannot be read ({error!s:.200}); mend them") from error
    if not (isinstance(kind, type) and issubclass(kind, View)):
        given = f"is {getattr(kind, '__name__', kind)}" if kind is not None else "has no type"
        raise UserError(
            f"the first parameter of measure in {where} {given}, and it should be a view of interp.views, such as seen: "
            "Checkpoints"
        )
    if len(names) != 2:
        raise UserError(
            f"measure in {where} has the parameters {', '.join(names)}; it should have two: seen and options"
        )
