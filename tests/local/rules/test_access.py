"""Whose requests are answered: names of this machine, and what a browser sends for a page."""

from __future__ import annotations

import pytest

from longwire.local.rules.access import host_name, is_from_page, is_open_to_others, is_own_host


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost:3001", "localhost"),
        ("LocalHost", "localhost"),
        ("localhost.:3001", "localhost"),
        ("127.0.0.1:3001", "127.0.0.1"),
        ("[::1]:3001", "::1"),
        ("[::1]", "::1"),
        ("Evil.example:3001", "evil.example"),
        ("localhost@evil.example", "localhost@evil.example"),
        ("", ""),
    ],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert host_name([("X", "y"), ("host", host)]) == name


def test_a_request_without_a_host_has_no_name() -> None:
    assert host_name([]) == ""


OWN = [
    "localhost",
    "app.localhost",
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "10.0.0.7",
    "::ffff:127.0.0.1",
]


@pytest.mark.parametrize(
    ("listening", "own", "foreign"),
    [
        ("127.0.0.1", OWN, ["", "evil.example", "localhost.evil.example", "10.0.0"]),
        ("localhost", OWN, ["", "evil.example", "xlocalhost", "127.0.0.1.evil.example"]),
        ("10.0.0.7", OWN, ["", "10.0.0.7.evil.example", "evil.example"]),
        ("box", [*OWN, "box"], ["", "box.evil.example"]),
        ("0.0.0.0", OWN, ["", "box", "evil.example"]),
        ("::", OWN, ["", "box"]),
        ("", OWN, ["", "box"]),
    ],
)
def test_names_of_this_machine(listening: str, own: list[str], foreign: list[str]) -> None:
    """Every number, since no page can have one lead here; a container's port is published so."""
    assert [name for name in [*own, *foreign] if is_own_host(name, listening)] == own


def test_a_name_can_be_allowed() -> None:
    assert is_own_host("box", "0.0.0.0", {"box"})
    assert not is_own_host("box2", "0.0.0.0", {"box"})
    assert not is_own_host("", "127.0.0.1", {"box"})


@pytest.mark.parametrize(
    ("listening", "is_open"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False)]
    + [(name, True) for name in ("0.0.0.0", "::", "", "10.0.0.7", "box")],
)
def test_what_other_machines_reach(listening: str, is_open: bool) -> None:
    assert is_open_to_others(listening) is is_open


@pytest.mark.parametrize(
    ("headers", "page"),
    [
        ([], False),
        ([("Content-Type", "text/plain")], False),
        ([("Sec-Fetch-Site", "none")], False),
        ([("sec-fetch-site", "cross-site")], True),
        ([("Sec-Fetch-Site", "same-site")], True),
        ([("Sec-Fetch-Site", "same-origin")], True),
        ([("Origin", "null")], True),
        ([("ORIGIN", "http://localhost:3001")], True),
    ],
)
def test_what_a_browser_sends_for_a_page(headers: list[tuple[str, str]], page: bool) -> None:
    assert is_from_page(headers) is page
