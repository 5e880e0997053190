"""Contract checks: what every task, family of models and analysis of interp keeps, for the tests of those from outside.

    interp.testing.check_task(ParityTask())
    interp.testing.check_family(BagSpec(), ParityTask().shape)
    interp.testing.check_analysis(spread, run)

Each raises an AssertionError with one sentence of what is broken. interp's own tests call the same checks.
"""

import json
import tempfile
from collections.abc import Collection
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
import xarray as xr
from torch import Tensor

from interp import analyze
from interp.analyze import own
from interp.base import IGNORED, DoesNotApply, UserError
from interp.measurement import LEARNING, AnalysisOptions
from interp.models import FAMILIES, Family
from interp.models.network import initial_weights, load, over, roles
from interp.plugins import Registry
from interp.recipe import TrainConfig
from interp.report import files
from interp.shape import Shape
from interp.store import Run
from interp.tasks import TASKS, Examples, Split, Task

N = 9
"""Examples that a family is tried on."""


def claim(holds: Any, sentence: str) -> None:
    """Raise an AssertionError with the sentence unless it holds."""
    if not holds:
        raise AssertionError(sentence)


def given(value: Any) -> Any:
    """The value itself, of whatever type: what somebody else's code returns need not be of the type that it states."""
    return value


def check_task(task: Task) -> None:
    """Check all that training and analyses take for granted of a task.

    Raises:
        AssertionError: in one sentence, what is broken.
    """
    comes_back_from_json(task, TASKS)
    claim(task.about, f"{task.kind}: about is empty; say what the task is")
    claim(isinstance(given(task.shape), Shape), f"{task.kind}: shape is no interp.shape.Shape")
    before = str(np.random.get_state())  # noqa: NPY002  what a task must leave alone
    split = task.split(0)
    after = str(np.random.get_state())  # noqa: NPY002
    claim(after == before, f"{task.kind}: split draws from numpy's global state; draw from its seed")
    for part, examples in (("train", split.train), ("test", split.test)):
        fits_its_shape(examples, task.shape, f"the {part} examples of {task.kind}")
    claim(len(split.train) == task.n_train, f"{task.kind}: n_train is {task.n_train}, and split has {len(split.train)}")
    claim(alike(split, task.split(0)), f"{task.kind}: split(0) is another the second time; draw from its seed alone")
    claim(len(split.train_index) == len(split.train), f"{task.kind}: train_index has another length than the examples")
    claim((np.diff(split.train_index) > 0).all(), f"{task.kind}: train_index does not ascend")
    try:
        table = task.table()
    except DoesNotApply:
        table = None
    if table is not None:
        splits_its_table(task, table, split)
    if task.endless:
        draws_afresh(task)
    is_mirrored(task)


def comes_back_from_json(spec: Task | Family, registry: Registry[Any]) -> None:
    """Check that the JSON of a specification leads back to it: its run could not be opened otherwise."""
    try:
        back = registry.read(spec)
        back = registry.read(json.loads(spec.model_dump_json()))
    except UserError as error:
        raise AssertionError(f"{spec.kind} does not come back from its JSON: {error}") from error
    claim(type(back) is type(spec) and back == spec, f"{spec.kind} comes back from its JSON as something else")


def fits_its_shape(examples: Examples, shape: Shape, what: str) -> None:
    """Check inputs and answers of examples against the shape of their task."""
    inputs, targets, n = examples.inputs, examples.targets, len(examples)
    if shape.inputs.kind == "tokens":
        claim(
            inputs.shape == (n, shape.tokens.n_ctx), f"{what} have inputs {inputs.shape}, not {(n, shape.tokens.n_ctx)}"
        )
        claim(
            np.issubdtype(inputs.dtype, np.integer), f"{what} have inputs of {inputs.dtype}; tokens are whole numbers"
        )
        inside = n == 0 or (inputs.min() >= 0 and inputs.max() < shape.tokens.d_vocab)
        claim(inside, f"{what} have tokens outside 0 … {shape.tokens.d_vocab - 1}")
    else:
        claim(
            inputs.shape == (n, shape.vectors.width),
            f"{what} have inputs {inputs.shape}, not {(n, shape.vectors.width)}",
        )
        claim(np.isfinite(inputs).all(), f"{what} have inputs that are not finite")
    if shape.outputs.kind == "classes":
        positions = len(shape.classes.positions)
        sizes = ((n,), (n, 1)) if positions == 1 else ((n, positions),)
        claim(targets.shape in sizes, f"{what} have answers {targets.shape}, not {sizes[0]}")
        known = targets[targets != IGNORED]
        claim(
            np.issubdtype(targets.dtype, np.integer),
            f"{what} have answers of {targets.dtype}; answers are whole numbers",
        )
        claim(
            ((known >= 0) & (known < shape.outputs.n)).all(), f"{what} have answers outside 0 … {shape.outputs.n - 1}"
        )
    else:
        claim(targets.shape == (n, shape.outputs.n), f"{what} have targets {targets.shape}, not {(n, shape.outputs.n)}")
        claim(np.isfinite(targets).all(), f"{what} have targets that are not finite")


def alike(one: Split, other: Split) -> bool:
    """Whether two splits have the same examples."""
    parts = ((one.train, other.train), (one.test, other.test))
    same = (np.array_equal(a.inputs, b.inputs) and np.array_equal(a.targets, b.targets) for a, b in parts)
    return np.array_equal(one.train_index, other.train_index) and all(same)


def splits_its_table(task: Task, table: Examples, split: Split) -> None:
    """Check that a split takes the table apart: every row is trained on or tested, none is both."""
    fits_its_shape(table, task.shape, f"the table of {task.kind}")
    rest = np.setdiff1d(np.arange(len(table)), split.train_index)
    claim(len(split.test) == len(rest), f"{task.kind}: train and test examples together are not the table")
    claim(
        np.array_equal(split.test.inputs, table.inputs[rest]),
        f"{task.kind}: what is tested is not the rest of the table",
    )
    trained = table[split.train_index]
    same = task.changes_inputs or np.array_equal(split.train.inputs, trained.inputs)
    claim(same, f"{task.kind}: train_index are not the rows of the table that are trained on")
    claim(np.array_equal(split.true_targets, trained.targets), f"{task.kind}: true_targets are not the table's answers")


def draws_afresh(task: Task) -> None:
    """Check that an endless stream follows from seed and step, and is new at every step."""
    first, again, later = task.fresh(0, N, 0), task.fresh(0, N, 0), task.fresh(1, N, 0)
    fits_its_shape(first, task.shape, f"the fresh examples of {task.kind}")
    claim(len(first) == N, f"{task.kind}: fresh(0, {N}, 0) gives {len(first)} examples")
    claim(np.array_equal(first.inputs, again.inputs), f"{task.kind}: fresh gives others for the same step and seed")
    claim(not np.array_equal(first.inputs, later.inputs), f"{task.kind}: fresh gives the same at another step")


def is_mirrored(task: Task) -> None:
    """Check that what a task calls the mirrored row of a row has it as its mirrored row, and the same answer."""
    if (other := task.mirrored()) is None:
        return
    rows = np.flatnonzero(other >= 0)
    targets = task.table().targets
    claim((other[other[rows]] == rows).all(), f"{task.kind}: mirrored does not lead back")
    claim(np.array_equal(targets[rows], targets[other[rows]]), f"{task.kind}: mirrored rows have different answers")


def check_family(spec: Family, shape: Shape) -> None:
    """Check all that training and analyses take for granted of a model for tasks of a shape.

    The network as a function of weights is compared with its module with hooks in float64, with weights of which none is 0.

    Raises:
        AssertionError: in one sentence, what is broken.
    """
    comes_back_from_json(spec, FAMILIES)
    claim(spec.about, f"{spec.kind}: about is empty; say what the model is")
    claim(type(spec.unstarted) is type(spec), f"{spec.kind}: unstarted is of another class")
    try:
        spec.fits(shape, TrainConfig())
    except (UserError, ValueError) as error:
        raise AssertionError(f"{spec.kind} does not fit a task of this shape: {error}") from error
    tensors = spec.tensors(shape)
    odd = [name for name, tensor in tensors.items() if tensor.part not in spec.parts]
    claim(not odd, f"{spec.kind}: tensor {odd[:1]} is of a part that is not among its parts")
    claim(any(tensor.learns for tensor in tensors.values()), f"{spec.kind}: no tensor learns")
    claim(spec.cost(shape).work > 0, f"{spec.kind}: cost is 0, and every bound on memory comes from it")
    starts_from_its_seed(spec, shape)
    computes_what_its_module_does(spec, shape)
    computes_runs_side_by_side(spec, shape)


def starts_from_its_seed(spec: Family, shape: Shape) -> None:
    """Check that initial weights are as the table of tensors says, and follow from the seed alone."""
    weights, again = initial_weights(spec, shape, 0), initial_weights(spec, shape, 0)
    sizes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    claim(
        sizes == spec.tensor_shapes(shape), f"{spec.kind}: initial weights have other names or sizes than its tensors"
    )
    odd = [name for name, tensor in weights.items() if not torch.equal(tensor, again[name])]
    claim(not odd, f"{spec.kind}: initial {odd[:1]} are others for the same seed")


def perturbed(spec: Family, shape: Shape, seed: int) -> dict[str, Tensor]:
    """Weights in float64 of which none is 0 or 1, near the initial ones; running statistics stay positive."""
    generator = torch.Generator().manual_seed(seed)
    noise = {name: torch.rand(size, generator=generator).double() for name, size in spec.tensor_shapes(shape).items()}
    return {name: each.double() + 0.1 * noise[name] for name, each in initial_weights(spec, shape, seed).items()}


def tried(shape: Shape, seed: int = 0) -> Tensor:
    """A few examples of a shape."""
    generator = torch.Generator().manual_seed(seed)
    if shape.inputs.kind == "tokens":
        return torch.randint(shape.tokens.d_vocab, (N, shape.tokens.n_ctx), generator=generator)
    return torch.rand(N, shape.vectors.width, generator=generator, dtype=torch.float64)


def computes_what_its_module_does(spec: Family, shape: Shape) -> None:
    """Check outputs, gradients and activations of the network as a function of weights against those of its module."""
    weights, inputs, learned = perturbed(spec, shape, 0), tried(shape), spec.learned(shape)
    model = load(spec, shape, {name: tensor.float() for name, tensor in weights.items()})
    with redirect_stdout(None):  # a HookedTransformer announces the cast
        model.to(torch.float64)
    model.load_state_dict(weights, strict=False)  # once more: on the way through float32 they were rounded
    cached = hasattr(model, "run_with_cache")
    expected, cache = model.run_with_cache(inputs) if cached else (model(inputs), {})
    ours = {name: tensor.clone().requires_grad_(name in learned) for name, tensor in weights.items()}
    found = over(spec, shape, inputs, "float64")(ours)
    expected = where_answered(expected, shape, found.ndim)
    claim(
        found.shape == expected.shape,
        f"{spec.kind}: outputs are {tuple(found.shape)}, the module's {tuple(expected.shape)}",
    )
    claim(close(found, expected), f"{spec.kind}: outputs differ from those of its module by {gap(found, expected):.2g}")
    expected.square().sum().backward()
    found.square().sum().backward()
    for name, parameter in model.named_parameters():
        if name in learned:
            mine, theirs = ours[name].grad, parameter.grad
            same = mine is not None and theirs is not None and close(mine, theirs)
            claim(same, f"{spec.kind}: the gradient of {name} is missing or differs from that of its module")
    try:
        activations = over(spec, shape, inputs, "float64").cache(weights)
    except NotImplementedError:
        return
    parts = roles(spec)
    for name in (parts.logits, *(hook.name for hook in (parts.neurons, parts.stream) if hook is not None)):
        claim(name in activations, f"{spec.kind}: its roles name the hook {name}, which its cache does not have")
        if cached and name in cache:
            same = close(activations[name], where_answered(cache[name], shape, activations[name].ndim))
            claim(same, f"{spec.kind}: activations of {name} differ from those of its module")


def where_answered(values: Tensor, shape: Shape, axes: int) -> Tensor:
    """Values at the positions where answers are read, of a module that has them at every position."""
    if shape.outputs.kind != "classes" or shape.inputs.kind != "tokens" or values.ndim < 2:
        return values
    positions = list(shape.classes.positions)
    if values.ndim == axes + 1 and values.shape[1] == shape.tokens.n_ctx:
        return values[:, positions[0]]
    every = values.ndim == axes and axes > 2 and values.shape[1] == shape.tokens.n_ctx
    return values[:, positions] if every and len(positions) > 1 else values


def computes_runs_side_by_side(spec: Family, shape: Shape) -> None:
    """Check that two runs computed side by side are each as alone."""
    inputs, each = [tried(shape, seed) for seed in (0, 1)], [perturbed(spec, shape, seed) for seed in (0, 1)]
    stack = {name: torch.stack([one[name] for one in each]) for name in each[0]}
    both = over(spec, shape, torch.stack(inputs), "float64")(stack)
    for run in range(2):
        alone = over(spec, shape, inputs[run], "float64")(each[run])
        claim(close(both[run], alone), f"{spec.kind}: two runs side by side are not what each is alone")


def close(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal save the rounding of float64."""
    return one.shape == other.shape and torch.allclose(one.double(), other.double(), rtol=1e-7, atol=1e-9)


def gap(one: Tensor, other: Tensor) -> float:
    """Largest difference of two tensors."""
    return float((one - other).detach().abs().max())


def check_analysis(module: ModuleType, run: Run, may_be_nan: Collection[str] = (), **options: Any) -> None:
    """Check all that tables, figures, pages and files take for granted of an analysis, by measuring a run with it.

    Args:
        module: the analysis. It is added to those that are known.
        run: a run that it fits; a small one does.
        may_be_nan: variables that may have no value somewhere. All others have to be finite.
        **options: options of the analysis.

    Raises:
        AssertionError: in one sentence, what is broken.
    """
    try:
        own.check(module, module.__name__)
        home = module.__name__
        name = next((name for name in analyze.ANALYSES if analyze.ANALYSES[name].home == home), "") or analyze.add(
            module
        )
        found = analyze.measure(run, name, **options)
    except UserError as error:
        raise AssertionError(f"{module.__name__} does not measure {run.path}: {error}") from error
    has_words(name)
    has_step_first(found, run)
    is_finite(found, may_be_nan)
    says_where_it_comes_from(found, run)
    with tempfile.TemporaryDirectory() as folder:
        reopens_equal(found, Path(folder) / "found.nc")
    is_json(found)
    is_found_again(found, run, **options)
    is_drawn(found)


def has_words(name: str) -> None:
    """Check that an analysis has its question, and words for its options and functions."""
    module = analyze.find(name)
    claim(analyze.analyses()[name].endswith(("?", ".")), f"{name}: the first line of its docstring is no sentence")
    claim(issubclass(module.Options, AnalysisOptions), f"{name}: Options is no class of AnalysisOptions")
    silent = [option for option, field in module.Options.model_fields.items() if not field.description]
    claim(not silent, f"{name}: option {silent[:1]} has no docstring, which is its help")
    for function in ("measure", "draw", "summarise"):
        claim(getattr(module, function).__doc__, f"{name}: {function} has no docstring")


def has_step_first(found: xr.Dataset, run: Run) -> None:
    """Check that a measurement has steps of the run, and they come first in every variable that has them."""
    name = found.attrs["analysis"]
    claim("step" in found.dims, f"{name}: the measurement has no dimension step")
    odd = [each for each, variable in found.data_vars.items() if "step" in variable.dims[1:]]
    claim(not odd, f"{name}: step is not the first dimension of {odd[:1]}")
    units = "optimiser updates" if run.between is None else "points"
    claim(
        found["step"].attrs.get("units") == units, f'{name}: step has other units than "{units}"; make it by dataset()'
    )
    known = {*run.steps, *run.history.index}
    claim(set(found["step"].values) <= known, f"{name}: the measurement has steps that the run does not have")
    strange = {str(each) for each in found.data_vars} - {*analyze.find(name).VARIABLES, *LEARNING}
    claim(not strange, f"{name}: {sorted(strange)[:1]} has no entry in VARIABLES")


def is_finite(found: xr.Dataset, may_be_nan: Collection[str] = ()) -> None:
    """Check that every number is finite, save in variables that may have none somewhere."""
    for name, variable in found.data_vars.items():
        finite = name in may_be_nan or np.isfinite(variable.values.astype(float)).all()
        claim(finite, f"{found.attrs['analysis']}: {name} has values that are not finite")


def says_where_it_comes_from(found: xr.Dataset, run: Run) -> None:
    """Check that a measurement names its run, configuration, definition and source."""
    name, attrs = found.attrs["analysis"], found.attrs
    claim(attrs.get("run") == run.name, f"{name}: the measurement does not name its run; make it by dataset()")
    same = json.loads(attrs.get("config", "null")) == json.loads(run.config.model_dump_json())
    claim(same, f"{name}: the measurement has another configuration than its run")
    for what in ("definition", "source"):
        claim(attrs.get(what), f"{name}: the measurement has no {what}")


def reopens_equal(found: xr.Dataset, path: Path) -> None:
    """Check that a measurement that is written as netCDF comes back bit for bit."""
    files.write_netcdf(found, path)
    with xr.open_dataset(path) as file:
        again = file.load()
    equal = again.equals(found)
    told = {name: value for name, value in again.attrs.items() if value == value}
    same = told == {name: value for name, value in found.attrs.items() if value == value}
    claim(equal and same, f"{found.attrs['analysis']}: the measurement comes back from netCDF as another")


def is_json(found: xr.Dataset) -> None:
    """Check that a measurement can be told as JSON."""
    try:
        json.dumps(files.as_json(found), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{found.attrs['analysis']}: the measurement is no JSON ({error})") from error


def is_found_again(found: xr.Dataset, run: Run, **options: Any) -> None:
    """Check that measuring again gives the same, bit for bit."""
    again = analyze.measure(run, found.attrs["analysis"], **options)
    claim(
        again.identical(found), f"{found.attrs['analysis']}: measuring twice gives two results; draw from seeds alone"
    )


def is_drawn(found: xr.Dataset) -> None:
    """Check that a measurement has a figure that draws something, and a table by step."""
    name, figure, table = found.attrs["analysis"], analyze.draw(found), analyze.summarise(found)
    claim(isinstance(given(figure), go.Figure), f"{name}: draw gives no plotly figure")
    claim(len(list(figure.select_traces())) > 0, f"{name}: its figure is empty")
    claim(
        table.index.name == "step" and len(table),
        f"{name}: summarise gives no table by step; begin with by_step(found)",
    )
