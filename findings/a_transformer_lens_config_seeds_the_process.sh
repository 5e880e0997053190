#!/usr/bin/env bash
# To write down a HookedTransformerConfig with a seed sets the random numbers of the whole process.
#
# Met in: transformer-lens 3.9.0 on torch 2.13.0. The field `seed` reads as the seed of the model's initial weights. In fact the
# config's constructor, before there is any model, seeds torch, numpy and random globally. So a script that draws its data split
# or its order of batches after it has built configs draws the same ones in every run, whatever it seeded before; and a second
# config with the same seed, made for a comparison, sends the generators back to the start in mid-training. Seeds of split,
# weights and order, which ought to be varied apart, are one. Nothing is said.
#
# Remedy: leave `seed` out of the config, and draw with generators of your own; seed right before the model is built.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0
"$work/venv/bin/pip" install --quiet transformer-lens==3.9.0
cat >"$work/seeds.py" <<'PYTHON'
import random
from importlib.metadata import version

import numpy as np
import torch
from transformer_lens import HookedTransformerConfig


def drawn(process_seed, **more):
    """What each generator gives after the process was seeded and a config was written down."""
    torch.manual_seed(process_seed)
    np.random.seed(process_seed)
    random.seed(process_seed)
    HookedTransformerConfig(n_layers=1, d_model=8, n_ctx=3, d_head=4, d_vocab=5, act_fn="relu", **more)
    return torch.rand(1).item(), np.random.rand(), random.random()


print("transformer-lens", version("transformer-lens"))
for name, more in (("without a seed", {}), ("with seed=0", {"seed": 0})):
    same = [one == other for one, other in zip(drawn(1, **more), drawn(2, **more))]
    print(f"a config {name}: torch, numpy, random draw the same after seeds 1 and 2: {same}")
PYTHON
seen=$("$work/venv/bin/python" "$work/seeds.py")
echo "$seen"
expected='transformer-lens 3.9.0
a config without a seed: torch, numpy, random draw the same after seeds 1 and 2: [False, False, False]
a config with seed=0: torch, numpy, random draw the same after seeds 1 and 2: [True, True, True]'
[ "$seen" = "$expected" ] || { echo "the behaviour has changed" >&2; exit 1; }
