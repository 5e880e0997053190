"""A folder of folders, each with the weights of one step: `checkpoint-500/model.safetensors` of Hugging Face's Trainer,
`step1000/` of a revision, `900/` of anyone."""

from pathlib import Path

from interp.base import UserError
from interp.store.foreign.asked import Asked
from interp.store.foreign.contents import Contents, listed
from interp.store.foreign.curves import by_column, take_curves
from interp.store.foreign.folders import TABLES, WEIGHTS, has_curves
from interp.store.foreign.pickles import load
from interp.store.foreign.saved import layout_of, saved
from interp.store.foreign.steps import stated_by_name

USUAL = ("model.safetensors", "pytorch_model.bin", "model.pt", "model.pth")
"""Names of the file with the weights, beside which others may have optimisers and generators."""


def recognise(path: Path, asked: Asked) -> list[Contents] | None:
    """Contents of the run in a folder of such folders; None if there are none.

    Raises:
        CheckpointError: a file is broken, or has other weights than another of its step.
        UserError: a folder has several files that may be the weights.
    """
    folders = {
        folder: told.step
        for folder in sorted(each for each in path.iterdir() if each.is_dir())
        if (told := stated_by_name(folder.name)) and (weights_in(folder) or several(folder))
    }
    contents = Contents(path.absolute().name, "", [])
    for folder, step in sorted(folders.items(), key=lambda each: each[1]):
        if (file := weights_in(folder)) is None:
            names = listed([each.name for each in several(folder)], 4)
            raise UserError(
                f"{folder} has {names}, and which has the weights is not known; leave one of them there, or name it {USUAL[0]}"
            )
        with asked.costs_itself(file):
            each = saved(file, load(file), asked)
            if each is None:
                continue
            contents.layout = f"{layout_of(each.state)}, a folder of folders"
            contents.add_state(step, file, each.state)
            contents.files.append(file)
    if not contents.states:
        return None
    last = max(contents.states.values(), key=lambda each: folders[each[0].parent])[0].parent
    others = [file for file in sorted(last.iterdir()) if file not in contents.files]
    for file in [file for file in others if file.suffix in TABLES and file.is_file()]:
        with asked.costs_itself(file):
            content = by_column(load(file))
            if has_curves(file, content):
                take_curves(contents, file, content)
                contents.files.append(file)
                others.remove(file)
    if others:
        contents.tell(f"{last.name} also has {listed([each.name for each in others], 12)}, not taken in")
    return [contents]


def weights_in(folder: Path) -> Path | None:
    """The file with the weights in a folder: of a usual name, or the only one that may be; None if there is none."""
    usual = next((folder / name for name in USUAL if (folder / name).is_file()), None)
    found = several(folder)
    return usual or (found[0] if len(found) == 1 else None)


def several(folder: Path) -> list[Path]:
    """Files of a folder that may have weights, by their suffix."""
    return sorted(each for each in folder.iterdir() if each.suffix in WEIGHTS and each.is_file())
