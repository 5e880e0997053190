"""Methods of training: what may be done in an update beside the optimiser's step, in the order in which it is done.

The order is that of decision 0009. A new one is a file here, a line below, and its fields in interp/recipe.py.
"""

from interp.recipe import TrainConfig
from interp.train.methods.clipping import Clipping
from interp.train.methods.constraint import Constraint
from interp.train.methods.decay import DecayToInitial
from interp.train.methods.dropout import Dropout
from interp.train.methods.grokfast import Grokfast
from interp.train.methods.l1 import L1
from interp.train.methods.method import Method, Side
from interp.train.methods.noise import Noise
from interp.train.methods.orthogonal import OrthogonalGradients
from interp.train.methods.sam import Sam

METHODS: tuple[type[Method], ...] = (
    Dropout,
    Sam,
    L1,
    DecayToInitial,
    OrthogonalGradients,
    Grokfast,
    Noise,
    Clipping,
    Constraint,
)


def asked(train: TrainConfig) -> list[type[Method]]:
    """The methods that a run has, in order."""
    return [method for method in METHODS if method.asked(train)]


__all__ = ["METHODS", "Method", "Side", "asked"]
