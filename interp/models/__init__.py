"""What learns: each model a frozen spec, its network a function of weights in HookedTransformer's layout and names."""

from interp.models.family import Cost as Cost
from interp.models.family import Family as Family
from interp.models.family import TensorSpec as TensorSpec
from interp.models.registry import *  # noqa: F403  every family's specification: a new one joins by its line there
