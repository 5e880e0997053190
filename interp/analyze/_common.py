"""What every analysis shares: its options, a walk over checkpoints in bounded memory, and labelled results."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from typing import Any, ClassVar, TypeVar

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from interp.analyze import _progress
from interp.base import DoesNotApply, Frozen, UserError, once, readable_size
from interp.maths.curves import first_lasting
from interp.models.products import keep_freed_memory
from interp.models.shared import SharedForward
from interp.store import Run
from interp.store.tensors import Tensors
from interp.tasks import ModularTask

Value = TypeVar("Value")

CHUNK = 1 << 23
"""Bytes of weights in a chunk, at most: larger ones leave the processor's cache and are no faster."""

ACTIVATIONS = 1 << 21
"""Bytes of activations of several checkpoints at once, at most, for the same reason."""

TOGETHER = 16
"""Checkpoints whose activations are computed at once, at most: what calling torch costs is small by then."""


class AnalysisOptions(Frozen):
    """Options of an analysis: every field is one on the command line, with its docstring as help."""

    section: ClassVar[str] = ""


def over_checkpoints(
    run: Run,
    measure: Callable[[Tensors], Mapping[str, Tensor]],
    *,
    each: int,
    beside: int = 0,
    names: Callable[[str], bool] = lambda name: True,
    at_most: int | None = None,
) -> dict[str, np.ndarray]:
    """Apply `measure` to the weights of all checkpoints in view, stacked along a leading step axis.

    `measure` receives a chunk of checkpoints (`at_most` so many) and returns named tensors with the same leading axis,
    which are joined; only weights whose name passes `names` are read. Beside twice those, a checkpoint takes `each` bytes
    at work, and a chunk takes `beside` more, however small. Several chunks are measured at a time, each on one thread,
    while all of them fit into the run's memory.
    """
    keep_freed_memory()
    run = run.with_checkpoints()
    size = bytes_read(run, names)
    workers, chunk = shares(run, 2 * size + each, beside, at_most or CHUNK // size)
    views = [replace(run, steps=run.steps[begin : begin + chunk]) for begin in range(0, len(run), chunk)]

    def measured(view: Run) -> Mapping[str, Tensor]:
        """Of one chunk."""
        with torch.inference_mode():  # a property of the thread
            return measure(view.stacked(names))

    parts: list[Mapping[str, Tensor]] = []
    with single_threads() as initialise, ThreadPoolExecutor(workers, initializer=initialise) as pool:
        try:
            for part in pool.map(measured, views):
                parts.append(part)
                _progress.tell(sum(len(next(iter(each.values()))) for each in parts), len(run))
        except BaseException:  # a Ctrl-C or a damaged file: do not measure the rest first
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


def each_checkpoint(
    run: Run, measure: Callable[[Tensors], Mapping[str, Tensor | float]], *, needs: int
) -> dict[str, np.ndarray]:
    """The same for a measure of one checkpoint at a time, which takes `needs` bytes at work: [step, …] of what it returns.

    For measures of the activations over a whole table, which are large beside the weights.
    """

    def measured(stack: Tensors) -> dict[str, Tensor]:
        """Of a chunk of one."""
        found = measure({name: tensor[0] for name, tensor in stack.items()})
        return {name: torch.as_tensor(value, dtype=wide(value))[None] for name, value in found.items()}

    return over_checkpoints(run, measured, each=needs, at_most=1)


def wide(value: Tensor | float) -> torch.dtype:
    """What a result is kept in: numbers in float64, counts and answers to yes-or-no questions as they are."""
    return value.dtype if isinstance(value, Tensor) and not value.is_floating_point() else torch.float64


def bytes_read(run: Run, names: Callable[[str], bool] = lambda name: True) -> int:
    """Of the weights of one checkpoint, those whose name passes."""
    return 4 * sum(math.prod(shape) for name, shape in run.tensor_shapes.items() if names(name))


def fits(run: Run, needed: int) -> None:
    """UserError when the least that measuring takes is more than the run's memory."""
    if run.memory < needed:
        raise UserError(
            f"--memory is {readable_size(run.memory)}; measuring {run.path} takes at least {readable_size(needed)}"
        )


def shares(run: Run, each: int, beside: int, at_most: int) -> tuple[int, int]:
    """How many chunks to measure at a time, and of how many checkpoints, in the run's memory."""
    fits(run, each + beside)
    workers = min(torch.get_num_threads(), run.memory // (each + beside), len(run))
    fitting = (run.memory // workers - beside) // each
    return workers, max(1, min(fitting, at_most, -(-len(run) // workers)))


@contextmanager
def single_threads() -> Iterator[Callable[[], None]]:
    """Within, torch computes on one thread; yields what a new thread calls for the same.

    Many small decompositions gain nothing from the threads of a single one, and all from standing side by side.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield lambda: torch.set_num_threads(1)
    finally:
        torch.set_num_threads(before)


def evenly(run: Run, at_most: int) -> Run:
    """The run with at most so many of its checkpoints in view, evenly spread, the last one among them."""
    chosen = np.unique(np.linspace(len(run) - 1, 0, min(at_most, len(run))).round().astype(int))
    return replace(run, steps=tuple(run.steps[index] for index in chosen))


def beforehand(work: Callable[[], Value]) -> Value:
    """What is found out before checkpoints are measured, on one thread under inference mode as they are.

    The memory that this takes is then theirs: freed memory stays with a thread and goes to its successor, and would lie idle
    with the main one.
    """
    keep_freed_memory()

    def worked() -> Value:
        """Inference mode is a property of the thread."""
        with torch.inference_mode():
            return work()

    with single_threads() as initialise, ThreadPoolExecutor(1, initializer=initialise) as pool:
        return pool.submit(worked).result()


Variables = Mapping[str, tuple[tuple[str, ...], Any, Mapping[str, str]]]
"""Name → (dimensions, values, attributes)."""


def dataset(
    run: Run, options: AnalysisOptions, variables: Variables, coords: Mapping[str, Any], definition: str, source: str
) -> xr.Dataset:
    """A measurement at the run's checkpoints: variables whose first dimension is `step`, and where they came from.

    The losses and accuracies of those steps come along, and the steps of memorisation and generalisation, so that any
    figure can show them.
    """
    history = run.history
    at_steps = history.reindex(run.steps)
    learning = {name: (("step",), at_steps[name].to_numpy(), about) for name, about in learned(run).items()}
    every = learning | dict(variables)
    found = xr.Dataset(
        {name: xr.Variable(dims, values, dict(attrs)) for name, (dims, values, attrs) in every.items()},
        coords={"step": xr.Variable("step", list(run.steps), {"units": "optimiser updates"}), **coords},
    )
    return found.assign_attrs(provenance(run, options), definition=definition, source=source, **landmarks(history))


def by_step(found: xr.Dataset) -> pd.DataFrame:
    """An empty table with a row for each step."""
    return pd.DataFrame(index=pd.Index(found["step"].values, name="step"))


LEARNING = {
    "train_loss": {"long_name": "loss on the training set", "units": "nats"},
    "test_loss": {"long_name": "loss on the test set", "units": "nats"},
    "train_accuracy": {"long_name": "accuracy on the training set", "units": "1"},
    "test_accuracy": {"long_name": "accuracy on the test set", "units": "1"},
}
"""Columns of the history, with what they are."""


def learned(run: Run) -> dict[str, dict[str, str]]:
    """The same for this run, whose losses may be in other units."""
    units = run.task.shape.loss_units
    return {name: about | ({"units": units} if "loss" in name else {}) for name, about in LEARNING.items()}


def provenance(run: Run, options: AnalysisOptions) -> dict[str, str]:
    """Attributes that say of which run, and with which options, a measurement is."""
    return {
        "run": run.name,
        "config": run.config.model_dump_json(),
        "options": options.model_dump_json(),
        "interp_version": metadata.version("interp"),
    }


def landmarks(history: pd.DataFrame, threshold: float = 0.99) -> dict[str, float]:
    """Steps from which train and test accuracy stay at or above the threshold; NaN when they never do."""
    steps = history.index.to_numpy()
    return {
        "memorised": first_lasting(steps, history["train_accuracy"].to_numpy(), threshold),
        "generalised": first_lasting(steps, history["test_accuracy"].to_numpy(), threshold),
    }


def needs_numbers(run: Run, analysis: str, at_least: int = 5) -> ModularTask:
    """The run's task when its tokens are the residues of a modulus that is large enough; DoesNotApply otherwise."""
    task = run.task
    if not isinstance(task, ModularTask):
        raise DoesNotApply(f'{run.path} was trained on "{task.kind}"; analysis "{analysis}" needs a modular task')
    if len(task.residues()) < at_least:
        raise DoesNotApply(
            f'{run.path} has {len(task.residues())} residues in its order (p = {task.p}); analysis "{analysis}" needs at least '
            f"{at_least} "
            "to tell frequencies apart"
        )
    return task


def needs_mlp(run: Run, analysis: str) -> Run:
    """The run, when its layers have an MLP; DoesNotApply otherwise."""
    if run.transformer.attn_only:
        raise DoesNotApply(f'{run.path} has layers of attention alone; analysis "{analysis}" needs an MLP')
    return run


def number_rows(W_E: Tensor, task: ModularTask) -> Tensor:
    """Embeddings of the numbers, in the order in which the task's operation is a sum: [..., period, d_model].

    They are those of the first operand, where the second has tokens of its own.
    """
    return W_E[..., torch.from_numpy(task.residues()), :]


def answer_rows(W_U: Tensor, task: ModularTask) -> Tensor:
    """What points at each answer, in the same order: columns of [..., d, d_vocab_out] as rows [..., period, d].

    Signs and tokens of the second operand are never the answer and are left out, where they have a logit.
    """
    return W_U.mT[..., torch.from_numpy(task.residues()), :]


def last_mlp(weights: Mapping[str, Tensor], run: Run) -> Tensor:
    """W_L = W_out·W_U of the last layer: what its neurons write on the logits, [..., d_mlp, d_vocab_out].

    Of a LayerNorm between the two, the centring and the weights are part of it; its scale, which differs by prompt, is not.
    """
    spec = run.transformer
    W_out = weights[f"blocks.{spec.n_layers - 1}.mlp.W_out"]
    if spec.normalization != "none":
        W_out = W_out - W_out.mean(dim=-1, keepdim=True)
    if spec.normalization == "LN":
        W_out = W_out * weights["ln_final.w"][..., None, :]
    return W_out @ weights["unembed.W_U"]


class NeuronSums:
    """Sums, over the prompts of the task's whole table with one label, of the last layer's neurons at the answer position.

    At p = 113 the activations take thirty times the memory of the weights. They are computed in parts that stay in the
    processor's cache: of many checkpoints at once while those are small, of some prompts when one is not.
    """

    def __init__(self, run: Run, labels: Int[Tensor, " prompt"], n_labels: int):
        self.spec, self.labels, self.n_labels = run.known_model, labels, n_labels
        self.prompts = torch.from_numpy(run.task.table().inputs)
        self.together = min(TOGETHER, max(1, ACTIVATIONS // (4 * self.spec.d_mlp * len(labels))))
        self.part = min(len(labels), max(1, ACTIVATIONS // (4 * self.spec.d_mlp)))

    @property
    def bytes(self) -> int:
        """What it takes at work, whatever the number of checkpoints."""
        spec, (n, n_ctx), tokens = self.spec, self.prompts.shape, int(self.prompts.max()) + 1
        normalised, solu = spec.normalization != "none", spec.act_fn.startswith("solu")
        part = (4 + 2 * normalised + 3 * solu) * self.part * spec.d_mlp
        table = 4 * spec.n_heads * (n * n_ctx + tokens * n_ctx * spec.d_mlp)
        whole = 4 * n * spec.d_model * normalised + 2 * self.n_labels * spec.d_mlp
        before = n * n_ctx * (2 * spec.d_mlp + 8 * spec.d_model + spec.n_heads * n_ctx) * (spec.n_layers > 1)
        return 6 * self.together * (part + table + whole + before)

    @once
    def forward(self) -> SharedForward:
        """For so many checkpoints at once."""
        return SharedForward(self.spec, self.prompts.expand(self.together, *self.prompts.shape))

    @once
    def bags(self) -> list[tuple[Int[Tensor, " prompt"], Int[Tensor, " label"]]]:
        """For each part, its prompts in the order of their labels, and where each label begins."""
        counts = [torch.bincount(labels, minlength=self.n_labels) for labels in self.labels.split(self.part)]
        order = [labels.argsort(stable=True) for labels in self.labels.split(self.part)]
        return [(prompts, count.cumsum(0) - count) for prompts, count in zip(order, counts, strict=True)]

    def sums(self, weights: Tensors) -> Float[Tensor, "step label width"]:
        """Of a stack of checkpoints."""
        n, found = len(next(iter(weights.values()))), []
        for begin in range(0, n, self.together):
            # Always as many, the last ones repeated: rounding in a product depends on how many stand side by side.
            steps = torch.arange(begin, begin + self.together).clamp(max=n - 1)
            parts = self.forward.posts({name: w[steps] for name, w in weights.items()}, self.part)
            found.append(functools.reduce(torch.add, map(self.by_label, parts, self.bags)))
        return torch.cat(found)[:n]

    def by_label(self, activation: Tensor, bag: tuple[Tensor, Tensor]) -> Float[Tensor, "step label width"]:
        """Sums over one part of the prompts; embedding_bag is four times as fast as index_add."""
        prompts, starts = (each + activation.shape[1] * torch.arange(len(activation))[:, None] for each in bag)
        sums = torch.nn.functional.embedding_bag(
            prompts.flatten(), activation.flatten(0, 1), starts.flatten(), mode="sum"
        )
        return sums.view(len(activation), self.n_labels, -1)
