"""All kinds of task, by name; a new one joins by a line."""

from interp.plugins import Registry
from interp.tasks.addition import AdditionTask
from interp.tasks.group import GroupTask
from interp.tasks.images import ImagesTask
from interp.tasks.joint import JointTask
from interp.tasks.modular import ModularTask
from interp.tasks.repeated import RepeatedTask
from interp.tasks.skip_trigram import SkipTrigramTask
from interp.tasks.sparse import SparseFeaturesTask
from interp.tasks.task import Task
from interp.tasks.teacher import TeacherTask
from interp.tasks.unknown import AbsentTask, UnknownTask


def kind_of(task: type[Task]) -> str:
    """Name of a kind of task in a configuration."""
    return task.model_fields["kind"].default


TASKS: Registry[type[Task]] = Registry(
    "task",
    "interp.tasks",
    kind_of,
    (
        ModularTask,
        GroupTask,
        JointTask,
        AdditionTask,
        RepeatedTask,
        SkipTrigramTask,
        SparseFeaturesTask,
        TeacherTask,
        ImagesTask,
        UnknownTask,
        AbsentTask,
    ),
    called="TASKS",
)
