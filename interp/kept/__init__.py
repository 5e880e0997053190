"""Measured once, kept: measurements beside the run that they are of, answered again as long as nothing of it has changed."""

from interp.kept.measuring import Answer, known, measure, stale

__all__ = ["Answer", "known", "measure", "stale"]
