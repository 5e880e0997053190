"""`python -m interp.convert SRC --out DIR`: runs of others as ordinary runs, and runs for others."""

import sys

from interp.cli.convert import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
