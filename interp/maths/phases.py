"""Phases of learning from its curves, what leads and what lags, and medians of steps that some runs never reach.

A step that was not reached is NaN: right-censored at the last step, never the last step itself. Between two logged steps a
curve is interpolated linearly, so that a crossing may lie between them. A peak is always a logged step.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

PHASES = ("memorisation", "circuit formation", "cleanup")
"""Names of the phases, in order. The first begins at step 0, each other where the one before ends."""

STRAIGHT = 1e-9
"""Tolerance for rounding when a rise is compared with a straight line, which has not slowed down; a share of the steps."""

Steps = Int[np.ndarray, " n"] | Float[np.ndarray, " n"]
Curve = Float[np.ndarray, " n"]


def log_loss(values: Curve) -> Curve:
    """Natural logarithm of losses in nats; a loss that rounding made 0 counts as the smallest positive number."""
    return np.log(np.maximum(values, np.finfo(float).tiny))


def crossing(steps: Steps, values: Curve, level: float) -> float:
    """The step at which `values` first reaches `level`, linear between logged steps; NaN when it never does."""
    reached = np.flatnonzero(values >= level)
    return arrival(steps, values, level, int(reached[0])) if len(reached) else np.nan


def lasting_crossing(steps: Steps, values: Curve, level: float) -> float:
    """The step from which `values` stays at or above `level` to the end, linear between logged steps; NaN when it never does."""
    below = np.flatnonzero(~(values >= level))
    first = int(below[-1]) + 1 if len(below) else 0
    return arrival(steps, values, level, first) if first < len(steps) else np.nan


def arrival(steps: Steps, values: Curve, level: float, first: int) -> float:
    """The step at which the straight line to point `first`, which is at or above the level, crosses the level."""
    if first == 0 or values[first] == values[first - 1]:
        return float(steps[first])
    share = (level - values[first - 1]) / (values[first] - values[first - 1])
    return float(steps[first - 1] + share * (steps[first] - steps[first - 1]))


def after(steps: Steps, values: Curve, begin: float) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Steps and values of a curve from step `begin` on, which need not be a logged step."""
    later = steps > begin
    return np.r_[begin, steps[later]].astype(float), np.r_[np.interp(begin, steps, values), values[later]]


def rise(steps: Steps, values: Curve, begin: float, share: float) -> float:
    """The step at which a curve has made `share` of its rise from its value at `begin` to its highest value after that.

    NaN when it does not rise. NaN also when it gets there no earlier than a straight line to the end does (90 % of the rise
    in 90 % of the steps): such a curve had not slowed down when the run ended, so its highest value is unknown.
    """
    if np.isnan(begin):
        return np.nan
    steps, values = after(steps, values, begin)
    top = values.max()
    if not top > values[0]:
        return np.nan
    found = crossing(steps, values, values[0] + share * (top - values[0]))
    return found if found < begin + (share - STRAIGHT) * (steps[-1] - begin) else np.nan


def boundaries_by_test_loss(
    steps: Steps, train_loss: Curve, test_loss: Curve, small: float = 0.01, edge: float = 0.1
) -> Float[np.ndarray, " phase"]:
    """Steps at which memorisation, circuit formation and cleanup end, from train and test loss alone.

    Memorisation ends where the test loss is highest, counted from the first step at which the train loss is below `small`. It
    is that step itself if the test loss falls already, as with much training data.
    Circuit formation ends where ln test loss has made `edge` of its fall from there to its lowest value. Cleanup ends where it
    has made 1 − `edge` of that fall. This is the rise time from 10 % to 90 % of a signal between two levels (IEEE 181).

    NaN, not reached: the end of memorisation if the test loss is highest at the last step; the other two if the test loss
    never falls below `small`; the end of cleanup if it lies in the last `edge` of the steps after the highest test loss,
    because the lowest value may then only be where the run was cut.
    """
    found = np.full(3, np.nan)
    memorised = np.flatnonzero(train_loss < small)
    if not len(memorised):
        return found
    peak = memorised[0] + int(test_loss[memorised[0] :].argmax())
    if peak == len(steps) - 1:
        return found
    found[0] = steps[peak]
    if not test_loss[peak:].min() < small:
        return found
    later, fall = steps[peak:], -log_loss(test_loss[peak:])
    found[1] = crossing(later, fall, fall[0] + edge * (fall.max() - fall[0]))
    found[2] = rise(later, fall, found[0], 1 - edge)
    return found


def boundaries_by_mechanism(
    steps: Steps,
    train_loss: Curve,
    excluded: Curve,
    restricted: Curve,
    sum_of_squares: Curve,
    small: float = 0.01,
    edge: float = 0.1,
) -> Float[np.ndarray, " phase"]:
    """Steps at which memorisation, circuit formation and cleanup end, from the key frequencies (after Nanda et al. 2023, 5.2).

    Memorisation ends where the excluded loss on the training set is lowest: afterwards the network uses the key frequencies
    for what it had memorised. It counts if the train loss was below `small` at some step, and the excluded loss rises to
    `small` or more afterwards: below, the network knows its training set without the key frequencies. Circuit formation ends
    where the excluded loss has made 1 − `edge` of its rise to its highest value. Cleanup ends where two curves have made
    1 − `edge` of their falls to their lowest values: Σw² from the end of circuit formation, and ln restricted loss from the end
    of memorisation.

    Each is NaN if it was not reached. The last two are NaN also in the last `edge` of the steps from where they are counted.
    """
    found = np.full(3, np.nan)
    lowest = int(excluded.argmin())
    if not (train_loss < small).any() or not excluded[lowest:].max() > max(small, excluded[lowest]):
        return found
    found[0] = steps[lowest]
    found[1] = rise(steps, excluded, found[0], 1 - edge)
    decayed = rise(steps, -sum_of_squares, found[1], 1 - edge)
    found[2] = np.maximum(decayed, rise(steps, -log_loss(restricted), found[0], 1 - edge))
    return found


def half_way(steps: Steps, values: Curve, begin: float) -> float:
    """The step from which a curve stays past the half-way point between its value at `begin` and its last value.

    Up or down; scaling the curve or adding a constant changes nothing. NaN if the last value equals that at `begin`.
    """
    steps, values = after(steps, values, begin)
    way = values[-1] - values[0]
    return lasting_crossing(steps, (values - values[0]) / way, 0.5) if way else np.nan


def reaches(steps: Steps, last: float) -> bool:
    """Whether no further point is due before the last step: the next would lie at it or beyond."""
    return bool(2 * steps[-1] - steps[-2] >= last)


def spacing(steps: Steps, at: float) -> float:
    """How far the two points lie apart between which a step lies; NaN for none."""
    if np.isnan(at):
        return np.nan
    after = min(max(int(np.searchsorted(steps, at)), 1), len(steps) - 1)
    return float(steps[after] - steps[after - 1])


def resampling_weights(
    members: Bool[np.ndarray, " n"], draws: int, generator: np.random.Generator
) -> Float[np.ndarray, "draws n"]:
    """Bootstrap weights for means over `members`, drawn with replacement, as many as there are (Efron 1979). A row sums to 1."""
    rows = np.flatnonzero(members)
    weights = np.zeros((draws, len(members)))
    weights[:, rows] = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=draws) / len(rows)
    return weights


def kaplan_meier_median(reached: Float[np.ndarray, " n"], censored: Float[np.ndarray, " m"]) -> float:
    """Kaplan–Meier median: the step by which half of the runs have arrived, if some had not at their last step (1958).

    It is the first step at which the estimated share of runs that have not arrived is one half or less. Without censored runs
    this is the lower median. NaN when fewer than half arrive.
    """
    if not len(reached):
        return np.nan
    left = stats.ecdf(stats.CensoredData(uncensored=reached, right=censored)).sf
    half = np.flatnonzero(left.probabilities <= 0.5 + 1e-12)  # products of shares are rounded
    return float(left.quantiles[half[0]]) if len(half) else np.nan
