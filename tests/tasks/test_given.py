"""interp/tasks/given.py: operations as tables of answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.base import UserError
from interp.tasks import ModularTask
from interp.tasks import given as tables


def csv_of(task: ModularTask) -> str:
    """The table of a task as a CSV, its rows in another order."""
    table = task.table()
    rows = [f"{answer},{y},{x}" for (x, y, _), answer in zip(table.inputs, table.targets, strict=True)]
    return "\n".join(["answer,y,x", *rows[::-1], ""])


@pytest.mark.parametrize("name", ["add", "divide", "x2_xy_y2", "random"])
def test_the_table_of_an_operation_is_that_operation(name):
    named = ModularTask(p=7, operation=name)
    ours = ModularTask(p=7, operation=tables.write(tables.read_csv(csv_of(named))))
    assert (ours.table().inputs == named.table().inputs).all()
    assert (ours.table().targets == named.table().targets).all()
    assert (ours.residues() == named.residues()).all()
    assert (ours.composition() is None) == (named.composition() is None)
    assert ours.about == f"a table of {named.n_prompts} answers mod 7, 30% of {named.n_prompts} prompts"


def test_a_pair_that_is_not_in_the_table_is_not_asked_for():
    task = ModularTask(p=5, operation="4 - 2; - 0 -", train_fraction=0.5)
    table = task.table()
    assert table.inputs.tolist() == [[0, 0, 5], [0, 2, 5], [1, 1, 5]]
    assert table.targets.tolist() == [4, 2, 0]
    assert sorted([*task.split(0).train_index]) != [0, 1, 2]
    assert task.n_train == 1


@given(st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_what_is_written_is_what_is_read(data):
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    table = np.array(data.draw(st.lists(st.lists(st.integers(-1, 9), min_size=columns, max_size=columns),
                                        min_size=rows, max_size=rows)))  # fmt: skip
    if (table < 0).all():
        return
    text = tables.write(table)
    assert tables.is_written(text)
    found = tables.read(text)
    assert np.argwhere(found >= 0).tolist() == np.argwhere(table >= 0).tolist()
    assert found[found >= 0].tolist() == table[table >= 0].tolist()
    assert tables.write(found) == text
    assert ModularTask(p=11, operation=text, train_fraction=0.999).operation == text if (found >= 0).sum() > 1 else True


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("0 1; a 2", "whole numbers from 0 or \"-\", and has the entry 'a'"),
        ("0 1; 1", "rows of equal length"),
        ("- -; - -", "should be a table of answers, and has none"),
        (";", "rows of equal length"),
        ("0 1; 12345 2", "has the entry '12345'"),
        ("0 1; 1 9", "is a table with the number 9, and task.p is 7; take task.p 10"),
        ("; ".join(["0 1"] * 9), "is a table with the number 8, and task.p is 7; take task.p 9"),
    ],
)
def test_what_is_no_table_is_one_sentence(text, sentence):
    with pytest.raises(UserError) as refused:
        ModularTask(p=7, operation=text)
    assert str(refused.value).startswith("task.operation is ")
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "should have the columns x, y and answer, and has none"),
        ("a,b,c\n1,2,3\n", "should have the columns x, y and answer, and has a, b, c"),
        ("x,y,answer,by\n1,2,3,me\n", "and has x, y, answer, by"),
        ("x,y,answer\n", "should have a line for each pair of x and y, and has none"),
        ("x,y,answer\n1,2\n", "should have 3 entries in every line, and has 2 in line 2"),
        ("x,y,answer\n1,2,3\n\n1,2,3,4\n", "and has 4 in line 4"),
        ("x,y,answer\n1,2,2.5\n", "and has answer '2.5' in line 2"),
        ("x,y,answer\n1,-2,3\n", "and has y '-2' in line 2"),
        ("x,y,answer\n1,2,٣\n", "and has answer '٣' in line 2"),
        ("x,y,answer\n1024,2,3\n", "should have whole numbers from 0 to 1,023, and has x '1024' in line 2"),
        ("x,y,answer\n1,2,3\n1,2,3\n", "should have every pair once, and has x = 1, y = 2 again in line 3"),
        ('x,y,answer\n1,2,"3\n', "should be a CSV with the columns x, y and answer, and is none"),
    ],
)
def test_what_is_no_csv_of_answers_is_one_sentence(text, sentence):
    with pytest.raises(ValueError, match=r"^should ") as refused:
        tables.read_csv(text)
    assert sentence in str(refused.value)
