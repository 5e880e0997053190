"""What learns: each model a frozen spec with .build(shape, seed), weights in HookedTransformer's layout and names."""

from typing import Annotated

from pydantic import Field

from interp.models.toy import ToySpec
from interp.models.transformer import Precision, TransformerSpec

Model = Annotated[TransformerSpec | ToySpec, Field(discriminator="kind")]
"""Every kind of model that a run can name; a new one joins by `|`."""

__all__ = ["Model", "Precision", "ToySpec", "TransformerSpec"]
