"""Whose address a handshake comes from, when trusted proxies say so in a header.

Only the address that opened the TCP connection, `sourceIp`, is API Gateway's own word. What a
header says is believed only if that address is of a trusted proxy, and only as far as trusted
proxies can have written it. Whatever else is in it, nonsense included, leaves `sourceIp`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from longwire.apigateway.events import ConnectEvent

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Each proxy adds whom it got the request from behind what was there before.
LIST_HEADER = "x-forwarded-for"
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/adding-cloudfront-headers.html
CLOUDFRONT_HEADER = "cloudfront-viewer-address"

# No zone ("fe80::1%eth0"), in which Python takes any text. Compiled (and kept) by `re`.
_CHARACTERS = "[0-9A-Fa-f:.]+"
_ADDRESS = rf"\[({_CHARACTERS})\](?::[0-9]{{1,5}})?|([0-9.]+):[0-9]{{1,5}}|({_CHARACTERS})"
# CloudFront always adds the port, to IPv6 addresses without brackets.
_ADDRESS_AND_PORT = rf"(?:\[({_CHARACTERS})\]|({_CHARACTERS})):[0-9]{{1,5}}"


def client_ip(
    event: ConnectEvent, header: str | None, trusted_proxies: Collection[Network]
) -> str | None:
    """Return the client's address: what `header` (in lower case) says, else `sourceIp`."""
    source = event.context.source_ip
    if header is None or source is None or not _is_trusted(_address(source), trusted_proxies):
        return source
    values = [value for name, value in event.headers if name == header]
    # Nobody says in which order API Gateway and CloudFront leave repeats.
    if len(values) != 1:
        return source
    if header == LIST_HEADER:
        address = _last_untrusted(values[0], trusted_proxies)
    else:
        form = _ADDRESS_AND_PORT if header == CLOUDFRONT_HEADER else _ADDRESS
        address = _address(values[0], form)
    return source if address is None else str(address)


def _last_untrusted(value: str, trusted_proxies: Collection[Network]) -> Address | None:
    """Return what the first of the trusted proxies has added; all before it is the client's."""
    for text in reversed(value.split(",")):
        address = _address(text)
        if address is None or not _is_trusted(address, trusted_proxies):
            return address
    return None


def _is_trusted(address: Address | None, trusted_proxies: Collection[Network]) -> bool:
    return address is not None and any(address in network for network in trusted_proxies)


def _address(text: str, form: str = _ADDRESS) -> Address | None:
    found = re.fullmatch(form, text.strip(" \t"))
    if found is None:
        return None
    try:
        address = ip_address(next(filter(None, found.groups())))
    except ValueError:
        return None
    # One and the same client, however its proxy writes it.
    return getattr(address, "ipv4_mapped", None) or address
