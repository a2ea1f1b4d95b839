"""`python -m wmkit` is `wmkit`."""

import sys

from wmkit.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
