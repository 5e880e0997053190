"""The live page: runs of a directory in the browser, also while they train; `python -m interp.app DIR`."""
