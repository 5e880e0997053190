"""`python -m interp.analyze NAME DIR…`: measure runs across their checkpoints."""

import sys

from interp.cli.analyze import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
