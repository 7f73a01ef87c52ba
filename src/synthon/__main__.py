"""`python -m synthon` is `synthon`."""

import sys

from synthon.cli import main

if __name__ == "__main__":
    sys.exit(main())
