"""The least that a function can be, with the import of the app."""

from __future__ import annotations

import benchmarks.app  # noqa: F401 - that it is imported is all
from benchmarks.functions.trivial import handler as handler
