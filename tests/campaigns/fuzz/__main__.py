"""`python -m tests.campaigns.fuzz`."""

import sys

from tests.campaigns.fuzz.campaign import main

if __name__ == "__main__":
    sys.exit(main())
