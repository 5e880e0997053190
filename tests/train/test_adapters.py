"""interp/train/hugging_face.py and lightning.py inside the real trainers: what they record is what a plain loop does."""

import warnings
from typing import Any

import pytest
import torch
from torch import nn

import interp
from interp.base import UserError

# Lightning warns wherever Slurm is installed.
pytestmark = pytest.mark.filterwarnings("ignore:The `srun` command is available")

SOON = interp.schedule(at=[0, 2, 5, 8])


def examples(n=24):
    torch.manual_seed(0)
    inputs = torch.randn(n, 4)
    return [{"x": each, "y": (each[0] > 0).long()} for each in inputs]


class Net(nn.Module):
    """Two layers and a loss, as Hugging Face's models return it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x, y):
        logits = self.layers(x)
        return {"loss": nn.functional.cross_entropy(logits, y), "logits": logits}


def by_hand(steps=8):
    """Weights after each update of SGD on batches of 6 in order, and the loss of the batch that led there."""
    net, rows = Net(), examples()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    weights, losses = {0: {name: each.detach().clone() for name, each in net.named_parameters()}}, {}
    for step in range(1, steps + 1):
        batch = [rows[(6 * (step - 1) + i) % 24] for i in range(6)]
        loss = net(torch.stack([each["x"] for each in batch]), torch.stack([each["y"] for each in batch]))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        weights[step] = {name: each.detach().clone() for name, each in net.named_parameters()}
        losses[step] = loss.item()
    return weights, losses


def is_as_by_hand(run, module=""):
    weights, losses = by_hand()
    assert run.steps == (0, 2, 5, 8)
    for step in run.steps:
        for name, expected in weights[step].items():
            torch.testing.assert_close(run.at(step).weights[module + name], expected)
    for step, loss in run.history["train_loss"].dropna().items():
        assert loss == pytest.approx(losses[step], abs=1e-4)  # the Trainer rounds
    assert {"norms", "spectra", "trajectory", "curves"} <= set(run.applies.fitting)


def hugging_face(tmp_path, net, callback, steps=8, again=False, **more):
    from torch.utils.data import SequentialSampler
    from transformers import Trainer, TrainingArguments

    class InOrder(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None):
            return SequentialSampler(examples())

    arguments = TrainingArguments(
        str(tmp_path / "hf"), max_steps=steps, per_device_train_batch_size=6, logging_steps=1, report_to=[], use_cpu=True,
        disable_tqdm=True, remove_unused_columns=False, max_grad_norm=0, label_names=["y"], dataloader_pin_memory=False, **more,
    )  # fmt: skip
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    rows: Any = examples()
    trainer = InOrder(
        net, arguments, train_dataset=rows, eval_dataset=rows, optimizers=(optimizer, constant), callbacks=[callback]
    )
    trainer.train(resume_from_checkpoint=again)


def test_a_run_of_hugging_faces_trainer_is_recorded(tmp_path):
    from interp.train.hugging_face import Recording

    hugging_face(tmp_path, Net(), Recording(tmp_path / "run", schedule=SOON), eval_strategy="steps", eval_steps=4)
    run = interp.open_run(tmp_path / "run", model=Net())
    is_as_by_hand(run)
    history = run.history
    assert list(history["test_loss"].dropna().index) == [4, 8]
    with torch.no_grad():
        rows = examples()
        x, y = (torch.stack([each[name] for each in rows]) for name in "xy")
        assert history.loc[8, "test_loss"] == pytest.approx(float(run.at(8).model(x, y)["loss"]), abs=1e-4)
    assert not [name for name in history.columns if "second" in name or "runtime" in name]


def test_a_run_of_hugging_faces_trainer_goes_on_where_the_trainer_does(tmp_path):
    from interp.train.hugging_face import Recording

    saving: dict[str, Any] = {"save_strategy": "steps", "save_steps": 5}
    hugging_face(tmp_path, Net(), Recording(tmp_path / "run", schedule=SOON), steps=5, **saving)
    hugging_face(tmp_path, Net(), Recording(tmp_path / "run", schedule=SOON), again=True, **saving)
    run = interp.open_run(tmp_path / "run")
    is_as_by_hand(run)
    assert list(run.history["train_loss"].dropna().index) == [1, 2, 3, 4, 5, 6, 7, 8]
    with pytest.raises(UserError, match="are those of step 8, and the trainer begins at step 0; let both save"):
        hugging_face(tmp_path, Net(), Recording(tmp_path / "run", schedule=SOON), **saving)
    assert interp.open_run(tmp_path / "run").steps == (0, 2, 5, 8)


class FailsOnce(Net):
    """A network whose seventh forward pass raises, once."""

    passes = 0

    def forward(self, x, y):
        FailsOnce.passes += 1
        if FailsOnce.passes == 7:
            raise RuntimeError("no more memory")
        return super().forward(x, y)


def test_training_that_raised_is_recorded_again_in_the_same_process(tmp_path, monkeypatch):
    from interp.train.hugging_face import Recording

    monkeypatch.setattr(FailsOnce, "passes", 0)
    saving: dict[str, Any] = {"save_strategy": "steps", "save_steps": 5}
    first = Recording(tmp_path / "run", schedule=SOON)
    with pytest.raises(RuntimeError, match="no more memory"):
        hugging_face(tmp_path, FailsOnce(), first, **saving)
    with pytest.raises(UserError, match="is writing to"):  # the Trainer does not tell a callback that training raised
        interp.record(tmp_path / "run", Net())
    hugging_face(tmp_path, FailsOnce(), Recording(tmp_path / "run", schedule=SOON), again=True, **saving)
    is_as_by_hand(interp.open_run(tmp_path / "run"))
    with pytest.raises(UserError, match=r"another training began to record into .*; give each a directory of its own"):
        first._beside.reach(9)


def lightning(tmp_path, callback, steps=8, every=4, **more):
    from pytorch_lightning import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def training_step(self, batch):
            loss = self.net(**batch)["loss"]
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch):
            self.log("val_loss", self.net(**batch)["loss"])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    rows: Any = examples()
    loader = torch.utils.data.DataLoader(rows, batch_size=6)
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[callback], default_root_dir=tmp_path, log_every_n_steps=1, check_val_every_n_epoch=None,
        val_check_interval=every, enable_checkpointing=False, **more,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers and devices
        trainer.fit(Module(), loader, loader)
    return trainer


def test_a_run_of_lightnings_trainer_is_recorded(tmp_path):
    from interp.train.lightning import Recording

    lightning(tmp_path, Recording(tmp_path / "run", schedule=SOON))
    run = interp.open_run(tmp_path / "run")
    is_as_by_hand(run, module="net.")
    assert list(run.history["train_loss"].dropna().index) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert list(run.history["test_loss"].dropna().index) == [4, 8]  # once each, not until the next validation
    with pytest.raises(UserError, match="are those of step 8, and the trainer begins at step 0"):
        lightning(tmp_path, Recording(tmp_path / "run", schedule=SOON))


def test_lightning_gives_the_directory_back_when_training_raises(tmp_path, monkeypatch):
    from interp.train.lightning import Recording

    def fail(self, x, y):
        raise RuntimeError("no more memory")

    monkeypatch.setattr(Net, "forward", fail)
    with pytest.raises(RuntimeError, match="no more memory"):
        lightning(tmp_path, Recording(tmp_path / "run", schedule=SOON))
    interp.record(tmp_path / "run", Net(), overwrite=True)._close()


def test_accumulated_batches_are_one_step(tmp_path):
    from interp.train.lightning import Recording

    lightning(tmp_path, Recording(tmp_path / "run", schedule=SOON), steps=2, accumulate_grad_batches=2)
    run = interp.open_run(tmp_path / "run")
    assert run.steps == (0, 2)
    assert run.history.index.tolist() == [0, 1, 2]
