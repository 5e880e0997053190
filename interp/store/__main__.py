"""`python -m interp.store verify DIR…`: whether every file of a run is what was written there."""

import sys

from interp.cli.store import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
