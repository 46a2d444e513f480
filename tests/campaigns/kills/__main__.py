"""`python -m tests.campaigns.kills`."""

import sys

from tests.campaigns.kills.campaign import main

if __name__ == "__main__":
    sys.exit(main())
