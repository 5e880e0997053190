"""A run as a path between two networks, whose checkpoints are its points."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp.base import DoesNotApply, once
from interp.store.between import Between
from interp.views import watched
from interp.views.view import Checkpoints


@dataclass(frozen=True)
class Path(Checkpoints):
    """A run whose checkpoints lie on a path between two networks."""

    def check(self) -> None:
        """Nothing; DoesNotApply when the run is no path."""
        super().check()
        if self.run.between is None:
            raise DoesNotApply(
                f"{self.run.path} is no path between two networks; make one of two checkpoints with "
                "python -m interp.connect A B"
            )

    @once
    def between(self) -> Between:
        """What the path is."""
        assert self.run.between is not None
        return self.run.between

    @once
    def t(self) -> Float[np.ndarray, " step"]:
        """Place of each point in view between A, 0, and B, 1."""
        return np.array(self.run.steps) / (self.between.curve.points - 1)

    @once
    def squares(self) -> dict[str, Float[np.ndarray, " step"]]:
        """Squared distance of the weights of each point in view from A, and from the point in view before it (0 at the first)."""
        buffers = set(self.run.config.model.buffers(self.run.task.shape))
        A = {name: tensor.double() for name, tensor in self.run.first.weights.items() if name not in buffers}
        from_a, from_last, last = [], [], A
        for done, checkpoint in enumerate(self.run, start=1):
            here = {name: tensor.double() for name, tensor in checkpoint.mapped().items() if name not in buffers}
            from_a.append(sum(float((here[name] - A[name]).square().sum()) for name in here))
            from_last.append(sum(float((here[name] - last[name]).square().sum()) for name in here))
            last = here
            watched.tell(done, len(self.run))
        return {"from_a": np.array(from_a), "from_last": np.array([0.0, *from_last[1:]])}
