"""Where the store is when the code does not say it, and when `longwire dev` says something else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from longwire import Connections, Longwire, websocket_handler
from longwire.config import sources
from longwire.config.settings import load
from longwire.config.sources import LOCAL, StoreSource
from longwire.exceptions import ConfigurationError
from longwire.registry import caller
from longwire_backends.dynamodb import DynamoDBBackend
from longwire_backends.memory import MemoryBackend

if TYPE_CHECKING:
    from pathlib import Path

    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/fanout"


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Nothing is said, there is no region, and no handler of this process has had an event."""
    caller.forget(caller.latest)
    for name in (sources.DSN, sources.QUEUE, sources.DEV, "WS_MANAGEMENT_ENDPOINT", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def under_dev(environ: pytest.MonkeyPatch, store: StoreSource) -> None:
    environ.setenv(sources.DEV, sources.as_text(store))


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


# Without arguments


def test_the_environment_says_the_store_and_its_settings(environ: pytest.MonkeyPatch) -> None:
    environ.setenv(sources.DSN, "dynamodb://ttt?region=eu-west-1&ttl=60")
    settings = Longwire(app).settings
    assert (settings.backend, settings.params["table_name"]) == ("dynamodb", "ttt")
    assert (settings.ttl, settings.fanout) == (60, None)


def test_the_environment_names_a_queue(environ: pytest.MonkeyPatch) -> None:
    """What the code says of it wins."""
    environ.setenv(sources.DSN, "memory://")
    environ.setenv(sources.QUEUE, QUEUE)
    fanout = load(None, None).fanout
    assert fanout is not None
    assert fanout.queue_url == QUEUE
    said = load(None, None, {"queue_url": f"{QUEUE}2"}).fanout
    assert said is not None
    assert said.queue_url == f"{QUEUE}2"
    assert load(None, "memory://").fanout is None


def test_code_wins_over_the_environment(environ: pytest.MonkeyPatch) -> None:
    environ.setenv(sources.DSN, "dynamodb://ttt?region=eu-west-1")
    assert Longwire(app, dsn="memory://").settings.backend == "memory"


@pytest.mark.parametrize("empty", [True, False])
def test_elsewhere_than_on_lambda_it_is_the_local_file(
    environ: pytest.MonkeyPatch, tmp_path: Path, *, empty: bool
) -> None:
    """Which is made when there is something to store; an empty variable says nothing."""
    if empty:
        environ.setenv(sources.DSN, "")
    settings = Longwire(app).settings
    assert settings.params["file_path"] == sources.LOCAL_FILE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME"])
def test_on_lambda_it_has_to_be_said(environ: pytest.MonkeyPatch, name: str) -> None:
    environ.setenv(name, "x")
    with pytest.raises(ConfigurationError) as caught:
        Longwire(app)
    assert str(caught.value) == (
        "nothing says where to keep connections: set the environment variable LONGWIRE_DSN, for "
        "example to dynamodb://connections?region=eu-west-1, or say it in code: "
        "Longwire(app, dsn=...) or Longwire(app, ws_config=...)"
    )


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {sources.DSN: "dynamo://secret"},
            "the environment variable LONGWIRE_DSN: dsn has the unknown scheme 'dynamo'; "
            "did you mean 'dynamodb'?",
        ),
        (
            {sources.DSN: "memory://", sources.QUEUE: "secret"},
            "the environment variable LONGWIRE_FANOUT_QUEUE_URL: fanout['queue_url'] must be "
            "an http:// or https:// URL with a host",
        ),
    ],
)
def test_what_is_wrong_in_the_environment_names_the_variable(
    environ: pytest.MonkeyPatch, variables: dict[str, str], text: str
) -> None:
    for name, value in variables.items():
        environ.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        Longwire(app)
    assert str(caught.value) == text


# Under `longwire dev`


@pytest.mark.parametrize(
    "config",
    [
        {"backend": "dynamodb", "params": {"table_name": "ttt"}},
        {"backend": "s3", "params": {"bucket": "bbb"}},
        {"backend": "redis", "params": {"host": "nowhere.invalid"}},
        {"backend": DynamoDBBackend("ttt", region_name="eu-west-1")},
    ],
)
def test_a_remote_store_gives_way_and_nothing_else(
    environ: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    """Nothing of the cloud is needed for that, not even a region."""
    under_dev(environ, StoreSource(LOCAL, replaces_local=False))
    more: Any = {"replay": True, "linger": 1.0, "path": "/ws", "exclude_query": ["token"]}
    settings = Longwire(app, ws_config=config | more, fanout={"queue_url": QUEUE}).settings
    assert settings.backend == "sqlite3"
    assert settings.params["file_path"] == ".longwire.sqlite3"
    assert settings.made_for in ("dynamodb", "s3", "redis")
    assert (settings.replay, settings.linger, settings.path) == (True, 1.0, "/ws")
    assert settings.exclude_query == {"token"}
    assert settings.fanout is None


@pytest.mark.parametrize(
    "config",
    [
        {"backend": "memory"},
        {"backend": MemoryBackend()},
        {"backend": "sqlite3", "params": {"file_path": "mine.sqlite3"}},
    ],
)
def test_a_store_of_this_machine_stays(environ: pytest.MonkeyPatch, config: dict[str, Any]) -> None:
    """Unless another one is named."""
    under_dev(environ, StoreSource(LOCAL, replaces_local=False))
    settings = load(config, None)
    assert (settings.backend, settings.made_for) == (config["backend"], None)
    assert settings.params.get("file_path") in (None, "mine.sqlite3")
    under_dev(environ, StoreSource(dsn="redis://localhost"))
    settings = load(config, None)
    assert (settings.backend, settings.made_for) == ("redis", None)


def test_what_the_url_says_besides_the_store_wins(environ: pytest.MonkeyPatch) -> None:
    under_dev(environ, StoreSource(dsn="memory://?ttl=60&replay=1"))
    settings = load({"backend": "redis", "params": {"host": "h"}, "ttl": 100, "linger": 1.0}, None)
    assert (settings.ttl, settings.replay, settings.state) == (60, True, False)
    assert (settings.linger, dict(settings.params)) == (1.0, {})


def test_its_processes_are_not_lambda(environ: pytest.MonkeyPatch) -> None:
    under_dev(environ, StoreSource(LOCAL, replaces_local=False))
    environ.setenv("AWS_LAMBDA_FUNCTION_NAME", "longwire-dev")
    assert Longwire(app).settings.params["file_path"] == ".longwire.sqlite3"


def test_a_mistake_is_one_all_the_same(environ: pytest.MonkeyPatch) -> None:
    """What would fail on Lambda fails here."""
    under_dev(environ, StoreSource(LOCAL, replaces_local=False))
    with pytest.raises(ConfigurationError, match="needs 'table_name'"):
        Longwire(app, ws_config={"backend": "dynamodb"})


# Connections, and functions


async def test_connections_have_the_store_of_the_environment(
    environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the endpoint in code or in the environment; groups need nothing else."""
    environ.setenv(sources.DSN, f"sqlite:///{tmp_path / 'ws.sqlite3'}")
    async with Connections(api_gateway_endpoint_url="https://nobody.invalid/prod") as connections:
        assert (await connections.group_send("room", "hello")).delivered == []
    async with Connections() as connections:
        assert [one async for one in connections.group_members("room")] == []
    assert (tmp_path / "ws.sqlite3").exists()


async def test_beside_a_local_gateway_it_is_the_local_file(
    environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a worker is, or an HTTP route under uvicorn."""
    environ.setenv("WS_MANAGEMENT_ENDPOINT", "http://127.0.0.1:9/local")
    async with Connections() as connections:
        assert (await connections.broadcast("hello")).delivered == []
    assert (tmp_path / ".longwire.sqlite3").exists()


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("WS_MANAGEMENT_ENDPOINT", "https://nobody.invalid/prod"),
        ("AWS_LAMBDA_FUNCTION_NAME", "notify"),
    ],
)
async def test_no_store_is_guessed_for_a_gateway_elsewhere(
    environ: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    environ.setenv("WS_MANAGEMENT_ENDPOINT", "http://127.0.0.1:9/local")
    environ.setenv(variable, url)
    async with Connections() as connections:
        with pytest.raises(ConfigurationError, match="need a store"):
            await connections.broadcast("hello")
    assert ".longwire.sqlite3" not in os.listdir()


def test_functions_have_the_store_of_the_environment_only(environ: pytest.MonkeyPatch) -> None:
    """They can do without one, as they do on Lambda where nothing is said."""
    environ.setenv(sources.DSN, "memory://")
    event = {
        "requestContext": {
            "eventType": "CONNECT",
            "routeKey": "$connect",
            "connectionId": "QWErT_fALIAMCug=",
            "apiId": "local",
            "stage": "local",
            "domainName": "localhost",
        }
    }

    async def groups(event: Any, context: Any) -> dict[str, Any]:
        await context.connections.group_add("room", event["requestContext"]["connectionId"])
        return {"statusCode": 200}

    assert websocket_handler(groups)(event)["statusCode"] == 200
    environ.delenv(sources.DSN)
    with pytest.raises(ConfigurationError, match="need a store"):
        websocket_handler(groups)(event)
