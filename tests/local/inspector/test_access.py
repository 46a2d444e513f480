"""Whose requests the page answers."""

from __future__ import annotations

import pytest

from longwire.local.inspector.access import is_for_page, refusal
from longwire.local.rules.management_api import ManagementRequest

HOST = ("Host", "127.0.0.1:3001")
HTML = ("Accept", "text/html,*/*")
JSON = ("Content-Type", "application/json")


def request(
    *headers: tuple[str, str], method: str = "GET", target: str = "/_longwire/stream"
) -> ManagementRequest:
    return ManagementRequest(method, target, headers, b"")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(HOST, HTML, target="/"), True),
        (request(HOST, HTML, ("Sec-Fetch-Dest", "document"), target="/"), True),
        (request(HOST, target="/"), False),
        (request(HOST, ("Accept", "*/*"), target="/"), False),
        (request(HOST, HTML, ("Upgrade", "websocket"), target="/"), False),
        (request(HOST, HTML, ("Sec-Fetch-Dest", "iframe"), target="/"), False),
        (request(HOST, HTML, method="POST", target="/"), False),
        (request(HOST, HTML, target="/local"), False),
        (request(HOST, target="/_longwire/event?n=1"), True),
        (request(HOST, target="/_longwire"), True),
        (request(HOST, target="/_longwired"), False),
    ],
)
def test_what_is_for_the_page(asked: ManagementRequest, expected: bool) -> None:
    assert is_for_page(asked, at_root=True) is expected


def test_the_root_may_be_the_apps() -> None:
    assert not is_for_page(request(HOST, HTML, target="/"), at_root=False)
    assert is_for_page(request(HOST, HTML, target="/_longwire/"), at_root=False)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:3001", "localhost:3001", "LOCALHOST", "a.localhost", "[::1]:3001"]
)
def test_this_machine_is_let_in(host: str) -> None:
    for site in ("same-origin", "none"):
        asked = request(("Host", host), ("Sec-Fetch-Site", site))
        assert refusal(asked, "127.0.0.1") is None
    assert refusal(request(("Host", host)), "::ffff:127.0.0.1") is None


@pytest.mark.parametrize(
    ("asked", "peer"),
    [
        (request(HOST), "192.168.1.7"),
        (request(HOST), ""),
        (request(("Host", "evil.example:3001")), "127.0.0.1"),
        (request(("Host", "192.168.1.7:3001")), "127.0.0.1"),
        (request(("Host", "127.0.0.1.evil.example")), "127.0.0.1"),
        (request(), "127.0.0.1"),
        (request(HOST, ("X-Forwarded-For", "8.8.8.8")), "127.0.0.1"),
        (request(HOST, ("Forwarded", "for=8.8.8.8")), "127.0.0.1"),
        (request(HOST, ("Via", "1.1 tunnel")), "127.0.0.1"),
        (request(HOST, ("Sec-Fetch-Site", "cross-site")), "127.0.0.1"),
        (request(HOST, ("Sec-Fetch-Site", "same-site")), "127.0.0.1"),
        (request(HOST, ("Origin", "https://evil.example")), "127.0.0.1"),
        (request(HOST, ("Origin", "http://127.0.0.1:5173")), "127.0.0.1"),
        (request(HOST, ("Origin", "null")), "127.0.0.1"),
        (request(HOST, method="POST", target="/_longwire/do"), "127.0.0.1"),
        (
            request(HOST, ("Content-Type", "text/plain"), method="POST", target="/_longwire/do"),
            "127.0.0.1",
        ),
        (
            request(
                *(HOST, JSON, ("Origin", "http://localhost:3001")),
                method="POST",
                target="/_longwire/do",
            ),
            "127.0.0.1",
        ),
        (
            request(
                *(HOST, JSON, ("Sec-Fetch-Site", "same-site")),
                method="POST",
                target="/_longwire/do",
            ),
            "127.0.0.1",
        ),
    ],
)
def test_others_are_refused(asked: ManagementRequest, peer: str) -> None:
    assert refusal(asked, peer) is not None


def test_the_page_itself_and_programs_may_act() -> None:
    own = (HOST, JSON, ("Origin", "http://127.0.0.1:3001"), ("Sec-Fetch-Site", "same-origin"))
    for headers in (own, (HOST, JSON), (HOST, ("Content-Type", "application/json; charset=utf-8"))):
        asked = request(*headers, method="POST", target="/_longwire/do")
        assert refusal(asked, "127.0.0.1") is None


def test_a_link_leads_to_the_page() -> None:
    """From anywhere: there is nothing on it yet."""
    asked = request(HOST, HTML, ("Sec-Fetch-Site", "cross-site"), target="/")
    assert refusal(asked, "127.0.0.1") is None
