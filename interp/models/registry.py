"""All families of models, by kind; a new one joins by a line."""

from interp.models.convnet.spec import ConvnetSpec
from interp.models.family import Family
from interp.models.mlp.spec import MlpSpec
from interp.models.module.spec import ModuleSpec
from interp.models.toy.spec import ToySpec
from interp.models.transformer.spec import TransformerSpec
from interp.plugins import Registry


def kind_of(family: type[Family]) -> str:
    """Name of a family in a configuration."""
    return family.model_fields["kind"].default


FAMILIES: Registry[type[Family]] = Registry(
    "model",
    "interp.models",
    kind_of,
    (TransformerSpec, ToySpec, MlpSpec, ConvnetSpec, ModuleSpec),
    called="FAMILIES",
)
