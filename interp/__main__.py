"""`python -m interp`: the map of what there is."""

import sys

from interp.cli.overview import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
