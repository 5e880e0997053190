"""What is learned: examples and their split. A task is its hyperparameters; work happens when asked. Never a model."""

from interp.tasks.corruption import Corruption as Corruption
from interp.tasks.group import GROUP_OPERATIONS as GROUP_OPERATIONS
from interp.tasks.modular import OPERATIONS as OPERATIONS
from interp.tasks.registry import *  # noqa: F403  every kind of task: a new one joins by its line there
from interp.tasks.split import Examples as Examples
from interp.tasks.split import Split as Split
from interp.tasks.task import Composition as Composition
from interp.tasks.task import Order as Order
