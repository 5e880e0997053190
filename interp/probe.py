"""`python -m interp.probe DIR` and `%load_ext interp.probe`: IPython with a run at hand."""

import sys

from interp.cli.probe import load_ipython_extension, main

__all__ = ["load_ipython_extension"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
