"""The keys of the S3 store's objects, and how listings of them are read (pure).

Keys are below the store's prefix. Each part of a key that is anybody's text is percent-encoded, or
hashed when it is long, so that it is one part and no key leaves the prefix.
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from longwire_aws.tuples import NamedTuple

# Two encoded texts, their folder and an expiry: below 600 bytes of the 1,024 that a key may have.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
_TEXT_LIMIT = 280
# Nothing that is encoded has it.
_HASHED = "!"
# It sorts after every expiry.
_END = "~"

RECORDS, GROUPS, MEMBERSHIPS = "connections/", "groups/", "memberships/"
JOURNALS = "journals/"


class Entry(NamedTuple):
    """A membership as its key has it."""

    key: str  # below the folder that was listed
    name: str  # the member of the group, or the group of the connection; still encoded
    expires_at: int

    def text(self) -> str | None:
        """Return the name; None when the key has only a hash of it."""
        return None if self.name.startswith(_HASHED) else unquote(self.name, errors="surrogatepass")


def record_key(connection_id: str) -> str:
    return RECORDS + _encode(connection_id)


def left_out(connection_id: str) -> tuple[str, ...]:
    """Return the id, encoded, if the key of its record has only a hash of it; else nothing."""
    return (_quote(connection_id),) if _encode(connection_id).startswith(_HASHED) else ()


def parse_record(key: str) -> str | None:
    """Read the key of a record: its id, or None when the key has only a hash of it."""
    name = key.removeprefix(RECORDS)
    return None if name.startswith(_HASHED) else long_id(key, name)


def long_id(key: str, name: str) -> str:
    """Decode the id of the record with this key; `ValueError` when it is another one's."""
    connection_id = unquote(name, errors="surrogatepass")
    if record_key(connection_id) != key:
        raise ValueError(f"{name} is not what its key says")
    return connection_id


def journal_key(connection_id: str) -> str:
    return JOURNALS + _encode(connection_id)


def group_folder(group: str) -> str:
    return f"{GROUPS}{_encode(group)}/"


def memberships_folder(connection_id: str) -> str:
    return f"{MEMBERSHIPS}{_encode(connection_id)}/"


def membership_folders(group: str, connection_id: str) -> tuple[str, str]:
    """Return where one membership is, under its expiry: as the connection's own, as the group's."""
    return (
        f"{memberships_folder(connection_id)}{_encode(group)}/",
        f"{group_folder(group)}{_encode(connection_id)}/",
    )


def membership_keys(group: str, connection_id: str, expires_at: int) -> tuple[str, str]:
    """Return the keys of a membership: the connection's own, and the group's."""
    own, groups = membership_folders(group, connection_id)
    return f"{own}{expires_at}", f"{groups}{expires_at}"


def after(entry: Entry, now: float) -> str:
    """Return where the listing goes on behind an entry."""
    # Behind all keys of its name, so that nobody is listed twice; but where the membership has
    # expired, a later one may follow.
    return f"{entry.name}/{_END}" if entry.expires_at > now else entry.key


def parse_entry(key: str) -> Entry:
    """Read `name/expires_at`, or only `expires_at`."""
    path, _, expires_at = key.rpartition("/")
    return Entry(key, path.rpartition("/")[2], int(expires_at))


def parse_listing(body: bytes, folder: str, start: str) -> tuple[list[str], bool]:
    """Read an answer of ListObjectsV2: the keys without their folder, and if there are more."""
    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(str(error)) from error
    if _tag(root) != "ListBucketResult":
        raise ValueError(f"its root is {_tag(root)}")
    keys = [
        (field.text or "").removeprefix(folder)
        for child in root
        if _tag(child) == "Contents"
        for field in child
        if _tag(field) == "Key"
    ]
    truncated = any(_tag(child) == "IsTruncated" and child.text == "true" for child in root)
    # Reading on from the last key would never end.
    if (truncated and not keys) or any(key <= start for key in keys):
        raise ValueError("it does not go on")
    return keys, truncated


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _quote(text: str) -> str:
    # A dot alone, or two, would be a step up to whatever normalises paths.
    return quote(text, safe="", errors="surrogatepass").replace(".", "%2E")


def _encode(text: str) -> str:
    encoded = _quote(text)
    if len(encoded) <= _TEXT_LIMIT:
        return encoded
    return _HASHED + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
