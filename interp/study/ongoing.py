"""Errands that are under way in a place: which is begun when, and which is begun again."""

import queue
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from interp.study.here import Place
from interp.study.process import LOST, Ended, Errand
from interp.train.loop import interruptible


class Stopped(KeyboardInterrupt):
    """Raised when a study was stopped on request; the state of every run is saved. Its text says how to go on."""


TRIES, TRIES_WHERE_LOST = 2, 10
"""Times in a row that an errand may die without getting further: where its process was killed, and where its worker was lost,
which is seldom its own fault."""


@dataclass
class Deaths:
    """How often an errand died since it last got further: by whether its worker was lost."""

    furthest: object
    number: Counter[bool] = field(default_factory=Counter[bool])


def do_all(
    errands: Sequence[Errand],
    place: Place,
    told: Callable[[Errand, str], None],
    over: Callable[[Errand, Ended], None],
    furthest: Callable[[Errand], object],
    say: Callable[[str], None],
) -> str | None:
    """Have a place do errands, each again where its process died, as long as that gets further.

    Everything is called in this thread.

    Args:
        errands: what is to be done, in this order.
        place: where.
        told: called with every line of a process.
        over: called with how an errand ended at last.
        furthest: function to how far an errand is, from what is saved: another value says that it got further.
        say: called with sentences for a person.

    Returns:
        None once all is over; if SIGINT or SIGTERM came before, in words what became of the rest.
    """
    happenings = queue.SimpleQueue[tuple[Errand, str | Ended]]()
    waiting, under_way, deaths = deque(errands), set[Errand](), dict[Errand, Deaths]()
    unfinished = False
    with interruptible() as stopping:
        try:
            while under_way or (waiting and not stopping.is_set()):
                for news in place.look():
                    say(news)
                while waiting and len(under_way) < place.slots and not stopping.is_set():
                    under_way.add(waiting[0])
                    place.begin(waiting.popleft(), lambda errand, what: happenings.put((errand, what)))
                if stopping.is_set():
                    if place.leave([*waiting]):
                        return "what runs in the cluster goes on"
                    place.stop()
                for errand, what in what_happened(happenings):
                    if isinstance(what, str):
                        if not stopping.is_set():  # from then on it may but complain of the signal
                            told(errand, what)
                        continue
                    under_way.discard(errand)
                    if stopping.is_set() and what.code != 0:
                        unfinished = True
                    elif what.died and not given_up(errand, what, deaths, furthest):
                        say(f"{what.death}; {errand.name}: going on from what was saved")
                        waiting.appendleft(errand)
                    else:
                        over(errand, in_the_end(what))
        except KeyboardInterrupt:  # a second Ctrl-C
            place.kill()
            raise
        except BaseException:  # such as a cluster that is gone
            place.stop()
            raise
        return "stopped, everything is saved" if stopping.is_set() and (unfinished or waiting) else None


def what_happened(happenings: "queue.SimpleQueue[tuple[Errand, str | Ended]]") -> list[tuple[Errand, str | Ended]]:
    """What has happened since the last call; waits for it, though no longer than a moment."""
    found = []
    try:
        found.append(happenings.get(timeout=0.1))
        while True:
            found.append(happenings.get_nowait())
    except queue.Empty:
        return found


def given_up(errand: Errand, ended: Ended, deaths: dict[Errand, Deaths], furthest: Callable[[Errand], object]) -> bool:
    """Whether an errand that has just died will not be begun again: it died some times in a row and got no further."""
    now = furthest(errand)
    known = deaths.setdefault(errand, Deaths(now))
    if known.furthest != now:
        known.furthest, known.number = now, Counter()
    lost = ended.code == LOST
    known.number[lost] += 1
    return known.number[lost] >= (TRIES_WHERE_LOST if lost else TRIES)


def in_the_end(ended: Ended) -> Ended:
    """How an errand ended, with a sentence if it died."""
    if not ended.died:
        return ended
    times = f"{TRIES_WHERE_LOST} times" if ended.code == LOST else "twice"
    word = (
        f"{ended.death}, {times}, and got no further; if memory ran out, take fewer --processes or a smaller --at-once"
    )
    return ended._replace(word=word)
