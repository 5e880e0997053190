"""Toy models of superposition: vectors kept in fewer hidden numbers."""
