"""What `Backend` itself decides, for stores of any kind."""

from __future__ import annotations

import re

import pytest

from longwire_backends import Backend
from longwire_backends.memory import MemoryBackend


class Plain(MemoryBackend):
    """As somebody has written it before there were journals."""

    append = Backend.append
    journal = Backend.journal
    drop_journal = Backend.drop_journal


class Halfway(MemoryBackend):
    """One of the three methods is still to be written."""

    drop_journal = Backend.drop_journal


class Own(Plain):
    """Written since."""

    append = MemoryBackend.append
    journal = MemoryBackend.journal
    drop_journal = MemoryBackend.drop_journal


def test_a_store_keeps_journals_if_it_has_all_three_methods() -> None:
    """Both a class and an object of it can be asked."""
    assert [kind.keeps_journal() for kind in (MemoryBackend, Plain, Halfway, Own)] == [
        True,
        False,
        False,
        True,
    ]
    assert Own().keeps_journal()
    assert not Plain().keeps_journal()


@pytest.mark.anyio
async def test_a_store_without_journals_says_so() -> None:
    """It is a store all the same."""
    backend = Plain()
    text = "Plain keeps no journal: append, journal and drop_journal are missing"
    for doing in (backend.append("a", 1, "v", 1), backend.journal("a"), backend.drop_journal("a")):
        with pytest.raises(NotImplementedError, match=f"^{re.escape(text)}$"):
            await doing
    assert await backend.sweep() == 0
