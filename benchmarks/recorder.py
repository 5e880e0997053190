"""What a recorder costs beside somebody's own loop: the same steps with and without it, one of each in turn (p = 113)."""

import argparse
import statistics
import tempfile
import time
from itertools import count
from pathlib import Path

import common
import torch
from torch import Tensor, nn

import interp

SAVES = 10
"""Steps between two with saved weights here, so that there are enough of them to time."""

USUAL = 100
"""Steps between two with saved weights, for which the share is told: those of the nanda preset."""


class Net(nn.Module):
    """A transformer of one layer as people write it, with the widths of the nanda preset."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.pos = nn.Embedding(114, 128), nn.Parameter(torch.randn(3, 128) / 128**0.5)
        self.attention = nn.MultiheadAttention(128, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 128))
        self.head = nn.Linear(128, 113)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits at the last position."""
        x = self.embed(tokens) + self.pos
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head((x + self.mlp(x))[:, -1])


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300, help="steps of each loop")
    rounds = parser.parse_args().rounds
    train = interp.ModularTask(p=113, train_fraction=0.3).split(seed=0).train
    inputs, targets = torch.from_numpy(train.inputs), torch.from_numpy(train.targets)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1.0)
    beside: dict[bool, list[float]] = {False: [], True: []}
    steps = count()

    def update() -> Tensor:
        """The loss of one step of the loop, which the loop reads."""
        loss = nn.functional.cross_entropy(net(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        return loss

    with (
        tempfile.TemporaryDirectory() as parent,
        interp.record(Path(parent) / "run", net, schedule=interp.schedule(every=SAVES), state=[optimizer]) as run,
    ):

        def recorded() -> None:
            """A step with the recorder; how long that alone took is kept by whether it saved."""
            loss = update()
            begin = time.perf_counter()
            saved = run.step(next(steps), train_loss=loss)
            beside[saved].append(time.perf_counter() - begin)

        loops = {"a step of the plain loop": update, "a step of the loop with the recorder": recorded}
        seconds = common.interleaved(loops, rounds)
    seconds |= {"the recorder in a step with a row": beside[False], "the recorder in a step that saves": beside[True]}
    bare, _, row, saving = (statistics.median(times) for times in seconds.values())
    common.write(
        "recorder",
        f"one layer, full batches of p = 113, {rounds} steps of each loop in turn; a row every step, weights and AdamW's state "
        f"every {SAVES}; quartiles in brackets",
        ["what", "ms"],
        [[name, common.spread(times)] for name, times in seconds.items()],
        f"With weights every {USUAL} steps the recorder takes {(row + (saving - row) / USUAL) / bare:.2%} of a plain step.",
    )


if __name__ == "__main__":
    main()
