"""`python -m interp.export PROGRAM DIR…`: curves of runs for TensorBoard, Weights & Biases or trackio."""

import sys

from interp.cli.export import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
