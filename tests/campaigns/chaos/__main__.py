"""`python -m tests.campaigns.chaos`."""

import sys

from tests.campaigns.chaos.campaign import main

if __name__ == "__main__":
    sys.exit(main())
