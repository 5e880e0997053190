"""What can have happened to run.json and history.csv."""

import json
import random
from collections.abc import Callable

from faults.scene import Mutation, Scene

from interp.store.history import header, start, write_history
from interp.store.record import seal


def resealed(scene: Scene, change: Callable[[dict], object]) -> None:
    """run.json with a change, and a digest that is right."""
    record = json.loads(scene.content)
    del record["sha256"]
    change(record)
    scene.put(json.dumps({**record, "sha256": seal(record)}).encode())


NAMES = ["../../etc/passwd", "a/b", "/tmp/x", "..\\x", "a\x00b", "", "x" * 10_000, "a\nb", "${HOME}", "%2e%2e"]


def bad_name(scene: Scene) -> None:
    resealed(scene, lambda record: record["config"].update(name=scene.chance.choice(NAMES)))


VALUES = [None, "x", -1, 1e308, 10**40, [], {}, [[]], float("nan"), float("inf"), "1", 0.5, True, "\ud800"]


def leaf(record: dict, chance: random.Random) -> tuple[dict, str]:
    """A place in a tree."""
    while True:
        name = chance.choice(list(record))
        if not isinstance(record[name], dict) or not record[name] or chance.random() < 0.1:
            return record, name
        record = record[name]


def bad_value(scene: Scene, sealed: bool) -> None:
    """A value that may be of a wrong type, NaN or enormous; the digest is right, or as it was."""

    def change(record: dict) -> None:
        parent, name = leaf(record, scene.chance)
        parent[name] = scene.chance.choice(VALUES)

    if sealed:
        return resealed(scene, change)
    record = json.loads(scene.content)
    change(record)
    scene.put(json.dumps(record).encode())
    return None


def huge_number(scene: Scene) -> None:
    text = scene.content.decode()
    number = scene.chance.choice(
        ["1e999", "-1e999", "9" * 4000, "9" * 100_000, "0." + "1" * 5000, "1E400", "NaN", "Infinity"]
    )
    places = [at for at, letter in enumerate(text) if letter.isdigit() and text[at - 1] == " "]
    at = scene.chance.choice(places)
    end = next(i for i in range(at, len(text)) if text[i] in ",\n")
    scene.put((text[:at] + number + text[end:]).encode())


def respelled(scene: Scene) -> None:
    """The same values in other spaces: nothing of meaning has changed."""
    scene.put(json.dumps(json.loads(scene.content), indent=scene.chance.choice([None, 0, 7])).encode())


def double_fields(scene: Scene) -> None:
    record = json.loads(scene.content)
    name = scene.chance.choice(list(record))
    scene.put(f'{{"{name}": 1, {scene.content.decode()[1:]}'.encode())


JSON: dict[str, Mutation] = {
    "a hostile name, sealed": bad_name,
    "values of wrong type, NaN, enormous": lambda scene: bad_value(scene, sealed=False),
    "values of wrong type, NaN, enormous, sealed": lambda scene: bad_value(scene, sealed=True),
    "enormous numbers, NaN": huge_number,
    "other spaces": respelled,
    "double fields": double_fields,
}


def moved_rows(scene: Scene) -> None:
    """Rows missing, doubled or exchanged."""
    lines, chance = scene.content.decode().splitlines(keepends=True), scene.chance
    first, second = chance.randrange(1, len(lines)), chance.randrange(1, len(lines))
    how = chance.randrange(3)
    if how == 0:
        del lines[first]
    elif how == 1:
        lines.insert(second, lines[first])
    else:
        lines[first], lines[second] = lines[second], lines[first]
    scene.put("".join(lines).encode())


def other_cells(scene: Scene) -> None:
    """Another value in a cell; the checks as they were."""
    lines = scene.content.decode().splitlines()
    row = scene.chance.randrange(1, len(lines))
    cells = lines[row].split(",")
    values = ["nan", "inf", "-1", "1e999", "9" * 400, "", "0x10", '"', "=1+1", "1_0", "٣", "\x00"]
    cells[scene.chance.randrange(len(cells))] = scene.chance.choice(values)
    lines[row] = ",".join(cells)
    scene.put(("\n".join(lines) + "\n").encode())


def forged_rows(scene: Scene) -> None:
    """Other rows with checks that are right: not those that the resume state remembers."""
    rows = [
        {
            "step": 2 * i,
            "train_loss": scene.chance.random(),
            "test_loss": 1.0,
            "train_accuracy": 0.5,
            "test_accuracy": 0.5,
        }
        for i in range(len(scene.content.splitlines()) - 1)
    ]
    scene.path.unlink()
    assert write_history(scene.path, rows) != start()


ROWS: dict[str, Mutation] = {
    "rows missing, doubled, exchanged": moved_rows,
    "other cells": other_cells,
    "other rows with right checks": forged_rows,
    "no rows": lambda scene: scene.put(header().encode()),
}
