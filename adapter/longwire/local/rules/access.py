"""Whose HTTP requests are answered: those of programs on this machine, not those of web pages.

Every page that is open in a browser reaches the ports of its machine. What it sends says so: there
is an `Origin` or a `Sec-Fetch-Site`, or, when the page has its own name lead here ("DNS
rebinding"), a `Host` that is not ours.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    Headers = Iterable[tuple[str, str]]

LOOPBACK = "127.0.0.1"


def host_name(headers: Headers) -> str:
    """Return the name that the client has for this server, without its port; "" without one."""
    host = next((value for name, value in headers if name.lower() == "host"), "").lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def is_own_host(name: str, listening: str, allowed: Collection[str] = ()) -> bool:
    """Tell whether a `Host` is that of a server which listens on this name or address."""
    if name in ("localhost", listening, *allowed) or name.endswith(".localhost"):
        return name != ""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True  # no page can have a number lead here


def is_open_to_others(listening: str) -> bool:
    """Tell whether other machines reach a server that listens on this name or address."""
    try:
        return listening == "" or not ip_address(listening).is_loopback
    except ValueError:
        return listening != "localhost"


def is_from_page(headers: Headers) -> bool:
    """Tell whether a browser sent this on behalf of a page."""
    # "none" is what the user has typed in.
    return any(
        name.lower() == "origin" or (name.lower() == "sec-fetch-site" and value != "none")
        for name, value in headers
    )
