"""The object that has a connection's whole journal (pure): the expiry, then a line for each entry.

A line is a JSON string, so that no entry can break it.
"""

from __future__ import annotations

import json
from collections import OrderedDict

from longwire_aws.tuples import NamedTuple

# Whatever Python takes for text is kept.
_ENCODING = ("utf-8", "surrogatepass")

# Journals that a process remembers.
_RECENT = 32


class Journal(NamedTuple):
    """A journal as it was read or written."""

    etag: str | None  # None: there is no object
    expires_at: int
    lines: bytes  # each with a line feed before it

    def alive(self, now: float) -> Journal:
        """Return what is left of it: an expired one has no entries, and is written over."""
        return self if self.expires_at > now else self._replace(lines=b"")

    def length(self) -> int:
        return self.lines.count(b"\n")

    def entries(self) -> tuple[str, ...]:
        return tuple([json.loads(line.decode(*_ENCODING)) for line in self.lines.split(b"\n")[1:]])

    def body(self) -> bytes:
        return str(self.expires_at).encode() + self.lines

    def grown(self, value: str, expires_at: int) -> Journal:
        """Return what is to be written over this one."""
        line = json.dumps(value, ensure_ascii=False).encode(*_ENCODING)
        return Journal(self.etag, expires_at, b"%b\n%b" % (self.lines, line))


MISSING = Journal(None, 0, b"")


def parse(etag: str, body: bytes) -> Journal:
    """Read the object; `ValueError` when it is none of ours."""
    head, line_feed, rest = body.partition(b"\n")
    return Journal(etag, int(head), line_feed + rest)


class Recent:
    """The journals that this process has read or written last."""

    def __init__(self) -> None:
        self._journals: OrderedDict[str, Journal] = OrderedDict()

    def take(self, connection_id: str) -> Journal | None:
        return self._journals.pop(connection_id, None)

    def keep(self, connection_id: str, journal: Journal) -> None:
        self._journals[connection_id] = journal
        self._journals.move_to_end(connection_id)
        if len(self._journals) > _RECENT:
            self._journals.popitem(last=False)
