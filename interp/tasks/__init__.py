"""What is learned: data, split and loss. A task is its hyperparameters; work happens when asked. Never a model."""

from typing import Annotated

from pydantic import Field

from interp.tasks.addition import AdditionTask
from interp.tasks.corruption import Corruption
from interp.tasks.drawn import DrawnTask
from interp.tasks.group import GROUP_OPERATIONS, GroupTask
from interp.tasks.joint import JointTask
from interp.tasks.modular import OPERATIONS, ModularTask
from interp.tasks.repeated import RepeatedTask
from interp.tasks.sequence import SequenceTask
from interp.tasks.skip_trigram import SkipTrigramTask
from interp.tasks.sparse import SparseFeaturesTask
from interp.tasks.split import Examples, Split
from interp.tasks.unknown import UnknownTask

Task = Annotated[
    ModularTask
    | GroupTask
    | JointTask
    | AdditionTask
    | RepeatedTask
    | SkipTrigramTask
    | SparseFeaturesTask
    | UnknownTask,
    Field(discriminator="kind"),
]
"""Every kind of task that a run can name; a new one joins by `|`."""

__all__ = [
    "GROUP_OPERATIONS", "OPERATIONS", "AdditionTask", "Corruption", "DrawnTask", "Examples", "GroupTask", "JointTask",
    "ModularTask", "RepeatedTask", "SequenceTask", "SkipTrigramTask", "SparseFeaturesTask", "Split", "Task", "UnknownTask",
]  # fmt: skip
