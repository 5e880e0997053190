import json

import numpy as np
import pytest

from interp.base import UserError
from interp.config import RunConfig
from interp.tasks import GroupTask, JointTask, ModularTask


@pytest.mark.parametrize(
    ("joint", "alone"),
    [
        (
            JointTask(operations=("subtract", "divide", "x2_y2"), p=7),
            [ModularTask(operation=name, p=7, prompt="aob=") for name in ("subtract", "divide", "x2_y2")],
        ),
        (
            JointTask(operations=("conjugate", "compose"), group="S3"),
            [GroupTask(operation=name, group="S3", prompt="aob=") for name in ("conjugate", "compose")],
        ),
    ],
    ids=["modular", "group"],
)
def test_its_table_is_those_of_its_operations_with_a_token_for_each(joint, alone):
    table, which = joint.table(), joint.part_of_rows()
    assert joint.n_prompts == len(table) == len(which) == sum(task.n_prompts for task in alone)
    sign = joint.n_values + 1
    for number, task in enumerate(alone):
        own, expected = table[np.flatnonzero(which == number)], task.table()
        assert (own.targets == expected.targets).all()
        assert (own.inputs[:, 1] == sign + number).all()
        assert (np.delete(own.inputs, 1, axis=1) == np.delete(expected.inputs, 1, axis=1)).all()
    assert joint.shape.tokens.d_vocab == table.inputs.max() + 1 == sign + len(alone)
    assert (joint.shape.tokens.n_ctx, joint.shape.outputs.n) == (4, joint.n_values)


def test_the_split_is_drawn_over_all_operations_together():
    task = JointTask(p=11, train_fraction=0.3)
    split = task.split(0)
    assert len(split.train) == int(0.3 * 242)
    # 72 of 242 without replacement: half of them in each table, standard deviation 3.6
    assert abs((task.part_of_rows()[split.train_index] == 0).sum() - 36) < 5 * 3.6


def test_a_random_table_is_drawn_from_its_seed():
    first, second = (JointTask(operations=("add", "random"), p=7, table_seed=seed).table().targets for seed in (0, 1))
    assert (first[:49] == second[:49]).all()
    assert (first[49:] != second[49:]).any()


def test_a_joint_task_comes_back_from_json_as_its_kind():
    config = RunConfig(task=JointTask(operations=("compose", "aba"), group="0 1; 1 0", train_fraction=0.5))
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert json.loads(config.model_dump_json())["task"]["kind"] == "joint"
    assert config.task.about == "x · y and x · y · x on a group of 2 elements, table given, 50% of 8 prompts"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"operations": ("add",)}, "task.operations has 1, and joint training needs at least 2; add one of subtract, "),
        ({"operations": ()}, "task.operations has 0, and joint training needs at least 2; add one of add, "),
        ({"operations": ("add", "add")}, 'task.operations has "add" twice; name each operation once'),
        (
            {"operations": ("add", "compose")},
            'has "compose", which is on a group; take add, .* or name the group by task',
        ),
        ({"group": "S3"}, 'has "add", which is modular; take compose, conjugate, aba, or leave task.group out'),
        ({"operations": ("ad", "divide")}, 'task.operations has "ad"; did you mean "add"?'),
        ({"operations": ("add", "divide"), "p": 12}, "divides by 2, which has no inverse modulo 12; take a prime"),
        ({"group": "X5", "operations": ("compose", "aba")}, "task.group is 'X5'; it should be C, D, S or A"),
        ({"group": "0 1; 1 1", "operations": ("compose", "aba")}, "this one is none .no inverse: no y has 1·y = 0"),
        ({"p": 3, "train_fraction": 0.01}, "0.01 of 18 prompts leaves nothing to train on"),
        ({"prompt": "ab="}, "task.prompt is not a known field"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_makes_no_joint_task_is_one_sentence(fields, words):
    with pytest.raises(UserError, match=words) as error:
        JointTask(**fields)
    assert "\n" not in str(error.value)


def test_pairs_are_mirrored_under_their_own_operation_where_it_is_symmetric():
    task = JointTask(operations=("subtract", "add"), p=3, train_fraction=0.5)
    mirrored = task.mirrored()
    assert mirrored is not None
    assert mirrored.tolist() == [-1] * 9 + [9, 12, 15, 10, 13, 16, 11, 14, 17]
    assert JointTask(operations=("subtract", "divide"), p=5, train_fraction=0.5).mirrored() is None
