"""What every store must do. A store's own test module subclasses `BackendContract`.

    class TestMyBackend(BackendContract):
        @pytest.fixture
        def open_backend(self) -> OpenBackend:
            return lambda clock: MyBackend(..., clock=clock)

Needs pytest, and anyio's pytest plugin with an `anyio_backend` fixture that returns "asyncio".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import ClassVar, TypeAlias

import pytest

from longwire_backends.base import Backend, BackendError, Page, Record, RecordTooLargeError

OpenBackend: TypeAlias = Callable[[Callable[[], float]], Backend]

ODD_TEXTS = (
    'it\'s "quoted" `twice`',
    "a'; DROP TABLE connection; --",
    "L0SM9cOFvHcCIhw=",
    "room",
    "room/1",
    "room/1/../2",
    "/room",
    "..",
    "room ",
    " room",
    "Room",
    "room:1",
    "room#1",
    "room{1}",
    "room?a=1&b=2",
    "100%",
    "%2F",
    "_",
    "*",
    "line\nbreak",
    "tab\there",
    "back\\slash",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE}",
    "cafe\N{COMBINING ACUTE ACCENT}",
    "\N{SLICE OF PIZZA}",
    "\N{HEBREW LETTER ALEF}",
    "x" * 1024,
    "x" * 1023 + "y",
)

# What a journal's entries are made of, besides JSON.
ODD_VALUES = (
    *ODD_TEXTS,
    "",
    "\n",
    "\r\n",
    " \t ",
    "1\n2",
    '{"body": "a\\nb\\u0000"}',
    "\x01\x1f\x7f\x85",
    "\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}\N{ZERO WIDTH NO-BREAK SPACE}",
)

# Bytes of the largest message of API Gateway.
LARGEST_MESSAGE = 131_072


class Clock:
    """Epoch seconds that pass when a test says so.

    It starts at the real time, because some stores also expire by their own clock.
    """

    def __init__(self) -> None:
        self.now = int(time.time())

    def __call__(self) -> float:
        return self.now


@pytest.mark.anyio
class BackendContract:
    """Subclass it, and override the fixture `open_backend`."""

    # False for stores that expire by themselves, whose `sweep` does nothing.
    sweeps: ClassVar[bool] = True
    # True for stores that may list an expired connection until it is swept.
    lists_expired: ClassVar[bool] = False
    # Where the store's own limit is too large for a test: the bytes to test the check with.
    tested_limit: ClassVar[int | None] = None
    # False for stores that cannot see that an append leaves a gap, only that there is one.
    checks_gaps: ClassVar[bool] = True
    # How many entries of 2,000 bytes the long journal has.
    long_journal: ClassVar[int] = 1_000

    @pytest.fixture
    def open_backend(self) -> OpenBackend:
        """Open one more instance on this test's storage, which is empty before the first."""
        raise NotImplementedError

    @pytest.fixture
    def crowd(self) -> int:
        """How many members the group has that is read in pages."""
        return 5_000

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock of both instances."""
        return Clock()

    @pytest.fixture
    async def backend(self, open_backend: OpenBackend, clock: Clock) -> AsyncIterator[Backend]:
        """An instance on empty storage."""
        backend = open_backend(clock)
        yield backend
        await backend.close()

    @pytest.fixture
    async def other(self, open_backend: OpenBackend, clock: Clock) -> AsyncIterator[Backend]:
        """A second instance on the same storage."""
        backend = open_backend(clock)
        yield backend
        await backend.close()

    @pytest.fixture
    def journals(self, backend: Backend) -> Backend:
        """The first instance, if its store keeps journals."""
        if not backend.keeps_journal():
            pytest.skip("this store keeps no journals")
        return backend

    async def test_get_reads_what_put_wrote(self, backend: Backend, clock: Clock) -> None:
        """A record is read back as it was written."""
        version = await backend.put("a", '{"n": 1}', clock.now + 60)
        assert await backend.get("a") == Record('{"n": 1}', version, clock.now + 60)

    async def test_get_of_an_unknown_id_is_none(self, backend: Backend) -> None:
        """A record that was never written is missing."""
        assert await backend.get("nobody") is None

    async def test_put_replaces_the_record(self, backend: Backend, clock: Clock) -> None:
        """The last write is what is read, value, version and expiry."""
        await backend.put("a", "old", clock.now + 60)
        version = await backend.put("a", "new", clock.now + 90)
        assert await backend.get("a") == Record("new", version, clock.now + 90)

    async def test_the_other_instance_reads_it_at_once(
        self, backend: Backend, other: Backend, clock: Clock
    ) -> None:
        """A finished write is visible to everybody."""
        for n in range(20):
            await backend.put("a", str(n), clock.now + 60)
            record = await other.get("a")
            assert record is not None
            assert record.value == str(n)

    async def test_a_large_record_survives(self, backend: Backend, clock: Clock) -> None:
        """A record of 200 KB comes back whole."""
        value = '{"text": "é\\u0000\\n"}' + "a-z é 中 " * 20_000
        assert len(value.encode()) > 200_000
        version = await backend.put("a", value, clock.now + 60)
        assert await backend.get("a") == Record(value, version, clock.now + 60)

    async def test_a_record_over_the_limit_is_refused(self, backend: Backend, clock: Clock) -> None:
        """The error is typed, tells both sizes, and the record stays as it was."""
        limit = backend.record_limit
        if limit is None:
            pytest.skip("this store takes records of any size")
        limit = min(limit, self.tested_limit or limit)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(backend), "record_limit", limit)
            version = await backend.put("a", "é" * (limit // 2 - 100), clock.now + 60)
            for writing in (
                backend.put("a", "é" * (limit // 2 + 1), clock.now + 60),
                backend.update("a", "é" * (limit // 2 + 1), clock.now + 60, version),
            ):
                with pytest.raises(RecordTooLargeError, match=f"limit of {limit}"):
                    await writing
            record = await backend.get("a")
        assert record is not None
        assert (len(record.value), record.version) == (limit // 2 - 100, version)

    async def test_create_may_be_repeated(self, backend: Backend, clock: Clock) -> None:
        """What is there stays, and so does what is in it; each time it says what it did."""
        await backend.put("a", "v", clock.now + 60)
        for _ in range(2):
            said = await backend.create()
            assert said
            assert all(said)
        record = await backend.get("a")
        assert record is not None
        assert record.value == "v"

    async def test_odd_ids_are_told_apart(self, backend: Backend, clock: Clock) -> None:
        """Any text is an id of its own."""
        for text in ODD_TEXTS:
            await backend.put(text, f"of {text}", clock.now + 60)
        for text in ODD_TEXTS:
            record = await backend.take(text)
            assert record is not None
            assert record.value == f"of {text}"
            assert await backend.get(text) is None

    async def test_take_returns_and_deletes(self, backend: Backend, clock: Clock) -> None:
        """A record is taken once; then it is missing."""
        version = await backend.put("a", "v", clock.now + 60)
        assert await backend.take("a") == Record("v", version, clock.now + 60)
        assert await backend.take("a") is None
        assert await backend.get("a") is None

    async def test_take_leaves_other_records(self, backend: Backend, clock: Clock) -> None:
        """Only the record that was asked for is deleted."""
        await backend.put("a", "v", clock.now + 60)
        version = await backend.put("ab", "w", clock.now + 60)
        await backend.take("a")
        assert await backend.get("ab") == Record("w", version, clock.now + 60)

    async def test_one_of_twenty_takers_wins(
        self, backend: Backend, other: Backend, clock: Clock
    ) -> None:
        """Of concurrent takers exactly one gets the record."""
        version = await backend.put("a", "v", clock.now + 60)
        taken = await asyncio.gather(*((backend, other)[n % 2].take("a") for n in range(20)))
        assert [record for record in taken if record] == [Record("v", version, clock.now + 60)]

    async def test_update_replaces_the_version_it_names(
        self, backend: Backend, clock: Clock
    ) -> None:
        """An update writes value and expiry, and returns the version that is read next."""
        first = await backend.put("a", "old", clock.now + 60)
        second = await backend.update("a", "new", clock.now + 90, first)
        assert second is not None
        assert await backend.get("a") == Record("new", second, clock.now + 90)

    async def test_update_of_an_outdated_version_changes_nothing(
        self, backend: Backend, clock: Clock
    ) -> None:
        """Who has read an older version is told so."""
        first = await backend.put("a", "old", clock.now + 60)
        second = await backend.put("a", "new", clock.now + 60)
        assert await backend.update("a", "late", clock.now + 60, first) is None
        assert await backend.get("a") == Record("new", second, clock.now + 60)

    async def test_update_brings_nothing_back(self, backend: Backend, clock: Clock) -> None:
        """A record that was taken stays gone."""
        version = await backend.put("a", "v", clock.now + 60)
        await backend.take("a")
        assert await backend.update("a", "w", clock.now + 60, version) is None
        assert await backend.get("a") is None

    async def test_versions_never_repeat(
        self, backend: Backend, other: Backend, clock: Clock
    ) -> None:
        """An id's versions differ, also after its record was taken and put again."""
        versions: list[str | None] = []
        for n in range(10):
            writer = (backend, other)[n % 2]
            versions.append(await writer.put("a", "v", clock.now + 60))
            versions.append(await writer.update("a", "v", clock.now + 60, versions[-1] or ""))
            await writer.take("a")
        assert None not in versions
        assert len(set(versions)) == 20

    async def test_no_update_is_lost(self, backend: Backend, other: Backend, clock: Clock) -> None:
        """Twenty writers that read, change and retry leave all twenty changes."""
        await backend.put("a", "0", clock.now + 60)

        async def increment(writer: Backend) -> None:
            version = None
            while version is None:
                record = await writer.get("a")
                assert record is not None
                value = str(int(record.value) + 1)
                version = await writer.update("a", value, clock.now + 60, record.version)

        await asyncio.gather(*(increment((backend, other)[n % 2]) for n in range(20)))
        record = await backend.get("a")
        assert record is not None
        assert record.value == "20"

    async def test_an_expired_record_is_missing_everywhere(
        self, backend: Backend, clock: Clock
    ) -> None:
        """From `expires_at` on it cannot be read, updated or taken."""
        version = await backend.put("a", "v", clock.now + 60)
        clock.now += 59
        assert await backend.get("a") is not None
        clock.now += 1
        assert await backend.get("a") is None
        assert await backend.update("a", "w", clock.now + 60, version) is None
        assert await backend.take("a") is None

    async def test_put_over_an_expired_record(self, backend: Backend, clock: Clock) -> None:
        """An expired record does not stand in the way of a new one."""
        await backend.put("a", "old", clock.now + 60)
        clock.now += 60
        version = await backend.put("a", "new", clock.now + 60)
        assert await backend.get("a") == Record("new", version, clock.now + 60)

    async def test_update_moves_the_expiry(self, backend: Backend, clock: Clock) -> None:
        """A record lives until the expiry that was written last."""
        version = await backend.put("a", "v", clock.now + 60)
        assert await backend.update("a", "v", clock.now + 120, version)
        clock.now += 90
        assert await backend.get("a") is not None
        clock.now += 30
        assert await backend.get("a") is None

    async def test_sweep_counts_what_it_deletes(self, backend: Backend, clock: Clock) -> None:
        """Sweeping deletes expired records and memberships, and nothing else."""
        await backend.put("dead", "v", clock.now + 60)
        await backend.put("alive", "v", clock.now + 61)
        await backend.group_add("g", "dead", clock.now + 60)
        await backend.group_add("h", "dead", clock.now + 60)
        await backend.group_add("g", "alive", clock.now + 61)
        clock.now += 60
        assert await backend.sweep() == (3 if self.sweeps else 0)
        assert await backend.sweep() == 0
        assert await backend.get("alive") is not None
        assert await members(backend, "g") == ["alive"]

    async def test_group_add_makes_a_member_once(self, backend: Backend, clock: Clock) -> None:
        """Adding again is no error and makes no second member."""
        await backend.group_add("g", "a", clock.now + 60)
        await backend.group_add("g", "a", clock.now + 60)
        assert await members(backend, "g") == ["a"]
        assert await backend.groups("a") == ("g",)

    async def test_group_discard_ends_a_membership(self, backend: Backend, clock: Clock) -> None:
        """Only the membership that was named ends."""
        for group, connection_id in (("g", "a"), ("g", "b"), ("h", "a")):
            await backend.group_add(group, connection_id, clock.now + 60)
        await backend.group_discard("g", "a")
        assert await members(backend, "g") == ["b"]
        assert await backend.groups("a") == ("h",)

    async def test_group_discard_of_a_stranger_is_no_error(
        self, backend: Backend, clock: Clock
    ) -> None:
        """Discarding twice, or who never was a member, changes nothing."""
        await backend.group_discard("nowhere", "a")
        await backend.group_add("g", "a", clock.now + 60)
        await backend.group_discard("g", "b")
        assert await members(backend, "g") == ["a"]
        await backend.group_discard("g", "a")
        await backend.group_discard("g", "a")
        assert await members(backend, "g") == []

    async def test_unknown_group_and_connection_are_empty(self, backend: Backend) -> None:
        """A group nobody is in has one empty page; a connection in no group has no names."""
        page = await backend.group_members("nowhere")
        assert (page.members, page.next) == ((), None)
        assert await backend.groups("nobody") == ()

    async def test_groups_are_sorted(self, backend: Backend, clock: Clock) -> None:
        """Names come sorted, whatever the order of joining."""
        for group in ("b", "B", "a", "b/1", "ab"):
            await backend.group_add(group, "a", clock.now + 60)
        assert await backend.groups("a") == ("B", "a", "ab", "b", "b/1")

    async def test_odd_groups_are_told_apart(self, backend: Backend, clock: Clock) -> None:
        """Any text is a group of its own, with any text as a member."""
        for group in ODD_TEXTS:
            await backend.group_add(group, group, clock.now + 60)
            await backend.group_add(group, "everywhere", clock.now + 60)
        for group in ODD_TEXTS:
            assert sorted(await members(backend, group)) == sorted([group, "everywhere"])
        assert await backend.groups("everywhere") == tuple(sorted(ODD_TEXTS))
        for group in ODD_TEXTS:
            await backend.group_discard(group, group)
            assert await members(backend, group) == ["everywhere"]

    async def test_odd_members_share_a_group(self, backend: Backend, clock: Clock) -> None:
        """A group of odd ids lists each of them once, on pages of any size."""
        for connection_id in ODD_TEXTS:
            await backend.group_add("g", connection_id, clock.now + 60)
        for limit in (1, 7, len(ODD_TEXTS), 1000):
            assert sorted(await members(backend, "g", limit)) == sorted(ODD_TEXTS)

    async def test_expired_memberships_are_missing(self, backend: Backend, clock: Clock) -> None:
        """From `expires_at` on a membership shows neither in the group nor at the connection."""
        await backend.group_add("g", "a", clock.now + 60)
        await backend.group_add("g", "b", clock.now + 61)
        clock.now += 60
        assert await members(backend, "g") == ["b"]
        assert await backend.groups("a") == ()
        assert await backend.groups("b") == ("g",)

    async def test_group_add_moves_the_expiry(self, backend: Backend, clock: Clock) -> None:
        """A membership lives until the expiry that was given last."""
        await backend.group_add("g", "a", clock.now + 60)
        await backend.group_add("g", "a", clock.now + 120)
        clock.now += 90
        assert await members(backend, "g") == ["a"]
        clock.now += 30
        assert await members(backend, "g") == []

    @pytest.mark.slow
    async def test_a_crowd_is_listed_in_pages(
        self, backend: Backend, clock: Clock, crowd: int
    ) -> None:
        """Every member of a large group is on exactly one page, and no page is over its limit."""
        everybody = [f"member-{n}=" for n in range(crowd)]
        for start in range(0, crowd, 50):
            await asyncio.gather(
                *(
                    backend.group_add("g", member, clock.now + 60)
                    for member in everybody[start : start + 50]
                )
            )
        assert sorted(await members(backend, "g", 300)) == sorted(everybody)
        assert sorted(await members(backend, "g", 1000)) == sorted(everybody)

    async def test_members_who_stay_are_listed_once_while_others_come_and_go(
        self, backend: Backend, clock: Clock
    ) -> None:
        """Between two pages some leave who were read already, and some join."""
        stay = [f"m-{n:02}" for n in range(0, 60, 2)]
        for n in range(60):
            await backend.group_add("g", f"m-{n:02}", clock.now + 60)
        page = await backend.group_members("g", limit=7)
        seen = list(page.members)
        for n in range(5):
            for connection_id in set(page.members).difference(stay):
                await backend.group_discard("g", connection_id)
            await backend.group_add("g", f"a-{n}", clock.now + 60)
            await backend.group_add("g", f"z-{n}", clock.now + 60)
            page = await backend.group_members("g", limit=7, after=page.next)
            seen += page.members
        seen += await members(backend, "g", 7, after=page.next)
        assert sorted(name for name in seen if name in stay) == stay

    async def test_connections_are_those_with_a_record(
        self, backend: Backend, clock: Clock
    ) -> None:
        """Each is listed once, however often it is written; members of groups are not."""
        assert await self.listed(backend) == []
        for connection_id in ("b", "a", "b", "B"):
            await backend.put(connection_id, "v", clock.now + 60)
        for group in ("g", "record", "connection#x", "connections"):
            await backend.group_add(group, "stranger", clock.now + 60)
            await backend.group_add(group, "record", clock.now + 60)
        assert await self.listed(backend) == ["B", "a", "b"]

    async def test_odd_connections_are_listed(self, backend: Backend, clock: Clock) -> None:
        """Any id is on exactly one page, on pages of any size, and on none once it is taken."""
        for connection_id in ODD_TEXTS:
            await backend.put(connection_id, "v", clock.now + 60)
        for limit in (1, 7, len(ODD_TEXTS), 5000):
            assert await self.listed(backend, limit) == sorted(ODD_TEXTS)
        for connection_id in ODD_TEXTS[1:]:
            await backend.take(connection_id)
        assert await self.listed(backend) == [ODD_TEXTS[0]]

    async def test_connections_that_ended_are_not_listed(
        self, backend: Backend, clock: Clock
    ) -> None:
        """Taken or expired, until they are put again."""
        for connection_id, seconds in (("taken", 90), ("expired", 60), ("alive", 61)):
            await backend.put(connection_id, "v", clock.now + seconds)
        await backend.take("taken")
        clock.now += 60
        assert "alive" in await listed(backend)
        assert await self.listed(backend) == ["alive"]
        await backend.put("taken", "v", clock.now + 60)
        await backend.put("expired", "v", clock.now + 60)
        assert await self.listed(backend) == ["alive", "expired", "taken"]

    async def test_a_long_id_is_listed_until_it_expires(
        self, backend: Backend, clock: Clock
    ) -> None:
        """Also one that does not fit into a key of the store."""
        version = await backend.put("x" * 1024, "v", clock.now + 60)
        assert await backend.update("x" * 1024, "w", clock.now + 61, version)
        clock.now += 60
        assert await self.listed(backend) == ["x" * 1024]
        clock.now += 1
        assert await self.listed(backend) == []

    async def test_updated_connections_are_listed_once(
        self, backend: Backend, clock: Clock
    ) -> None:
        """Until the expiry that was written last, be it later or earlier; a lost update is none."""
        outdated = await backend.put("same", "v", clock.now + 60)
        later = await backend.put("later", "v", clock.now + 60)
        for connection_id in ("same", "earlier"):
            earlier = await backend.put(connection_id, "v", clock.now + 120)
        assert await backend.update("later", "w", clock.now + 120, later)
        assert await backend.update("earlier", "w", clock.now + 60, earlier)
        assert await backend.update("same", "w", clock.now + 60, outdated) is None
        assert await backend.update("nobody", "w", clock.now + 120, earlier) is None
        assert await self.listed(backend, 2) == ["earlier", "later", "same"]
        clock.now += 90
        assert await self.listed(backend) == ["later", "same"]
        clock.now += 30
        assert await self.listed(backend) == []

    async def test_the_other_instance_lists_it_at_once(
        self, backend: Backend, other: Backend, clock: Clock
    ) -> None:
        """A finished put or take is visible to everybody."""
        for n in range(10):
            await backend.put(str(n), "v", clock.now + 60)
            assert await self.listed(other) == [str(n)]
            await other.take(str(n))
            assert await self.listed(backend) == []

    async def test_connections_that_stay_are_listed_once_while_others_come_and_go(
        self, backend: Backend, other: Backend, clock: Clock
    ) -> None:
        """While each page is read, one leaves, two come, and one that stays is written."""
        stay = [f"m-{n:02}" for n in range(0, 60, 2)]
        leave = [f"m-{n:02}" for n in range(59, 0, -2)]
        await asyncio.gather(*(backend.put(each, "v", clock.now + 60) for each in stay + leave))

        async def change(n: int) -> None:
            await other.take(leave[n])
            for connection_id in (f"a-{n}", f"z-{n}", stay[n], stay[-n - 1]):
                await other.put(connection_id, "w", clock.now + 60)

        seen: list[str] = []
        after: str | None = None
        for n in range(8):
            page, _ = await asyncio.gather(backend.connections(limit=5, after=after), change(n))
            seen += page.members
            after = page.next
            assert after is not None
        seen += await listed(backend, 5, after)
        assert sorted(each for each in seen if each in stay) == stay

    async def test_group_discard_all_ends_every_membership(
        self, backend: Backend, other: Backend, clock: Clock
    ) -> None:
        """It returns the names, sorted; a second time there are none. Others stay members."""
        for group in ODD_TEXTS:
            await backend.group_add(group, "a", clock.now + 60)
        for group in ODD_TEXTS[:3]:
            await backend.group_add(group, "b", clock.now + 60)
        await backend.put("a", "v", clock.now + 60)
        assert await other.group_discard_all("a") == tuple(sorted(ODD_TEXTS))
        assert await backend.groups("a") == ()
        for group in ODD_TEXTS[:5]:
            assert await members(backend, group) == (["b"] if group in ODD_TEXTS[:3] else [])
        assert await backend.groups("b") == tuple(sorted(ODD_TEXTS[:3]))
        assert await backend.group_discard_all("a") == ()
        assert await backend.get("a") is not None

    async def test_group_discard_all_of_a_stranger_is_no_error(
        self, backend: Backend, clock: Clock
    ) -> None:
        """Who is in no group, or is no longer, has no names to return."""
        assert await backend.group_discard_all("nobody") == ()
        await backend.group_add("g", "a", clock.now + 60)
        await backend.group_add("h", "a", clock.now + 61)
        clock.now += 60
        assert await backend.group_discard_all("a") == ("h",)
        assert await members(backend, "h") == []

    async def test_a_journal_is_read_in_order(
        self, journals: Backend, other: Backend, clock: Clock
    ) -> None:
        """From the first entry on, or from behind any other."""
        entries = [f"entry {n}" for n in range(1, 13)]
        for position, value in enumerate(entries, 1):
            assert await journals.append("a", position, value, clock.now + 60) is True
        for reader in (journals, other):
            for after in (0, 1, 9, 11, 12, 99):
                assert await reader.journal("a", after=after) == tuple(entries[after:])

    async def test_a_journal_that_nobody_began_is_empty(self, journals: Backend) -> None:
        """There is nothing to read, and nothing to drop."""
        assert await journals.journal("nobody") == ()
        assert await journals.journal("nobody", after=3) == ()
        await journals.drop_journal("nobody")

    async def test_an_entry_stays_as_it_is(
        self, journals: Backend, other: Backend, clock: Clock
    ) -> None:
        """A position that is taken is refused to everybody, also to who has taken it."""
        for position in (1, 2):
            assert await journals.append("a", position, f"first {position}", clock.now + 60)
        for writer in (journals, other):
            for position in (1, 2):
                assert await writer.append("a", position, "late", clock.now + 60) is False
        assert await journals.journal("a") == ("first 1", "first 2")
        assert await other.append("a", 3, "third", clock.now + 60)

    async def test_one_of_twenty_appends_gets_the_position(
        self, journals: Backend, other: Backend, clock: Clock
    ) -> None:
        """Whether the journal is new or not."""
        for position in (1, 2, 3):
            won = await asyncio.gather(
                *(
                    (journals, other)[n % 2].append("a", position, f"of {n}", clock.now + 60)
                    for n in range(20)
                )
            )
            assert sum(won) == 1
            assert await journals.journal("a", after=position - 1) == (f"of {won.index(True)}",)

    async def test_no_append_is_lost(self, journals: Backend, other: Backend, clock: Clock) -> None:
        """Ten writers that read the rest and append three entries each leave all thirty."""

        async def write(writer: Backend, name: str) -> None:
            position = 0
            for n in range(3):
                while True:
                    position += len(await writer.journal("a", after=position))
                    if await writer.append("a", position + 1, f"{name} {n}", clock.now + 60):
                        break

        await asyncio.gather(*(write((journals, other)[n % 2], f"w{n}") for n in range(10)))
        entries = await journals.journal("a")
        assert sorted(entries) == sorted(f"w{n} {m}" for n in range(10) for m in range(3))
        for n in range(10):
            own = [entry for entry in entries if entry.startswith(f"w{n} ")]
            assert own == [f"w{n} {m}" for m in range(3)]

    async def test_a_read_sees_every_finished_append(
        self, journals: Backend, other: Backend, clock: Clock
    ) -> None:
        """Whoever has appended, and whoever reads."""
        for n in range(20):
            writer, reader = (journals, other) if n % 3 else (other, journals)
            assert await writer.append("a", n + 1, str(n), clock.now + 60)
            assert await reader.journal("a", after=n) == (str(n),)

    async def test_a_gap_is_not_read_across(self, journals: Backend, clock: Clock) -> None:
        """Who appends without having read all is refused, or else the next reader is told."""
        assert await journals.append("a", 1, "first", clock.now + 60)
        appended = await journals.append("a", 3, "third", clock.now + 60)
        assert appended is not self.checks_gaps
        if appended:
            with pytest.raises(BackendError, match="journal failed: entry 2 is missing and 3 is"):
                await journals.journal("a")
            await journals.drop_journal("a")
            assert await journals.append("a", 1, "first", clock.now + 60)
        assert await journals.journal("a") == ("first",)
        assert await journals.append("a", 2, "second", clock.now + 60)

    async def test_an_expired_journal_is_empty(
        self, journals: Backend, other: Backend, clock: Clock
    ) -> None:
        """From `expires_at` on nothing of it is read, or in the way of a new one."""
        for position in (1, 2, 3):
            assert await journals.append("a", position, f"old {position}", clock.now + 60)
        assert await other.journal("a", after=2) == ("old 3",)
        clock.now += 59
        assert len(await other.journal("a")) == 3
        clock.now += 1
        assert await journals.journal("a") == ()
        assert await journals.journal("a", after=1) == ()
        for position, writer in ((1, other), (2, journals)):
            assert await writer.append("a", position, f"new {position}", clock.now + 60)
            assert await writer.append("a", position, "late", clock.now + 60) is False
        assert await journals.journal("a") == ("new 1", "new 2")

    async def test_sweep_counts_entries(self, journals: Backend, clock: Clock) -> None:
        """Those that have expired are deleted, and no others."""
        for position in (1, 2):
            assert await journals.append("dead", position, "v", clock.now + 60)
        assert await journals.append("alive", 1, "v", clock.now + 61)
        clock.now += 60
        assert await journals.sweep() == (2 if self.sweeps else 0)
        assert await journals.sweep() == 0
        assert await journals.journal("alive") == ("v",)
        assert await journals.append("alive", 2, "w", clock.now + 61)
        assert await journals.append("dead", 1, "new", clock.now + 60)

    async def test_a_dropped_journal_is_empty(
        self, journals: Backend, other: Backend, clock: Clock
    ) -> None:
        """Whoever drops it; then it can be begun anew, also by who has the old one in mind."""
        for dropper in (other, journals):
            for position in range(1, 31):
                assert await journals.append("a", position, f"old {position}", clock.now + 60)
            await dropper.drop_journal("a")
            assert await journals.journal("a") == ()
            assert await other.journal("a", after=7) == ()
            assert await journals.append("a", 1, "new", clock.now + 60)
            assert await other.journal("a") == ("new",)
            await dropper.drop_journal("a")
            await dropper.drop_journal("a")
            assert await journals.append("a", 1, "newer", clock.now + 60)
            await other.drop_journal("a")

    async def test_a_dropped_journal_is_not_continued(
        self, journals: Backend, other: Backend, clock: Clock
    ) -> None:
        """Who has not heard of it is refused, or else nobody takes the entry for the first one."""
        assert await journals.append("a", 1, "first", clock.now + 60)
        await other.drop_journal("a")
        appended = await journals.append("a", 2, "second", clock.now + 60)
        assert appended is not self.checks_gaps
        if appended:
            with pytest.raises(BackendError, match="entry 1 is missing"):
                await other.journal("a")
        else:
            assert await journals.journal("a", after=1) == ()

    async def test_a_journal_is_the_connections_own(self, journals: Backend, clock: Clock) -> None:
        """It needs no record and is none; records, groups and other journals are left alone."""
        assert await journals.append("a", 1, "of a", clock.now + 60)
        assert await journals.append("ab", 1, "of ab", clock.now + 60)
        assert await self.listed(journals) == []
        version = await journals.put("a", "v", clock.now + 60)
        await journals.group_add("a", "a", clock.now + 60)
        assert await self.listed(journals) == ["a"]
        await journals.drop_journal("a")
        assert await journals.journal("ab") == ("of ab",)
        assert await journals.get("a") == Record("v", version, clock.now + 60)
        assert await members(journals, "a") == ["a"]
        assert await journals.append("a", 1, "again", clock.now + 60)
        await journals.take("a")
        await journals.group_discard_all("a")
        assert await journals.journal("a") == ("again",)

    async def test_odd_journals_are_told_apart(
        self, journals: Backend, other: Backend, clock: Clock
    ) -> None:
        """Any text is an id of its own."""
        for text in ODD_TEXTS:
            assert await journals.append(text, 1, f"of {text}", clock.now + 60)
        for text in ODD_TEXTS:
            assert await other.journal(text) == (f"of {text}",)
            await other.drop_journal(text)
            assert await journals.journal(text) == ()

    async def test_odd_entries_come_back_as_they_were(
        self, journals: Backend, other: Backend, clock: Clock
    ) -> None:
        """Any text without NUL is an entry."""
        for position, value in enumerate(ODD_VALUES, 1):
            assert await journals.append("a", position, value, clock.now + 60)
        assert await other.journal("a") == ODD_VALUES

    async def test_the_largest_message_is_an_entry(
        self, journals: Backend, other: Backend, clock: Clock
    ) -> None:
        """Whatever the text, and with what is noted beside it."""
        note = '{"id": "' + "i" * 180 + '"}'
        texts = ("a", '"', "\\", "\n", "\x01", "é", "中", "\N{SLICE OF PIZZA}")
        values = [note + text * (LARGEST_MESSAGE // len(text.encode())) for text in texts]
        for position, value in enumerate(values, 1):
            assert await journals.append("a", position, value, clock.now + 60)
        # Not compared as a whole, of which pytest would show the difference.
        for value, found in zip(values, await other.journal("a"), strict=True):
            assert found == value

    async def test_an_entry_over_the_limit_is_refused(
        self, journals: Backend, clock: Clock
    ) -> None:
        """The error is typed and tells both sizes; the journal stays as it was."""
        limit = journals.record_limit
        if limit is None:
            pytest.skip("this store takes entries of any size")
        limit = min(limit, self.tested_limit or limit)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(journals), "record_limit", limit)
            assert await journals.append("a", 1, "é" * 100, clock.now + 60)
            with pytest.raises(RecordTooLargeError, match=f"limit of {limit}"):
                await journals.append("a", 2, "é" * (limit // 2 + 1), clock.now + 60)
            assert await journals.append("a", 2, "b", clock.now + 60)
        assert await journals.journal("a") == ("é" * 100, "b")

    async def test_a_long_journal_is_read_whole(
        self, journals: Backend, other: Backend, clock: Clock
    ) -> None:
        """Also where it comes in several pages; and it is dropped whole."""
        entries = tuple(f"{n:-<2000}" for n in range(self.long_journal))
        for position, value in enumerate(entries, 1):
            assert await journals.append("a", position, value, clock.now + 60)
        assert (await other.journal("a") == entries) is True
        assert (await other.journal("a", after=300) == entries[300:]) is True
        await other.drop_journal("a")
        assert await journals.journal("a") == ()
        assert await journals.append("a", 1, "v", clock.now + 60)

    async def test_many_journals_at_once(
        self, journals: Backend, other: Backend, clock: Clock
    ) -> None:
        """More than anybody would remember, in turns."""
        for position in (1, 2):
            for n in range(50):
                writer = (journals, other)[n % 2]
                assert await writer.append(str(n), position, f"{n}: {position}", clock.now + 60)
        for n in range(50):
            assert await journals.journal(str(n)) == (f"{n}: 1", f"{n}: 2")

    async def test_a_closed_backend_keeps_its_journals(
        self, journals: Backend, open_backend: OpenBackend, clock: Clock
    ) -> None:
        """It goes on where it was, and so does a new instance."""
        assert await journals.append("a", 1, "v", clock.now + 60)
        await journals.close()
        assert await journals.append("a", 2, "w", clock.now + 60)
        await journals.close()
        second = open_backend(clock)
        assert await second.append("a", 3, "x", clock.now + 60)
        assert await second.journal("a") == ("v", "w", "x")
        await second.close()

    async def test_a_closed_backend_opens_again(self, backend: Backend, clock: Clock) -> None:
        """Closing loses nothing and forbids nothing; closing twice is no error."""
        version = await backend.put("a", "v", clock.now + 60)
        await backend.group_add("g", "a", clock.now + 60)
        await backend.close()
        await backend.close()
        assert await backend.get("a") == Record("v", version, clock.now + 60)
        assert await members(backend, "g") == ["a"]

    async def test_a_new_instance_finds_everything(
        self, open_backend: OpenBackend, clock: Clock
    ) -> None:
        """What one process has stored, the next one finds."""
        first = open_backend(clock)
        version = await first.put("a", "v", clock.now + 60)
        await first.group_add("g", "a", clock.now + 60)
        await first.close()
        second = open_backend(clock)
        assert await second.get("a") == Record("v", version, clock.now + 60)
        assert await members(second, "g") == ["a"]
        assert await listed(second) == ["a"]
        await second.close()

    async def listed(self, backend: Backend, limit: int = 1000) -> list[str]:
        """Return the connections, sorted, and without those that the store need not list."""
        if self.lists_expired:
            await backend.sweep()
        return sorted(await listed(backend, limit))


async def members(
    backend: Backend, group: str, limit: int = 1000, after: str | None = None
) -> list[str]:
    """Read a group to its end, checking each page's size on the way."""
    return await pages(
        lambda after: backend.group_members(group, limit=limit, after=after), limit, after
    )


async def listed(backend: Backend, limit: int = 1000, after: str | None = None) -> list[str]:
    """Read all connections, checking each page's size on the way."""
    return await pages(lambda after: backend.connections(limit=limit, after=after), limit, after)


async def pages(
    read: Callable[[str | None], Awaitable[Page]], limit: int, after: str | None
) -> list[str]:
    """Read page after page."""
    found: list[str] = []
    while True:
        page = await read(after)
        assert len(page.members) <= limit
        found += page.members
        if page.next is None:
            return found
        after = page.next
