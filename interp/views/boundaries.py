"""Boundaries of the phases by each rule that applies to a run, and how far they spread over prompts that are drawn anew."""

import functools
from collections.abc import Callable

import numpy as np

from interp.maths import phases
from interp.views.leads import Curve, of_part

Boundary = Callable[..., np.ndarray]
"""Where each phase ends, by the curves that a rule takes, with `small` and `edge`."""

RULES: dict[str, tuple[Boundary, tuple[str, ...]]] = {
    "test_loss": (phases.boundaries_by_test_loss, ("train_loss", "test_loss")),
    "mechanism": (
        phases.boundaries_by_mechanism,
        ("train_loss_here", "excluded_loss", "restricted_loss", "sum_of_squares"),
    ),
}
"""Each rule, with the curves that it takes."""


def boundaries(
    curves: dict[str, Curve], resampled: dict[str, np.ndarray], small: float, edge: float, left_out: dict[str, str]
) -> dict[str, dict[str, np.ndarray]]:
    """Begin and end of each phase with their spread, [phase] each, by rule that applies; `left_out` is told of the others."""
    found = {}
    for rule, (boundary, names) in RULES.items():
        absent = [name.removesuffix("_here").replace("_", " ") for name in names if name not in curves]
        if absent:
            left_out[f"rule {rule}"] = f"needs {', '.join(absent)}"
            continue
        if "excluded_loss" in names and of_part(curves, small):
            continue
        bound = functools.partial(boundary, small=small, edge=edge)
        steps, *values = together(curves, *names)
        ends = bound(steps, *values)
        low, high = spread(bound, names, curves, resampled)
        found[rule] = {
            "begins": np.r_[0.0, ends[:-1]],
            "ends": ends,
            "ends_low": ends + low,
            "ends_high": ends + high,
            "ends_within": np.array([phases.spacing(steps, end) for end in ends]),
            "censored_at": np.full(len(ends), float(steps[-1])),
        }
    return found


def together(curves: dict[str, Curve], *names: str) -> tuple[np.ndarray, ...]:
    """The curves at the steps that all of them have."""
    steps = functools.reduce(np.intersect1d, [curves[name][0] for name in names])
    return steps, *[values[np.isin(at, steps)] for at, values in (curves[name] for name in names)]


def spread(
    boundary: Boundary, names: tuple[str, ...], curves: dict[str, Curve], resampled: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """How far below and above the boundaries at checkpoints the 95 % of draws lie; NaN where losses of prompts are not known.

    Draws in which a boundary is not reached lie above all others; where there are more than 2.5 % of them, the upper end is
    not known.
    """
    here = [name if name in resampled else name.removesuffix("_here") for name in names]
    drawn = [name for name in here if name in resampled]
    if not drawn:
        return np.full(len(phases.PHASES), np.nan), np.full(len(phases.PHASES), np.nan)
    steps = curves["sum_of_squares"][0]
    columns = [resampled[name].T if name in resampled else None for name in here]
    ends = np.array(
        [
            boundary(
                steps,
                *(curves[name][1] if each is None else each[draw] for name, each in zip(here, columns, strict=True)),
            )
            for draw in range(resampled[drawn[0]].shape[1])
        ]
    )
    measured, others = ends[0], np.where(np.isnan(ends[1:]), np.inf, ends[1:])
    low, high = np.quantile(others, [0.025, 0.975], axis=0, method="inverted_cdf")
    return deviation(low, measured), deviation(high, measured)


def deviation(end: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """How far the end of an interval lies from what was measured; NaN where that end is not known."""
    return np.where(np.isfinite(end), end, np.nan) - measured
