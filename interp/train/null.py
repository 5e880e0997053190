"""Null twins: the same recipe where nothing can be generalised, so that what only the recipe does is seen apart."""

from typing import Literal

from interp.base import UserError
from interp.config import RunConfig
from interp.tasks import Corruption

Null = Literal["labels", "answers", "init"]
"""What is taken out of a run: the rule, as every training label is wrong, or as all answers are drawn at random; or training."""


def null_twin(config: RunConfig, null: Null = "labels") -> RunConfig:
    """Configuration of the same recipe, model and seeds on a task that can be memorised and not generalised.

    `labels`: every training example has a wrong answer, drawn uniformly from the others; the test set keeps its own. `answers`:
    the whole table is drawn at random, from `task.table_seed`, so that each answer is as likely as any other. What a measure
    does in such a run it does without understanding: it is what decay and memorising do. `init`: nothing is trained, the run
    has its initial weights alone. What a measure is there it is by chance.

    Raises:
        UserError: the task has no answers, or two, of which the wrong one tells the right; or it has no table to draw.
    """
    if null == "init":
        return config.but(name=f"{config.name}+init", train=config.train.but(steps=0, examples=0, checkpoint_steps=()))
    answers = config.task.shape.outputs
    if answers.kind != "classes":
        raise UserError(f'task "{config.task.kind}" has no right answers, so none can be taken from it; leave null out')
    if null == "answers":
        return config.but(name=f"{config.name}+null", task=config.task.without_rule())
    if answers.n < 3:
        raise UserError(f"the task has {answers.n} answers, and wrong labels tell the right ones; leave null out")
    return config.but(name=f"{config.name}+null", corruption=Corruption(share=1.0))
