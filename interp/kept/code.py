"""Version of an analysis' code: a digest of its file, of all that it may import, and of the libraries' versions."""

import ast
import hashlib
import platform
import sys
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

import interp
from interp.analyze import Analysis
from interp.analyze.own import content_of

HOME = Path(interp.__file__).parent

BELOW = (
    "base", "machine", "denormals", "threads", "shape", "plugins", "recipe", "maths", "tasks", "models", "config", "store",
    "objective", "measurement", "views",
)  # fmt: skip
"""Files and folders of interp from which an analysis takes its numbers. What it draws with is not among them."""

LIBRARIES = (
    "interp",
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "xarray",
    "scikit-learn",
    "numba",
    "transformer-lens",
    "mlxtend",
)
"""Libraries whose version may move a number."""

State = tuple[int, int]
"""Time of change and size of a file."""


@cache
def files_below() -> tuple[Path, ...]:
    """Every source file that an analysis of interp may import, beside its own."""
    found = (path for name in BELOW for path in [HOME / f"{name}.py", *(HOME / name).rglob("*.py")])
    return tuple(sorted(path for path in found if path.exists()))


def version_of(analysis: Analysis) -> str:
    """Digest of the code that measures; empty where the code that runs cannot be told from its files.

    So it is of files that were edited after Python loaded them, and of somebody's own analysis that imports what has no file.
    """
    if analysis.held is not None:
        return version_of_own(analysis.held)
    paths = (*files_below(), Path(str(analysis.module.__file__)))
    return of_files(paths)


def of_files(paths: Sequence[Path]) -> str:
    """Digest of versions and files; empty where a file was edited after Python loaded it, or is not there."""
    try:
        states = tuple(state(path) for path in paths)
    except OSError:  # the package is being replaced
        return ""
    edited = any(changed > interp.LOADED_AT * 1e9 for changed, _ in states)
    return "" if edited else digest(tuple(paths), states)


def version_of_own(module: ModuleType) -> str:
    """Digest of the code of somebody's own analysis: all of interp, its file and every file that this imports, and the versions
    of the libraries that they import; empty where something of it has no file or was edited meanwhile.

    Imports are those that the files state. A library that is imported by a name made at run time goes unseen.
    """
    content = content_of(
        module
    )  # as it was run; of any other module the file is taken, if it is older than the process
    files, libraries, seen, waiting = set[Path](), set[str](), {module.__name__}, [module]
    while waiting:
        each = waiting.pop()
        path = Path(str(getattr(each, "__file__", "")))
        run_from = content if each is module else None
        try:
            names = imported(path.read_bytes() if run_from is None else run_from, each)
        except (OSError, SyntaxError, ValueError):  # machine code, or no file any more
            return ""
        files |= {path} if run_from is None else set()
        found = {name: sys.modules[name] for name in names - seen if name in sys.modules}
        seen |= names
        libraries |= {name.partition(".")[0] for name, other in found.items() if home_of(other) == "library"}
        waiting += [other for other in found.values() if home_of(other) == "theirs"]
    if not (total := of_files((*all_files(), *sorted(files)))):
        return ""
    parts = [total, *(f"{name} {version_of_import(name)}" for name in sorted(libraries))]
    return hashlib.sha256("\n".join(parts).encode() + b"\n" + (content or b"")).hexdigest()


def imported(source: bytes, module: ModuleType) -> set[str]:
    """Names that the source of a module imports by a statement, those behind `from … import` too, and all that they lie in."""
    found = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            within = (module.__package__ or "").split(".") if node.level else []
            base = ".".join([*within[: len(within) - node.level + 1], *filter(None, [node.module])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return {name.rsplit(".", depth)[0] for name in found for depth in range(name.count(".") + 1)}


def home_of(module: ModuleType) -> str:
    """Where a module is from: "python", "interp", a "library" that is installed, or "theirs"."""
    name, path = module.__name__.partition(".")[0], getattr(module, "__file__", None)
    if name == "interp":
        return "interp"
    if name in sys.stdlib_module_names or (path is None and hasattr(module, "__path__")):
        return "python"  # or a folder without code of its own, whose modules are looked at
    installed = path is not None and {"site-packages", "dist-packages"} & {*Path(path).parts}
    return "library" if installed else "theirs"


@cache
def all_files() -> tuple[Path, ...]:
    """Every source file of interp: somebody's own analysis may import any."""
    return tuple(sorted(HOME.rglob("*.py")))


@cache
def version_of_import(name: str) -> str:
    """Version of the installed package that a module is of."""
    if found := version(name):
        return found
    return " ".join(version(each) for each in metadata.packages_distributions().get(name, []))


def state(path: Path) -> State:
    """Time of change and size of a file."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def digest(paths: Sequence[Path], states: Sequence[State]) -> str:
    """SHA-256 of versions, and of names and content of files; `states` tells when to read them again."""
    total = hashlib.sha256(versions().encode())
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        name = path.relative_to(HOME) if path.is_relative_to(HOME) else path.name
        total.update(f"{name} {content}\n".encode())
    return total.hexdigest()


@cache
def versions() -> str:
    """Versions of Python and of the libraries, as text."""
    return f"{sys.implementation.name} {platform.python_version()} {[version(name) for name in LIBRARIES]}"


def version(library: str) -> str:
    """Version of a library; empty if it is not installed."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""
