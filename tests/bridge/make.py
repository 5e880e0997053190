"""Tiny runs of every kind of model, exported, with what HookedTransformer computes: `python make.py OUT`.

Runs in interp's environment; check.py compares in that of TransformerLens 4.

    OUT/NAME/export/                       what write_bridge writes
    OUT/NAME/expected/STEP.safetensors     tokens [prompt, pos], logits [prompt, pos, d_vocab_out], every hook by name
"""

import sys
from itertools import product
from pathlib import Path

import torch
from safetensors.torch import save_file

from interp.config import RunConfig
from interp.models import TransformerSpec
from interp.recipe import TrainConfig
from interp.store.foreign.bridge import write_bridge
from interp.tasks import ModularTask
from interp.tasks.table import Prompt
from interp.train.loop import train

SIZE = {"n_heads": 2, "d_model": 16, "d_head": 8, "d_mlp": 24, "biases": "trained"}
# A high rate, so that biases and LayerNorms move far from 0 and 1: a bridge that left one out would differ.
TRAIN = TrainConfig(steps=30, lr=3e-2, weight_decay=0.1, checkpoint_every=30, checkpoints_per_decade=1)


def specs() -> dict[str, tuple[TransformerSpec, ModularTask]]:
    """Every combination of depth, activation, normalisation and direction, and the shapes that could go wrong."""
    task = ModularTask(p=7, train_fraction=0.5)
    kinds = product(
        (1, 2),
        ("relu", "gelu", "silu", "solu", "solu_ln"),
        ("none", "LN", "LNPre"),
        ("causal", "bidirectional"),
    )
    found = {
        f"{layers}_{act_fn}_{norm}_{direction}": (
            TransformerSpec(**SIZE, n_layers=layers, act_fn=act_fn, normalization=norm, attention=direction),
            task,
        )
        for layers, act_fn, norm, direction in kinds
    }
    odd = {
        "heads_wider_than_the_stream": {"n_heads": 3, "d_head": 11},
        "one_head_of_one_dimension": {"n_heads": 1, "d_head": 1},
        "width_one": {"n_heads": 1, "d_head": 4, "d_model": 1, "d_mlp": 1},
        "frozen_biases": {"biases": "frozen"},
        "mlp_biases": {"biases": "mlp"},
        "hooked_init": {"init": "hooked", "init_scale": 4.0},
    }
    found |= {name: (TransformerSpec(**SIZE | change, n_layers=2), task) for name, change in odd.items()}
    prompts: list[tuple[Prompt, int]] = [("ab", 7), ("aob=", 11)]
    for prompt, p in prompts:
        found[f"prompt_{prompt.rstrip('=')}"] = (TransformerSpec(**SIZE), ModularTask(p=p, prompt=prompt))
    return found


def main(out: Path) -> None:
    for name, (spec, task) in specs().items():
        run = train(RunConfig(name=name, task=task, model=spec, train=TRAIN), out / name / "run", overwrite=True)
        run = run.select(steps=[run.steps[0], run.steps[-1]])
        write_bridge(run, out / name / "export")
        tokens = torch.from_numpy(task.table().inputs)
        for checkpoint in run:
            with torch.inference_mode():
                logits, hooks = checkpoint.model.run_with_cache(tokens)
            found = {"tokens": tokens, "logits": logits, **hooks}
            file = out / name / "expected" / checkpoint.path.name
            file.parent.mkdir(exist_ok=True)
            save_file({name: tensor.clone().contiguous() for name, tensor in found.items()}, file)
    print(f"{len(specs())} models in {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
