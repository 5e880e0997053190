"""The training loop: the same steps whether it runs through, or stops and is resumed."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interp.base import UserError
from interp.config import RunConfig
from interp.models import TransformerSpec
from interp.models.shared import SharedForward
from interp.store import Run, RunWriter, open_run
from interp.store.history import Row
from interp.store.record import Session
from interp.tasks import Examples
from interp.train.optimise import make_optimizer, optimizer_tensors, restore_optimizer
from interp.train.progress import Silent, Watcher
from interp.train.schedule import batch_rows, checkpoint_steps, is_logged, learning_rate

RESUME_SECONDS = 5
"""Training that a kill can cost, at most. A save with every checkpoint would cost the quick preset a tenth of its time."""


CHUNK = 32_768
"""Test prompts evaluated at a time: bounds memory for the tables of large p."""


class Interrupted(Exception):
    """Training stopped on request after `step` updates; its state is saved."""

    def __init__(self, path: Path, step: int):
        super().__init__(f"stopped at step {step}")
        self.path, self.step = path, step


def train(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
    watcher: Callable[[int, int], Any] | None = None,
) -> Run:
    """Train the configured model on the configured task, writing checkpoints and history to `out`.

    The same configuration, machine and thread count give the same bytes, also across a stop and `resume=True`.

    Args:
        resume: go on where the run in `out` stopped; a run that is not there is started, a finished one returned.
        overwrite: replace the run in `out`.
        device: a torch device, such as "cpu" or "cuda".
        watcher: called with (total steps, first step), returns a context manager that is told of steps and rows.

    Raises:
        UserError: `out` cannot be written, is in use, or holds another run.
        Interrupted: SIGINT or SIGTERM came; the state is saved.
    """
    out = Path(out)
    with RunWriter(out, config, resume=resume, overwrite=overwrite) as writer:
        if writer.resume_step != config.train.steps:
            learner = Learner.make(config, device)
            writer.begin(Session.begin(writer.resume_step or 0, device, torch.get_num_threads()))
            with interruptible() as interrupted:
                _run(learner, writer, interrupted, watcher)
    return open_run(out)


def _run(learner: "Learner", writer: RunWriter, interrupted: threading.Event, watcher: Any) -> None:
    """Step from where the writer says to the end, committing what the schedules ask for."""
    config = learner.config
    with_checkpoint = set(checkpoint_steps(config.train))
    first, saved_at = writer.resume_step, time.monotonic()
    if first is not None:
        learner.restore(writer.resume_state())
    with watcher(config.train.steps, first or 0) if watcher else silently() as watching:
        for step in range(first or 0, config.train.steps + 1):
            stopping = interrupted.is_set()
            if step != first:  # what is due at the step of a resumed state was done before it was saved
                if is_logged(step, config.train, with_checkpoint):
                    row = learner.row(step)
                    refuse_to_diverge(row, writer.path)
                    writer.log(row)
                    watching.row(row)
                if step in with_checkpoint:
                    writer.checkpoint(step, learner.parameters)
                if stopping or step == config.train.steps or time.monotonic() - saved_at > RESUME_SECONDS:
                    writer.save_resume(step, learner.state())
                    saved_at = time.monotonic()
            if step == config.train.steps:
                break
            if stopping:
                raise Interrupted(writer.path, step)
            learner.update(step)
            watching.step(step + 1)


def refuse_to_diverge(row: Row, path: Path) -> None:
    """UserError when the training loss is no number any more: no later step can mend that."""
    if not math.isfinite(row["train_loss"]):
        raise UserError(
            f"training diverged: the train loss is {row['train_loss']} at step {row['step']:,}; take a smaller --train.lr. "
            f"What came before is in {path}"
        )


@dataclass
class Learner:
    """Parameters, their optimiser and their data: the state that training moves, and the work that moves it."""

    config: RunConfig
    parameters: dict[str, nn.Parameter]
    """By HookedTransformer's name; frozen ones require no gradient."""
    optimizer: torch.optim.Optimizer
    train: "Prompts"
    test: list["Prompts"]
    """In parts, since it may be much larger than the training set and needs no gradient."""

    @staticmethod
    def make(config: RunConfig, device: str) -> "Learner":
        """A learner before its first step."""
        weights = config.model.initial_weights(config.task.shape, config.seeds.model)
        parameters = {
            name: nn.Parameter(tensor.to(device), requires_grad=config.model.learns(name))
            for name, tensor in weights.items()
        }
        learned = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
        split = config.task.split(config.seeds.split)
        train = Prompts.of(split.train, config.model, device)
        parts = [np.arange(begin, min(begin + CHUNK, len(split.test))) for begin in range(0, len(split.test), CHUNK)]
        test = [Prompts.of(split.test[part], config.model, device) for part in parts]
        return Learner(config, parameters, make_optimizer(config.train, learned), train, test)

    @property
    def learned(self) -> list[str]:
        """Names of the parameters that training moves, in the optimiser's order."""
        return [name for name, parameter in self.parameters.items() if parameter.requires_grad]

    def update(self, step: int) -> None:
        """One optimiser update: the one that follows `step` others."""
        prompts = self.batch(step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config.train)
        loss = self.config.task.loss(prompts.forward(self.parameters), prompts.targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def batch(self, step: int) -> "Prompts":
        """The prompts of the update that follows `step` others."""
        if self.config.train.batch_size == "full":
            return self.train
        rows = batch_rows(step, len(self.train.targets), self.config.train.batch_size, self.config.seeds.order)
        return self.train.only(torch.from_numpy(rows), self.config.model)

    def row(self, step: int) -> Row:
        """Loss (nats) and accuracy over the whole training and test set."""
        train_loss, train_accuracy = self.evaluate([self.train])
        test_loss, test_accuracy = self.evaluate(self.test)
        return {
            "step": step,
            "train_loss": train_loss,
            "test_loss": test_loss,
            "train_accuracy": train_accuracy,
            "test_accuracy": test_accuracy,
        }

    @torch.inference_mode()
    def evaluate(self, parts: list["Prompts"]) -> tuple[float, float]:
        """Mean loss (nats) and accuracy over these prompts."""
        task, total_loss, total_right = self.config.task, 0.0, 0.0
        for part in parts:
            logits = part.forward(self.parameters)
            total_loss += task.loss(logits, part.targets).item() * len(part.targets)
            total_right += task.accuracy(logits, part.targets).item() * len(part.targets)
        n = sum(len(part.targets) for part in parts)
        return total_loss / n, total_right / n

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on: the parameters, and what the optimiser keeps of each."""
        weights = {f"model/{name}": tensor for name, tensor in self.parameters.items()}
        kept = optimizer_tensors(self.optimizer, self.learned)
        return weights | {f"optimizer/{key}": tensor for key, tensor in kept.items()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        for name, parameter in self.parameters.items():
            parameter.copy_(state[f"model/{name}"])
        kept = {key.removeprefix("optimizer/"): tensor for key, tensor in state.items() if key.startswith("optimizer/")}
        restore_optimizer(self.optimizer, self.learned, kept)


@dataclass(frozen=True)
class Prompts:
    """Prompts with their answers, and the forward pass planned for them."""

    inputs: Tensor
    targets: Tensor
    forward: SharedForward

    @staticmethod
    def of(examples: Examples, model: TransformerSpec, device: str) -> "Prompts":
        """Examples on a device."""
        inputs = torch.from_numpy(examples.inputs).to(device)
        return Prompts(inputs, torch.from_numpy(examples.targets).to(device), SharedForward(model, inputs))

    def only(self, rows: Tensor, model: TransformerSpec) -> "Prompts":
        """Some of the prompts."""
        rows = rows.to(self.inputs.device)
        return Prompts(self.inputs[rows], self.targets[rows], SharedForward(model, self.inputs[rows]))


@contextmanager
def silently() -> Iterator[Watcher]:
    """No words."""
    yield Silent()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that the step under way is finished first; a second one kills.

    Only the main thread can listen; elsewhere the event is never set.
    """
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def stop(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
