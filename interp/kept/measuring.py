"""Measuring what is not kept yet: answers from what is kept as far as it is still so, and of other checkpoints alone."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import xarray as xr

from interp import analyze
from interp.kept.shelf import Pair, Shelf, by_checkpoint, names_kept
from interp.kept.source import Source, altered, changed, reusable, source, still, why_not
from interp.measurement import LANDMARKS, LEARNING, AnalysisOptions, labelled
from interp.store import Run
from interp.store.layout import is_there

ROUNDING = 1e-5
"""Relative difference of two measurements of one checkpoint: rounding in a product depends on how many stand side by side."""


@dataclass(frozen=True)
class Answer:
    """A measurement, and how much of it was kept."""

    found: xr.Dataset
    measured: int
    """Number of checkpoints that were measured now; 0: all was kept."""
    of: int
    """Number of checkpoints in view."""
    why: str = ""
    """Why what was kept did not do, in words; empty if it did, or if there was nothing."""
    kept: bool = False
    """Whether it lies in analysis/kept now, from where every number can be had again."""

    def __str__(self) -> str:
        if not self.measured:
            return "as kept"
        words = f"{self.measured} of {self.of} checkpoints measured" if self.measured < self.of else "measured anew"
        return f"{words} ({self.why})" if self.why else "measured"


def measure(
    run: Run,
    name: str,
    *,
    anew: bool = False,
    write: bool = True,
    shown: Callable[[], AbstractContextManager[None]] = nullcontext,
    **options: Any,
) -> Answer:
    """The measurement of that name as `interp.measure` gives it, from what is kept as far as that is still so.

    It is kept in memory, and beside the run in analysis/kept. Any change of a checkpoint, the history, the configuration, an
    option, the code or a library makes it be measured again. An analysis that measures each checkpoint alone measures those
    only that are new or changed, and one that is kept as a check.

    Args:
        anew: measure everything, whatever is kept.
        write: keep it beside the run too, not only in memory.
        shown: makes the context of measuring, such as a bar; not called if there is nothing to measure.

    Raises:
        UserError: as `interp.measure`.
    """
    chosen = analyze.find(name).Options(**options)
    analyze.seen(run, name)  # which says in a sentence why the analysis does not fit
    now = source(run, name, chosen)
    if now is None:
        with shown():
            return Answer(analyze.measure(run, name, **options), max(len(run), 1), len(run))
    shelf = Shelf(run, name, chosen)
    kept, why = (None, "") if anew else shelf.take()
    answer, pair = answered(Question(run, name, chosen, now, shown), kept, why)
    is_kept = False
    if not answer.measured:
        shelf.remember(pair)
        is_kept = is_there(shelf.path)
    elif still(now, source(run, name, chosen), run.path):
        shelf.remember(pair)
        is_kept = write and shelf.write(pair)
    return replace(answer, found=analyze.signed(answer.found.copy(deep=True), run, name, chosen), kept=is_kept)


def known(run: Run, name: str) -> xr.Dataset | None:
    """The kept measurement with default options if it is still so; None otherwise. Measures nothing."""
    options = analyze.find(name).Options()
    kept, _ = Shelf(run, name, options).take()
    if kept is None or kept[0] != source(run, name, options):
        return None
    return analyze.signed(kept[1].copy(deep=True), run, name, options)


@dataclass(frozen=True)
class Question:
    """A measurement that is asked for, and what it would be made from."""

    run: Run
    name: str
    options: AnalysisOptions
    now: Source
    shown: Callable[[], AbstractContextManager[None]]

    def measured(self, steps: tuple[int, ...]) -> xr.Dataset:
        """The measurement at these steps."""
        with self.shown():
            return analyze.bare(replace(self.run, steps=steps), self.name, self.options)


def answered(asked: Question, kept: Pair | None, why: str) -> tuple[Answer, Pair]:
    """The answer, from what is kept if that is still so; and what is to be kept from now on."""
    run, now = asked.run, asked.now
    if kept is not None and kept[0] == now:
        return Answer(kept[1], 0, len(run)), kept
    if kept is not None and not (why := why_not(kept[0], now, run.path)):
        why = changed(kept[0], now)
        if by_checkpoint(asked.name) and (joined := extended(asked, kept, why)):
            return joined
    found = asked.measured(run.steps)
    return Answer(found, max(len(run), 1), len(run), why), (now, found)


def extended(asked: Question, kept: Pair, why: str) -> tuple[Answer, Pair] | None:
    """The answer from kept rows and those of the other checkpoints; None if there are none, or they do not go together."""
    run, now, (before, rows) = asked.run, asked.now, kept
    known = reusable(before, now)
    if not known:
        return None
    missing = now.checkpoints.keys() - set(known)
    if not missing and (before.history, before.length) == (now.history, now.length):
        return Answer(rows.sel(step=list(now.checkpoints)), 0, len(run)), kept
    part = asked.measured(tuple(sorted({*missing, known[-1]})))
    if not agree(rows.sel(step=[known[-1]]), part.sel(step=[known[-1]])):
        return None
    stay = [step for step in before.checkpoints if step not in {*missing, known[-1], *altered(before, now)}]
    joined = join(run, rows.sel(step=stay), part)
    digests = before.checkpoints | now.checkpoints
    whole = now.but(checkpoints={step: digests[step] for step in joined["step"].values.tolist()})
    return Answer(joined.sel(step=list(now.checkpoints)), len(missing) + 1, len(run), why), (whole, joined)


def agree(one: xr.Dataset, other: xr.Dataset) -> bool:
    """Whether two measurements of one checkpoint are the same, save rounding and what a longer run's history tells."""
    first, second = comparable(one), comparable(other)
    try:
        xr.testing.assert_allclose(first, second, rtol=ROUNDING)
    except (AssertionError, TypeError):  # numbers beside texts
        return False
    return all(first[name].attrs == second[name].attrs for name in first.variables) and first.attrs == second.attrs


def comparable(found: xr.Dataset) -> xr.Dataset:
    """A measurement without what depends on how long the run is."""
    bare = found.drop_vars(LEARNING, errors="ignore")
    bare.attrs = {name: value for name, value in found.attrs.items() if name not in {"config", *LANDMARKS}}
    return bare


def join(run: Run, kept: xr.Dataset, part: xr.Dataset) -> xr.Dataset:
    """Rows of both by step, with attributes of the second; losses and accuracies are those of the history as it is now."""
    how: Mapping[str, Any] = {"data_vars": "minimal", "coords": "minimal", "compat": "override", "join": "exact"}
    joined = xr.concat([part, kept], dim="step", combine_attrs="override", **how).sortby("step")
    logged = run.history.reindex(joined["step"].values.tolist())
    names = [name for name in LEARNING if name in joined and joined[name].dims == ("step",)]
    return joined.assign(labelled(run, {name: logged[name].to_numpy() for name in names}, LEARNING))


def stale(run: Run, but: Collection[str] = ()) -> dict[str, str]:
    """Analyses of which a result is kept that is no longer so, and why, in words. Measures nothing.

    Results of default options count, and those of the analyses `but` do not.
    """
    found = dict[str, str]()
    for name in names_kept(run) - set(but):
        options = analyze.find(name).Options()
        kept, why = Shelf(run, name, options).take()
        if kept is not None and (now := source(run, name, options)) is not None:
            why = why_not(kept[0], now, run.path) or changed(kept[0], now)
        if why:
            found[name] = why
    return dict(sorted(found.items()))
