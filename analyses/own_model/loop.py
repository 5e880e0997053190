"""An MLP of plain torch on x + y mod 31, trained by a loop of plain torch, with a recorder beside it.

python analyses/own_model/loop.py checkpoints/own_model/mine      # some seconds
python -m interp.analyze all checkpoints/own_model/mine --model analyses/own_model/loop.py:mine
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import interp
from interp.models.module.adapted import Adapted
from interp.tasks import Examples

P = 31
TASK = interp.ModularTask(p=P, train_fraction=0.6)


class Net(nn.Module):
    """Embeddings of both operands, added; a layer of ReLUs; answers."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.y = nn.Embedding(P, 64), nn.Embedding(P, 64)
        self.hidden, self.out = nn.Linear(64, 128, bias=False), nn.Linear(128, P, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Outputs for prompts x, y, "="."""
        return self.out(self.hidden(self.x(tokens[:, 0]) + self.y(tokens[:, 1])).relu())


def mine() -> Adapted:
    """The module, and what of it is what."""
    return interp.adapt(Net(), embedding=["x.weight", "y.weight"], neurons="input of out", readout="out.weight.T")


def train(path: str | Path, seed: int = 0, steps: int = 5_000, null: bool = False) -> None:
    """Train, and record into a directory. In the null twin every answer to train on is drawn by chance."""
    torch.manual_seed(seed)
    told, split = mine(), TASK.split(seed)
    net, (x, y), (test_x, test_y) = told.module, *map(tensors, (split.train, split.test))
    y = torch.randint(P, y.shape) if null else y
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1.0)
    with interp.record(path, told, task=TASK, split=split, schedule=interp.schedule(every=50)) as run:
        for step in range(steps + 1):
            outputs = net(x)
            loss = cross_entropy(outputs, y)
            with torch.no_grad():
                test = net(test_x)
            right, test_right = ((o.argmax(1) == t).float().mean() for o, t in ((outputs, y), (test, test_y)))
            losses = {"train_loss": loss, "test_loss": cross_entropy(test, test_y)}
            run.step(step, **losses, train_accuracy=right, test_accuracy=test_right)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def tensors(half: Examples) -> list[torch.Tensor]:
    """Inputs and targets."""
    return [torch.from_numpy(half.inputs), torch.from_numpy(half.targets)]


if __name__ == "__main__":
    train(sys.argv[1])
