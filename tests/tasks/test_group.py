import json
from itertools import permutations

import numpy as np
import pytest

from interp.base import UserError
from interp.config import RunConfig
from interp.maths import groups
from interp.tasks import GROUP_OPERATIONS, GroupTask, ModularTask


def after(x, y):
    """The permutation that is first y, then x."""
    return tuple(x[i] for i in y)


def undone(x):
    return tuple(x.index(i) for i in range(len(x)))


SLOW = {
    "compose": after,
    "conjugate": lambda x, y: after(after(x, y), undone(x)),
    "aba": lambda x, y: after(after(x, y), x),
}


def test_every_operation_has_a_slow_reference_here():
    assert set(SLOW) == set(GROUP_OPERATIONS)


@pytest.mark.parametrize("operation", SLOW)
def test_the_table_is_that_of_permutations_as_functions(operation):
    rows = list(permutations(range(4)))
    table = GroupTask(group="S4", operation=operation, prompt="ab").table()
    expected = [(x, y, rows.index(SLOW[operation](rows[x], rows[y]))) for x in range(24) for y in range(24)]
    assert np.column_stack([table.inputs, table.targets]).tolist() == [list(row) for row in expected]


def test_the_table_of_s5_has_the_published_size():
    task = GroupTask(group="S5")
    assert task.n_prompts == len(task.table()) == 14_400
    assert len(task.split(0).train) == 8_640


def test_a_cyclic_group_is_addition_prompt_for_prompt():
    ours, theirs = GroupTask(group="C11", train_fraction=0.3), ModularTask(p=11)
    for seed in (0, 1):
        one, other = ours.split(seed), theirs.split(seed)
        assert (one.train.inputs == other.train.inputs).all() and (one.train.targets == other.train.targets).all()
        assert (one.train_index == other.train_index).all()


@pytest.mark.parametrize(
    "fields, row, d_vocab, d_vocab_out",
    [
        ({"prompt": "ab="}, [2, 3, 6], 7, 6),
        ({"prompt": "ab"}, [2, 3], 6, 6),
        ({"prompt": "aob="}, [2, 7, 3, 6], 8, 6),
        ({"operands": "separate"}, [2, 9, 12], 13, 6),
        ({"answers": "tokens"}, [2, 3, 6], 7, 7),
        ({"answers": "tokens", "operands": "separate", "prompt": "aob="}, [2, 13, 9, 12], 14, 14),
    ],
    ids=str,
)
def test_tokens_are_the_elements_then_the_signs(fields, row, d_vocab, d_vocab_out):
    task = GroupTask(group="S3", **fields)
    assert task.table().inputs[2 * 6 + 3].tolist() == row
    assert (task.shape.tokens.d_vocab, task.shape.outputs.n) == (d_vocab, d_vocab_out)


@pytest.mark.parametrize("name", ["C7", "D5", "S4", "A5", "Q8", "S3xC4"])
def test_every_row_and_column_of_a_composition_has_every_element_once(name):
    task = GroupTask(group=name)
    table = task.table().targets.reshape(task.n_values, task.n_values)
    assert (np.sort(table.T, axis=1) == np.arange(task.n_values)).all()
    assert (np.sort(table, axis=1) == np.arange(task.n_values)).all()
    assert (table == groups.named_group(name)).all()


def test_a_task_comes_back_from_json_unchanged_and_from_a_run_as_its_kind():
    task = GroupTask(group="D59", operation="aba", prompt="aob=", operands="separate", answers="tokens")
    assert GroupTask.model_validate_json(task.model_dump_json()) == task
    config = RunConfig(task=task)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert json.loads(config.model_dump_json())["task"]["kind"] == "group"


def relabelled(name, seed):
    """The same group, its elements numbered otherwise."""
    table = groups.named_group(name)
    new = np.random.default_rng(seed).permutation(len(table))
    other = np.empty_like(table)
    other[np.ix_(new, new)] = new[table]
    return other


@pytest.mark.parametrize("operation", SLOW)
def test_a_group_by_its_table_has_the_prompts_of_the_same_group_by_name(operation):
    named = GroupTask(group="D4", operation=operation)
    written = GroupTask(group=groups.write_table(groups.named_group("D4")), operation=operation)
    assert (written.table().targets == named.table().targets).all()
    assert (written.n_values, written.shape) == (8, named.shape)
    assert written.about == named.about.replace("D4", "a group of 8 elements, table given")


@pytest.mark.parametrize("operation", SLOW)
def test_elements_may_be_numbered_in_any_way(operation):
    table = relabelled("S3", seed=1)
    assert groups.identity(table) != 0
    task = GroupTask(group=groups.write_table(table), operation=operation)
    (e,) = (x for x in range(6) if all(table[x, y] == y for y in range(6)))
    inverse = [next(y for y in range(6) if table[x, y] == e) for x in range(6)]
    slow = {
        "compose": lambda x, y: table[x, y],
        "conjugate": lambda x, y: table[table[x, y], inverse[x]],
        "aba": lambda x, y: table[table[x, y], x],
    }[operation]
    assert task.table().targets.tolist() == [slow(x, y) for x in range(6) for y in range(6)]


@pytest.mark.parametrize(
    "text", ["0 1 2; 1 2 0; 2 0 1", "0,1,2\n1,2,0\n2,0,1\n", " 0, 1 ,2;1\t2 0 ;\n 2 0 1 ;", "00 1 2;1 2 0;2 0 1"]
)
def test_every_way_to_write_a_table_is_the_same_task(text):
    task = GroupTask(group=text)
    assert task.group == "0 1 2; 1 2 0; 2 0 1"
    assert RunConfig(task=task).digest == RunConfig(task=GroupTask(group="0 1 2; 1 2 0; 2 0 1")).digest


def test_a_table_leaves_a_task_as_it_came():
    task = GroupTask(group="0 1; 1 0")
    task.products()[:] = 0
    assert task.products().tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 1 2; 1 2 0", "has 2 rows, and 3 entries in row 0"),
        ("0 1; 1 0 1", "has 2 rows, and 3 entries in row 1"),
        ("0 1; 1 x", "its elements numbered from 0, and has the entry 'x'"),
        ("0 1; 1 0.5", "has the entry '0.5'"),
        ("0 1; 1 99999999999999999999", "has the entry '99999999999999999999'"),
        ("0 1; 1 2", "this one is none (not closed: 1·1 is 2, which is none of 0 … 1)"),
        ("1 2; 2 1", "(not closed: 0·1 is 2"),
        ("0 0; 0 0", "(no identity: no e has e·x = x = x·e for every x)"),
        ("0 1; 1 1", "(no inverse: no y has 1·y = 0 = y·1)"),
        # A Latin square with an identity and inverses, which is none of the two groups of its size
        ("0 1 2 3 4; 1 0 3 4 2; 2 4 0 1 3; 3 2 4 0 1; 4 3 1 2 0", "(not associative: (1·1)·2 is 2, and 1·(1·2) is 4)"),
        (";", "and has no entry"),
        (";".join(["0 1"] * 1025), "should have at most 1,024 elements"),
    ],
    ids=lambda value: value[:20],
)
def test_a_table_that_is_no_group_is_refused_with_what_breaks_it(text, words):
    with pytest.raises(UserError) as error:
        GroupTask(group=text)
    assert str(error.value).startswith("task.group is '")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"group": "X5"}, ["task.group", "X5", "it should be C, D, S or A with a number"]),
        ({"group": "S7"}, ["task.group", "S7", "it should have at most 1,024 elements"]),
        ({"group": "C1"}, ["task.group", "C1", "it should have a number from 2 up behind C"]),
        ({"group": ""}, ["task.group", "it should be C, D, S or A"]),
        ({"operation": "conjugat"}, ["task.operation", 'did you mean "conjugate"?']),
        ({"prompt": "xy"}, ["task.prompt", "xy"]),
        ({"answers": "residues"}, ["task.answers", "residues", "elements"]),
        ({"train_fraction": 1.0}, ["task.train_fraction", "1.0", "less than 1"]),
        ({"group": "S3", "train_fraction": 0.01}, ["task.train_fraction", "0.01", "36 prompts"]),
        ({"p": 7}, ["task.p", "not a known field"]),
    ],
    ids=lambda fields: "-".join(fields) if isinstance(fields, dict) else "",
)
def test_what_is_not_allowed_is_named_with_its_value(fields, words):
    with pytest.raises(UserError) as error:
        GroupTask(**fields)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)
