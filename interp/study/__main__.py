"""`python -m interp.study compare TABLE.csv --by COLUMN --of COLUMN…`: whether settings differ, by exact permutation."""

import sys

from interp.cli.study import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
