"""Real servers for the stores, each a process of its own on a free port.

A server that this machine has not got skips the tests that need it, with the reason; with
LONGWIRE_TEST_STORES=all in the environment (as in CI) it fails them.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def unavailable(store: str, reason: str) -> NoReturn:
    """Skip or fail the tests of a store whose server cannot be had."""
    text = f"no {store} server: {reason}"
    if os.environ.get("LONGWIRE_TEST_STORES") == "all":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)
