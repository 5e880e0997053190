"""A folder of files that each have the weights of one step: which belong to one run, and which to several.

A file's name beside its step is the name of its run: model_step100.pt and model_step200.pt are one, seed1_step100.pt and
seed2_step100.pt are two. Files whose step nothing states are a run each, unless their names differ in one number that may be
a step; then the user is asked.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from interp.base import UserError
from interp.store.files import CheckpointError
from interp.store.foreign.asked import Asked
from interp.store.foreign.contents import Contents, equal, listed
from interp.store.foreign.curves import by_column, leave_rest, take_curves
from interp.store.foreign.pickles import load
from interp.store.foreign.saved import Saved, add_saved, alone, end_of_curves, layout_of, saved, several

WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors")
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
"""Suffixes of files that may hold curves."""

LAST = re.compile(r"(?<![A-Za-z])(last|latest|final|end)(?![A-Za-z])", re.IGNORECASE)
"""Words for the last checkpoint of a run."""

RUN_WORDS = {
    "seed", "s", "run", "trial", "rep", "replicate", "repeat", "fold", "version", "v", "exp", "experiment", "job", "id",
    "p", "mod", "modulus", "lr", "wd", "decay", "dim", "d", "width", "frac", "layers", "l", "heads", "h",
}  # fmt: skip
"""Words before a number in a name that says which run it is, not how long it has run."""


def recognise(path: Path, asked: Asked) -> list[Contents] | None:
    """Contents of the runs in a folder of state dicts; None if it has none.

    Raises:
        UserError: the names differ in a number that may be a step or not.
        CheckpointError: a file is broken, or has other weights than another of its run and step.
    """
    found, more = list[Saved](), list[Contents]()
    for file in sorted(each for each in path.iterdir() if each.suffix in WEIGHTS and each.is_file()):
        with asked.costs_itself(file):
            content = load(file)
            if each := saved(file, content, asked):
                found.append(each)
            else:
                more += several(file, content) or []
    if len(found) == 1 and not more:
        return renamed(alone(found[0].path, load(found[0].path), asked), path)
    runs = [contents for name, each in runs_of(found).items() for contents in one_run(path, name, each, asked)] + more
    if len(runs) == 1:
        return renamed(runs, path)
    for contents in runs:
        contents.tell(f"{path.name} has the files of {len(runs)} runs: {listed((each.name for each in runs), 12)}")
    return runs or None


def renamed(found: list[Contents] | None, path: Path) -> list[Contents] | None:
    """The only run in a folder, by the folder's name."""
    for contents in found or []:
        contents.name = path.absolute().name
    return found


def runs_of(found: Iterable[Saved]) -> dict[str, list[Saved]]:
    """Files by the name of their run."""
    runs: dict[str, list[Saved]] = defaultdict(list)
    for each in found:
        runs[each.run].append(each)
    by_words: dict[str, list[str]] = defaultdict(list)
    for name in runs:
        by_words[re.sub(r"\d+", "#", name)].append(name)
    for words, names in by_words.items():
        if len(names) > 1 and (files := in_one_number(words, {name: runs[name] for name in names})):
            for name in names:
                del runs[name]
            runs[words.replace("#", "").strip("_-. =")] = files
    nameless, named = runs.get("", []), [name for name in runs if name]
    if (
        nameless
        and len(named) == 1
        and not {step(each) for each in nameless} & {step(each) for each in runs[named[0]]} - {None}
    ):
        runs[named[0]] += runs.pop("")
    return runs


def step(each: Saved) -> int | None:
    """The step of a file, None if nothing states it."""
    return each.stated.step if each.stated else None


def in_one_number(words: str, runs: dict[str, list[Saved]]) -> list[Saved] | None:
    """The files of runs whose names differ in one number, if that only counts what was saved; None if they are several runs.

    Raises:
        UserError: the number may be a step, and nothing else states the steps.
    """
    numbers = {name: [int(number) for number in re.findall(r"\d+", name)] for name in runs}
    differing = [at for at, values in enumerate(zip(*numbers.values(), strict=True)) if len(set(values)) > 1]
    if len(differing) != 1 or names_a_run(words, differing[0]):
        return None
    files = [each for name in sorted(runs, key=lambda name: numbers[name][differing[0]]) for each in runs[name]]
    if len({tuple(sorted((str(name), tuple(part.shape)) for name, part in each.state.items())) for each in files}) > 1:
        return None  # networks of different sizes
    steps = [each.stated.step for each in files if each.stated]
    if len(steps) == len(files) and steps == sorted(set(steps)):
        return files
    if not steps:
        raise may_be_steps(files)
    return None


def names_a_run(words: str, at: int) -> bool:
    """Whether a number in a name, the at-th `#` of `words`, is by its word no step, such as a seed; or part of a decimal."""
    before = words.split("#")[at]
    word = re.split(r"[^a-z]", before.rstrip("_-. =").lower())[-1]
    after = words.split("#")[at + 1]
    return word in RUN_WORDS or before == "." or after == "."


def may_be_steps(files: list[Saved]) -> UserError:
    """The question whether the number that the names of files differ in is a step."""
    first, last = files[0].path.name, files[-1].path.name
    ours, theirs = (re.split(r"(\d+)", name) for name in (first, last))
    pattern = "".join("STEP" if one != other else one for one, other in zip(ours, theirs, strict=True))
    return UserError(
        f"{files[0].path.parent} has {first} and {last}, which do not say whether their numbers are steps; if they are, give "
        f"--step {pattern}, and if they are of different runs, convert each file alone"
    )


def one_run(folder: Path, name: str, files: list[Saved], asked: Asked) -> list[Contents]:
    """Contents of the run of some files; of a run each, if no step of several files is stated."""
    known = sorted((each for each in files if each.stated), key=lambda each: (step(each), each.path.name))
    others = [each for each in files if not each.stated]
    if not known:
        found = [alone(each.path, {**each.beside, "state_dict": each.state}, Asked()) or [] for each in others]
        return [contents for group in found for contents in group]
    layout = f"{layout_of(known[0].state)}, a folder of state dicts"
    contents = Contents(name or folder.absolute().name, layout, [])
    for each in known:
        with asked.costs_itself(each.path):
            add_saved(contents, each, step(each) or 0)
            contents.files.append(each.path)
    for each in others:
        add_one_without_step(contents, each, others, asked)
    return [contents] if contents.states else []


def add_one_without_step(contents: Contents, each: Saved, others: list[Saved], asked: Asked) -> None:
    """Add a file whose step nothing states to a run whose other files state theirs, if the user tells it; otherwise a note."""
    same = [step for step, (_, state) in contents.states.items() if equal(state, each.state)]
    if same:
        contents.tell(f"{each.path.name} has the weights of step {max(same)} again")
        used = take_curves(contents, each.path, each.beside, at=max(same))
        leave_rest(contents, each.path, each.beside, used)
        contents.files.append(each.path)
        return
    if asked.step is not None and len(others) == 1:
        add_saved(contents, each, asked.step)
        contents.files.append(each.path)
        asked.used = True
        return
    end = end_of_curves(each) or end_beside(each, asked)
    if end > max(contents.states):
        add_saved(contents, each, end)
        contents.files.append(each.path)
        contents.tell(
            f"{each.path.name} does not say of which step its weights are; the end of its curves, {end}, is taken"
        )
        return
    remedy = "give --step N for it" if len(others) == 1 else "name it by its step, such as step_N.pt"
    asked.left_out.append(
        f"{each.path.name} is left out: nothing says after how many updates its weights are; {remedy}"
    )


def end_beside(each: Saved, asked: Asked) -> int:
    """Number of updates at the end of the curves in the other files of a folder, for weights that are named as the last."""
    trial = Contents("", "", [])
    if LAST.search(each.path.stem):
        for file in sorted(file for file in each.path.parent.iterdir() if file.suffix in TABLES and file.is_file()):
            with asked.costs_itself(file):
                content = by_column(load(file))
                take_curves(trial, file, content if isinstance(content, dict) else {})
    return trial.end


def add_tables(path: Path, found: list[Contents], asked: Asked) -> None:
    """Add the curves in the other files of a folder to its run, and name every file that nothing took in."""
    read = {file.resolve() for contents in found for file in contents.files}
    left = []
    for file in sorted(each for each in path.iterdir() if not each.name.startswith(".")):
        if file.resolve() in read or any(file.resolve() in other.parents for other in read):
            continue
        if (
            file.is_file()
            and len(found) == 1
            and file.suffix in (*WEIGHTS, *TABLES)
            and file.name not in told_broken(asked)
        ):
            with asked.costs_itself(file):
                content = load(file)
                if has_curves(file, content):
                    leave_rest(found[0], file, by_column(content), take_curves(found[0], file, by_column(content)))
                    found[0].files.append(file)
                    continue
        if file.name not in told_broken(asked):
            left.append(f"{file.name}/" if file.is_dir() else file.name)
    for contents in found:
        contents.notes += [f"{path.name} also has {listed(left, 12)}, not taken in"] if left else []
        contents.notes += asked.left_out


def tables_alone(path: Path, asked: Asked) -> list[Contents]:
    """Contents of the files with curves in a folder without weights, a run each."""
    found = []
    for file in sorted(each for each in path.iterdir() if each.suffix in (*WEIGHTS, *TABLES) and each.is_file()):
        if file.name not in told_broken(asked):
            with asked.costs_itself(file):
                content = load(file)
                found += curves_alone(file, content) or [] if has_curves(file, content) else []
    return found


def has_curves(path: Path, found: Any) -> bool:
    """Whether a loaded file holds a learning curve."""
    content = by_column(found)
    return isinstance(content, dict) and bool(take_curves(Contents("", "", []), path, content))


def told_broken(asked: Asked) -> set[str]:
    """Names of the files that were left out as broken."""
    return {sentence.split(" is left out: ")[0] for sentence in asked.left_out}


def curves_alone(path: Path, found: Any) -> list[Contents] | None:
    """Contents of a file with learning curves and no weights, given loaded; None for another file.

    Raises:
        CheckpointError: it is a table, and none of its names is one of a curve.
    """
    content = by_column(found)
    if not isinstance(content, dict):
        return None
    contents = Contents(path.stem, "learning curves", [path])
    used = take_curves(contents, path, content)
    if contents.rows:
        leave_rest(contents, path, content, used)
        return [contents]
    if path.suffix in TABLES:
        raise CheckpointError(
            f"{path} has {listed(map(str, content), 6) if content else 'nothing'}, and no learning curve; names such as step, "
            "train_loss, test_loss, train_accuracy and test_accuracy are read"
        )
    return None
