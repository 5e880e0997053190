"""MLPs on prompts of tokens."""
