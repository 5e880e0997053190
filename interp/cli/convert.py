"""`python -m interp.convert SRC --out DIR`: runs of others as ordinary runs; `--to bridge`: runs for TransformerLens 4."""

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from interp.base import UserError, one_sentence
from interp.command_line import parsed
from interp.store.files import WITHOUT_RESUME

if TYPE_CHECKING:
    from interp.store import Run


@dataclasses.dataclass(frozen=True)
class GivenTask:
    """Options of the task, for what the files do not tell or have wrong."""

    operation: str | None = None
    """Operation, such as add. If not given, it is found by trying every one, provided that the weights have learned it."""
    group: str | None = None
    """Group, such as S5, C113, D59 or A5, for weights that compose its elements. How these are numbered is found by trial."""
    p: int | None = None
    """Modulus."""
    prompt: Literal["ab=", "ab", "aob="] | None = None
    """Tokens of a prompt."""
    sparsity: float | None = None
    """Probability that a feature is 0, of a toy model's task."""
    train_fraction: float | None = None
    """Share of the table that was trained on, between 0 and 1."""


@dataclasses.dataclass(frozen=True)
class GivenModel:
    """Options of the model, for what the files do not tell or have wrong."""

    act_fn: Literal["relu", "gelu", "silu", "solu", "solu_ln", "quadratic"] | None = None
    """Activation of the neurons."""
    n_heads: int | None = None
    """Number of heads of an nn.MultiheadAttention, which its shapes do not tell."""
    output: Literal["relu", "gelu", "silu", "none"] | None = None
    """Activation of a toy model's output."""
    normalization: Literal["none", "LN", "LNPre"] | None = None
    """LayerNorm before each sublayer and the unembedding."""
    attention: Literal["causal", "bidirectional"] | None = None
    """Direction of attention. causal: a token sees itself and those before it. bidirectional: all tokens."""
    attention_rate: float | None = None
    """Share of softmax in the attention pattern (Zhong et al. 2023)."""


@dataclasses.dataclass(frozen=True)
class GivenTrain:
    """Options of the training, for what the files do not tell or have wrong."""

    optimizer: Literal["adamw", "adam", "sgd"] | None = None
    """Optimiser."""
    lr: float | None = None
    """Learning rate after the warm-up."""
    weight_decay: float | None = None
    """Weight decay, toward 0."""
    loss: Literal["cross_entropy", "squared_error"] | None = None
    """Loss that was minimised."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Options of conversion: what to read, and where to write."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SRC")]
    """A file or folder that somebody's training wrote; with --to bridge, the directory of a run."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: checkpoints/NAME)")] = None
    """Directory of the run. For several runs: the directory of their directories."""
    to: Literal["run", "bridge"] = "run"
    """Format to write: an ordinary run, or what TransformerLens 4 reads."""
    steps: tuple[int, ...] = ()
    """Steps of the checkpoints to write, with --to bridge. Give them after SRC: --steps 0 900."""
    step: Annotated[str | None, tyro.conf.arg(metavar="N|NAME")] = None
    """Number of updates after which weights are that do not say it. For a folder: the names of its files with STEP for the
    number, such as model_STEP.pt."""
    skip_broken: bool = False
    """Leave broken files of a folder out, or with --to bridge broken checkpoints, and say which."""
    split: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """File with the prompts that were trained on: rows of the task's table from 0, in the order of x and then y, as a column, a
    list in JSON or a tensor; or columns x and y."""
    history: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """File with learning curves that lies elsewhere: CSV, JSON or JSONL with step, train_loss, test_loss, …"""
    as_module: bool = False
    """Take weights as those of some module, by their own names, whatever network these tell. So they are anyway where nothing
    else fits."""
    overwrite: bool = False
    """Replace runs that exist."""
    task: GivenTask = GivenTask()
    model: GivenModel = GivenModel()
    train: GivenTrain = GivenTrain()


PARTS = ("task", "model", "train")

USAGE = """usage: python -m interp.convert SRC --out DIR [options]      a run that others wrote, as an ordinary one
       python -m interp.convert RUN --to bridge --out DIR    a run as TransformerLens 4 reads it

SRC is one of
  a HookedTransformer's state dict: .pth, .pt, .ckpt or .safetensors, alone or with curves beside it; several in one file;
  a folder of them, whose names have their step: model_step900.pt, epoch_3.pth, 900.pt; the grokking demo's file
  a folder of folders with it in theirs: checkpoint-500/model.safetensors, step1000/model.safetensors
  a file of Nanda et al. (2023), or a folder with EPOCH.pth, init.pth, final.pth; loss curves without weights
  config_ID.json or model_ID.pt of Zhong et al. (2023), or a folder of such pairs
  a folder with cfg.json and model.pt of Chughtai et al. (2023), or a folder of such folders
  a state dict of nn.Linear layers, or of one nn.MultiheadAttention with an MLP
  W and b_final of toy models of superposition, of one or several instances; {epoch: state dict} of any of these
  a state dict of any other module: its weights are measured, and what it computes by --model FILE.py:NAME of interp.analyze
  learning curves in CSV, JSON or JSONL: step, train_loss, test_loss, train_accuracy, test_accuracy

Pickles are opened without running what is in them. What files do not tell stays unknown, or is given by options:
python -m interp.convert SRC --help"""


def told(given: GivenTask | GivenModel | GivenTrain) -> dict[str, Any]:
    """Fields that were given."""
    return {name: value for name, value in dataclasses.asdict(given).items() if value is not None}


def report(runs: "Sequence[Run]") -> None:
    """Print what was found, what stays unknown, and what to do with it."""
    if len(runs) == 1:
        print(runs[0])
        print(f"look at it with: python -m interp.analyze all {shlex.quote(str(runs[0].path))}")
        return
    width = max(len(run.path.name) for run in runs)
    for run in runs:
        words = run.summary()
        told = [f"{len(run)} checkpoints" if run.steps else "curves", words["task"], *filter(None, [words.get("loss")])]
        print(f"{run.path.name:<{width}}  {'; '.join(told)}")
    for note in notes_of(runs):
        print(f"note: {note}")
    parent = shlex.quote(str(runs[0].path.parent))
    print(f"{len(runs)} runs in {parent}; what is known of each: python -m interp.probe DIR")
    print(f"look at them with: python -m interp.analyze all {parent}")


def notes_of(runs: "Sequence[Run]") -> list[str]:
    """Notes of several runs, with the name of its run before each that is not of all."""
    notes = [run.record.origin.notes if run.record.origin else () for run in runs]
    of_all = [note for note in notes[0] if all(note in each for each in notes)]
    each = zip(runs, notes, strict=True)
    return of_all + [f"{run.path.name}: {note}" for run, found in each for note in found if note not in of_all]


def refuse_for_bridge(arguments: Arguments) -> None:
    """Raise UserError for an option that an export to TransformerLens 4 cannot use."""
    given = [f"--{part}.{name.replace('_', '-')}" for part in PARTS for name in told(getattr(arguments, part))]
    given += ["--step"] if arguments.step is not None else []
    given += ["--overwrite"] if arguments.overwrite else []
    given += ["--as-module"] if arguments.as_module else []
    given += [f"--{name}" for name in ("split", "history") if getattr(arguments, name) is not None]
    if given:
        raise UserError(f"{given[0]} cannot be used with --to bridge, which writes a run as it is; leave it out")


def to_bridge(arguments: Arguments) -> None:
    """Write a run for TransformerLens 4, and print where it is."""
    from interp.store import open_run
    from interp.store.foreign.bridge import write_bridge

    refuse_for_bridge(arguments)
    run = open_run(arguments.source).select(steps=arguments.steps)
    if arguments.skip_broken:
        run, faults = run.without_broken()
        for fault in faults:
            print(f"left out: {fault}", file=sys.stderr)
    out = arguments.out or Path("checkpoints") / f"{run.path.absolute().name}-bridge"
    files = write_bridge(run, out)
    print(f"{len(files) - 1} checkpoints and {files[-1].name} for TransformerLens 4 in {out}")
    print("how to load them stands in checkpoints/README.md")


def parse(words: list[str]) -> Arguments:
    """Options from the words of a command line."""
    about = "Runs that others wrote, as ordinary ones; or a run as TransformerLens 4 reads it."
    return parsed(Arguments, words, "python -m interp.convert", about=about)


def main(words: list[str]) -> int:
    """Run `python -m interp.convert` with these words; returns the exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if words else 2
    with one_sentence(WITHOUT_RESUME):
        arguments = parse(words)
        if arguments.to == "bridge":
            to_bridge(arguments)
            return 0
        if (arguments.source / "run.json").is_file():
            raise UserError(
                f"{arguments.source} is a run already; look at it with python -m interp.analyze all {arguments.source}, or write "
                "it for TransformerLens 4 with --to bridge"
            )
        if arguments.steps:
            raise UserError("--steps goes with --to bridge; a run is converted whole")
        source = arguments.source.absolute()
        out = arguments.out or Path("checkpoints") / (source.name if source.is_dir() else source.stem)
        given: dict[str, Any] = {part: told(getattr(arguments, part)) for part in PARTS}
        from interp.store.foreign.convert import convert  # here: --help costs no torch

        how = {
            name: getattr(arguments, name)
            for name in ("overwrite", "step", "skip_broken", "as_module", "split", "history")
        }
        report(convert(arguments.source, out, **how, **given))
    return 0
