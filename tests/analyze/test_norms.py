"""interp/analyze/learning/norms.py: what tensors are comes from the family's table, whatever it calls them."""

from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from helpers import tiny_config

from interp import analyze
from interp.models import FAMILIES
from interp.models.family import Family, TensorSpec
from interp.models.network import initial_weights
from interp.recipe import TrainConfig
from interp.store import RunWriter, open_run


class Convolution(Family):
    """A family of someone else, with names and shapes that no family of interp has, and no bias."""

    parts: ClassVar[tuple[str, ...]] = ("stem", "head")

    kind: Literal["convolution"] = "convolution"
    channels: int = 3

    @property
    def about(self) -> str:
        """In a few words."""
        return f"{self.channels} channels"

    @property
    def unstarted(self) -> "Convolution":
        """Nothing decides the start alone."""
        return self

    def fits(self, shape, train) -> None:
        """Every task."""

    def tensors(self, shape) -> dict[str, TensorSpec]:
        """The head stands before the stem, and one tensor is of no part that `parts` names."""
        return {
            "θ": TensorSpec((self.channels, shape.outputs.n), "head", std=1.0),
            "kernels": TensorSpec((self.channels, 2, 3, 3), "stem", std=1.0, rows=(0,)),
            "gain": TensorSpec((self.channels,), "elsewhere", "scale"),
        }


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A run of that family with two checkpoints, the weights of the second twice those of the first."""
    monkeypatch.setitem(FAMILIES._known, "convolution", Convolution)
    config = tiny_config(model=Convolution(), train=TrainConfig(steps=1))
    weights = initial_weights(config.model, config.task.shape, seed=0)
    with RunWriter(tmp_path / "run", config) as writer:
        for step in range(2):
            writer.checkpoint(step, {name: (1 + step) * tensor for name, tensor in weights.items()})
    return open_run(tmp_path / "run"), weights


def test_tensors_of_any_name_have_norms_and_ranks(foreign):
    run, weights = foreign
    measured = analyze.measure(run, "norms")
    found = measured.sel(step=1)
    assert list(found["group"].values) == ["stem", "head", "elsewhere"]
    assert dict(zip(found["tensor"].values, found["group_of_tensor"].values, strict=True)) == {
        "θ": "head", "kernels": "stem", "gain": "elsewhere",
    }  # fmt: skip
    for name, tensor in weights.items():
        assert found["l2"].sel(tensor=name).item() == pytest.approx(2 * tensor.norm().item(), rel=1e-6)
    np.testing.assert_allclose(found["l2_ratio"], 2, rtol=1e-6)
    assert list(found["weight_matrix"].values) == ["θ", "kernels"]
    singular = torch.linalg.svdvals(weights["kernels"].double().flatten(1))
    here = found["stable_rank"].sel(weight_matrix="kernels").item()
    assert here == pytest.approx((singular.square().sum() / singular[0].square()).item(), rel=1e-5)
    assert found["total_l2"].sel(kind="biases") == found["total_linf"].sel(kind="biases") == 0
    assert analyze.draw(measured).to_dict()["data"]
    assert list(analyze.summarise(measured)["L2 weights ÷ first"]) == pytest.approx([1, 2])
