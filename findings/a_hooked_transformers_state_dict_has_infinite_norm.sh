#!/usr/bin/env bash
# The norm of everything in a HookedTransformer's state dict is infinite, in a healthy network.
#
# Met in: transformer-lens 3.9.0 on torch 2.13.0. Who follows ‖θ‖ over checkpoints (weight decay, Omnigrok's shells, distances
# between runs, averages of weights) sums over state_dict(), as is usual where a model has no buffers that matter. Here each
# layer has the float buffer attn.IGNORE, which is -inf, beside a boolean attn.mask: the sum of squares is inf, the difference
# of two checkpoints is nan, and their mean along a straight line is nan at one end. Nothing is raised.
#
# Remedy: named_parameters(), or leave out what ends in .mask and .IGNORE.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0
"$work/venv/bin/pip" install --quiet transformer-lens==3.9.0
cat >"$work/norm.py" <<'PYTHON'
from importlib.metadata import version

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig

config = HookedTransformerConfig(
    n_layers=1, d_model=8, n_ctx=3, d_head=4, n_heads=2, d_vocab=5, d_mlp=8, act_fn="relu", seed=0
)
model = HookedTransformer(config)
print("transformer-lens", version("transformer-lens"))
state, parameters = model.state_dict(), dict(model.named_parameters())
print("in the state dict and no parameter:", sorted(set(state) - set(parameters)))
print("all parameters are finite:", all(part.isfinite().all().item() for part in parameters.values()))
print("sum of squares of the state dict:", sum(part.float().square().sum() for part in state.values()).item())
difference = sum((part.float() - part.float()).square().sum() for part in state.values()).item()
print("squared distance of the state dict to itself:", difference)
PYTHON
seen=$("$work/venv/bin/python" "$work/norm.py")
echo "$seen"
expected="transformer-lens 3.9.0
in the state dict and no parameter: ['blocks.0.attn.IGNORE', 'blocks.0.attn.mask']
all parameters are finite: True
sum of squares of the state dict: inf
squared distance of the state dict to itself: nan"
[ "$seen" = "$expected" ] || { echo "the behaviour has changed" >&2; exit 1; }
