"""`python -m interp.analyze NAME DIR…`: measure runs across their checkpoints."""

import dataclasses
import functools
import json
import shlex
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from interp import analyze
from interp.base import Frozen, UserError, near_miss, one_sentence
from interp.cli.over_runs import Together
from interp.cli.written import as_json, demanded, draw_one, report
from interp.command_line import as_typed, loaded, parsed, refuse_empty
from interp.machine import memory_size
from interp.store.files import WITHOUT_RESUME

if TYPE_CHECKING:
    from interp.kept import Answer


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Options of every analysis: what to read, and where to write."""

    dirs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR…", help_behavior_hint="")]
    """Directories of runs, or of several runs each."""
    options: Annotated[Any, tyro.conf.arg(name="")]
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: DIR/analysis)")] = None
    """Directory of the results. For several runs: one folder a run in it. Results of some checkpoints only (--every, --last,
    --steps) are by default in DIR/analysis/part, so that those of all stay."""
    every: int = 1
    """Take every n-th checkpoint, and the last."""
    last: int | Literal["all"] = "all"
    """Take the last n checkpoints only."""
    steps: tuple[int, ...] = ()
    """Take the checkpoints of these steps only. Give them after DIR: --steps 0 100 900."""
    with_newest: bool = False
    """Add the weights of the newest resume state where they are newer than the last checkpoint, as in a run that was stopped
    between two."""
    memory: Annotated[str | None, tyro.conf.arg(metavar="SIZE", help_behavior_hint="(default: a quarter of RAM)")] = (
        None
    )
    """Memory that measuring may take, such as 2GiB. The 0.5 GiB of Python and its libraries come on top."""
    model: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:NAME", help_behavior_hint="")] = None
    """Your own module, of runs that `interp.record` wrote: a class or function in a file of yours that makes it, or that gives
    `interp.adapt` of it. Without it their weights are measured, and what the module computes is not."""
    beside: tuple[Path, ...] = ()
    """Runs, or directories of several, that are measured too and drawn as a band behind each curve: null twins (`interp.train
    --null`), or other seeds. Give them after DIR: --beside checkpoints/quick-null-labels."""
    anew: bool = False
    """Measure all, also what was measured before and is kept in DIR/analysis/kept."""
    long_csv: bool = False
    """Write NAME-long.csv too: a row for every number that was measured. NAME.csv is the printed table, and NAME.nc has all."""
    nc: bool = False
    """With `all`: write NAME.nc too, every number for xarray. An analysis alone always writes it; `all` of what is not kept."""
    png: bool = False
    """With `all`: write NAME.png too. An analysis alone always writes it."""
    on: Annotated[str | None, tyro.conf.arg(metavar="CLUSTER", help_behavior_hint="(default: this machine)")] = None
    """Measure every run in a cluster, all of whose machines see the runs: the address of a dask scheduler (tcp://…), a file of
    dask-jobqueue's configuration (slurm.yaml), or local:4. Give DIR first."""
    processes: int | Literal["auto"] = "auto"
    """With --on: runs that are measured at a time. auto: as many as its workers have threads for."""
    skip_broken: bool = False
    """Leave out damaged checkpoints; print their names."""
    json: bool = False
    """Print the whole measurement as JSON, one line a run. Files are written only if --out is given."""


class NoOptions(Frozen):
    """Options of `all`: none, every analysis has its defaults."""


def overview() -> str:
    """Help text for a command line without an analysis."""
    known = {**analyze.analyses(), "all": analyze.ALL}
    width = max(map(len, known))
    return "\n".join(
        [
            "usage: python -m interp.analyze NAME DIR… [options]",
            "",
            "Measure runs across their checkpoints; writes .html .csv .nc .png into DIR/analysis, for all index.html and .csv.",
            "",
            "analyses:",
            *[f"  {name:<{width}}  {line}" for name, line in known.items()],
            "",
            "Options of one analysis: python -m interp.analyze fourier --help",
            "One of your own, in a file: python -m interp.analyze ./sparsity.py DIR",
        ]
    )


def named(word: str) -> str:
    """Name of the analysis that a word stands for: itself, unless it is the path of a file."""
    if Path(word).is_dir() or not analyze.is_file(word):
        return word
    loaded("torch")
    return analyze.called(word)


def parse(name: str, words: list[str]) -> Arguments:
    """Options from the words of a command line."""
    if Path(name).is_dir() and words:
        raise UserError(f"{name} is a directory; the analysis comes first: python -m interp.analyze {words[0]} {name}")
    if name != "all" and name not in analyze.analyses():
        raise UserError(f'no analysis "{name}"{near_miss(name, [*analyze.analyses(), "all"])}')
    asks_for_help = {"-h", "--help"} & {*words}
    loaded("torch", *([] if asks_for_help else ["interp.kept", "interp.report.page"]))
    options = NoOptions if name == "all" else analyze.find(name).Options
    arguments = dataclasses.make_dataclass(
        "Arguments",
        [("options", Annotated[options, tyro.conf.arg(name="")], options())],
        bases=(Arguments,),
        frozen=True,
        kw_only=True,
    )
    arguments.__doc__ = Arguments.__doc__
    refuse_empty(words, ("--steps", "--beside"))
    return parsed(arguments, words, f"python -m interp.analyze {name}", about=about(name))


def about(name: str) -> str:
    """Question that the analysis asks."""
    return analyze.analyses().get(name, analyze.ALL)


def run_analyses(name: str, arguments: Arguments, words: Sequence[str]) -> int:
    """Measure every run; returns the exit code, 2 if one of them could not be measured.

    `words` are those of the command line, for machines of a cluster.
    """
    if not arguments.dirs:
        raise UserError(f"no run given; write python -m interp.analyze {name} DIR")
    if arguments.memory is not None:
        memory_size(arguments.memory, "--memory")  # refused once, not for every run
    from interp.store import open_record, runs_in

    for path in runs_in(arguments.beside):  # before the measuring, which may take minutes
        open_record(path)
    if arguments.on is None and arguments.processes != "auto":
        raise UserError("--processes is for a cluster, and --on is not given; without it runs are measured one by one")
    if arguments.on is not None and words[1].startswith("-"):
        raise UserError(
            f"with --on the directories come first: python -m interp.analyze {name} DIR --on {arguments.on}"
        )
    targets = places(arguments)
    failed, beside, together = False, dict[str, list[Any]](), Together(len(targets) > 1)
    there = {} if arguments.on is None else elsewhere(name, arguments, words, targets)
    for path, out in targets.items():
        try:
            if path in there:
                raise UserError(f"{path}: {there[path]}")
            one = run_one if arguments.on is None else run_one_again
            together.add(path.name, out, one(name, path, out, arguments, beside))
        except UserError as error:
            if len(targets) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)
            failed = True
    together.report(shared_place(arguments), arguments.json, page=name == "all")
    return 2 if failed else 0


def elsewhere(name: str, arguments: Arguments, words: Sequence[str], targets: dict[Path, Path]) -> dict[Path, str]:
    """Have every run measured in a cluster; returns why others failed, by run."""
    from interp.cli.elsewhere import measured_there

    if arguments.json:
        raise UserError("--on has files written, and --json prints; leave one of them out")
    processes = None if arguments.processes == "auto" else arguments.processes
    shared = shared_place(arguments) or next(iter(targets.values()))
    return measured_there(arguments.on or "", processes, words, targets, shared)


def run_one_again(
    name: str, path: Path, out: Path, arguments: Arguments, beside: dict[str, list[Any]]
) -> dict[str, Any]:
    """The measurements of a run that was measured elsewhere, from what is kept; its pages are written already."""
    left_out, answers = dict[str, str](), dict[str, "Answer"]()
    kept = dataclasses.replace(arguments, anew=False)
    found = dict(measurements(selected(path, kept), name, kept, left_out, beside, answers))
    print(f"{path}: {', '.join(found) or 'nothing fits'} in {out}")
    return found


def shared_place(arguments: Arguments) -> Path | None:
    """Directory for results over several runs: --out, or analysis/ in the one directory that holds them all."""
    if arguments.out is None and len(arguments.dirs) == 1:
        return results_in(Path(*arguments.dirs), arguments)
    return arguments.out


def results_in(path: Path, arguments: Arguments) -> Path:
    """Directory for results where --out is not given: of all checkpoints, or of some of them."""
    from interp.store.layout import ANALYSIS, PART

    some = arguments.every > 1 or arguments.last != "all" or arguments.steps
    return path / ANALYSIS / PART if some else path / ANALYSIS


def places(arguments: Arguments) -> dict[Path, Path]:
    """Directory for the results of each run; UserError if two runs would share one."""
    from interp.store import runs_in

    runs = runs_in(arguments.dirs)
    if arguments.out is None:
        return {path: results_in(path, arguments) for path in runs}
    if len(runs) == 1:
        return dict.fromkeys(runs, arguments.out)
    targets = {path: arguments.out / path.absolute().name for path in runs}
    for path, out in targets.items():
        twin = next((other for other in targets if other != path and targets[other] == out), None)
        if twin is not None:
            raise UserError(
                f"{path} and {twin} would both write to {out}; analyse them one by one, each with its --out"
            )
    return targets


def run_one(name: str, path: Path, out: Path, arguments: Arguments, beside: dict[str, list[Any]]) -> dict[str, Any]:
    """Measure one run, write what was found and print it; returns the measurements.

    `beside` has the measurements of the runs beside it by analysis: those of an earlier run are taken from there, others added.
    """
    from interp.report import files
    from interp.report.page import write_page

    run = selected(path, arguments)
    writes = not arguments.json or arguments.out is not None
    if writes:
        files.prepared(out)  # before the measuring, which may take minutes
    pending, left_out, answers = dict[str, Future[Any]](), dict[str, str](), dict[str, "Answer"]()
    on_demand = demanded(name, arguments)
    # One measurement is drawn and written while the next is measured.
    with files.Pictures() as pictures, ThreadPoolExecutor(1) as pool:
        for each, found in measurements(run, name, arguments, left_out, beside, answers):
            stem = out / each if writes else None
            demand = on_demand if answers[each].kept else on_demand | {".nc"}  # else these numbers would be nowhere
            pending[each] = pool.submit(draw_one, found, beside[each], stem, demand, pictures)
        measured = {each: future.result() for each, future in pending.items()}
    tell_what_was_kept(run, answers)
    if arguments.json:
        print(json.dumps(as_json(run, measured, left_out)))
    alone = {each: found for each, (found, _) in measured.items()}
    if not writes:
        return alone
    if not arguments.json:
        report(run, name, out, measured, left_out)
    if pictures.trouble:
        print(pictures.trouble, file=sys.stderr)
    if name == "all":
        page = out / "index.html"
        write_page(run, measured, left_out, page)
        print(f"page: {page.resolve()}", file=sys.stderr if arguments.json else sys.stdout)
    elif (out / "index.html").exists():
        print(f"{out / 'index.html'} is from before; renew it with: python -m interp.analyze all", file=sys.stderr)
    return alone


def selected(path: Path, arguments: Arguments) -> Any:
    """The run in a directory, of those checkpoints that the options take."""
    run = opened(path, arguments).select(every=arguments.every, last=arguments.last, steps=arguments.steps)
    run = run.with_newest() if arguments.with_newest else run
    run = run if arguments.memory is None else run.within(arguments.memory)
    if arguments.skip_broken:
        run, faults = run.without_broken()
        for fault in faults:
            print(f"left out: {fault}", file=sys.stderr)
    return run


def opened(path: Path, arguments: Arguments) -> Any:
    """The run in a directory, with its own module if there is one."""
    from interp.cli.own_model import made
    from interp.store import open_run

    if arguments.model is None:
        return open_run(path)
    run = open_run(path, model=made(arguments.model))
    return dataclasses.replace(
        run, view=(*run.view, f"--model {shlex.quote(arguments.model)}")
    )  # for the command under figures


def measurements(
    run: Any,
    name: str,
    arguments: Arguments,
    left_out: dict[str, str],
    beside: dict[str, list[Any]],
    answers: "dict[str, Answer]",
) -> Generator[tuple[str, Any]]:
    """Each analysis with its measurement, which are told against those of the runs beside it; these are put into `beside`.

    If `all` are asked for, those that do not apply are put into `left_out` instead. How much was kept is put into `answers`.
    """
    from interp import kept
    from interp.base import DoesNotApply
    from interp.views.watched import shown

    names, options = [name], {}
    if name == "all":
        names = fitting(run, left_out)
    else:
        options = arguments.options.model_dump()
    for number, each in enumerate(names, start=1):
        bar = functools.partial(shown, each if len(names) == 1 else f"{each}, {number} of {len(names)}")
        how = {"anew": arguments.anew, "write": not arguments.json or arguments.out is not None}
        try:
            answers[each] = kept.measure(run, each, shown=bar, **how, **options)
        except DoesNotApply as error:  # which measuring alone can tell
            if name != "all":
                raise
            left_out[each] = str(error)
            continue
        if each not in beside:
            beside[each] = measured_beside(each, arguments, options)
        yield each, analyze.against(answers[each].found, beside[each], shlex.join(map(str, arguments.beside)))


def tell_what_was_kept(run: Any, answers: "dict[str, Answer]") -> None:
    """Print what was not measured now, what of it was measured and why, and which other results are no longer so."""
    from interp.kept import stale

    if before := [each for each, answer in answers.items() if not answer.measured]:
        print(f"as measured before: {', '.join(before)}; --anew measures again", file=sys.stderr)
    for each, answer in answers.items():
        if answer.why and answer.measured:
            print(f"{each}: {answer}", file=sys.stderr)
    old = stale(run, but=answers) if not run.view else {}
    if old:
        words = ", ".join(f"{each} ({why})" for each, why in old.items())
        renew = f"python -m interp.analyze {next(iter(old)) if len(old) == 1 else 'all'} {shlex.quote(str(run.path))}"
        print(f"from before, and no longer so: {words}; renew with: {renew}", file=sys.stderr)


def fitting(run: Any, left_out: dict[str, str]) -> list[str]:
    """Analyses that `all` measures of a run; why others are not measured is put into `left_out`."""
    names: list[str] = []
    for each in analyze.analyses():
        if why := analyze.declines(run, each):
            left_out[each] = why
        elif alone := getattr(analyze.find(each), "ALONE", ""):
            left_out[each] = f"{alone}; ask for it by python -m interp.analyze {each} {shlex.quote(str(run.path))}"
        else:
            names.append(each)
    return names


def measured_beside(name: str, arguments: Arguments, options: dict[str, Any]) -> list[Any]:
    """Measurements of the runs beside; a run that the analysis is not for is named on stderr."""
    from interp import kept
    from interp.base import DoesNotApply
    from interp.store import runs_in
    from interp.views.watched import shown

    found = []
    for path in runs_in(arguments.beside):
        run = opened(path, arguments)
        run = run if arguments.memory is None else run.within(arguments.memory)
        try:
            bar = functools.partial(shown, f"{name} of {path}")
            found.append(kept.measure(run, name, shown=bar, anew=arguments.anew, **options).found)
        except DoesNotApply as error:
            print(f"not beside: {error}", file=sys.stderr)
    return found


def main(words: list[str]) -> int:
    """Run `python -m interp.analyze` with these words; returns the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0 if words else 2
    with one_sentence(WITHOUT_RESUME):
        name = named(words[0])
        arguments = parse(name, words[1:])
        try:
            return run_analyses(name, arguments, words)
        except UserError as error:
            names = [f"--{name.replace('_', '-')}" for name in type(arguments.options).model_fields]
            raise UserError(as_typed(str(error), names)) from None
