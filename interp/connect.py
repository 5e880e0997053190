"""`python -m interp.connect A B --out DIR`: a path between two networks, as a run."""

import sys

from interp.cli.connect import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
