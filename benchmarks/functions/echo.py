"""The app behind Longwire."""

from __future__ import annotations

import os

from benchmarks.measured import make_handler

handler = make_handler("longwire", os.environ["BENCHMARK_ARGUMENTS"])
