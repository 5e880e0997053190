"""State dicts of modules of which interp knows no kind: by their own names, measurable, and computed with the module beside."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import interp
from interp.base import DoesNotApply, UserError
from interp.store.foreign.convert import convert
from interp.tasks import ModularTask, UnknownTask


def convolutions(seed=0):
    """A convolution with BatchNorm, whose state dict has statistics and a whole number."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))
    net(torch.randn(5, 1, 8, 8))
    return net.eval()


@pytest.mark.parametrize("save", [torch.save, save_file])
def test_a_folder_of_state_dicts_of_any_module_is_a_run(tmp_path, save):
    nets = {step: convolutions(step) for step in (0, 100, 200)}
    (tmp_path / "saved").mkdir()
    for step, net in nets.items():
        save(
            net.state_dict(), str(tmp_path / f"saved/model_step{step}.{'pt' if save is torch.save else 'safetensors'}")
        )
    (run,) = convert(tmp_path / "saved", tmp_path / "run")
    assert run.steps == (0, 100, 200) and isinstance(run.task, UnknownTask)
    assert {name: each.role for name, each in run.tensors.items()} == {
        "0.weight": "weight", "0.bias": "bias", "1.weight": "scale", "1.bias": "bias", "1.running_mean": "buffer",
        "1.running_var": "buffer", "1.num_batches_tracked": "buffer", "3.weight": "weight", "3.bias": "bias",
    }  # fmt: skip
    expected = sum(float(weight.detach().double().square().sum()) for weight in nets[200].parameters())
    found = interp.measure(run, "norms")["total_sum_of_squares"]
    np.testing.assert_allclose(found[-1], expected, rtol=1e-6)
    images = torch.randn(3, 1, 8, 8)
    opened = interp.open_run(run.path, model=convolutions(7))
    for step, net in nets.items():
        torch.testing.assert_close(opened.at(step).model(images), net(images), rtol=0, atol=0)
    with pytest.raises(DoesNotApply, match="the code is not; give the module beside"):
        interp.measure(run, "numerics")


class Encoder(nn.Module):
    """A network of a kind that interp knows and does not compute: LayerNorms after each part."""

    def __init__(self):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(14, 8), nn.Parameter(torch.randn(3, 8))
        self.layer, self.head = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 13)

    def forward(self, tokens):
        return self.head(self.layer(self.embedding(tokens) + self.positions))


def test_weights_of_a_known_kind_are_taken_as_a_module_if_asked(tmp_path):
    torch.manual_seed(0)
    net = Encoder().eval()
    torch.save({"model_state_dict": net.state_dict(), "epoch": 5}, tmp_path / "m.pt")
    with pytest.raises(UserError):
        convert(tmp_path / "m.pt", tmp_path / "x")
    task = {"operation": "add", "p": 13, "train_fraction": 0.5}
    convert(tmp_path / "m.pt", tmp_path / "x", as_module=True, task=task)
    told = interp.adapt(Encoder(), embedding="embedding.weight", unembedding="head.weight.T")
    run = interp.open_run(tmp_path / "x", model=told)
    assert run.task == ModularTask(**task)
    table = run.task.table()
    with torch.no_grad():
        logits = net(torch.from_numpy(table.inputs))[:, -1].double()
    right = nn.functional.one_hot(torch.from_numpy(table.targets), 13).bool()
    margin = logits[right] - logits.masked_fill(right, -torch.inf).max(1).values
    found = run.measure("numerics")["margin_mean"].sel(split="all")
    np.testing.assert_allclose(found, [margin.mean()], rtol=1e-5)
    assert "tsne" in run.applies.fitting


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"bias": torch.zeros(3)}, "holds nothing that interp recognises"),
        ({"count": torch.zeros(3, 3, dtype=torch.int64)}, "holds nothing that interp recognises"),
        (
            {"a": torch.zeros(2, 2), "b": torch.zeros(2, 2, dtype=torch.int32)},
            "as torch.int32; floats of 16 to 64 bits are expected",
        ),
    ],
)
def test_what_is_no_state_dict_with_a_matrix_is_refused(tmp_path, state, says):
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(UserError, match=says):
        convert(tmp_path / "m.pt", tmp_path / "x")
    assert not (tmp_path / "x").exists()
