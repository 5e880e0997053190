#!/usr/bin/env bash
# An autograd function that works under torch.func looks up the signature of its forward at every call.
#
# Met in: torch 2.13.0. `setup_context` beside `forward(x, …)` is the recommended form, and the only one that torch.func.grad, jvp
# and vmap take. With it `Function.apply` binds its arguments by inspect.signature each time: some 10 µs, as much as a small matrix
# product (measured beside the older form: 13 against 5 µs a call of the functions below). The older form,
# `forward(ctx, x, …)`, does not, and is refused by torch.func.
#
# Remedy: where no transform of torch.func is active, call the base class's apply with all arguments in place
# (`super(torch.autograd.Function, cls).apply(…)`), or keep the older form for what is differentiated by backward() alone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0 numpy
cat >"$work/signature.py" <<'PYTHON'
import inspect

import torch


class Older(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g


class Newer(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return 2 * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, g):
        return 2 * g


def lookups(function):
    """How often a signature is looked up in a hundred calls."""
    count, usual = 0, inspect.signature

    def counting(*args, **kwargs):
        nonlocal count
        count += 1
        return usual(*args, **kwargs)

    inspect.signature = counting
    try:
        for _ in range(100):
            function.apply(x)
    finally:
        inspect.signature = usual
    return count


x = torch.ones(3, requires_grad=True)
print("torch", torch.__version__.split("+")[0])
for function in (Older, Newer):
    try:
        torch.func.grad(lambda x: function.apply(x).sum())(torch.ones(3))
        taken = "works"
    except RuntimeError:
        taken = "is refused"
    print(f"{function.__name__}: under torch.func it {taken}; signatures looked up in 100 calls: {lookups(function)}")
PYTHON
seen=$("$work/venv/bin/python" "$work/signature.py")
echo "$seen"
expected="torch 2.13.0
Older: under torch.func it is refused; signatures looked up in 100 calls: 0
Newer: under torch.func it works; signatures looked up in 100 calls: 100"
[ "$seen" = "$expected" ] || { echo "the behaviour has changed" >&2; exit 1; }
