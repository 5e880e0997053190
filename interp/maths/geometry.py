"""Point clouds in the plane: projections, and laying one frame onto the next."""

import torch
from jaxtyping import Float
from torch import Tensor

from interp.maths.fourier import real_fourier_basis


def principal_components(points: Float[Tensor, "n d"], k: int = 2) -> tuple[Float[Tensor, "n k"], Float[Tensor, " k"]]:
    """Coordinates along the k directions of largest variance, and each direction's share of the variance.

    Signs of components are arbitrary: align frames before comparing them.
    """
    centred = points.double() - points.double().mean(dim=0)
    U, S, _ = torch.linalg.svd(centred, full_matrices=False)
    return U[:, :k] * S[:k], S[:k].square() / S.square().sum()


def aligned(points: Float[Tensor, "n d"], target: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """`points`, centred, and rotated or reflected (not scaled) to lie as near to `target` as possible.

    Orthogonal Procrustes (Schönemann 1966). Distances between points do not change.
    """
    centred, goal = points - points.mean(dim=0), target - target.mean(dim=0)
    U, _, Vt = torch.linalg.svd(centred.mT @ goal)
    return centred @ (U @ Vt)


def circle(matrix: Float[Tensor, "p d"], k: int) -> Float[Tensor, "p 2"]:
    """Rows of the matrix projected on the plane of its frequency k, axes orthonormal.

    A network that uses k lays the residues on an ellipse there, x at angle 2πkx/p; the plane is spanned by the two
    directions F_cos,k·M and F_sin,k·M. For even p, frequency p/2 has no sine and the second axis reads 0.
    """
    p, centred = matrix.shape[0], matrix.double() - matrix.double().mean(dim=0)
    directions = real_fourier_basis(p)[2 * k - 1 : 2 * k + 1].to(matrix.device) @ centred
    # Symmetric orthonormalisation: neither axis is favoured, so the circle does not jump between frames.
    U, _, Vt = torch.linalg.svd(directions, full_matrices=False)
    plane = centred @ (U @ Vt).mT
    return torch.nn.functional.pad(plane, (0, 2 - plane.shape[1]))
