"""`python -m interp.train PRESET [options]`: train a model with checkpoint saving."""

import dataclasses
import os
import shlex
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from interp.base import UserError, one_sentence
from interp.config import RunConfig
from interp.train.presets import PRESETS, preset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interp.store import Run

LOOK = "look at them with: python -m interp.analyze all"


@dataclasses.dataclass(frozen=True)
class Machine:
    """What to compute on; no part of what is computed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a GPU when there is one."""
    threads: int | Literal["auto"] = "auto"
    """CPU threads; auto is torch's choice, and the cores shared out among processes where there are several. Another number
    gives other roundings, so resume with the same."""
    at_once: int | Literal["auto"] = "auto"
    """Runs that learn side by side as one batched computation; auto is what is fastest, cut so that every process has some."""
    processes: int | Literal["auto"] = "auto"
    """Processes that train several runs; auto is one for each core, and one on a GPU."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to train, where to keep it, and what to compute on."""

    config: Annotated[RunConfig, tyro.conf.arg(name="")]
    out: Path
    """Directory of the run, or of the runs, where there are several."""
    n_seeds: int = 1
    """Train so many runs, with seeds counted up from those given."""
    vary: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FIELD=VALUE,VALUE…")] = ()
    """Train a run for each value, and for each combination where given more often: train.weight-decay=0.3,1."""
    machine: Annotated[Machine, tyro.conf.arg(name="")] = Machine()
    resume: bool = False
    """Go on where a run stopped, or up to a larger train.steps; start it if it is not there. Several runs always do."""
    overwrite: bool = False
    """Replace the run in that directory, or all runs."""
    dry_run: bool = False
    """Say how many runs there are, how much disk and how many minutes they would take, and do nothing."""


def overview() -> str:
    """The help text without a preset."""
    width = max(map(len, PRESETS))
    rows = [f"  {name:<{width}}  {entry.about} (about {entry.minutes:g} min)" for name, entry in PRESETS.items()]
    return "\n".join(
        [
            "usage: python -m interp.train PRESET [options]",
            "       python -m interp.train --resume DIR",
            "",
            "Train a model, saving checkpoints throughout.",
            "",
            "presets (minutes on 2 CPU cores):",
            *rows,
            "",
            "Every hyperparameter is an option: python -m interp.train quick --help",
            "For example: python -m interp.train quick --train.weight-decay 0.5 --out checkpoints/mine",
        ]
    )


def parse(words: list[str]) -> Arguments:
    """The command line as values; UserError for an unknown preset or a directory that holds no run."""
    if words[0] == "--resume":
        if len(words) == 1:
            raise UserError("--resume needs the directory of a run; write python -m interp.train --resume DIR")
        from interp.store import open_record

        path = Path(words[1])
        record = open_record(path)
        machine = Machine()
        for session in record.sessions[-1:]:  # on the same device and threads the numbers stay the same
            machine = Machine("cuda" if session.device.startswith("cuda") else "cpu", session.threads)
        machine = tyro.cli(Machine, default=machine, args=words[2:], prog="python -m interp.train --resume DIR")
        return Arguments(record.config, path, machine=machine, resume=True)
    if Path(words[0]).is_dir():
        raise UserError(
            f"{words[0]} is a directory; to go on with it, write python -m interp.train --resume {words[0]}"
        )
    chosen = preset(words[0])
    return tyro.cli(
        Arguments,
        default=Arguments(chosen.config, Path("checkpoints") / words[0]),
        args=with_tables(words[1:]),
        prog=f"python -m interp.train {words[0]}",
        description=f"{chosen.about}; about {chosen.minutes:g} minutes on 2 CPU cores.",
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands),
    )


def with_tables(words: list[str]) -> list[str]:
    """The same words, with the table of a group that a FILE.csv holds in the place of its name behind --task.group."""
    apart = [part for word in words for part in (word.split("=", 1) if word.startswith("--task.group=") else [word])]
    return [
        table_in(Path(word)) if before == "--task.group" and word.endswith(".csv") else word
        for before, word in pairwise(["", *apart])
    ]


def table_in(file: Path) -> str:
    """The table of a group in a file, as the configuration has it: what was trained on stands in run.json."""
    from interp.maths.groups import read_table, write_table

    try:
        return write_table(read_table(file.read_text("utf-8-sig")))  # spreadsheets begin theirs with a mark
    except OSError as error:
        raise UserError(f"{file} cannot be opened: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text; it should hold the table of a group, entries apart by commas") from error
    except ValueError as error:
        raise UserError(f"{file} {error}") from error


def share_the_processor() -> None:
    """On a busy machine, let idle threads sleep; must come before torch is imported. The numbers stay the same.

    By default a thread that is done spins until the others are. With every core its own that is a third faster than
    sleeping; beside another process that computes it was ten times slower.
    """
    if os.getloadavg()[0] > (os.cpu_count() or 1) / 2:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def run(arguments: Arguments) -> int:
    """Train; the exit code."""
    import torch

    machine = arguments.machine
    for name in ("threads", "at_once", "processes"):
        number = getattr(machine, name)
        if number != "auto" and number < 1:
            raise UserError(f"--{name.replace('_', '-')} is {number}; it should be at least 1")
    if machine.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device is cuda, and torch finds no GPU here; take --device cpu")
    device = machine.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if arguments.n_seeds == 1 and not arguments.vary:
        return run_one(arguments, device)
    return run_several(arguments, device)


def run_one(arguments: Arguments, device: str) -> int:
    """Train one run in this process, or say what that would take; the exit code."""
    import torch

    from interp.store.directory import refuse_what_is_there
    from interp.train.loop import Interrupted, train
    from interp.train.progress import watch

    if arguments.dry_run:
        refuse_what_is_there(arguments.out, arguments.resume, arguments.overwrite)
        return carried_out(arguments, {arguments.out.name: arguments.config}, arguments.out.parent, device)
    if arguments.machine.threads != "auto":
        torch.set_num_threads(arguments.machine.threads)
    how = {"resume": arguments.resume, "overwrite": arguments.overwrite, "device": device, "watcher": watch}
    try:
        done = train(arguments.config, arguments.out, **how)
    except Interrupted as stop:
        again = shlex.join(["python", "-m", "interp.train", "--resume", str(stop.paths[0])])
        print(f"stopped at step {stop.step:,}, everything is saved; go on with: {again}", file=sys.stderr)
        return 130
    print(f"{len(done)} checkpoints up to step {done.steps[-1]:,} in {done.path}")
    print(f"{LOOK} {shlex.quote(str(done.path))}")
    return 0


def run_several(arguments: Arguments, device: str) -> int:
    """Train runs in processes of their own, or say what that would take; the exit code."""
    from interp.store.files import told_in_a_sentence
    from interp.store.layout import RECORD
    from interp.study.grid import grid, parse_axis

    if arguments.resume and arguments.overwrite:
        raise UserError("--resume goes on with a run and --overwrite replaces it; give one of them")
    with told_in_a_sentence(arguments.out):
        is_run = (arguments.out / RECORD).exists()
    if is_run:
        raise UserError(f"{arguments.out} is a run itself; choose another --out for several runs")
    axes = [parse_axis(words) for words in arguments.vary]
    if len(dict(axes)) < len(axes):
        raise UserError("--vary names a field twice; give all its values at once, such as train.lr=1e-3,3e-3")
    configs = grid(arguments.config, arguments.n_seeds, dict(axes))
    return carried_out(arguments, configs, arguments.out, device)


def carried_out(arguments: Arguments, configs: "Mapping[str, RunConfig]", out: Path, device: str) -> int:
    """The study of these runs, by the names of their directories in `out`; the exit code."""
    from interp.study import run_all

    numbers = {name: getattr(arguments.machine, name) for name in ("threads", "at_once", "processes")}
    if len(configs) == 1:
        numbers["processes"] = 1
    found = run_all(
        configs,
        out,
        dry_run=arguments.dry_run,
        overwrite=arguments.overwrite,
        device=device,
        **{name: None if number == "auto" else number for name, number in numbers.items()},
    )
    if not arguments.dry_run:
        report(found.runs, out)
    return 1 if found.failures else 0


def report(done: "Mapping[str, Run]", out: Path) -> None:
    """Say how good each run became, and what to do with them."""
    if not done:
        return
    width = max(map(len, done))
    for name, run in done.items():
        last = run.history.iloc[-1]
        vectors = run.task.shape.kind == "vectors"
        how = f"loss {last['test_loss']:.4g}" if vectors else f"accuracy {last['test_accuracy']:6.1%}"
        print(f"{name:<{width}}  test {how} at step {run.steps[-1]:,}")
    print(f"{len(done)} runs in {out}")
    print(f"{LOOK} {shlex.quote(str(out))}/*")


def main(words: list[str]) -> int:
    """The command; returns its exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0 if words else 2
    with one_sentence():
        share_the_processor()
        return run(parse(words))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
