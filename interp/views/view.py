"""What a run can be seen as: the first parameter of an analysis names a view, which alone says what the analysis needs."""

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from jaxtyping import Float, Int
from torch import Tensor

from interp.base import DoesNotApply, once
from interp.maths.curves import collapse
from interp.models.network import Matrix, Roles, roles
from interp.objective import EACH
from interp.store import Run


@dataclass(frozen=True)
class View:
    """A run, seen as something that not every run is. What is computed of it is computed when asked for, and kept."""

    run: Run
    asked: str = field(default="what was asked for", repr=False, compare=False)
    """What needs it, as the subject of a sentence: `analysis "fourier"`."""

    reads_weights: ClassVar[bool] = True
    """Whether an analysis of this view may read checkpoints."""

    @classmethod
    def of(cls, run: Run, asked: str = "what was asked for") -> Self:
        """The run seen so, before any work: no weight is read.

        Raises:
            DoesNotApply: the run is no such thing; in a sentence, why.
        """
        seen = cls(run, asked)
        seen.check()
        return seen

    def check(self) -> None:
        """Nothing; DoesNotApply when the run is no such thing."""
        raise NotImplementedError

    @once
    def roles(self) -> Roles:
        """What of the run's network is what, as far as its weights tell."""
        return roles(self.run.config.model)

    @once
    def collapsed(self) -> float:
        """The logged step at which the run lost what it had reached; NaN if it never did, logged no accuracy, or is a path."""
        if self.run.between is not None:
            return math.nan
        history = self.run.history
        train, test = (history[f"{split}_accuracy"].to_numpy() for split in ("train", "test"))
        return collapse(history.index.to_numpy(), train, test)

    @once
    def settled(self) -> Run:
        """The run with the checkpoints in view from before it collapsed; all of them if it never did, or if none is."""
        steps = tuple(step for step in self.run.steps if not step >= self.collapsed)  # NaN: all
        return replace(self.run, steps=steps) if steps else self.run

    def losses_and_right(
        self, outputs: Float[Tensor, "*sets n answer"], targets: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "*sets n"], Float[Tensor, "*sets n"]]:
        """Loss of every prompt in the unit of the run's history; and 1 where it is answered rightly, 0 where not."""
        temperature = self.run.config.train.output_temperature
        return EACH[self.run.config.loss_units](outputs if temperature == 1 else outputs / temperature, targets)

    @once
    def known_roles(self) -> Roles:
        """The roles again; DoesNotApply when files of others leave open what the network computes."""
        return roles(self.run.known_model)


class Checkpoints(View):
    """A run with weights: every one that was not converted from learning curves alone."""

    def check(self) -> None:
        """Nothing; DoesNotApply when the run has no checkpoint."""
        self.run.with_checkpoints()

    @property
    def embeds(self) -> Matrix:
        """What embeds the tokens; DoesNotApply when the network has no such matrix."""
        return self.matrix(self.roles.embedding, "an embedding of tokens")

    def matrix(self, found: Matrix | None, what: str) -> Matrix:
        """The matrix; DoesNotApply when there is none."""
        if found is None:
            raise DoesNotApply(
                f"{self.run.path} is a model without {what} ({self.run.config.model.about}); {self.asked} needs it"
                f"{self.run.config.model.remedy}"
            )
        return found


class History(View):
    """A run with a history of at least one row."""

    reads_weights = False

    def check(self) -> None:
        """Nothing; DoesNotApply when nothing was logged."""
        if self.run.history.empty:
            raise DoesNotApply(f"{self.run.path} has an empty history; {self.asked} needs logged losses")


class Curves(View):
    """A run with logged losses, and curves of them or of its weights."""

    def check(self) -> None:
        """Nothing; DoesNotApply when the history has no loss, or no curve has two steps."""
        run, history = self.run, self.run.history
        if run.between is not None:
            raise DoesNotApply(f"{run.path} is a path between two networks; {self.asked} needs a run that learns")
        if history[["train_loss", "test_loss"]].dropna(how="all").empty:
            raise DoesNotApply(f"{run.path} has no losses in its history; {self.asked} needs logged losses")
        if len(run) < 2 and int(history.notna().sum().max()) < 2:
            raise DoesNotApply(f"{run.path} was logged at one step; {self.asked} needs curves, of two steps at least")
