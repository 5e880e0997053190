"""Between: what a path from one network to another is, as run.json tells it."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from interp.base import Frozen
from interp.config import Start


class Curve(Frozen):
    """How a path leads from one network to another."""

    section: ClassVar[str] = ""

    curve: Literal["line", "bezier", "polygon"] = "line"
    """line: (1 − t)·A + t·B. bezier: (1 − t)²·A + 2t(1 − t)·θ + t²·B with a bend θ that is trained. polygon: straight to θ and
    straight on to B (Garipov et al. 2018, arXiv 1802.10026)."""
    align: bool = False
    """Bring B to A first by the symmetries of the network: order of neurons and heads, turns of hidden spaces. B stays the same
    function (Ainsworth et al. 2022, arXiv 2209.04836, weight matching)."""
    points: int = Field(default=61, ge=2, le=10_001)
    """Number of networks on the path, evenly spaced in t, with both ends."""
    over: Literal["train", "test", "all"] = "train"
    """Examples over which the bend is trained."""
    steps: int = Field(default=1000, ge=1, le=1_000_000)
    """Number of updates of the bend, by Adam."""
    lr: float = Field(default=3e-3, gt=0)
    """Learning rate of the bend: constant for half of the steps, from there linear to a hundredth of it at nine tenths."""
    draws: int = Field(default=1, ge=1, le=1000)
    """Number of t at which an update takes the loss: one uniform in each of so many equal parts of the path."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of these t."""

    @model_validator(mode="after")
    def _has_something_to_train(self) -> "Curve":
        plain = type(self).model_fields
        odd = [n for n in ("over", "steps", "lr", "draws", "seed") if getattr(self, n) != plain[n].default]
        if self.curve == "line" and odd:
            raise ValueError(
                f'{odd[0]} is {getattr(self, odd[0])} and curve "line", on which nothing is trained; leave it out, or take '
                '--curve "bezier"'
            )
        return self

    @property
    def about(self) -> str:
        """The curve in words."""
        shape = {"line": "straight line", "bezier": "Bézier curve with a bend", "polygon": "polygon with a bend"}
        trained = "" if self.curve == "line" else f" trained by {self.steps:,} updates"
        return f"{shape[self.curve]}{trained}{', B aligned' if self.align else ''}"


class Between(Frozen):
    """A path between two networks: its ends and its curve."""

    ends: tuple[Start, Start]
    """A and B: directory, step and digest of each network as it was found; B is not yet aligned there."""
    curve: Curve
    rounds: int = Field(default=0, ge=0)
    """Rounds of the alignment through all symmetries; 0 without one."""
