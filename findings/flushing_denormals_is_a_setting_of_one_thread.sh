#!/usr/bin/env bash
# torch.set_flush_denormal changes the calling thread alone: after it, one elementwise product follows two rules.
#
# Met in: torch 2.13.0. A network that is certain of its training set has gradients below 1.2e-38, for which many processors
# take some hundred times as long, so that a run of grokking slows down several times once it has memorised. The documented
# remedy is torch.set_flush_denormal(True), whose page names no thread. The processor keeps the setting by thread, and those of
# torch's pool have that of the thread which started them. If anything large was computed before the call, the other threads
# go on as before: parts of one tensor are 0 and other parts are not, the speed is not won, and results depend on what was
# computed before. Turning it off later leaves it on in a pool that was started in between.
#
# Remedy: call it before the first operation that is large enough for several threads, or in every thread of the pool.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet torch==2.13.0
cat >"$work/flush.py" <<'PYTHON'
import sys
from array import array
from importlib.metadata import version

import torch

torch.set_num_threads(2)
tiny, half = torch.frombuffer(array("f", [1e-39]) * (1 << 22), dtype=torch.float32), torch.tensor(0.5)  # on one thread


def zeros():
    product = tiny * half
    bits = product.view(torch.int32)  # compared as floats, they would be 0 to the one thread and not to the other
    return [f"{float((part == 0).float().mean()):g}" for part in bits.chunk(2)]


if sys.argv[1] == "after":
    print("torch", version("torch").split("+")[0])
    print("share of zeros in both halves, before it is set:", *zeros())
    torch.set_flush_denormal(True)
    print("set after the pool was started:", *zeros())
else:
    torch.set_flush_denormal(True)
    print("set before the pool is started:", *zeros())
    torch.set_flush_denormal(False)
    print("turned off after the pool was started:", *zeros())
PYTHON
seen=$(for when in after before; do "$work/venv/bin/python" -W ignore "$work/flush.py" "$when"; done)
echo "$seen"
expected="torch 2.13.0
share of zeros in both halves, before it is set: 0 0
set after the pool was started: 1 0
set before the pool is started: 1 1
turned off after the pool was started: 0 1"
[ "$seen" = "$expected" ] || { echo "the behaviour has changed" >&2; exit 1; }
