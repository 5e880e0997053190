"""Phases of learning from its curves, what leads and what lags, and medians of steps that some runs never reach.

A step that was not reached is NaN: censored at the last step, never the last step itself. Between two logged steps a curve is
taken to be straight, so that a crossing is told more finely than the curve was logged; a peak is one of the logged steps.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

PHASES = ("memorisation", "circuit formation", "cleanup")
"""Each begins where the one before ends; the first at step 0."""

STRAIGHT = 1e-9
"""By so much less than its share of the steps must a share of a rise be made: a straight line, rounded, has not slowed down."""

Steps = Int[np.ndarray, " n"] | Float[np.ndarray, " n"]
Curve = Float[np.ndarray, " n"]


def log_loss(values: Curve) -> Curve:
    """ln of losses in nats; of a loss that rounding made 0, that of the smallest number."""
    return np.log(np.maximum(values, np.finfo(float).tiny))


def crossing(steps: Steps, values: Curve, level: float) -> float:
    """The step at which `values` first comes up to `level`, between logged steps on a straight line; NaN when it never does."""
    reached = np.flatnonzero(values >= level)
    return arrival(steps, values, level, int(reached[0])) if len(reached) else np.nan


def lasting_crossing(steps: Steps, values: Curve, level: float) -> float:
    """The step at which `values` comes up to `level` and stays there to the end; NaN when it never does."""
    below = np.flatnonzero(~(values >= level))
    first = int(below[-1]) + 1 if len(below) else 0
    return arrival(steps, values, level, first) if first < len(steps) else np.nan


def arrival(steps: Steps, values: Curve, level: float, first: int) -> float:
    """Where the straight line to the point `first`, which is above, crosses the level."""
    if first == 0 or values[first] == values[first - 1]:
        return float(steps[first])
    share = (level - values[first - 1]) / (values[first] - values[first - 1])
    return float(steps[first - 1] + share * (steps[first] - steps[first - 1]))


def after(steps: Steps, values: Curve, begin: float) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """The curve from a step on, which need not be a logged one."""
    later = steps > begin
    return np.r_[begin, steps[later]].astype(float), np.r_[np.interp(begin, steps, values), values[later]]


def rise(steps: Steps, values: Curve, begin: float, share: float) -> float:
    """The step at which a curve has made that share of its rise from `begin` to the highest that it reaches afterwards.

    NaN when it does not rise, and when it comes there no earlier than on a straight line to the end, 90 % of the rise in 90 %
    of the steps: a curve that had not slowed down when the run ended has shown no highest value.
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
    """Where memorisation, circuit formation and cleanup end, from the two losses alone.

    Memorisation ends where the test loss is highest, from the first step on at which the train loss is below `small`; that is
    this step itself where the test loss falls already, as with much training data.
    Circuit formation ends where ln test loss has made `edge` of its fall from there to its lowest value, cleanup where it has
    made 1 − `edge` of it: rise times from 10 % to 90 %, as of a signal between two levels (IEEE 181).

    Not reached, and so NaN, is a highest test loss that is the last; the other two in a run whose test loss never falls below
    `small`; and the end of cleanup in the last `edge` of the steps after the highest, since the lowest value may then be but
    where the run was cut.
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
    """Where memorisation, circuit formation and cleanup end, from what the key frequencies do (after Nanda et al. 2023, 5.2).

    Memorisation ends where the excluded loss on the training set is lowest: from then on the network leaves to the key
    frequencies what it had memorised. It counts when the train loss was below `small` at some step, and the excluded loss ends
    above `small` and at ten times its lowest. Circuit formation ends where the excluded loss has made 1 − `edge` of its rise to
    its highest. Cleanup ends where both Σw² has made 1 − `edge` of its fall from the end of circuit formation, and
    ln restricted loss of its fall from the end of memorisation, to their lowest.

    Each is NaN where it was not reached, the last two also in the last `edge` of the steps from where they are counted.
    """
    found = np.full(3, np.nan)
    lowest = int(excluded.argmin())
    if not (train_loss < small).any() or excluded[-1] < max(small, 10 * excluded[lowest]):
        return found
    found[0] = steps[lowest]
    found[1] = rise(steps, excluded, found[0], 1 - edge)
    decayed = rise(steps, -sum_of_squares, found[1], 1 - edge)
    found[2] = np.maximum(decayed, rise(steps, -log_loss(restricted), found[0], 1 - edge))
    return found


def half_way(steps: Steps, values: Curve, begin: float) -> float:
    """The step at which a curve has lastingly made half of its way from its value at `begin` to its last one.

    Up or down, in whatever unit: a factor or a constant on the curve changes nothing. NaN for a curve without a way.
    """
    steps, values = after(steps, values, begin)
    way = values[-1] - values[0]
    return lasting_crossing(steps, (values - values[0]) / way, 0.5) if way else np.nan


def resampling_weights(
    members: Bool[np.ndarray, " n"], draws: int, generator: np.random.Generator
) -> Float[np.ndarray, "draws n"]:
    """Weights that sum to 1 of means over `members` drawn anew, as many as there are, with replacement (Efron 1979)."""
    rows = np.flatnonzero(members)
    weights = np.zeros((draws, len(members)))
    weights[:, rows] = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=draws) / len(rows)
    return weights


def kaplan_meier_median(reached: Float[np.ndarray, " n"], censored: Float[np.ndarray, " m"]) -> float:
    """The step by which half of the runs have arrived, when some had not at their last step (Kaplan & Meier 1958).

    It is the first at which the estimated share that has not arrived is a half or less: without censored runs the lower
    median. NaN when fewer than half arrive.
    """
    if not len(reached):
        return np.nan
    left = stats.ecdf(stats.CensoredData(uncensored=reached, right=censored)).sf
    half = np.flatnonzero(left.probabilities <= 0.5 + 1e-12)  # products of shares are rounded
    return float(left.quantiles[half[0]]) if len(half) else np.nan
