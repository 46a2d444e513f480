"""What the page says of a connection's record, whatever the store does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from longwire.local.inspector import stored
from longwire.local.inspector.stored import StoredRecords
from longwire_backends.base import BackendError
from longwire_backends.memory import MemoryBackend
from longwire_backends.sqlite3.backend import SQLite3Backend

if TYPE_CHECKING:
    from pathlib import Path

    from longwire_backends import Record

pytestmark = pytest.mark.anyio

LATER = 1 << 40


async def here(work: Any) -> Any:
    return await work


class Broken(MemoryBackend):
    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self._error = error

    async def get(self, connection_id: str) -> Record | None:
        if self._error is None:
            await asyncio.Event().wait()
        assert self._error is not None
        raise self._error


async def of(backend: MemoryBackend) -> dict[str, Any]:
    records = StoredRecords()
    records.use(backend, here)
    return await records.of("a=")


async def test_a_record_with_its_groups_and_its_journal() -> None:
    backend = MemoryBackend()
    await backend.put("a=", '{"v":1,"began_at":2.0}', LATER)
    await backend.group_add("blue", "a=", LATER)
    await backend.append("a=", 1, "x", LATER)
    told = await of(backend)
    assert told["record"] == {"v": 1, "began_at": 2.0}
    assert (told["groups"], told["journal"], told["expires_at"]) == (["blue"], 1, LATER)


async def test_what_is_no_json_is_shown_as_it_is() -> None:
    backend = MemoryBackend()
    await backend.put("a=", "rubbish", LATER)
    assert (await of(backend))["record"] == "rubbish"


async def test_no_record() -> None:
    assert await of(MemoryBackend()) == {"store": "memory", "groups": [], "record": None}


async def test_a_store_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "PATIENCE", 0.01)
    assert "get failed: no" in (await of(Broken(BackendError("x", "get", "no"))))["error"]
    assert (await of(Broken(RuntimeError("odd"))))["error"] == "RuntimeError: odd"
    assert "did not answer" in (await of(Broken(None)))["error"]


async def test_the_store_that_a_process_says(tmp_path: Path) -> None:
    """Each process says it; of the same one there is one."""
    file = str(tmp_path / "here.sqlite3")
    backend = SQLite3Backend(file_path=file)
    await backend.put("a=", '{"v":1}', LATER)
    await backend.close()
    records = StoredRecords()
    assert "not known yet" in (await records.of("a="))["error"]
    for _ in range(2):
        records.open({"backend": "sqlite3", "params": {"file_path": file}})
    assert (await records.of("a="))["record"] == {"v": 1}
    assert len(records._own) == 1
    records.open({"backend": "memory", "params": {}})
    assert "memory" in (await records.of("a="))["error"]
    records.open({"backend": "sqlite3", "params": {"no": "such"}})
    assert "error" in await records.of("a=")
    await records.close()
    assert "stops" in (await records.of("a="))["error"]
