"""A run whose test loss was logged often enough to be told from its noise."""

from interp.base import DoesNotApply
from interp.maths.stages import FEWEST
from interp.views.view import Curves


class LongCurves(Curves):
    """A run whose test loss was logged often enough to be told from its noise."""

    reads_weights = False

    def check(self) -> None:
        """Nothing; DoesNotApply when it was logged fewer than `FEWEST` times from step 1 on."""
        super().check()
        logged = int(self.run.history.loc[1:, "test_loss"].notna().sum())
        if logged < FEWEST:
            raise DoesNotApply(
                f"{self.run.path} has {logged} logged test losses from step 1 on; {self.asked} needs {FEWEST}: take a smaller "
                "train.log_every, or a longer run"
            )
