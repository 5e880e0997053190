"""`python -m interp.table DIR…`: a table of runs, a row for each."""

import sys

from interp.cli.table import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
