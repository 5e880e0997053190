"""`python -m interp.train PRESET [options]`: train a model with checkpoint saving."""

import dataclasses
import math
import shlex
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from interp.base import UserError, near_miss, one_sentence
from interp.command_line import loaded, parsed
from interp.config import RunConfig
from interp.maths import groups
from interp.tasks import given
from interp.train.null import Null, null_twin
from interp.train.presets import PRESETS, preset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interp.store import Run

WITHOUT_OUT = {"; choose another --out": "", ", or choose another --out": ""}
"""What `--resume DIR` says in place of this advice: it goes on where the run is."""

LOOK = "look at them with: python -m interp.analyze all"


@dataclasses.dataclass(frozen=True)
class Machine:
    """Options of the machine: what to compute on. They are no part of the configuration of a run."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto takes a GPU if there is one."""
    threads: int | Literal["auto"] = "auto"
    """CPU threads. auto: torch's choice for one process, cores ÷ processes for several. Another number rounds differently, so
    resume with the same one."""
    at_once: int | Literal["auto"] = "auto"
    """Runs that train side by side as one batched computation. auto: as many as are fastest, but every process gets some."""
    processes: int | Literal["auto"] = "auto"
    """Processes, if several runs are trained. auto: one for each core, and one on a GPU; in a cluster as many as its workers
    have threads for."""
    on: Annotated[str | None, tyro.conf.arg(metavar="CLUSTER", help_behavior_hint="(default: this machine)")] = None
    """Train several runs in a cluster, all of whose machines see --out: the address of a dask scheduler (tcp://…), a file of
    dask-jobqueue's configuration (slurm.yaml), or local:4."""
    leave: bool = False
    """With --on tcp://…: when this process is stopped, the cluster goes on. Otherwise everything there saves and ends."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Options of training: what to train, where to keep it, and what to compute on."""

    config: Annotated[RunConfig, tyro.conf.arg(name="")]
    out: Path
    """Directory of the run. For several runs: the directory of their directories."""
    start: Annotated[str, tyro.conf.arg(name="from", metavar="DIR[@STEP]", help_behavior_hint="(default: none)")] = ""
    """Begin with the weights of a checkpoint of another run, by default its last one, in place of initial weights. Task, data
    and training may be others, as long as the weights fit. The optimiser begins anew."""
    n_seeds: int = 1
    """Number of runs to train. They have different seeds, counted up from those given."""
    vary: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FIELD=VALUE,VALUE…")] = ()
    """Train a run for each value: train.weight-decay=0.3,1. Given several times: a run for each combination."""
    null: Null | None = None
    """Train the null twin: the same recipe and seeds where nothing can be generalised. `labels`: every training label is wrong.
    `answers`: the table is drawn at random. `init`: nothing is trained, the initial weights are all. Give it to analyses of the
    run by --beside."""
    machine: Annotated[Machine, tyro.conf.arg(name="")] = Machine()
    resume: bool = False
    """Resume a run where it stopped, or up to a larger train.steps; start it if there is none. Several runs always resume."""
    overwrite: bool = False
    """Replace the run in the directory. For several runs: replace all of them."""
    dry_run: bool = False
    """Only print how many runs there are, and how much disk and how many minutes they would take."""


@dataclasses.dataclass(frozen=True)
class Resumed:
    """Options of a run that goes on: its own configuration, in which train.steps may be larger."""

    config: Annotated[RunConfig, tyro.conf.arg(name="")]
    machine: Annotated[Machine, tyro.conf.arg(name="")] = Machine()
    dry_run: bool = False
    """Only print how much disk and how many minutes the rest would take."""


def overview() -> str:
    """Help text for a command line without a preset."""
    width = max(map(len, PRESETS))
    rows = [f"  {name:<{width}}  {entry.about} (about {entry.minutes:g} min)" for name, entry in PRESETS.items()]
    return "\n".join(
        [
            "usage: python -m interp.train PRESET [options]",
            "       python -m interp.train --resume DIR [--train.steps N]",
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
    """Options from the words of a command line; UserError for an unknown preset, or a directory that holds no run."""
    if "--resume" in words and words[0].startswith("-"):
        return resumed(words)
    if words[0].startswith("-"):
        raise UserError(f"the preset comes before {words[0]}{near_miss(words[0], PRESETS)}")
    if Path(words[0]).is_dir():
        raise UserError(
            f"{words[0]} is a directory; to go on with it, write python -m interp.train --resume {words[0]}"
        )
    chosen = preset(words[0])
    following = [after for word, after in pairwise(words) if word == "--resume" and not after.startswith("-")]
    if following:
        (path, *_) = following
        raise UserError(
            f"--resume DIR takes no preset; write python -m interp.train --resume {path}, or --out {path} --resume"
        )
    home = Path("checkpoints") / words[0]
    about = f"{chosen.about}; about {chosen.minutes:g} minutes on 2 CPU cores."
    prog, default = f"python -m interp.train {words[0]}", Arguments(chosen.config, home)
    found = parsed(Arguments, with_tables(words[1:]), prog, default, about)
    refuse_two_lengths(words, found.config)
    if found.null is None:
        return found
    out = found.out if found.out != home else home.with_name(f"{home.name}-null-{found.null}")
    return dataclasses.replace(found, config=null_twin(found.config, found.null), out=out)


def resumed(words: list[str]) -> Arguments:
    """Options of `--resume DIR`, wherever it stands among the words: those of the run that is there, and what is to change."""
    at = words.index("--resume")
    if at + 1 == len(words):
        raise UserError("--resume needs the directory of a run; write python -m interp.train --resume DIR")
    loaded("torch")
    from interp.store import open_record

    path, others = Path(words[at + 1]), words[:at] + words[at + 2 :]
    if "--overwrite" in others:
        raise UserError("--resume goes on with a run and --overwrite replaces it; give one of them")
    record = open_record(path)
    machine = Machine()
    for session in record.sessions[-1:]:  # on the same device and threads the numbers stay the same
        machine = Machine("cuda" if session.device.startswith("cuda") else "cpu", session.threads)
    if record.origin is not None or record.absent:  # which training refuses to go on from, and says why
        return Arguments(record.config, path, resume=True)
    found = parsed(Resumed, with_tables(others), "python -m interp.train --resume DIR", Resumed(record.config, machine))
    refuse_two_lengths(others, found.config)
    return Arguments(found.config, path, machine=found.machine, resume=True, dry_run=found.dry_run)


def refuse_two_lengths(words: list[str], config: RunConfig) -> None:
    """Raise UserError where both steps and examples say how long to train: the steps would be left out in silence."""
    options = {word.partition("=")[0] for word in words}
    if config.train.examples and "--train.steps" in options:
        raise UserError(
            f"--train.examples is {config.train.examples:,}, which alone says how long to train; leave --train.steps out"
        )


def refuse_to_train_nothing(config: RunConfig) -> None:
    """Raise UserError where a run has no learning rate, or ends before it has risen."""
    train = config.train
    if train.steps > 0 and train.lr == 0 and train.optimizer != "muon" and train.noise == "none":
        raise UserError(
            "--train.lr is 0, so nothing would be learned; take a larger one, or --null init for initial weights"
        )
    if 0 < train.steps < train.warmup_steps:
        raise UserError(
            f"{config.name} has {train.steps:,} steps, and its learning rate rises over --train.warmup-steps "
            f"{train.warmup_steps:,}; take more steps, or a shorter warm-up such as --train.warmup-steps 0"
        )


def with_tables(words: list[str]) -> list[str]:
    """Words of the command line, where a FILE.csv after --task.group or --task.operation is replaced by the table in it.

    So run.json holds what was trained on.
    """
    options = tuple(f"{option}=" for option in TABLES)
    apart = [part for word in words for part in (word.split("=", 1) if word.startswith(options) else [word])]
    return [
        table_in(Path(word), *TABLES[before]) if before in TABLES and word.endswith(".csv") else word
        for before, word in pairwise(["", *apart])
    ]


def table_in(file: Path, what: str, read: "Callable[[str], str]") -> str:
    """Table from a file, as the configuration has it."""
    try:
        return read(file.read_text("utf-8-sig"))  # spreadsheets begin theirs with a mark
    except OSError as error:
        raise UserError(f"{file} cannot be opened: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text; it should hold {what}, entries apart by commas") from error
    except ValueError as error:
        raise UserError(f"{file} {error}") from error


TABLES: "dict[str, tuple[str, Callable[[str], str]]]" = {
    "--task.group": ("the table of a group", lambda text: groups.write_table(groups.read_table(text))),
    "--task.operation": ("a table of answers", lambda text: given.write(given.read_csv(text))),
}
"""Tables that are read from files, by the option that takes the file: in words, and from its text to the configuration."""


def with_start(arguments: Arguments) -> Arguments:
    """Options whose configuration has the start that --from names."""
    if not arguments.start:
        return arguments
    from interp.store.start import start_from

    return dataclasses.replace(arguments, config=arguments.config.but(start=start_from(arguments.start)))


def run(arguments: Arguments) -> int:
    """Train what the options ask for; returns the exit code."""
    import torch

    machine = arguments.machine
    numbers = {name: getattr(machine, name) for name in ("threads", "at_once", "processes")}
    for name, number in {"n_seeds": arguments.n_seeds, **numbers}.items():
        if number != "auto" and number < 1:
            raise UserError(f"--{name.replace('_', '-')} is {number}; it should be at least 1")
    if machine.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device is cuda, and torch finds no GPU here; take --device cpu")
    device = machine.device
    if device == "auto":  # a cluster's machines have no GPU so far
        device = "cuda" if torch.cuda.is_available() and machine.on is None else "cpu"
    if arguments.n_seeds == 1 and not arguments.vary:
        if machine.on is not None or machine.leave:
            raise UserError("--on and --leave are for several runs; give --n-seeds or --vary, or leave them out")
        if not arguments.resume:  # what is there goes on, or says itself why it cannot
            refuse_to_train_nothing(arguments.config)
        return run_one(arguments, device)
    return run_several(arguments, device)


def run_one(arguments: Arguments, device: str) -> int:
    """Train one run in this process, or print what that would take; returns the exit code."""
    import torch

    from interp.store.directory import refuse_what_is_there
    from interp.store.writer import saved_step
    from interp.train.loop import Interrupted, train
    from interp.train.watching import watch

    if arguments.dry_run:
        refuse_what_is_there(arguments.out, arguments.resume, arguments.overwrite)
        return carried_out(arguments, {arguments.out.name: arguments.config}, arguments.out.parent, device)
    if arguments.machine.threads != "auto":
        torch.set_num_threads(arguments.machine.threads)
    total, going_on = arguments.config.train.steps, arguments.resume and not arguments.overwrite
    if going_on and saved_step(arguments.out, arguments.config) == total:
        print(f"{arguments.out} is finished: it has all of its {total:,} steps", file=sys.stderr)
    how = {"resume": arguments.resume, "overwrite": arguments.overwrite, "device": device, "watcher": watch}
    try:
        done = train(arguments.config, arguments.out, **how)
    except Interrupted as stop:
        again = shlex.join(["python", "-m", "interp.train", "--resume", str(stop.paths[0])])
        print(f"stopped at step {stop.step:,}, everything is saved; go on with: {again}", file=sys.stderr)
        return 130
    print(f"{len(done)} checkpoints up to step {done.steps[-1]:,} in {done.path}")
    print(learned(done))
    print(f"{LOOK} {shlex.quote(str(done.path))}")
    return 0


def learned(run: "Run") -> str:
    """When a run memorised and generalised, in a line; if it has not, how far it is, and how to go on."""
    from interp.measurement import landmarks

    history, train = run.history, run.config.train
    last = history.iloc[-1]
    if run.task.shape.outputs.kind != "classes":
        return f"test loss {last['test_loss']:.3g}, train loss {last['train_loss']:.3g}"
    steps = landmarks(history)
    reached = {name: steps[name] for name in ("memorised", "generalised") if not math.isnan(steps[name])}
    words = [f"{name} at step {step:,.0f}" for name, step in reached.items()]
    if not math.isnan(steps["collapsed"]):
        words.append(f"collapsed at step {steps['collapsed']:,.0f}")
    if "generalised" not in reached:
        words.append(f"not generalised yet: test accuracy {last['test_accuracy']:.1%}")
    if "generalised" in reached or train.schedule != "constant":  # a rate that falls toward the last step ends there
        return ", ".join(words)
    further = f"--train.examples {2 * train.examples}" if train.examples else f"--train.steps {2 * train.steps}"
    return f"{', '.join(words)}; go on with: python -m interp.train --resume {shlex.quote(str(run.path))} {further}"


def run_several(arguments: Arguments, device: str) -> int:
    """Train several runs in processes of their own, or print what that would take; returns the exit code."""
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
    for config in configs.values():
        refuse_to_train_nothing(config)
    return carried_out(arguments, configs, arguments.out, device)


def carried_out(arguments: Arguments, configs: "Mapping[str, RunConfig]", out: Path, device: str) -> int:
    """Train configurations, named by their directories in `out`, as a study; returns the exit code."""
    from interp.study import run_all

    machine = arguments.machine
    numbers = {name: getattr(machine, name) for name in ("threads", "at_once", "processes")}
    if len(configs) == 1:
        numbers["processes"] = 1
    found = run_all(
        configs,
        out,
        dry_run=arguments.dry_run,
        overwrite=arguments.overwrite,
        device=device,
        on=machine.on,
        leave=machine.leave,
        **{name: None if number == "auto" else number for name, number in numbers.items()},
    )
    if not arguments.dry_run:
        report(found.runs, out)
    return 1 if found.failures else 0


def report(done: "Mapping[str, Run]", out: Path) -> None:
    """Print how good each run became, and the command to look at them."""
    if not done:
        return
    width = max(map(len, done))
    for name, run in done.items():
        last = run.history.iloc[-1]
        answers = run.task.shape.outputs.kind == "classes"
        how = f"accuracy {last['test_accuracy']:6.1%}" if answers else f"loss {last['test_loss']:.4g}"
        print(f"{name:<{width}}  test {how} at step {run.steps[-1]:,}")
    print(f"{len(done)} runs in {out}; as a table: python -m interp.table {shlex.quote(str(out))}")
    print(f"{LOOK} {shlex.quote(str(out))}")


def main(words: list[str]) -> int:
    """Run `python -m interp.train` with these words; returns the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0 if words else 2
    with one_sentence(WITHOUT_OUT if words[0] == "--resume" else {}):
        arguments = parse(words)
        loaded("torch", "interp.train.loop", "interp.study")
        return run(with_start(arguments))
