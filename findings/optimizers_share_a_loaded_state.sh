#!/usr/bin/env bash
# Two optimisers that load one state dict share its tensors, and each step of one changes the other.
#
# Met in: torch 2.13.0. Who trains two runs from one checkpoint in one process (forks of a run, sweeps from a common start,
# ensembles) loads one state dict twice, and expects what Module.load_state_dict does: values are copied. Optimizer.load_state_dict
# keeps the tensors of the dictionary that it is given where dtype and device fit, and its step updates them in place. state_dict()
# gives out live tensors too. So the second optimiser begins where the first has come, and from then on they move each other;
# the dictionary itself, kept as "the state at step n", is no longer that. Nothing is raised or warned of. A state that went
# through torch.save and torch.load anew for each optimiser is not shared. Reported to the project as pytorch/pytorch#196083.
#
# Remedy: copy.deepcopy the dictionary before each load, and what state_dict() returns before it is kept.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.3.5
cat >"$work/shared.py" <<'PYTHON'
import copy

import torch


def trained(steps, parameter, optimizer):
    """The parameter after so many steps towards 0."""
    for _ in range(steps):
        optimizer.zero_grad()
        parameter.square().sum().backward()
        optimizer.step()
    return parameter.item()


def two_from_one(state, give):
    """Two runs from one state, ten steps each, one after the other: both should end at the same place."""
    ends = []
    for _ in range(2):
        parameter = torch.nn.Parameter(torch.tensor([1.0]))
        optimizer = torch.optim.AdamW([parameter], lr=0.1, weight_decay=0)
        optimizer.load_state_dict(give(state))
        ends.append(trained(10, parameter, optimizer))
    return ends


def state_after_five_steps():
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.AdamW([parameter], lr=0.1, weight_decay=0)
    trained(5, parameter, optimizer)
    return optimizer.state_dict()


state = state_after_five_steps()
before = state["state"][0]["exp_avg"].item()
shared = two_from_one(state, lambda given: given)
after = state["state"][0]["exp_avg"].item()
state = state_after_five_steps()
copied = two_from_one(state, copy.deepcopy)
print(f"torch {torch.__version__.split('+')[0]}")
print(f"two runs from one state: equal {shared[0] == shared[1]}; from copies of it: equal {copied[0] == copied[1]}")
print(f"the state that was loaded is as it was: {before == after}")

module = torch.nn.Linear(1, 1)
weights = torch.nn.Linear(1, 1).state_dict()
module.load_state_dict(weights)
print(f"a module shares what it loads: {module.weight.data_ptr() == weights['weight'].data_ptr()}")
PYTHON
seen=$("$work/venv/bin/python" "$work/shared.py")
echo "$seen"
expected='torch 2.13.0
two runs from one state: equal False; from copies of it: equal True
the state that was loaded is as it was: False
a module shares what it loads: False'
[ "$seen" = "$expected" ] || { echo "the behaviour has changed" >&2; exit 1; }
