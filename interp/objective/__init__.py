"""Objectives: what a run minimises and logs, as a function of weights. Training and analyses both use them."""

from interp.objective.classes import EACH
from interp.objective.runs import Objective, evaluate, in_parts, objective

__all__ = ["EACH", "Objective", "evaluate", "in_parts", "objective"]
