#!/usr/bin/env bash
# The norm of a convolution's filters, a number for each output channel, is what filter-normalised planes of the loss (Li et al. 2018)
# divide by: the root of the sum of squares over the three axes (in, height, width). torch 2.13.0:
#   W.norm()                    one number, over all four axes
#   W.norm(dim=(2, 3))          the root of the sum of squares over two axes
#   W.norm(dim=(1, 2, 3))       RuntimeError: linalg.matrix_norm: dim must be a 2-tuple
#   W.norm(p=2, dim=(1, 2, 3))  what was meant, though 2 is what p stands for without dim
# Without an order, two axes are a matrix, and three are an error; with the order 2 any axes are a vector. On two axes both agree.
# A plane of an MLP or a transformer works, and that of a convolutional network stops.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import torch

W = torch.arange(1.0, 145.0).reshape(4, 4, 3, 3)
by_hand = W.square().sum(dim=(1, 2, 3)).sqrt()
assert torch.__version__.split("+")[0] == "2.13.0"
assert torch.allclose(W.norm(), W.square().sum().sqrt())
assert torch.allclose(W.norm(dim=(2, 3)), W.square().sum(dim=(2, 3)).sqrt())
try:
    W.norm(dim=(1, 2, 3))
except RuntimeError as error:
    assert "dim must be a 2-tuple" in str(error), error
    print(f"without an order: {error}")
else:
    raise SystemExit("changed: three axes have a norm without an order")
assert torch.allclose(W.norm(p=2, dim=(1, 2, 3)), by_hand)
assert torch.allclose(torch.linalg.vector_norm(W, dim=(1, 2, 3)), by_hand)
print("with p=2, and by torch.linalg.vector_norm: the norm of each filter")
PYTHON
