"""The import staircase: a module imports only from rows below its own, or from its own folder."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    {"base"},
    {"maths", "figures"},
    {"tasks", "models"},
    {"config"},
    {"store"},
    {"train", "analyze"},
    {"study", "probe", "convert", "app"},
    {"__main__", "__init__"},
]
FILES = sorted((ROOT / "interp").rglob("*.py"))


def place(file: Path) -> str:
    """The top-level name under interp/ that a file belongs to; commands of a package may import everything."""
    parts = file.relative_to(ROOT / "interp").with_suffix("").parts
    return parts[-1] if parts[-1] == "__main__" or parts == ("__init__",) else parts[0]


def row(name: str) -> int:
    return next(number for number, members in enumerate(ROWS) if name in members)


def imported(module: ast.AST) -> set[str]:
    """Every module that is imported anywhere in a file, as written: with what stands after `from interp import`."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "import by the whole name, not relatively"
            found |= {f"interp.{alias.name}" for alias in node.names} if node.module == "interp" else {node.module}
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_imports_only_from_below(file):
    mine = place(file)
    for module in imported(ast.parse(file.read_text())):
        if not module.startswith("interp."):
            continue
        theirs = module.split(".")[1]
        assert theirs == mine or row(theirs) < row(mine), (
            f"{file.relative_to(ROOT)} (row {row(mine)}) imports {module} (row {row(theirs)}): "
            "import from a lower row, or move what both need down"
        )


def at_run_time(file: Path) -> ast.AST:
    """A file without its `if TYPE_CHECKING:` blocks, which no interpreter enters."""
    module = ast.parse(file.read_text())
    module.body = [
        node for node in module.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return module


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_one_file_imports_transformer_lens(file):
    if file.relative_to(ROOT) != Path("interp/models/hooked.py"):
        assert not any(module.split(".")[0] == "transformer_lens" for module in imported(at_run_time(file)))


def test_base_and_config_describe_without_torch():
    for file in FILES:
        if place(file) in ("base", "config"):
            assert "torch" not in imported(ast.parse(file.read_text()))
