"""What a function's process is given of the environment of the one that starts it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from longwire.local.function.inline import environment

if TYPE_CHECKING:
    import pytest


def test_the_environment_is_copied_while_another_thread_changes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As pytest does, which notes each test there, while a gateway's thread starts a process."""
    monkeypatch.setenv("LONGWIRE_TEST_STAYS", "there")
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            os.environ["LONGWIRE_TEST_COMES"] = "and goes"
            del os.environ["LONGWIRE_TEST_COMES"]

    changing = threading.Thread(target=change)
    changing.start()
    try:
        copies = [environment() for _ in range(3_000)]
    finally:
        over.set()
        changing.join()
    assert {one["LONGWIRE_TEST_STAYS"] for one in copies} == {"there"}
