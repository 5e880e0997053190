"""`python -m interp.analyze NAME DIR… --on CLUSTER`: each run is measured by a machine of the cluster, and all are told here."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

OURS = ("--on", "--processes", "--out")
"""Options that a machine of the cluster is not given as they were given here."""


def measured_there(
    on: str, processes: int | None, words: Sequence[str], targets: Mapping[Path, Path], shared: Path
) -> dict[Path, str]:
    """Have every run measured in a cluster, its results in its directory of `targets`; returns why others failed, by run.

    Args:
        on: the cluster.
        processes: number of processes at a time, at most.
        words: the analysis, the directories of the runs, and the options, as they were given.
        targets: directory for the results of each run.
        shared: a directory that all machines see.

    Raises:
        UserError: the cluster does not answer, or was lost.
        Stopped: SIGINT or SIGTERM came.
    """
    from interp.study.cluster import Cluster
    from interp.study.ongoing import Stopped, do_all
    from interp.study.process import Ended, Errand

    options, failed, done = left_over(words[1:]), dict[Path, str](), 0
    errands = {
        Errand(
            str(path), ("-m", "interp.analyze", words[0], str(path), *options, "--out", str(out)), place=str(Path.cwd())
        ): path
        for path, out in targets.items()
    }

    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    def over(errand: Any, ended: Ended) -> None:
        nonlocal done
        done += 1
        if ended.code:
            failed[errands[errand]] = ended.word.removeprefix("error: ")
        say(f"{errand.name}: {'failed' if ended.code else 'measured'}  {done} of {len(errands)} runs")

    with Cluster(on, shared, processes, 1, about=words[0]) as place:
        say(f"{len(errands)} runs are measured in {place.expected} processes of {on}")
        left = do_all([*errands], place, lambda errand, line: None, over, lambda errand: kept_in(errands[errand]), say)
    if left is not None:
        raise Stopped(f"{left}; what was measured is kept: go on with the same again")
    return failed


def kept_in(path: Path) -> list[tuple[str, int]]:
    """What is kept of the measurements of a run: another list says that measuring got further."""
    from interp.store.layout import ANALYSIS, KEPT

    folder = path / ANALYSIS / KEPT
    with suppress(OSError):  # files come and go beside
        return sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(folder))
    return []


def left_over(words: Sequence[str]) -> list[str]:
    """Words without those directories that come before the options, and without the options in OURS."""
    first = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    options = words[first:]
    return [
        word
        for before, word in pairwise(["", *options])
        if before not in OURS and word not in OURS and not word.startswith(tuple(f"{each}=" for each in OURS))
    ]
