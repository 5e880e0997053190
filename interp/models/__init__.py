"""What learns: each model a frozen spec with .build(shape, seed), weights in HookedTransformer's layout and names."""

from interp.models.transformer import Precision, TransformerSpec

Model = TransformerSpec
"""Every kind of model that a run can name; a new one joins by `|`."""

__all__ = ["Model", "Precision", "TransformerSpec"]
