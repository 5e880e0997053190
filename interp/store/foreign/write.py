"""Writing a run of others as an ordinary run."""

from pathlib import Path

from interp.base import UserError
from interp.store.at_once import write_at_once
from interp.store.directory import claim, clear, release
from interp.store.foreign.describe import Foreign
from interp.store.foreign.pickles import sha256
from interp.store.opening import open_run
from interp.store.run import Run


def write_foreign(foreign: Foreign, path: Path, overwrite: bool = False) -> Run:
    """Write the run into `path`, every file whole, and open it.

    Raises:
        UserError: the directory is not empty and `overwrite` is false, or it is in use, or it cannot be written.
    """
    inside = [file for file in foreign.files if path.resolve() in file.resolve().parents]
    if inside:
        raise UserError(f"{inside[0]} lies in {path}, where the run is to be written; choose another --out")
    lock = claim(path, overwrite=overwrite)
    try:
        if overwrite:
            clear(path)
        write_at_once(
            path,
            foreign.config,
            foreign.checkpoints,
            foreign.rows,
            foreign.train_index,
            layout=foreign.layout,
            files={name: sha256(file) for name, file in named(foreign.files).items()},
            unknown=foreign.unknown,
            notes=foreign.notes,
        )
    finally:
        release(lock, path)
    return open_run(path)


def named(files: list[Path]) -> dict[str, Path]:
    """Files by name; with that of its folder before it where several have one name."""
    names = [file.name for file in files]
    return {f"{file.parent.name}/{file.name}" if names.count(file.name) > 1 else file.name: file for file in files}
