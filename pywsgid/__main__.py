"""`python -m pywsgid`: the command line."""

import sys

from pywsgid.cli import main

if __name__ == "__main__":
    sys.exit(main())
