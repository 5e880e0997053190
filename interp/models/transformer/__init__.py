"""Small transformers: HookedTransformers, and the same function by less work."""
