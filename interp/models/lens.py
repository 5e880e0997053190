"""The only file that imports transformer_lens: what the families' own models are made of. Importing it takes seconds."""

from transformer_lens import HookedRootModule, HookedTransformer, HookedTransformerConfig
from transformer_lens.hook_points import HookPoint

__all__ = ["HookPoint", "HookedRootModule", "HookedTransformer", "HookedTransformerConfig"]
