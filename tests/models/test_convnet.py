"""interp/models/convnet: torch's own modules give the same numbers, step by step; running statistics are no weights."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SHORT, StopAt, files
from torch import nn

import interp
from interp import analyze
from interp.base import DoesNotApply, UserError
from interp.cli.train import main as train_command
from interp.config import RunConfig
from interp.models import ConvnetSpec, MlpSpec
from interp.models.network import build, initial_weights, load, over, symmetries
from interp.recipe import Seeds, TrainConfig
from interp.shape import Classes, Shape, Vectors
from interp.store.between import Curve
from interp.tasks import ImagesTask, ModularTask, TeacherTask
from interp.train.align import Change, aligned, changed
from interp.train.connect import connect
from interp.train.learner import Learner, together
from interp.train.loop import Interrupted, train
from interp.train.schedule import batch_rows

ARCHITECTURES: tuple[Any, ...] = ("cnn5", "resnet18")
NORMALIZATIONS: tuple[Any, ...] = ("batch", "group", "none")
TASK = ImagesTask(examples=45, test_examples=20)
MODEL = ConvnetSpec(width=2)
SHORT_RUN = TrainConfig(steps=8, batch_size=16, log_every=4, checkpoint_every=4, lr=1e-2, warmup_steps=0)
EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-10}
"""What rounding in float64 leaves."""


def image_shape(height, width, channels, answers=10):
    number = height * width * channels
    return Shape(inputs=Vectors(width=number, sides=(height, width, channels)), outputs=Classes(n=answers))


def config_of(**parts) -> RunConfig:
    return RunConfig(**{"name": "convnet", "task": TASK, "model": MODEL, "train": SHORT_RUN, **parts})


def perturbed(spec, shape, seed=0):
    """Weights in float64, none of them 0 or 1, and variances that are positive."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: tensor.double() + 0.2 * torch.rand(tensor.shape, generator=generator, dtype=torch.float64) - 0.1
        for name, tensor in initial_weights(spec, shape, seed).items()
    }


def pixels(shape, n=9, seed=0):
    return torch.randn(n, shape.vectors.width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The network in torch's own modules, written from the papers


def normalised(kind, channels):
    """A normalisation of so many channels; groups of 4 channels and more, 32 groups at most."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    groups = {2: 1, 4: 1, 6: 1, 8: 2, 16: 4}
    return nn.GroupNorm(groups[channels], channels) if kind == "group" else nn.Identity()


class Cnn5(nn.Sequential):
    """Conv – norm – ReLU – max pooling, four times, and a linear readout."""

    def __init__(self, k, kind, pools, last=0, channels=1, biases=False):
        layers, widths = [], [channels, k, 2 * k, 4 * k, last or 8 * k]
        for block in range(4):
            conv = nn.Conv2d(widths[block], widths[block + 1], 3, padding=1, bias=biases)
            layers += [conv, normalised(kind, widths[block + 1]), nn.ReLU(), nn.MaxPool2d(pools[block])]
        super().__init__(*layers, nn.Flatten(), nn.Linear(widths[4], 10))

    def modules_by_name(self):
        """Each module that has parameters by the name of ours, in the order of ours."""
        named = {
            f"blocks.{block}.{each}": self[4 * block + i]
            for block in range(4)
            for i, each in enumerate(("conv", "norm"))
        }
        return {**named, "unembed": self[-1]}


class Block(nn.Module):
    """Two convolutions, each after normalisation and ReLU, beside what goes in."""

    def __init__(self, reads, writes, stride, kind):
        super().__init__()
        self.norm1, self.conv1 = normalised(kind, reads), nn.Conv2d(reads, writes, 3, stride, 1, bias=False)
        self.norm2, self.conv2 = normalised(kind, writes), nn.Conv2d(writes, writes, 3, 1, 1, bias=False)
        if stride != 1 or reads != writes:
            self.shortcut = nn.Conv2d(reads, writes, 1, stride, bias=False)

    def forward(self, x):
        inner = self.norm1(x).relu()
        beside = self.shortcut(inner) if hasattr(self, "shortcut") else x
        return self.conv2(self.norm2(self.conv1(inner)).relu()) + beside


class ResNet18(nn.Module):
    """Eight such blocks, two for each width."""

    def __init__(self, k, kind, channels=1):
        super().__init__()
        widths = [k, k, 2 * k, 4 * k, 8 * k]
        self.stem = nn.Conv2d(channels, k, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList()
        for stage in range(4):
            self.blocks.append(Block(widths[stage], widths[stage + 1], 2 if stage else 1, kind))
            self.blocks.append(Block(widths[stage + 1], widths[stage + 1], 1, kind))
        self.norm, self.readout = normalised(kind, 8 * k), nn.Linear(8 * k, 10)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.readout(self.norm(x).relu().mean(dim=(2, 3)))

    def modules_by_name(self):
        """Each module that has parameters by the name of ours."""
        named = {"stem.conv": self.stem, "final.norm": self.norm, "unembed": self.readout}
        for number, block in enumerate(self.blocks):
            named |= {f"blocks.{number}.{name}": module for name, module in block.named_children()}
        return named


OURS = {"weight": "W", "bias": "b", "running_mean": "mean", "running_var": "var"}


def counterparts(model) -> dict[str, torch.Tensor]:
    """Tensors of a module by our names and in our layout, as views."""
    found = {}
    for place, module in model.modules_by_name().items():
        for name, tensor in module.state_dict(keep_vars=True).items():
            if name == "num_batches_tracked":
                continue
            own = "w" if name == "weight" and tensor.ndim == 1 else OURS[name]
            if place == "unembed":
                found[f"unembed.{own}_U"] = tensor.T if tensor.ndim == 2 else tensor
            else:
                found[f"{place}.{own}"] = tensor
    return found


def plain(spec, weights, side, channels=1) -> Any:
    """The specification's network in torch's modules, float64, with these weights."""
    if spec.architecture == "cnn5":
        pools = {32: (1, 2, 2, 8), 28: (1, 2, 2, 7), 14: (1, 2, 2, 3), 8: (1, 2, 2, 2)}[side]
        model = Cnn5(spec.width, spec.normalization, pools, spec.head_width, channels, spec.biases)
    else:
        model = ResNet18(spec.width, spec.normalization, channels)
    model = model.double()
    theirs = counterparts(model)
    assert theirs.keys() == weights.keys()
    with torch.no_grad():
        for name, tensor in theirs.items():
            tensor.copy_(weights[name])
    return model


CASES = [
    (ConvnetSpec(width=2, architecture=architecture, normalization=kind), side)
    for architecture in ARCHITECTURES
    for kind in NORMALIZATIONS
    for side in (8, 14)
]
CASES += [(ConvnetSpec(width=2, head_width=6, biases=True), 28), (ConvnetSpec(width=1, normalization="none"), 32)]


@pytest.mark.parametrize(("spec", "side"), CASES, ids=lambda each: getattr(each, "about", str(each)))
def test_outputs_and_gradients_are_those_of_torchs_own_modules(spec, side):
    shape = image_shape(side, side, 1)
    weights, x = perturbed(spec, shape), pixels(shape)
    model, images = plain(spec, weights, side), x.view(-1, 1, side, side)
    ours = {name: tensor.clone().requires_grad_(name not in spec.running) for name, tensor in weights.items()}
    forward = over(spec, shape, x, "float64")
    for training in (False, True):
        expected = model.train(training)(images)
        found, buffers = forward.learning(ours) if training else (forward(ours), {})
        torch.testing.assert_close(found, expected, **EXACT)
        model.zero_grad()
        expected.square().sum().backward()
        gradients = torch.autograd.grad(found.square().sum(), [t for t in ours.values() if t.requires_grad])
        theirs = [tensor for tensor in model.parameters() if tensor.requires_grad]
        assert len(gradients) == len(theirs)
        by_ours = dict(zip((name for name, t in ours.items() if t.requires_grad), gradients, strict=True))
        for place, module in model.modules_by_name().items():
            for name, parameter in module.named_parameters():
                own = "w" if name == "weight" and parameter.ndim == 1 else OURS[name]
                key = f"unembed.{own}_U" if place == "unembed" else f"{place}.{own}"
                gradient = parameter.grad.T if key == "unembed.W_U" else parameter.grad
                torch.testing.assert_close(by_ours[key], gradient, rtol=1e-8, atol=1e-9, msg=key)
        for name, moved in buffers.items():
            torch.testing.assert_close(moved, counterparts(model)[name], **EXACT)
            assert not torch.equal(moved, weights[name])  # and what was given is as it was
        assert set(buffers) == (set(spec.running) if training else set())
    for name, tensor in ours.items():
        assert torch.equal(tensor, weights[name])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_module_with_hooks_has_the_same_activations_and_trains_as_torchs(architecture):
    spec, shape = ConvnetSpec(width=2, architecture=architecture), image_shape(8, 8, 1)
    weights, x = perturbed(spec, shape), pixels(shape)
    model = load(spec, shape, weights).double()
    model.load_state_dict(weights)
    _, cache = model.run_with_cache(x)
    found = over(spec, shape, x, "float64").cache(weights)
    assert set(found) == set(cache) == set(spec.hooks)
    for name, values in found.items():
        torch.testing.assert_close(values, cache[name], rtol=0, atol=0)
    assert found["unembed.hook_in"].shape == (9, 16) and found["blocks.0.hook_out"].shape == (9, 2, 8, 8)
    outputs, buffers = over(spec, shape, x, "float64").learning(weights)
    torch.testing.assert_close(model.train()(x), outputs, **EXACT)
    for name, moved in buffers.items():
        torch.testing.assert_close(model.get_buffer(name), moved, **EXACT)
    assert not {name for name, _ in build(spec, shape, 0).named_parameters()} & set(spec.running)


@pytest.mark.parametrize(
    ("architecture", "biases", "published"),
    [("cnn5", False, 1_557_066), ("cnn5", True, 1_558_026), ("resnet18", False, 11_172_170)],
)
def test_networks_have_as_many_parameters_as_published(architecture, biases, published):
    """BatchNorm's scales and biases count, running statistics do not. 960 more are the biases of cnn5's convolutions."""
    spec, shape = ConvnetSpec(architecture=architecture, width=64, biases=biases), image_shape(32, 32, 3)
    assert sum(math.prod(spec.tensors(shape)[name].size) for name in spec.learned(shape)) == published


def test_a_pixels_channels_stand_side_by_side_and_images_need_not_be_square():
    spec, shape = MODEL, image_shape(8, 12, 3)
    weights, images = perturbed(spec, shape), torch.randn(4, 3, 8, 12, dtype=torch.float64)
    found = over(spec, shape, images.permute(0, 2, 3, 1).reshape(4, -1), "float64").cache(weights)
    expected = nn.functional.conv2d(images, weights["blocks.0.conv.W"], padding=1)
    torch.testing.assert_close(found["blocks.0.conv.hook_out"], expected, **EXACT)
    assert found["blocks.2.hook_out"].shape[2:] == (2, 3) and found["blocks.3.hook_out"].shape[2:] == (1, 1)


def test_maps_have_the_sizes_that_the_memory_is_reckoned_from():
    for architecture in ARCHITECTURES:
        spec, shape = ConvnetSpec(width=1, architecture=architecture), image_shape(14, 9, 1)
        found = over(spec, shape, pixels(shape, 1), "float64").cache(perturbed(spec, shape))
        for name, sides in spec.maps(shape).items():
            assert found[f"{name}.hook_out"].shape[2:] == sides
        assert spec.cost(shape).work >= sum(
            each.numel() for name, each in found.items() if "conv" in name or "norm" in name
        )


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 7, 8, 12, 16, 17, 64, 100, 512, 4096])
def test_groups_divide_the_channels_and_are_as_many_as_the_rule_says(channels):
    groups = ConvnetSpec().groups(channels)
    allowed = [n for n in (2, 4, 8, 16, 32) if channels % n == 0 and channels / n >= 4]
    assert groups == max([1, *allowed])
    nn.GroupNorm(groups, channels)
    if channels == 512:
        assert groups == 32  # as in Wu & He (2018)


def test_initial_weights_are_as_torchs_layers_draw_them():
    spec, shape = ConvnetSpec(width=16, biases=True), image_shape(8, 8, 1)
    weights, doubled = initial_weights(spec, shape, 0), initial_weights(spec.but(init_scale=2.0), shape, 0)
    theirs = {"blocks.2.conv": nn.Conv2d(32, 64, 3), "blocks.3.conv": nn.Conv2d(64, 128, 3)}
    for name, layer in theirs.items():
        bound = 1 / math.sqrt(layer.in_channels * 9)
        for own in (weights[f"{name}.W"], weights[f"{name}.b"]):
            assert 0.9 * bound < own.abs().max() <= bound
        assert weights[f"{name}.W"].std().item() == pytest.approx(layer.weight.std().item(), rel=0.03)
    assert weights["unembed.W_U"].abs().max() <= 1 / math.sqrt(128)
    for name in weights:
        expected = {"w": 1, "var": 1, "mean": 0, "b": 0}.get(name.rpartition(".")[2]) if "norm" in name else None
        assert expected is None or (weights[name] == expected).all()
        torch.testing.assert_close(doubled[name], weights[name] * (1 if name in spec.running else 2))


def test_it_has_second_derivatives_and_those_forward_and_under_vmap():
    """Hessian of a loss on few numbers: by two passes back, by a pass forward over one back, by vmap; all by differences."""
    networks: list[tuple[Any, Any]] = [("cnn5", "batch"), ("resnet18", "batch"), ("cnn5", "group")]
    for architecture, kind in networks:
        spec, shape = ConvnetSpec(width=1, architecture=architecture, normalization=kind), image_shape(8, 8, 1)
        weights, forward = perturbed(spec, shape), over(spec, shape, pixels(shape, 3), "float64")
        name = "stem.conv.W" if architecture == "resnet18" else "blocks.0.conv.W"
        start = weights[name].flatten()

        def loss(flat, weights=weights, forward=forward, name=name):
            return forward({**weights, name: flat.view(1, 1, 3, 3)}).log_softmax(dim=-1)[:, 0].sum()

        back = torch.autograd.functional.hessian(loss, start)
        gradient = torch.func.grad(loss)
        step = 1e-5 * torch.eye(9, dtype=torch.float64)  # whose error is of the order of its square
        differences = torch.stack([gradient(start + each) - gradient(start - each) for each in step]) / 2e-5
        torch.testing.assert_close(back, differences, rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(torch.func.hessian(loss)(start), back, rtol=1e-8, atol=1e-9)
        several = torch.stack([start, start + 1])
        torch.testing.assert_close(torch.vmap(loss)(several), torch.stack([loss(each) for each in several]), **EXACT)


# Symmetries


def shuffled(weights, known):
    """The weights with the channels of every symmetry in another order, none at its own place."""
    for symmetry in known:
        seat = symmetry.units[0]
        n = weights[seat.tensor].shape[seat.axis]
        weights = changed(weights, symmetry, Change(torch.arange(n).roll(1), torch.ones(n), []))
    return weights


@pytest.mark.parametrize(("architecture", "names"), [("cnn5", 4), ("resnet18", 4 + 8)])
@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_channels_in_another_order_are_the_same_function_and_are_found_again(architecture, names, kind):
    spec, shape = ConvnetSpec(width=2, architecture=architecture, normalization=kind, biases=True), image_shape(8, 8, 1)
    weights, forward = perturbed(spec, shape), over(spec, shape, pixels(shape), "float64")
    known = symmetries(spec, shape)
    if kind == "group":  # channels stay where there are two groups and more: from 8 channels on
        names = {"cnn5": 2, "resnet18": 2 + 4}[architecture]
    assert len(known) == names
    hidden = shuffled(weights, known)
    torch.testing.assert_close(forward(hidden), forward(weights), **EXACT)
    moved = {name for name in weights if not torch.equal(hidden[name], weights[name])}
    assert kind != "batch" or moved == set(weights) - {"unembed.b_U"}
    found, _ = aligned(weights, hidden, known)
    for name, tensor in weights.items():
        torch.testing.assert_close(found[name], tensor, **EXACT)


def test_running_statistics_move_with_their_channels_and_do_not_count_in_a_match():
    shape = image_shape(8, 8, 1)
    weights = perturbed(MODEL, shape)
    hidden = shuffled(weights, symmetries(MODEL, shape))
    for name in MODEL.running:  # they would tell of other channels
        hidden[name] = 1e3 + torch.arange(len(hidden[name]), dtype=torch.float64)
    found, _ = aligned(weights, hidden, symmetries(MODEL, shape))
    for name in set(weights) - set(MODEL.running):
        torch.testing.assert_close(found[name], weights[name], **EXACT)


# Training


OPTIMISERS = {
    "sgd": {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 0.1},
    "adamw": {"optimizer": "adamw", "weight_decay": 1.0, "lr": 1e-2},
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("optimizer", OPTIMISERS)
def test_ten_updates_are_those_of_a_plain_loop(architecture, optimizer):
    """Weights and running statistics, over mini-batches whose last is smaller; then the logged losses, which are in eval mode."""
    how = SHORT_RUN.but(**OPTIMISERS[optimizer], precision="float64")
    config = config_of(model=MODEL.but(architecture=architecture), train=how)
    learner = Learner.make([config], "cpu")
    model = plain(config.model, learner.parameters(0), 8).train()
    if optimizer == "sgd":
        theirs = torch.optim.SGD(model.parameters(), lr=how.lr)
    else:
        theirs = torch.optim.AdamW(model.parameters(), lr=how.lr, betas=how.betas, weight_decay=how.weight_decay)
    split = config.split()
    images, answers = (
        torch.from_numpy(split.train.inputs).double().view(-1, 1, 8, 8),
        torch.from_numpy(split.train.targets),
    )
    for step in range(10):
        learner.update(step)
        rows = torch.from_numpy(batch_rows(step, 45, 16, 0))
        theirs.zero_grad()
        nn.functional.cross_entropy(model(images[rows]), answers[rows]).backward()
        theirs.step()
    for name, tensor in counterparts(model).items():
        torch.testing.assert_close(learner.parameters(0)[name], tensor.detach(), rtol=1e-7, atol=1e-8, msg=name)
    (row,) = learner.rows(10)
    with torch.no_grad():
        logits = model.eval()(images)
    assert row["train_loss"] == pytest.approx(nn.functional.cross_entropy(logits, answers).item(), rel=1e-6)
    assert row["train_accuracy"] == (logits.argmax(dim=1) == answers).double().mean().item()


@pytest.mark.parametrize("how", [{}, {"batch_size": "full"}, {"sam": 0.05}], ids=str)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(how, tmp_path):
    config = config_of(train=SHORT_RUN.but(**how))
    whole = train(config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config, tmp_path / "stopped", watcher=StopAt(3))
    assert files(train(config, tmp_path / "stopped", resume=True)) == files(whole)
    running = whole.final.weights["blocks.0.norm.var"]
    assert not torch.equal(running, whole.first.weights["blocks.0.norm.var"])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("batch_size", [16, "full"])
def test_runs_side_by_side_take_the_steps_that_they_take_alone(architecture, batch_size):
    how = SHORT_RUN.but(batch_size=batch_size, precision="float64")
    seeds = [Seeds(model=seed, split=seed, order=seed) for seed in (0, 1)]
    configs = [config_of(model=MODEL.but(architecture=architecture), train=how, seeds=each) for each in seeds]
    both, alone = Learner.make(configs, "cpu"), [Learner.make([config], "cpu") for config in configs]
    for step in range(4):
        for one in (both, *alone):
            one.update(step)
    for run, one in enumerate(alone):
        for name, expected in one.parameters(0).items():
            torch.testing.assert_close(both.parameters(run)[name], expected, **EXACT)


def test_runs_on_more_examples_are_apart_since_padding_would_count_in_the_statistics():
    configs = [config_of(task=TASK.but(examples=n), train=SHORT_RUN.but(batch_size="full")) for n in (40, 45)]
    assert len({together(config) for config in configs}) == 2
    without = [config.but(model=MODEL.but(normalization="group")) for config in configs]
    assert len({together(config) for config in without}) == 1


def test_a_second_gradient_moves_the_running_statistics_no_second_time():
    config = config_of(train=SHORT_RUN.but(sam=0.5, precision="float64"))
    learner, forward = Learner.make([config], "cpu"), None
    start = {name: tensor.clone() for name, tensor in learner.weights.items()}
    forward = learner.batch(0).forward
    learner.update(0)
    _, once = forward.learning(start)
    for name, expected in once.items():
        torch.testing.assert_close(learner.weights[name], expected, **EXACT)


def test_running_statistics_are_in_no_norm_constraint_or_penalty(tmp_path):
    how = SHORT_RUN.but(constraint="clamp", l1=0.01)
    learner = Learner.make([config_of(train=how)], "cpu")
    assert not set(learner.learned) & set(MODEL.running)
    learner.update(0)
    lengths = [
        tensor.double().square().sum() for name, tensor in learner.parameters(0).items() if name in learner.learned
    ]
    start = Learner.make([config_of(train=how)], "cpu").logged_norms(0)[0]["norm"]
    assert math.sqrt(sum(map(float, lengths))) == pytest.approx(start, rel=1e-5)
    run = train(config_of(), tmp_path / "run")
    found = analyze.measure(run, "norms")
    assert not set(found["tensor"].values) & set(MODEL.running)
    last = run.final.weights
    squares = sum(float(last[name].double().square().sum()) for name in MODEL.learned(TASK.shape))
    assert found["total_sum_of_squares"].values[-1] == pytest.approx(squares, rel=1e-9)


def test_a_run_from_another_begins_with_its_running_statistics(tmp_path):
    first = train(config_of(), tmp_path / "first")
    second = train(config_of(start=interp.start_from(first.path), seeds=Seeds(order=5)), tmp_path / "second")
    for name, tensor in first.final.weights.items():
        torch.testing.assert_close(second.first.weights[name], tensor, rtol=0, atol=0)
    assert second.first.metrics == first.final.metrics


def test_a_path_says_that_statistics_are_interpolated_and_leaves_them_out_of_distances(tmp_path):
    ends = [train(config_of(seeds=Seeds(model=seed)), tmp_path / str(seed)) for seed in (0, 1)]
    path = connect(ends[0].path, ends[1].path, tmp_path / "path", Curve(points=3, align=True))
    assert path.record.origin and "running statistics on the path are interpolated" in path.record.origin.notes[0]
    A, B = path.first.weights, path.final.weights
    expected = sum(float((B[name] - A[name]).double().square().sum()) for name in MODEL.learned(TASK.shape))
    found = analyze.measure(path, "path")
    assert found["distance"].values[-1] == pytest.approx(math.sqrt(expected), rel=1e-6)


# Analyses

FITTING = {
    "complexity", "curvature", "curves", "double_descent", "examples", "gap", "lazy", "llc", "norms", "numerics", "phases",
    "plane", "readout", "sharpness", "spectra", "trajectory", "variance",
}  # fmt: skip


def test_analyses_that_need_no_tokens_measure_it_and_others_decline_in_a_sentence(tmp_path):
    how = TrainConfig(steps=4, batch_size=20, checkpoint_every=2, log_every=2)
    run = train(config_of(model=ConvnetSpec(width=1), train=how), tmp_path / "run")
    measured = set()
    for name in analyze.analyses():
        try:
            found = analyze.measure(run, name, **SHORT.get(name, {}))
        except DoesNotApply as declined:
            assert str(run.path) in str(declined)
            continue
        measured.add(name)
        analyze.draw(found)
        assert len(analyze.summarise(found))
        for variable in ("loss", "train_loss", "eigenvalue", "own_accuracy"):
            assert variable not in found or np.isfinite(found[variable].values).any()
    assert measured == FITTING


# Bad input


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"task": TeacherTask()}, "the task's vectors are no images"),
        ({"task": ModularTask()}, 'model.kind is "convnet" and the task\'s examples are tokens'),
        ({"task": ImagesTask(pooled=4)}, "the images have 2 × 2 pixels; take images of at least 4 × 4"),
        ({"task": ImagesTask(pooled=2), "model": MODEL.but(architecture="resnet18")}, "images of at least 8 × 8"),
        ({"train": SHORT_RUN.but(dropout=0.1)}, "train.dropout is 0.1"),
        ({"train": SHORT_RUN.but(precision="bfloat16")}, 'a convnet takes "float32" or "float64"'),
        (
            {"model": MODEL.but(architecture="resnet18"), "train": SHORT_RUN.but(batch_size=1)},
            "an update is on one image",
        ),
        ({"model": ConvnetSpec(architecture="resnet18", normalization="group", head_width=1)}, "model.head_width is 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(parts, words):
    with pytest.raises(UserError) as error:
        config_of(**parts)
    assert words in str(error.value)


def test_the_last_image_of_an_epoch_alone_is_refused_in_a_sentence():
    config = config_of(task=TASK.but(examples=17), model=MODEL.but(architecture="resnet18"))
    learner = Learner.make([config], "cpu")
    learner.update(0)
    with pytest.raises(UserError, match="an update is on one image"):
        learner.update(1)


def test_too_small_an_image_is_exit_code_2(capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        train_command(["digits-convnet", "--task.pooled", "4", "--out", str(tmp_path / "run")])
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert "the images have 2 × 2 pixels" in said[-1] and "Traceback" not in "".join(said)


def test_an_mlp_takes_images_as_it_did():
    config = config_of(model=MlpSpec(inputs="vectors", width=4))
    assert config.model.tensors(config.task.shape)["layers.0.W"].size == (64, 4)
    assert "sides" not in config.model_dump_json()
