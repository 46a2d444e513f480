"""What a request to @connections does."""

import json

import pytest

from longwire.local.rules.connection import ClientHandshake, ConnectionState, LocalConnection
from longwire.local.rules.management_api import (
    DeleteConnection,
    JSONResponse,
    PostToConnection,
    decide,
    is_management_path,
)
from longwire.local.rules.settings import GatewaySettings

SETTINGS = GatewaySettings(stage="prod")
ID = "L0SM9cOFvHcCIhw="
PATH = f"/prod/@connections/{ID}"


def connection(
    state: ConnectionState = ConnectionState.OPEN, user_agent: str | None = None
) -> LocalConnection:
    headers = (("User-Agent", user_agent),) if user_agent else ()
    return LocalConnection(
        ID,
        ClientHandshake(headers, "", "203.0.113.7"),
        connected_at=1605442994726,
        last_active_at=1605443000001,
        state=state,
    )


def ask(
    method: str, path: str = PATH, body: bytes = b"", known: LocalConnection | None = None
) -> JSONResponse | PostToConnection | DeleteConnection:
    return decide(SETTINGS, {} if known is None else {ID: known}, method, path, body)


@pytest.mark.parametrize(
    "path",
    [
        "/prod/@connections/L0SM9cOFvHcCIhw=",
        "/prod/@connections/L0SM9cOFvHcCIhw%3D",
        "/prod/%40connections/L0SM9cOFvHcCIhw%3d",
    ],
)
def test_id_may_be_quoted_in_part_or_not_at_all(path: str) -> None:
    """SDKs quote the equals sign, the guide's example the at sign too, curl none."""
    known = connection()
    assert ask("POST", path, b"hi", known) == PostToConnection(known, b"hi")


def test_delete_closes() -> None:
    """DELETE is for the owner of the socket to carry out."""
    known = connection()
    assert ask("DELETE", known=known) == DeleteConnection(known)


def test_get_describes() -> None:
    """Times have milliseconds and a Z, as in a captured answer."""
    answer = ask("GET", known=connection(user_agent="Firefox"))
    assert isinstance(answer, JSONResponse)
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "identity": {"sourceIp": "203.0.113.7", "userAgent": "Firefox"},
        "connectedAt": "2020-11-15T12:23:14.726Z",
        "lastActiveAt": "2020-11-15T12:23:20.001Z",
    }


def test_get_without_user_agent_says_null() -> None:
    """A client need not have one."""
    answer = ask("GET", known=connection())
    assert isinstance(answer, JSONResponse)
    assert json.loads(answer.body)["identity"] == {"sourceIp": "203.0.113.7", "userAgent": None}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "known", [None, connection(ConnectionState.CONNECTING), connection(ConnectionState.CLOSED)]
)
def test_unknown_unfinished_and_closed_connections_are_gone(
    method: str, known: LocalConnection | None
) -> None:
    """410 with an empty body; clients tell it by its header. So it is inside $connect as well."""
    answer = ask(method, known=known)
    assert isinstance(answer, JSONResponse)
    assert (answer.status, answer.body) == (410, b"")
    assert answer.headers == [
        ("content-type", "application/json"),
        ("x-amzn-errortype", "GoneException"),
    ]


@pytest.mark.parametrize(
    "bad", ["x", "L0SM9cOFvHcCIhw", "a b c=", "L0SM9cOF%2FHcCIhw=", "%C3%A9%3D"]
)
def test_malformed_ids_are_400(bad: str) -> None:
    """Anything but URL-safe base64."""
    answer = ask("POST", f"/prod/@connections/{bad}")
    assert isinstance(answer, JSONResponse)
    assert answer.status == 400
    assert json.loads(answer.body)["message"].startswith("Invalid connectionId: ")


@pytest.mark.parametrize(
    "path",
    [
        f"/@connections/{ID}",
        f"/other/@connections/{ID}",
        f"/prod/prod/@connections/{ID}",
        f"/prod/@connections/{ID}/x",
        "/prod/@connections/",
        "/prod/@connections",
    ],
)
def test_a_wrong_path_is_forbidden(path: str) -> None:
    """No stage, another stage, a stage twice, no id: 403, never 404."""
    answer = ask("POST", path, known=connection())
    assert isinstance(answer, JSONResponse)
    assert (answer.status, json.loads(answer.body)) == (403, {"message": "Forbidden"})


def test_other_methods_are_forbidden() -> None:
    """There are POST, GET and DELETE."""
    answer = ask("PUT", known=connection())
    assert isinstance(answer, JSONResponse)
    assert answer.status == 403


def test_a_post_may_have_128_kb_and_not_a_byte_more() -> None:
    """The limit is tried before the connection is looked for."""
    known = connection()
    assert ask("POST", body=bytes(131072), known=known) == PostToConnection(known, bytes(131072))
    answer = ask("POST", body=bytes(131073))
    assert isinstance(answer, JSONResponse)
    assert (answer.status, answer.error_type) == (413, "PayloadTooLargeException")


@pytest.mark.parametrize(
    ("path", "expected"),
    [(PATH, True), ("/prod/%40connections/x", True), ("/prod", False), ("/x@connections", False)],
)
def test_management_paths_are_told_from_handshakes(path: str, expected: bool) -> None:
    """By a whole segment."""
    assert is_management_path(path) is expected
