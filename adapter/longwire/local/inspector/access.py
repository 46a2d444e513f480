"""Whose requests the page answers: those of a browser on this machine, from this page itself.

What it shows is all that clients send, so it is stricter than the gateway. Every page in a browser
reaches 127.0.0.1; a page with a name of its own that leads here has that name in `Host`; a page of
another origin says so in `Origin` and `Sec-Fetch-Site`, and cannot send JSON without being asked
first; and what comes through a proxy or a tunnel is not from this machine.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from longwire.local.rules.access import host_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longwire.local.rules.management_api import ManagementRequest

PREFIX = "/_longwire"
_FORWARDED = {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"}


def is_for_page(request: ManagementRequest, *, at_root: bool) -> bool:
    """Tell whether a request is for the page, and not one that API Gateway has an answer to."""
    path = request.target.partition("?")[0]
    if path == PREFIX or path.startswith(PREFIX + "/"):
        return True
    if path != "/" or not at_root or request.method not in ("GET", "HEAD"):
        return False
    wants_page = "text/html" in header(request, "accept") and not header(request, "upgrade")
    return wants_page and header(request, "sec-fetch-dest") in ("", "document")


def refusal(request: ManagementRequest, peer: str) -> str | None:
    """Return why a request is refused; None if it is not."""
    if not is_loopback(peer):
        return "only this machine sees the page"
    host = host_name(request.headers)
    if not (host == "localhost" or host.endswith(".localhost") or is_loopback(host)):
        return f"the page is at localhost or 127.0.0.1, not at {host}"
    if any(name.lower() in _FORWARDED for name, _ in request.headers):
        return "the page is not shown through a proxy"
    origin = header(request, "origin")
    if origin and origin != f"http://{header(request, 'host')}":
        return "another page asks for it"
    is_data = request.target.startswith(PREFIX + "/") and len(request.target) > len(PREFIX) + 1
    if is_data and header(request, "sec-fetch-site") not in ("", "same-origin", "none"):
        return "another page asks for it"
    if request.method == "POST":
        kind = header(request, "content-type").partition(";")[0].strip().lower()
        if kind != "application/json":
            return "expected Content-Type: application/json"
    return None


def is_loopback(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_loopback


def header(request: ManagementRequest, name: str) -> str:
    """Return the values of a header in one, "" without it."""
    return ", ".join(_values(request.headers, name))


def _values(headers: Sequence[tuple[str, str]], name: str) -> list[str]:
    return [value for key, value in headers if key.lower() == name]
