"""`python -m jaxrep`: the command line, where the script `jaxrep` is not on the path."""

import sys

from jaxrep.cli import main

if __name__ == "__main__":
    sys.exit(main())
