"""What a recorder costs beside somebody's own loop: the same steps with and without it, one of each in turn (p = 113)."""

import argparse
import statistics
import tempfile
from pathlib import Path

import common
import torch
from torch import Tensor, nn

import interp

BLOCK = 100
"""Steps of a block, which saves weights once: the distance of checkpoints in the nanda preset."""


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
    parser.add_argument("--rounds", type=int, default=20, help="blocks of 100 steps of each kind")
    rounds = parser.parse_args().rounds
    train = interp.ModularTask(p=113, train_fraction=0.3).split(seed=0).train
    inputs, targets = torch.from_numpy(train.inputs), torch.from_numpy(train.targets)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1.0)

    def update() -> Tensor:
        """The loss of one step of the loop."""
        loss = nn.functional.cross_entropy(net(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    with tempfile.TemporaryDirectory() as parent:
        how = {"schedule": interp.schedule(every=BLOCK), "state": [optimizer]}
        with interp.record(Path(parent) / "run", net, **how) as run:
            step = 0

            def recorded() -> float:
                """The loss after a step with the recorder."""
                nonlocal step
                loss = update()
                run.step(step, train_loss=loss)
                step += 1
                return loss.item()

            def plain() -> float:
                """The loss after a step without it; loops read their loss."""
                return update().item()

            seconds = common.interleaved({"plain loop": plain, "with the recorder": recorded}, rounds * BLOCK)
    saves = seconds["with the recorder"][BLOCK - 3 :: BLOCK]  # behind three steps of warm-up
    bare = statistics.median(seconds["plain loop"])
    row = statistics.median(seconds["with the recorder"]) - bare
    saving = statistics.median(saves) - bare
    common.write(
        "recorder",
        f"full batches of p = 113, a row every step, weights and AdamW's state every {BLOCK}; quartiles in brackets",
        ["loop", "ms a step"],
        [
            ["plain", common.spread(seconds["plain loop"])],
            ["with the recorder", common.spread(seconds["with the recorder"])],
            [f"with the recorder, the {len(saves)} steps that save", common.spread(saves)],
        ],
        f"A row costs {1e3 * row:.2g} ms and saving {1e3 * saving:.2g} ms: together {(row + saving / BLOCK) / bare:.1%} of a "
        "plain step.",
    )


if __name__ == "__main__":
    main()
