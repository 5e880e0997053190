"""Writing a run of others as an ordinary run. run.json is written last: what a kill leaves half done is not a run."""

from pathlib import Path

from interp.base import UserError
from interp.store.directory import claim, clear, release
from interp.store.files import write_whole
from interp.store.foreign.describe import Foreign
from interp.store.foreign.pickles import sha256
from interp.store.history import write_history
from interp.store.layout import HISTORY, RECORD, SPLIT, checkpoint_file, checkpoint_header
from interp.store.opening import open_run
from interp.store.record import Origin, Record
from interp.store.run import Run
from interp.store.split import write_split
from interp.store.tensors import write_tensors


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
        digest = foreign.config.digest
        for step, weights in foreign.checkpoints.items():
            write_tensors(checkpoint_file(path, step), weights(), checkpoint_header(digest, step))
        if foreign.train_index is not None:
            write_split(path / SPLIT, digest, foreign.train_index)
        origin = Origin(
            layout=foreign.layout,
            files={file.name: sha256(file) for file in foreign.files},
            unknown=foreign.unknown,
            notes=foreign.notes,
            history=write_history(path / HISTORY, foreign.rows),
            checkpoints=len(foreign.checkpoints),
            knows_split=foreign.train_index is not None,
        )
        write_whole(path / RECORD, Record(config=foreign.config, config_sha256=digest, origin=origin).to_json())
    finally:
        release(lock, path)
    return open_run(path)
