"""A recorded run with its own module beside it: any checkpoint's weights in it; and what models take."""

import numpy as np
import pytest
import torch
from torch import nn

import interp
from interp.base import DoesNotApply, UserError
from interp.store import RunWriter
from interp.tasks import ModularTask


class Net(nn.Module):
    """Embedding, BatchNorm and a head that is tied to the embedding; infinite and whole-numbered buffers."""

    def __init__(self, width=6, dtype=torch.float32):
        super().__init__()
        self.embed, self.norm = nn.Embedding(12, width, dtype=dtype), nn.BatchNorm1d(width, dtype=dtype)
        self.head = nn.Linear(width, 12, bias=False, dtype=dtype)
        self.head.weight = self.embed.weight
        self.register_buffer("mask", torch.full((3,), -torch.inf))

    def forward(self, tokens):
        return self.head(self.norm(self.embed(tokens).sum(1)))


TASK = ModularTask(p=11, train_fraction=0.5)


def recorded(path, net):
    """A run of a few updates, with its task; the answers of the module after each of them."""
    split = TASK.split(seed=0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    answers = {}
    with interp.record(path, net, task=TASK, split=split, schedule=interp.schedule(every=2)) as run:
        for step in range(5):
            loss = nn.functional.cross_entropy(
                net.train()(torch.from_numpy(split.train.inputs)), torch.from_numpy(split.train.targets)
            )
            if step > 0:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            run.step(step, train_loss=loss)
            with torch.no_grad():
                answers[step] = net.eval()(torch.from_numpy(split.test.inputs[:5]))
    return answers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_checkpoint_answers_as_the_module_did_then(tmp_path, dtype):
    torch.manual_seed(0)
    answers = recorded(tmp_path / "x", Net(dtype=dtype))
    fresh = Net(dtype=dtype)
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    run = interp.open_run(tmp_path / "x", model=fresh)
    for step in run.steps:
        model = run.at(step).model
        with torch.no_grad():
            found = model(run.split.test.inputs[:5])
        # Checkpoints hold float32: of float64 weights, answers up to 20 move by a few times 20·2⁻²⁴.
        torch.testing.assert_close(found, answers[step], rtol=0, atol=0 if dtype == torch.float32 else 1e-5)
        assert not model.training
        assert model.head.weight is model.embed.weight
    assert run.at(2).model.norm.num_batches_tracked == 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh.state_dict().items())
    torch.testing.assert_close(run.select(last=1).final.model.state_dict(), run.at(4).model.state_dict())


def test_wrappers_are_taken_off_what_is_given_too(tmp_path):
    recorded(tmp_path / "x", Net())
    compiled = torch.compile(Net())
    assert isinstance(compiled, nn.Module)
    assert isinstance(interp.open_run(tmp_path / "x", model=nn.DataParallel(compiled)).at(4).model, Net)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda net: net.register_parameter("more", nn.Parameter(torch.ones(3, 2))),
            "Net has an extra tensor more 3×2, and",
        ),
        (lambda net: delattr(net, "mask"), "Net has no tensor mask 3, and"),
        (lambda net: net.__init__(width=5), "Net has embed.weight of 12×5 in place of 12×6, and"),
    ],
    ids=["extra", "missing", "another size"],
)
def test_a_module_with_other_tensors_is_refused_in_a_sentence(tmp_path, change, sentence):
    recorded(tmp_path / "x", Net())
    other = Net()
    change(other)
    with pytest.raises(UserError, match=sentence) as refused:
        interp.open_run(tmp_path / "x", model=other)
    assert "was recorded from module Net, 7 tensors; give the module as it was then" in str(refused.value)


def test_what_is_no_module_or_not_needed_is_refused_in_a_sentence(tmp_path, tiny):
    recorded(tmp_path / "x", Net())
    for given, sentence in [(Net, "model is the class Net; give"), ({"mask": 1}, "model is a dict; give")]:
        with pytest.raises(UserError, match=sentence):
            interp.open_run(tmp_path / "x", model=given)
    with pytest.raises(UserError, match=r"has a model that interp computes .*; leave model out"):
        interp.open_run(tiny.path, model=Net())

    class Locked(Net):
        def __deepcopy__(self, memo):
            raise TypeError("it holds a lock")

    with pytest.raises(UserError, match=r"Locked cannot be copied \(it holds a lock\)"):
        _ = interp.open_run(tmp_path / "x", model=Locked()).at(4).model


def test_without_the_module_the_weights_are_there_and_the_model_is_not(tmp_path):
    recorded(tmp_path / "x", Net())
    with pytest.raises(DoesNotApply, match="the code is not; give the module beside"):
        _ = interp.open_run(tmp_path / "x").at(4).model
    with pytest.raises(DoesNotApply, match="Net has no run_with_cache; put forward hooks of torch on"):
        interp.open_run(tmp_path / "x", model=Net()).at(4).cache()


def test_models_take_the_arrays_that_their_run_hands_out(tiny):
    inputs = tiny.split.test.inputs[:5]
    model = tiny.at(40).model
    logits, cache = model.run_with_cache(inputs)
    expected = model(torch.from_numpy(inputs))
    assert torch.equal(logits, expected)
    assert torch.equal(model(inputs), expected)
    assert torch.equal(model(input=inputs), expected)
    assert "hook_embed" in cache
    inputs.setflags(write=False)
    assert torch.equal(model(inputs), expected)


def test_fractions_in_arrays_take_the_precision_of_the_model():
    from interp.models.arrays import takes_arrays

    net = takes_arrays(nn.Linear(2, 1))
    assert net(np.ones((3, 2))).dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda weights: weights | {"more": torch.ones(2)}, "have an extra tensor more 2, and"),
        (lambda weights: {name: each for name, each in weights.items() if name != "pos_embed.W_pos"}, "have no tensor"),
        (lambda weights: weights | {"pos_embed.W_pos": torch.ones(2)}, r"have pos_embed\.W_pos of 2 in place of 3×16"),
    ],
    ids=["extra", "missing", "another size"],
)
def test_weights_of_another_model_are_refused_when_they_are_written(tmp_path, tiny, change, sentence):
    with RunWriter(tmp_path / "x", tiny.config) as writer, pytest.raises(UserError, match=sentence):
        writer.checkpoint(0, change(tiny.at(0).weights))
    assert not list((tmp_path / "x").rglob("*.safetensors"))
