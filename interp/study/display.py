"""What a person sees while a study runs: one bar for the whole in a terminal, plain lines elsewhere; on stderr."""

import sys
import time
from types import TracebackType

from interp.bars import bar
from interp.study.plan import Job, Plan, lasting


class Whole:
    """How far a plan is. Steps are counted; the time left follows from what each job was expected to take."""

    def __init__(self, plan: Plan):
        self.plan, self.began = plan, time.monotonic()
        self.reached = {job: job.begin for job in plan.jobs}
        self.finished, self.failed = len(plan.finished), 0

    @property
    def share(self) -> float:
        """Share of the work that is done, 0 to 1."""
        shares = {job: (step - job.begin) / max(1, job.end - job.begin) for job, step in self.reached.items()}
        return sum(job.seconds * share for job, share in shares.items()) / sum(job.seconds for job in shares)

    def __str__(self) -> str:
        done = sum((step - job.begin) * len(job.names) for job, step in self.reached.items())
        failed = f", {self.failed} failed" * bool(self.failed)
        steps = f"{done:,} of {self.plan.updates:,} steps"
        return f"{steps}  {self.finished} of {len(self.plan.configs)} runs finished{failed}  {self.left}"

    @property
    def left(self) -> str:
        """The time left, in words; as planned, until 2 % of the work is done."""
        share, passed = self.share, time.monotonic() - self.began
        seconds = passed / share * (1 - share) if share > 0.02 else max(0, self.plan.seconds - passed)
        return f"about {lasting(seconds)} left" if share < 1 else f"after {lasting(passed)}"


class Display:
    """Shows how far a plan is. Any thread may tell it what happens. Use as a context manager."""

    def __init__(self, plan: Plan):
        self.whole = Whole(plan)

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def reached(self, job: Job, step: int) -> None:
        """Take note that a job is at a step, and show it."""
        self.whole.reached[job] = step
        self.show()

    def ended(self, job: Job, failed: int) -> None:
        """Take note that a job is over and `failed` of its runs failed, and show it."""
        self.whole.reached[job] = job.end
        self.whole.finished += len(job.names) - failed
        self.whole.failed += failed
        self.show(at_once=True)

    def show(self, at_once: bool = False) -> None:
        """Bring what is shown up to date."""
        raise NotImplementedError

    def say(self, line: str) -> None:
        """Print a line that a worker wrote for a person."""
        print(line, file=sys.stderr, flush=True)


class Lines(Display):
    """Display for files and pipes: a line every few seconds, and when a job is over."""

    def __init__(self, plan: Plan, seconds: float = 5.0):
        super().__init__(plan)
        self._seconds, self._last = seconds, time.monotonic()

    def show(self, at_once: bool = False) -> None:
        """Print a line, if the last is old enough."""
        if at_once or time.monotonic() - self._last > self._seconds:
            self._last = time.monotonic()
            self.say(str(self.whole))


class Bar(Display):
    """Display for a terminal: a bar above which other lines scroll."""

    def __init__(self, plan: Plan):
        super().__init__(plan)
        self._progress, self._last = bar(), 0.0
        self._task = self._progress.add_task(str(self.whole), total=1)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def show(self, at_once: bool = False) -> None:
        """Move the bar, if it was not moved just now: of ten thousand jobs each look takes a while."""
        if not at_once and time.monotonic() - self._last < 0.2:
            return
        self._last = time.monotonic()
        self._progress.update(self._task, completed=self.whole.share, description=str(self.whole))

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(line, markup=False, highlight=False)


def display(plan: Plan) -> Display:
    """The display of a plan: a bar if stderr is a terminal, plain lines otherwise."""
    return Bar(plan) if sys.stderr.isatty() else Lines(plan)
