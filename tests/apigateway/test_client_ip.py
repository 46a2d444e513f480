"""Whose address a handshake comes from, and what a client can make of it: nothing."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwire.apigateway.client_ip import client_ip
from longwire.apigateway.events import ConnectEvent, parse
from tests.lambda_events import connect_event

EDGE, EDGE_6 = "130.176.1.9", "2600:9000:1::9"  # of CloudFront
VIEWER, VIEWER_6 = "198.51.100.7", "2001:db8:85a3::8a2e:370:7334"
PROXIES = [*map(ip_network, ["130.176.0.0/16", "2600:9000::/28", "10.1.2.3"])]
XFF, CLOUDFRONT = "X-Forwarded-For", "CloudFront-Viewer-Address"


def handshake(headers: dict[str, list[str]], source: str | None = EDGE) -> ConnectEvent:
    """Return a CONNECT event from a proxy, or from somebody else."""
    event = connect_event(headers=headers)
    event["requestContext"]["identity"]["sourceIp"] = source
    parsed = parse(event)
    assert isinstance(parsed, ConnectEvent)
    return parsed


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (f"{VIEWER}, {EDGE}", VIEWER),
        (f"{VIEWER},{EDGE}", VIEWER),
        (f"{VIEWER_6}, {EDGE}", VIEWER_6),
        (f"{VIEWER_6}, {EDGE_6}", VIEWER_6),
        # Some proxies write ports.
        (f"{VIEWER}:4711, {EDGE}:443", VIEWER),
        (f"[{VIEWER_6}]:4711, {EDGE}", VIEWER_6),
        (f"[{VIEWER_6}], {EDGE}", VIEWER_6),
        # One client, however it is written.
        (f"::ffff:{VIEWER}, ::ffff:{EDGE}", VIEWER),
        (f"2001:0DB8:85A3:0:0:8A2E:0370:7334, {EDGE}", VIEWER_6),
        # Several proxies, of which API Gateway has added none.
        (f"{VIEWER}, 10.1.2.3, {EDGE_6}, {EDGE}", VIEWER),
        (VIEWER, VIEWER),
        # What the viewer has sent itself is in front of what it is.
        (f"203.0.113.66, {VIEWER}, {EDGE}", VIEWER),
        (f"nonsense, , ;, {VIEWER}, {EDGE}", VIEWER),
        (", ".join(["203.0.113.66"] * 100 + [VIEWER, EDGE]), VIEWER),
        (", ".join([EDGE] * 100 + [VIEWER, EDGE]), VIEWER),
        # Where it does not say who the viewer is.
        (EDGE, EDGE),
        (", ".join([EDGE_6] * 100), EDGE),
        ("", EDGE),
        (",", EDGE),
        (f"unknown, {EDGE}", EDGE),
        (f"{VIEWER}, unknown", EDGE),
        (f"{VIEWER}, {EDGE},", EDGE),
        (f"{VIEWER} {EDGE}", EDGE),
        (f"fe80::1%eth0, {EDGE}", EDGE),
        (f"٣.٣.٣.٣, {EDGE}", EDGE),
        (f"1.2.3, {EDGE}", EDGE),
        (f"1.2.3.256, {EDGE}", EDGE),
        (f"01.2.3.4, {EDGE}", EDGE),
        (f"[{VIEWER_6}, {EDGE}", EDGE),
        ("x" * 10_000, EDGE),
        (":" * 10_000, EDGE),
        ("," * 10_000, EDGE),
    ],
)
def test_the_last_that_is_no_proxy_is_the_client(value: str, client: str) -> None:
    """What cannot be read, before that is found, leaves the address that API Gateway saw."""
    assert client_ip(handshake({XFF: [value]}), XFF.lower(), PROXIES) == client


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (f"{VIEWER}:46532", VIEWER),
        (f"{VIEWER_6}:46532", VIEWER_6),
        (f"[{VIEWER_6}]:46532", VIEWER_6),
        ("2001:0db8:85a3:0000:0000:8a2e:0370:7334:443", VIEWER_6),
        (f"{EDGE_6}:1", EDGE_6),
        # Without a port, or with more than one client, CloudFront has not written it.
        (VIEWER, EDGE),
        (f"{VIEWER}:46532, {VIEWER}:46532", EDGE),
        (f"{VIEWER}:", EDGE),
        (f"{VIEWER}:465321", EDGE),
        (":46532", EDGE),
        ("", EDGE),
        ("nonsense", EDGE),
    ],
)
def test_cloudfront_names_its_viewer_with_a_port(value: str, client: str) -> None:
    """An IPv6 address has no brackets there."""
    assert client_ip(handshake({CLOUDFRONT: [value]}), CLOUDFRONT.lower(), PROXIES) == client


@pytest.mark.parametrize(
    ("value", "client"),
    [(VIEWER, VIEWER), (f"{VIEWER}:1", VIEWER), (VIEWER_6, VIEWER_6), (f"{VIEWER}, {EDGE}", EDGE)],
)
def test_any_other_header_has_one_address(value: str, client: str) -> None:
    """With a port or without."""
    event = handshake({"True-Client-IP": [value]})
    assert client_ip(event, "true-client-ip", PROXIES) == client


@pytest.mark.parametrize("header", [XFF, CLOUDFRONT])
@pytest.mark.parametrize("source", [VIEWER, VIEWER_6, "10.1.2.4", "130.177.0.1", "", "unknown"])
def test_who_comes_past_the_proxies_is_who_it_is(header: str, source: str) -> None:
    """Whatever its headers say."""
    forged = {header: [f"203.0.113.66:1, {EDGE}"], "User-Agent": ["Amazon CloudFront"]}
    assert client_ip(handshake(forged, source), header.lower(), PROXIES) == source
    forged = {header: ["203.0.113.66:1"], "Via": ["2.0 x.cloudfront.net (CloudFront)"]}
    assert client_ip(handshake(forged, source), header.lower(), PROXIES) == source


def test_nothing_is_believed_without_a_setting() -> None:
    """The address is API Gateway's own word then, as it stands."""
    headers = {XFF: [f"{VIEWER}, {EDGE}"], CLOUDFRONT: [f"{VIEWER}:1"]}
    assert client_ip(handshake(headers), None, frozenset()) == EDGE
    assert client_ip(handshake(headers), XFF.lower(), frozenset()) == EDGE
    assert client_ip(handshake(headers, None), XFF.lower(), PROXIES) is None


@pytest.mark.parametrize("header", [XFF, CLOUDFRONT])
def test_a_header_that_is_not_there_once_says_nothing(header: str) -> None:
    """Nobody knows which of its lines a client has written; names have any case."""
    value = f"{VIEWER}:1"
    both = {header: [value, value]}
    assert client_ip(handshake(both), header.lower(), PROXIES) == EDGE
    spelled_twice = {header: [value], header.lower(): [value]}
    assert client_ip(handshake(spelled_twice), header.lower(), PROXIES) == EDGE
    assert client_ip(handshake({}), header.lower(), PROXIES) == EDGE
    assert client_ip(handshake({header.upper(): [value]}), header.lower(), PROXIES) == VIEWER


def test_who_trusts_everybody_believes_cloudfront_alone() -> None:
    """For an API that nobody can reach but through it; a list then has no client in it."""
    everybody = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    event = handshake({CLOUDFRONT: [f"{VIEWER}:1"], XFF: [f"{VIEWER}, {EDGE}"]})
    assert client_ip(event, CLOUDFRONT.lower(), everybody) == VIEWER
    assert client_ip(event, XFF.lower(), everybody) == EDGE


@given(
    value=st.text() | st.text("0123456789abcdef:.,[]% ") | st.ip_addresses().map(str),
    header=st.sampled_from([XFF, CLOUDFRONT, "X-Real-IP"]),
    source=st.none() | st.text() | st.sampled_from([EDGE, EDGE_6, VIEWER]),
)
def test_whatever_comes_is_an_address_or_the_one_of_the_event(
    value: str, header: str, source: str | None
) -> None:
    """Never an exception, and never a text of a client's choice."""
    event = handshake({header: ["x"]}, "y")
    context = event.context._replace(source_ip=source)
    event = event._replace(context=context, headers=((header, value),))
    found: Any = client_ip(event, header.lower(), PROXIES)
    assert found == source or str(ip_address(found)) == found
