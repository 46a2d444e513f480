"""`python -m longwire`, the same as `longwire`."""

import sys

from longwire.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
