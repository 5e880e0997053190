"""`python -m interp.app DIR`: runs of a directory as a live page."""

import sys

from interp.cli.app import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
