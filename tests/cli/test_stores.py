"""`longwire init`: creates what a store needs, says so, and may be repeated."""

from __future__ import annotations

import json
import os
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from longwire.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.process import ServerProcess
    from tests.servers.redis import RedisServer


def init(backend: str, **params: Any) -> int:
    """Run the command for a store."""
    return main(["init", "--backend", backend, "--params", json.dumps(params)])


def test_a_dynamodb_table_is_created_once(
    moto: ServerProcess, aws_keys: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """With TTL on; the second run finds both."""
    table = f"t-{uuid.uuid4().hex}"
    params = {"table_name": table, "region_name": "eu-west-1", "endpoint_url": moto.url}
    assert init("dynamodb", **params) == 0
    assert capsys.readouterr().out == (
        f"created table {table} in eu-west-1\nturned TTL on expires_at on\n"
    )
    assert init("dynamodb", **params) == 0
    assert capsys.readouterr().out == (
        f"table {table} in eu-west-1 is there already\nTTL on expires_at is on already\n"
    )


def test_a_bucket_is_created_once(
    moto: ServerProcess, aws_keys: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A URL says the same as a backend with its parameters."""
    bucket = f"b-{uuid.uuid4().hex}"
    dsn = f"s3://{bucket}/prefix?region=eu-west-1&endpoint_url={moto.url}"
    assert main(["init", "--dsn", dsn]) == 0
    assert capsys.readouterr().out == f"created bucket {bucket} in eu-west-1\n"
    assert main(["init", "--dsn", dsn]) == 0
    assert capsys.readouterr().out == f"bucket {bucket} is there already\n"


def test_a_file_is_created_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its tables, which every later run finds."""
    path = tmp_path / "ws.sqlite3"
    for said in (f"created {path}\n", f"{path} is there already\n"):
        assert init("sqlite3", file_path=str(path)) == 0
        assert capsys.readouterr().out == said
    assert path.stat().st_size > 0


def test_a_store_that_needs_nothing_says_so(
    redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server is asked whether it answers."""
    assert main(["init", "--dsn", "memory://"]) == 0
    assert capsys.readouterr().out == "memory: nothing to create\n"
    where = f"127.0.0.1:{redis_server.port}"
    assert main(["init", "--dsn", f"redis://{where}"]) == 0
    assert capsys.readouterr().out == f"{where} answers; there is nothing to create\n"
    assert main(["init", "--dsn", "redis://127.0.0.1:1"]) == 1
    assert "cannot connect to 127.0.0.1:1: Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--backend", "dynamo"],
            "longwire: ws_config['backend'] is 'dynamo', which is unknown; "
            "did you mean 'dynamodb'?\n",
        ),
        (["--backend", "s3", "--params", "bucket=b"], "longwire: --params: not JSON: "),
        (["--dsn", "memory://", "--params", "{}"], "longwire: --params: needs --backend\n"),
        (["--dsn", "dynamodb://ttt?region=x y"], "longwire: dsn parameter 'region_name' must be"),
    ],
)
def test_mistakes_in_the_command_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and what to write instead."""
    assert main(["init", *arguments]) == 2
    assert capsys.readouterr().err.startswith(text)


SWEPT = """
from longwire import Longwire

async def app(scope, receive, send):
    raise NotImplementedError

handler = Longwire(app, ws_config={"backend": "dynamodb", "params": {"table_name": "ttt"}})
"""


@pytest.mark.parametrize("target", ["swept:handler", "swept:app", "swept.py"])
def test_a_sweep_may_be_of_another_store(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--dsn` names it, also for a handler; afterwards nothing is left in the environment."""
    (tmp_path / "swept.py").write_text(SWEPT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "swept", raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)
    dsn = f"sqlite:///{tmp_path / 'ws.sqlite3'}"
    more = ["--app-dir", str(tmp_path), "--endpoint", "http://127.0.0.1:9/local", "--dsn", dsn]
    before = dict(os.environ)
    assert main(["sweep", target, *more]) == 0
    assert "checked" in capsys.readouterr().out
    assert (tmp_path / "ws.sqlite3").exists()
    assert dict(os.environ) == before
    sys.modules.pop("swept", None)


def test_a_server_that_cannot_be_reached(
    aws_keys: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, one line, no traceback."""
    params = {"table_name": "ttt", "endpoint_url": "http://127.0.0.1:1"}
    assert init("dynamodb", **params) == 1
    assert capsys.readouterr().err == (
        "longwire: dynamodb: create failed: 127.0.0.1:1: Connection refused; check endpoint_url\n"
    )


def test_a_store_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    """There is no default that something could be created in by mistake."""
    with pytest.raises(SystemExit) as exited:
        main(["init"])
    assert exited.value.code == 2
    assert "one of the arguments --backend --dsn is required" in capsys.readouterr().err
