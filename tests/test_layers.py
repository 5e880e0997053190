"""The import staircase: a module imports only from rows below its own or from its own folder, and no folder has a ring."""

import ast
import re
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    {"base"},
    {"machine", "threads", "denormals", "shape", "plugins", "command_line", "bars"},
    {"recipe"},
    {"maths", "figures"},
    {"tasks", "models"},
    {"config"},
    {"store"},
    {"objective"},
    {"measurement"},
    {"views"},
    {"train", "analyze"},
    {"kept", "report"},
    {"run"},
    {"study", "app", "testing", "export"},
    {"cli"},
    {"probe", "convert", "connect", "table", "__main__", "__init__"},
]
BORDERS = {
    "transformer_lens": "interp/models/lens.py",
    "sklearn": "interp/maths/tsne.py interp/tasks/images.py",  # the method, and the digits that come with it
    "numba": "interp/maths/loops.py",
    "mlxtend": "interp/tasks/images.py",
    "kaleido": "interp/report/png.py",
    "choreographer": "interp/report/files.py",
    "IPython": "interp/cli/probe.py",
    "h5netcdf": "interp/report/files.py",
    "filelock": "interp/store/directory.py",
    "dash": "interp/app/page.py interp/app/rows.py interp/cli/app.py",  # the last asks whether it is there
    "werkzeug": "interp/app/serving.py",
    "distributed": "interp/study/connection.py interp/study/cluster.py interp/study/node.py",  # who asks, and who is asked
    "dask": "interp/study/connection.py",
    "dask_jobqueue": "interp/study/connection.py",
    "transformers": "interp/train/hugging_face.py",
    "pytorch_lightning": "interp/train/lightning.py",
    "tensorboard": "interp/export/to_tensorboard.py",
    "wandb": "interp/export/to_wandb.py",
    "trackio": "interp/export/to_trackio.py",
    "lightning": "interp/train/lightning.py",
}
"""Libraries that are slow to import or that may be absent, each with the one file that imports it, or one for each use."""

FILES = sorted((ROOT / "interp").rglob("*.py"))


def place(file: Path) -> str:
    """The top-level name under interp/ that a file belongs to; commands of a package may import everything."""
    parts = file.relative_to(ROOT / "interp").with_suffix("").parts
    return parts[-1] if parts[-1] == "__main__" or parts == ("__init__",) else parts[0]


def row(name: str) -> int:
    return next(number for number, members in enumerate(ROWS) if name in members)


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(module: ast.AST) -> set[str]:
    """Every module that is imported anywhere in a file: with what stands after `from interp import`."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "import by the whole name, not relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def at_run_time(tree: ast.Module) -> ast.Module:
    """A file without its `if TYPE_CHECKING:` blocks, which no interpreter enters."""
    body = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    return ast.Module(body, type_ignores=[])


TREES = {file: ast.parse(file.read_text()) for file in FILES}
MODULES = {module_of(file): file for file in FILES}
IMPORTS = {file: {name for name in imported(tree) if name in MODULES} for file, tree in TREES.items()}


def test_a_module_imports_only_from_below():
    for file, names in IMPORTS.items():
        mine = place(file)
        for theirs in {place(MODULES[name]) for name in names if name != "interp"}:
            assert theirs == mine or row(theirs) < row(mine), (
                f"{file.relative_to(ROOT)} (row {row(mine)}) imports from {theirs} (row {row(theirs)}): "
                "import from a lower row, or move what both need down"
            )


def test_there_is_no_ring_not_even_inside_a_folder():
    """Also not through imports inside functions, which hide one from the interpreter and not from the reader."""
    graph = defaultdict(set)
    for file, names in IMPORTS.items():
        if place(file) not in ("__init__", "__main__"):
            # A package's __init__ gathers its files: they do not know it, and what asks it asks them.
            mine = module_of(file)
            graph[mine] = {name for name in names if name != mine and not mine.startswith(f"{name}.")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as ring:
        pytest.fail(f"a ring: {' → '.join(ring.args[1])}")


def test_the_version_of_an_analysis_has_all_that_it_may_import():
    """Save what it draws with, and bars: what is kept is answered again as long as these files are the same."""
    from interp.kept.code import files_below

    for file in (ROOT / "interp/analyze").glob("*/*.py"):
        reached, new = set(), {file}
        while new:
            reached |= new
            new = {MODULES[name] for each in new for name in IMPORTS[each]} - reached
            new = {each for each in new if place(each) not in ("figures", "bars", "__init__")}
        assert reached - {file} <= {*files_below()}, file


def test_families_do_not_know_each_other():
    folders = [folder for folder in (ROOT / "interp/models").iterdir() if (folder / "spec.py").exists()]
    assert len(folders) >= 2
    for folder in folders:
        others = {f"interp.models.{other.name}." for other in folders if other != folder}
        for file in folder.glob("*.py"):
            assert not [name for name in IMPORTS[file] if name.startswith(tuple(others))], file


def test_a_specification_costs_no_torch():
    files = [*(ROOT / "interp/models").glob("*/spec.py"), *(ROOT / "interp/tasks").glob("*.py")]
    files += [ROOT / "interp" / f"{name}.py" for name in ("base", "shape", "recipe", "config", "plugins")]
    for file in files:
        assert not {name.split(".")[0] for name in imported(at_run_time(TREES[file]))} & {"torch"}, file


@pytest.mark.parametrize("library", BORDERS)
def test_a_heavy_library_has_one_border(library):
    for file, tree in TREES.items():
        if str(file.relative_to(ROOT)) not in BORDERS[library].split():
            assert library not in {name.split(".")[0] for name in imported(at_run_time(tree))}, file


def test_what_is_private_is_not_imported():
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("interp"):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private, f"{file.relative_to(ROOT)} imports {private[0]} from {node.module}"


def test_no_special_case_for_a_kind_of_task_or_model():
    """What differs from kind to kind is a method of the kind; files of others are described by what they are."""
    special = re.compile(r"isinstance\([^)]*(Task|Spec)\b")
    for file in FILES:
        if "store/foreign" not in str(file):
            assert not special.search(file.read_text()), file.relative_to(ROOT)


def test_only_analyses_stand_on_the_shelf():
    shelves = [folder for folder in (ROOT / "interp/analyze").iterdir() if folder.is_dir() and folder.name[0] != "_"]
    for file in (file for shelf in shelves for file in shelf.glob("*.py") if file.name != "__init__.py"):
        names = {node.name for node in TREES[file].body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert {"Options", "measure", "draw", "summarise"} <= names, file
