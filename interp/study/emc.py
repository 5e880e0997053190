"""Effective model complexity: the largest training set that a training procedure fits (Nakkiran et al. 2019), by bisection."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from interp.base import UserError
from interp.config import RunConfig
from interp.study.engine import run_all
from interp.study.grid import grid


@dataclass(frozen=True)
class Complexity:
    """What was found of a procedure's effective model complexity, EMC."""

    fits: int
    """Largest number of examples tried whose mean train error is at most ε; 0 if none is. The EMC is at least this."""
    fails: float
    """Smallest number tried above that whose mean train error is larger; infinite if all fit. The EMC is less than this."""
    table: pd.DataFrame
    """A row for each number of examples tried: runs, mean train error with its standard error, and whether it is at most ε."""
    monotone: bool
    """Whether the mean train error never falls from one number tried to a larger one, as bisection takes for granted."""

    def __str__(self) -> str:
        bounds = [f"at least {self.fits:,}"] * bool(self.fits) + [f"below {self.fails:,.0f}"] * math.isfinite(
            self.fails
        )
        return f"EMC is {' and '.join(bounds)}"


def emc(
    config: RunConfig,
    out: str | Path,
    least: int,
    most: int,
    *,
    level: float = 0.01,
    seeds: int = 3,
    resolution: float = 0.05,
    processes: int | None = None,
) -> Complexity:
    """The effective model complexity of a configuration, between two numbers of examples.

    Each number is tried with the same seeds, and fits if the train error at the last step is at most `level` in the mean over
    these. Runs are kept in `out`: the same call again goes on, and another resolution uses them.

    Args:
        config: the procedure; its task has a field `examples`, which is replaced.
        out: directory of the runs' directories, and of emc.csv.
        least: smallest number of examples that is tried.
        most: largest.
        level: ε, the train error up to which a training set counts as fitted.
        seeds: number of runs of each number of examples.
        resolution: bisection ends where the two numbers differ by at most this share, or by one example.
        processes: number of processes at a time.

    Raises:
        UserError: an argument makes no sense, or a run failed.
    """
    refuse_nonsense(config, least, most, level, seeds, resolution)
    tried: dict[int, dict[str, float]] = {}

    def fits(n: int) -> bool:
        """Whether so many examples are fitted."""
        tried[n] = tried.get(n) or errors(config, out, n, seeds, level, processes)
        return bool(tried[n]["fits"])

    if not fits(least):
        low, high = 0, least
    else:
        low, high = (most, math.inf) if fits(most) else (least, most)
    while low and high < math.inf and high > max(low + 1, low * (1 + resolution)):
        middle = min(int(high) - 1, max(low + 1, round(math.sqrt(low * high))))
        low, high = (middle, high) if fits(middle) else (low, middle)
    table = pd.DataFrame.from_dict(tried, orient="index").sort_index().rename_axis("examples")
    table = table.astype({"runs": int, "fits": bool})
    table.to_csv(Path(out) / "emc.csv", float_format="%.6g")
    return Complexity(low, high, table, bool(table["train_error"].is_monotonic_increasing))


def foretell(
    config: RunConfig,
    out: str | Path,
    least: int,
    most: int,
    *,
    level: float = 0.01,
    seeds: int = 3,
    resolution: float = 0.05,
    processes: int | None = None,
) -> None:
    """Print how many rounds `emc` has at most with these arguments, and what the largest takes; train nothing."""
    refuse_nonsense(config, least, most, level, seeds, resolution)
    halvings = max(0, math.ceil(math.log2(max(1.0, math.log(most / least) / math.log1p(resolution)))))
    print(f"at most {2 + halvings} rounds of {seeds} runs; the largest:")
    run_all(of_size(config, most, seeds), Path(out), processes, dry_run=True)


def refuse_nonsense(config: RunConfig, least: int, most: int, level: float, seeds: int, resolution: float) -> None:
    """UserError for an argument that makes no sense."""
    if not isinstance(getattr(config.task, "examples", None), int):
        raise UserError(
            f'task.kind is "{config.task.kind}", whose number of examples is not a field; take a task with task.examples, '
            "such as images"
        )
    if config.task.shape.outputs.kind != "classes":
        raise UserError(f'task.kind is "{config.task.kind}", which has no right answers and so no train error')
    if not 1 <= least < most:
        raise UserError(f"--least is {least} and --most {most}; give a smaller and a larger number of examples")
    if not 0 <= level < 1:
        raise UserError(f"--level is {level:g}; it should be at least 0 and below 1")
    if not 0 < resolution < 1:
        raise UserError(f"--resolution is {resolution:g}; it should be between 0 and 1")
    of_size(config, most, seeds)  # which says itself if there are not so many examples


def of_size(config: RunConfig, n: int, seeds: int) -> dict[str, RunConfig]:
    """Configurations with so many examples, one for each seed, by name."""
    return grid(config, seeds, {"task.examples": [n]})


def errors(
    config: RunConfig, out: str | Path, n: int, seeds: int, level: float, processes: int | None
) -> dict[str, float]:
    """Mean train error of runs with so many examples, its standard error, and whether it is at most the level."""
    outcome = run_all(of_size(config, n, seeds), Path(out), processes)
    if outcome.failures:
        name, why = next(iter(outcome.failures.items()))
        raise UserError(f"{name} failed, so that the train error at {n:,} examples is not known: {why}")
    each = np.array([1 - float(run.history["train_accuracy"].to_numpy()[-1]) for run in outcome.runs.values()])
    mean, error = (
        float(np.mean(each)),
        float(np.std(each, ddof=1) / math.sqrt(len(each))) if len(each) > 1 else math.nan,
    )
    return {"runs": len(each), "train_error": mean, "train_error_error": error, "fits": mean <= level}
