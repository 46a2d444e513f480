"""The ASGI scope of a connection, from its CONNECT event and back from the store."""

from __future__ import annotations

import json
from typing import Any

import pytest

from longwire.apigateway.events import ConnectEvent, parse
from longwire.asgi.scope import (
    UPGRADE,
    Handshake,
    RefusedPathError,
    asgi_scope,
    dump,
    handshake,
    load,
)
from longwire.exceptions import StoredRecordError
from tests.lambda_events import connect_event, recorded


def _handshake(
    raw: dict[str, Any], *, path: str = "/", path_query: str | None = "path"
) -> Handshake:
    event = parse(raw)
    assert isinstance(event, ConnectEvent)
    return handshake(event, path=path, path_query=path_query)


def _scope(of: Handshake, state: dict[str, Any] | None = None) -> Any:
    return asgi_scope(of, state=state or {}, extension={"x": 1}, event={"e": 1}, context="ctx")


def test_the_published_event_gives_the_scope_of_the_asgi_specification() -> None:
    """Every key of the specification, for the sample event of API Gateway."""
    host = b"a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"
    agent = b"Mozilla/5.0 (X11; Linux x86_64) Firefox/146.0"
    assert _scope(_handshake(recorded("connect"))) == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"room=blue&tag=a&tag=b",
        "root_path": "",
        "headers": [
            (b"host", host),
            (b"origin", b"https://app.example.com"),
            (b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits"),
            (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            (b"sec-websocket-protocol", b"chat.v2, chat.v1"),
            (b"sec-websocket-version", b"13"),
            (b"user-agent", agent),
            (b"x-amzn-trace-id", b"Root=1-6731ebfc-08e1e656421db73c5d2eef31"),
            (b"x-forwarded-for", b"203.0.113.7"),
            (b"x-forwarded-port", b"443"),
            (b"x-forwarded-proto", b"https"),
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
        ],
        "client": ("203.0.113.7", 0),
        "server": (host.decode(), 443),
        "subprotocols": ["chat.v2", "chat.v1"],
        "extensions": {"websocket.http.response": {}, "longwire": {"x": 1}},
        "aws.event": {"e": 1},
        "aws.context": "ctx",
        "state": {},
    }


def test_repeated_headers_and_odd_bytes_survive() -> None:
    """Order and repeats are kept; text beyond Latin-1 is UTF-8 on the wire."""
    raw = connect_event(headers={"X-A": ["1", "2"], "X-B": ["caf\xe9", "日本"]})
    assert _scope(_handshake(raw))["headers"] == [
        (b"x-a", b"1"),
        (b"x-a", b"2"),
        (b"x-b", b"caf\xe9"),
        (b"x-b", "日本".encode()),
        *UPGRADE,
    ]


def test_what_api_gateway_takes_out_of_a_handshake_is_put_back_once() -> None:
    """As under uvicorn; Engine.IO refuses without. What an event does have stays as it is."""
    raw = connect_event(headers={"Upgrade": ["WebSocket"], "X-A": ["1"]})
    headers = _scope(_handshake(raw))["headers"]
    assert headers == [(b"upgrade", b"WebSocket"), (b"x-a", b"1"), (b"connection", b"Upgrade")]


def test_a_query_is_percent_encoded_again() -> None:
    """API Gateway decodes the values; ASGI wants them encoded."""
    raw = connect_event(query={"q": ["a b&c=d", "é"], "empty": [""]})
    assert _scope(_handshake(raw))["query_string"] == b"q=a+b%26c%3Dd&q=%C3%A9&empty="


@pytest.mark.parametrize(
    ("query", "options", "path", "rest"),
    [
        ({"path": ["/rooms/blue"], "t": ["1"]}, {}, "/rooms/blue", b"t=1"),
        ({"path": ["/a"]}, {"path_query": None}, "/", b"path=%2Fa"),
        ({"p": ["/a"], "path": ["/b"]}, {"path_query": "p"}, "/a", b"path=%2Fb"),
        ({"path": ["/a", "b"]}, {"path_query": None}, "/", b"path=%2Fa&path=b"),
        (None, {"path": "/ws"}, "/ws", b""),
    ],
)
def test_the_path_comes_from_the_query_or_the_settings(
    query: dict[str, list[str]] | None, options: dict[str, Any], path: str, rest: bytes
) -> None:
    """The parameter is the path, and is taken out of the query."""
    scope = _scope(_handshake(connect_event(query=query), **options))
    assert (scope["path"], scope["query_string"]) == (path, rest)


@pytest.mark.parametrize(
    "given",
    [
        ["/admin", "/public"],
        ["/public", "/public"],
        ["/admin", "x"],
        ["x", "/admin"],
        ["admin"],
        [""],
        ["/a\nb"],
        ["/a\x00"],
        ["/\x1b[31m"],
        ["/\x7f"],
        ["/\x9b31m"],
    ],
)
def test_what_others_may_read_as_another_path_is_refused(given: list[str]) -> None:
    """An authorizer sees the last value; a log or a proxy may end at a control character."""
    with pytest.raises(RefusedPathError):
        _handshake(connect_event(query={"path": given, "t": ["1"]}))


@pytest.mark.parametrize(("single", "multi"), [("/b", ["/a"]), ("b", ["/a"]), ("b", [])])
def test_a_path_of_which_the_events_two_maps_say_different_things_is_refused(
    single: str, multi: list[str]
) -> None:
    """Authorizers are told to read either."""
    raw = connect_event(query={"path": ["/"]})
    raw["multiValueQueryStringParameters"] = {"path": multi}
    raw["queryStringParameters"] = {"path": single}
    with pytest.raises(RefusedPathError):
        _handshake(raw)


def test_the_raw_path_is_encoded() -> None:
    """`raw_path` is what a client would have sent for `path`."""
    scope = _scope(_handshake(connect_event(query={"path": ["/caf\xe9/a b"]})))
    assert (scope["path"], scope["raw_path"]) == ("/caf\xe9/a b", b"/caf%C3%A9/a%20b")


def test_a_plain_http_gateway_is_ws() -> None:
    """The local gateway has no TLS, and a port of its own."""
    raw = connect_event(headers={"X-Forwarded-Proto": ["http"], "X-Forwarded-Port": ["3001"]})
    raw["requestContext"]["domainName"] = "localhost"
    scope = _scope(_handshake(raw))
    assert (scope["scheme"], scope["server"]) == ("ws", ("localhost", 3001))


@pytest.mark.parametrize("port", ["9" * 5000, "\uff14\uff14\uff13", "-1", ""])
def test_a_port_that_is_none_is_the_schemes(port: str) -> None:
    """The header is the client's word at some gateways."""
    raw = connect_event(headers={"X-Forwarded-Proto": ["https"], "X-Forwarded-Port": [port]})
    handshake = _handshake(raw)
    assert handshake.server is not None
    assert handshake.server[1] == 443


def test_the_state_is_a_copy() -> None:
    """What one connection puts into its state is not in another's."""
    state = {"pool": object()}
    scope = _scope(_handshake(connect_event()), state)
    scope["state"]["mine"] = 1
    assert set(state) == {"pool"}
    assert scope["state"]["pool"] is state["pool"]


def test_scopes_of_one_connection_share_nothing() -> None:
    """A middleware may change what it gets."""
    of = _handshake(recorded("connect"))
    first = _scope(of)
    first["headers"].clear()
    first["subprotocols"].append("x")
    first["extensions"].clear()
    assert _scope(of)["headers"]
    assert _scope(of)["subprotocols"] == ["chat.v2", "chat.v1"]
    assert _scope(of)["extensions"]


def test_a_stored_scope_is_the_same_byte_for_byte() -> None:
    """Through JSON and back, repeats and odd characters included."""
    raw = connect_event(headers={"X": ["caf\xe9", "\x7f", "日本"]}, query={"q": ["é", "😀"]})
    of = _handshake(raw)
    stored = json.loads(json.dumps(dump(of, exclude_headers=frozenset())))
    assert load(stored) == of


def test_a_header_with_a_line_break_has_a_space_instead() -> None:
    """As RFC 9112 has it of a folded one; the others stay what they are."""
    raw = connect_event(headers={"A": ["b\nc"], "D": ["e"]})
    of = _handshake(raw)
    assert _scope(of)["headers"][:2] == [(b"a", b"b c"), (b"d", b"e")]
    assert load(json.loads(json.dumps(dump(of)))) == of


def test_excluded_headers_are_not_stored() -> None:
    """Names are compared in lower case."""
    raw = connect_event(headers={"Authorization": ["secret"], "X": ["1"]})
    stored = dump(_handshake(raw), exclude_headers=frozenset({"authorization"}))
    assert "secret" not in json.dumps(stored)
    assert load(json.loads(json.dumps(stored))).headers == "x\n1"


def test_excluded_subprotocols_are_not_stored_in_another_form() -> None:
    """Some clients send a token there."""
    raw = connect_event(headers={"Sec-WebSocket-Protocol": ["chat, token.secret"]})
    stored = dump(_handshake(raw), exclude_headers=frozenset({"sec-websocket-protocol"}))
    assert "secret" not in json.dumps(stored)


def test_excluded_query_parameters_are_not_stored() -> None:
    """All of such a name, however it is written; the others stay byte for byte."""
    query = {"token": ["s1", "s2"], "q": ["é ", "", "a&b=c"], "t ö": ["s3"], "Token": ["kept"]}
    of = _handshake(connect_event(query=query))
    stored = dump(of, exclude_query=frozenset({"token", "t ö"}))
    assert stored["query_string"] == "q=%C3%A9+&q=&q=a%26b%3Dc&Token=kept"
    loaded = load(json.loads(json.dumps(stored)))
    assert loaded == of._replace(query_string=stored["query_string"])
    assert dump(loaded, exclude_query=frozenset({"token", "t ö"})) == stored


@pytest.mark.parametrize("stored", [{}, {"scheme": "ws"}, [], "x", None])
def test_a_foreign_scope_is_an_error(stored: Any) -> None:
    """What is not one of ours is not guessed at."""
    with pytest.raises(StoredRecordError):
        load(stored)
