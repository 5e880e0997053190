"""`python -m interp.train PRESET [options]`: train a model with checkpoint saving."""

import sys

from interp.cli.train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
