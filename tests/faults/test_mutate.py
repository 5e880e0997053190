"""Any file of a run damaged in any way: what is read is what was written, or an error that names the file and the reason."""

import contextlib
import io
import json
import os
import random
import resource
import select
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.common import SEED, forked, how_many, saving_every, smallest
from faults.mutations import FORGERIES, mutations
from faults.scene import Scene

from interp.base import UserError
from interp.config import RunConfig
from interp.recipe import Seeds
from interp.store import CheckpointError, RunWriter, open_run
from interp.store.layout import RECORD, RESUME, SPLIT, resume_files
from interp.store.record import Origin
from interp.store.resume import read_state
from interp.store.split import write_split
from interp.store.verify import verify
from interp.train import loop

ROOM = 1 << 30
"""Bytes that reading may take beside what the process has."""

LONGEST = 5.0
"""Seconds that one reading may take."""

STEPS = smallest().train.but(steps=12, checkpoint_every=100, checkpoints_per_decade=1)


def made(directory: Path) -> dict[str, Path]:
    """Two runs with two resume states each, and the same two as runs that were converted."""
    for name, seed in (("trained", 0), ("other trained", 1)):
        with saving_every(0):
            run = loop.train(smallest(STEPS, seeds=Seeds(model=seed, split=seed)), directory / name)
        other = Path(shutil.copytree(run.path, directory / name.replace("trained", "converted")))
        end = read_state(resume_files(other)[0], run.record.config_sha256, run.config).history
        shutil.rmtree(other / RESUME)
        told = {"unknown": ("seeds.split",), "history": end, "checkpoints": len(run), "knows_split": True}
        origin = Origin(layout="files of others", files={}, **told)
        (other / RECORD).write_bytes(run.record.but(origin=origin).to_json())
        write_split(other / SPLIT, run.record.config_sha256, run.split.train_index)
    return {name: directory / name for name in ("trained", "converted")}


def plain(tensors: dict) -> dict[str, tuple]:
    """Tensors as what can be compared bit for bit."""
    return {name: (str(t.dtype), tuple(t.shape), t.contiguous().numpy().tobytes()) for name, t in tensors.items()}


def readings(path: Path, config: RunConfig | None, steps: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """Everything that can be read of a run, with the function that reads it; resuming needs a configuration."""

    def resumed() -> Any:
        assert config is not None
        said = io.StringIO()
        with contextlib.redirect_stderr(said), RunWriter(path, config, resume=True) as writer:
            state = {} if writer.resume_step is None else plain(writer.resume_state())
            return writer.resume_step, state, said.getvalue()

    yield "open_run", lambda: (open_run(path).record, open_run(path).steps)
    yield "history", lambda: open_run(path).history.to_csv()
    for step in steps:
        yield f"weights {step}", lambda step=step: plain(open_run(path).at(step).weights)
        yield f"mapped {step}", lambda step=step: plain(open_run(path).at(step).mapped())
    yield "split", lambda: open_run(path).split.train_index.tolist()
    yield "verify", lambda: [tuple(verdict) for verdict in verify(path)]
    if config is not None:
        yield "resume", resumed


class Bench:
    """A run, all that an undamaged copy of it gives, and the place where copies are damaged."""

    def __init__(self, path: Path, place: Path):
        self.path, self.place = path, place
        run = open_run(path)
        self.steps = run.steps
        self.config = run.config if run.record.origin is None else None
        files = (file for file in path.rglob("*") if file.is_file() and file.name != ".lock")
        self.files = sorted(str(file.relative_to(path)) for file in files)
        self.copy()
        self.whole = {name: read() for name, read in readings(place, self.config, self.steps)}
        self.older = [
            (state.step, plain(state.tensors))
            for state in (read_state(p, run.record.config_sha256, run.config) for p in resume_files(path))
        ]

    def copy(self) -> None:
        """A fresh copy: links, since nothing writes into a file that is there."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.path, self.place, copy_function=os.link, ignore=shutil.ignore_patterns(".lock"))

    def scene(self, target: str, chance: random.Random) -> Scene:
        neighbours = [name for name in self.files if name.split("/")[0] == target.split("/")[0]]
        other = self.path.parent / f"other {self.path.name}" / target
        return Scene(self.place, target, other, neighbours, chance, self.place.parent / "hostile code was run")

    def faults(self, scene: Scene, kind: str, names: list[str]) -> Iterator[str]:
        """What is wrong with how the damaged copy is read; `names` are the files that are damaged."""
        refused, verdicts = set(), None
        for name, read in readings(self.place, self.config, self.steps):
            begun = time.monotonic()
            try:
                found = read()
            except UserError as error:
                refused.add(name)
                blamed = any(str(self.place / damaged) in str(error) for damaged in names)
                if not (blamed or (RECORD in names and str(self.place) in str(error))):
                    yield f"{name}: refused, but {type(error).__name__}: {error}"
                if "memory" in str(error):
                    yield f"{name}: refused only for want of memory: {error}"
            except BaseException as error:
                yield f"{name}: {type(error).__name__}: {error!s:.300}"
            else:
                if name == "verify":
                    verdicts = found
                elif not (kind in FORGERIES or self.same(name, found, kind, names)):
                    yield f"{name}: accepted, and not what was written"
            if time.monotonic() - begun > LONGEST:
                yield f"{name}: took {time.monotonic() - begun:.1f} s"
        if scene.marker.exists():
            scene.marker.unlink()
            yield "code in the file was run"
        wrong = {file for file, fault in verdicts or [] if fault}
        another = kind == "the file of another run" and scene.target == RECORD
        if not wrong <= set(names) and not another and kind not in FORGERIES:
            yield f"verify: finds fault with {', '.join(sorted(wrong - set(names)))}"
        if refused and verdicts is not None and not wrong and kind not in FORGERIES:
            yield f"verify: finds no fault, and {', '.join(sorted(refused))} refuse"
        self.refused = bool(refused or wrong)

    def same(self, name: str, found: Any, kind: str, names: list[str]) -> bool:
        """Whether what a reading gave is what the undamaged copy gave, or what is announced in its place."""
        if found == self.whole[name]:
            return True
        if name == "resume" and names[0].startswith(RESUME):  # the state before the last, and a word about it
            return found[:2] in self.older and any(str(self.place / damaged) in found[2] for damaged in names)
        # run.json of another run is as whole as ours; every checkpoint then refuses to be of that run
        return kind == "the file of another run" and names[0] == RECORD and name in ("open_run", "split")


def damage(benches: list[Bench], seed: str, number: int):
    """The work of a process: damage and read so many copies, within bounds."""

    def work(tell):
        chance, before = random.Random(seed), memory("VmHWM")
        most = memory("VmSize") + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        for _ in range(number):
            bench = chance.choice([benches[0], benches[0], benches[1]])
            target = chance.choice(bench.files)
            bench.copy()
            scene = bench.scene(target, chance)
            known = mutations(target, scene.neighbours)
            kind = chance.choice([*known, *["a flipped bit"] * 6, *["cut short"] * 3])
            tell(f"> {kind} | {target}")
            warm = open_run(bench.place)
            if target.startswith("steps"):
                warm.without_broken()
            names = [target, *(known[kind](scene) or [])]
            faults = list(bench.faults(scene, kind, names))
            if target.startswith("steps"):  # found whole before: the file must be seen to be another
                faults += seen_again(bench, warm, names)
            for fault in faults:
                tell(f"! {kind} of {target} ({seed}): {fault!r}")
            tell(f"= {json.dumps([kind, bench.refused])}")
        used = memory("VmHWM") - before
        if used > ROOM:
            tell(f"! {used:,} bytes of memory were taken")
        tell(f"# {used}")

    return work


def seen_again(bench: Bench, warm: Any, names: list[str]) -> Iterator[str]:
    """What is wrong with reading the damaged checkpoints through a run that had found them whole."""
    for name in names:
        step = int(Path(name).stem)
        try:
            if plain(warm.at(step).mapped()) != bench.whole[f"mapped {step}"]:
                yield f"mapped {step}, seen before: accepted, and not what was written"
        except CheckpointError:
            pass
        except Exception as error:
            yield f"mapped {step}, seen before: {type(error).__name__}: {error}"


def memory(name: str) -> int:
    """Bytes, as the system counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def heard(child: int, reading: int) -> list[str]:
    """All that a process says; one that is silent for a minute is killed, which is a fault of the last thing it began."""
    said = b""
    while select.select([reading], [], [], 60)[0]:
        more = os.read(reading, 1 << 16)
        if not more:
            break
        said += more
    else:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    lines = said.decode().splitlines()
    if code != 0:
        began = next((line for line in reversed(lines) if line[0] == ">"), "nothing")
        lines.append(f"! the reader ended with {code} at {began}")
    return lines


@pytest.mark.parametrize("batch", range(how_many(1, 10)))
def test_no_damage_is_read_as_if_it_were_whole(batch, tmp_path, record_property):
    runs = made(tmp_path)
    benches = [Bench(path, tmp_path / "damaged" / name) for name, path in runs.items()]
    lines = []
    for part in range(how_many(2, 10)):
        lines += heard(*forked(damage(benches, f"{SEED} mutate {batch} {part}", how_many(100, 100))))
    results = [json.loads(line[2:]) for line in lines if line[0] == "="]
    refused = Counter(kind for kind, was_refused in results if was_refused)
    faults = [line for line in lines if line[0] == "!"]
    for kind, tried in sorted(Counter(kind for kind, _ in results).items()):
        mine = [line for line in faults if line.startswith(f"! {kind} of ")]
        record_property("faults", ["mutate", kind, tried, len(mine), f"{refused[kind]} refused"])
    record_property("faults", ["mutate", "all", len(results), len(faults), "peak memory beside the process: "
                               f"{max((int(line[2:]) for line in lines if line[0] == '#'), default=0) >> 20} MiB"])  # fmt: skip
    assert not faults, f"{len(faults)} faults, the first: " + "\n".join(faults[:20])
    assert len(results) == how_many(200, 1000)
