"""Where keys come from: the environment first, then botocore with real files and a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from longwire import Connections, Longwire, ManagementError, websocket_handler
from longwire.apigateway.signing import SigningTransport
from longwire_aws.credentials import CredentialsError, CredentialsSource
from longwire_aws.http import HTTPClient, TransportError
from longwire_aws.sigv4 import Credentials
from longwire_backends import BackendError
from longwire_backends.dynamodb import DynamoDBBackend
from longwire_backends.memory import MemoryBackend
from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from longwire import WSConfig

pytestmark = pytest.mark.anyio

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "hush-secret"}
SESSION_KEYS = KEYS | {"AWS_SESSION_TOKEN": "hush-token"}


class Metadata:
    """A server of credentials, as ECS and SnapStart have one."""

    def __init__(self) -> None:
        self.requests: list[str | None] = []
        self.lifetime = timedelta(hours=1)
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.status = 200
        self.url = ""

    def answer(self, authorization: str | None) -> bytes:
        self.requests.append(authorization)
        self.may_answer.wait(30)
        if self.status != 200:
            return b"hush-answer"
        number = len(self.requests)
        return json.dumps(
            {
                "AccessKeyId": f"AKID{number}",
                "SecretAccessKey": f"hush-secret-{number}",
                "Token": f"hush-token-{number}",
                "Expiration": (datetime.now(UTC) + self.lifetime).isoformat(),
            }
        ).encode()


@contextlib.contextmanager
def metadata_server() -> Iterator[Metadata]:
    metadata = Metadata()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = metadata.answer(self.headers.get("Authorization"))
            self.send_response(metadata.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        metadata.url = f"http://127.0.0.1:{server.server_port}/credentials"
        try:
            yield metadata
        finally:
            server.shutdown()
            thread.join()


class Machine:
    """What botocore sees of this machine: two files and no instance metadata."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.setenv = monkeypatch.setenv
        self.delenv = monkeypatch.delenv
        self.config = folder / "config"
        self.credentials = folder / "credentials"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    pytest.importorskip("botocore", reason="botocore is not installed")
    names = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "DEFAULT_PROFILE"]
    names += ["ROLE_ARN", "WEB_IDENTITY_TOKEN_FILE", "CONTAINER_AUTHORIZATION_TOKEN"]
    names += ["CONTAINER_CREDENTIALS_FULL_URI", "CONTAINER_CREDENTIALS_RELATIVE_URI"]
    for name in names:
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    machine = Machine(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(machine.config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(machine.credentials))
    monkeypatch.setenv("BOTO_CONFIG", str(tmp_path / "boto"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return machine


async def failure(source: CredentialsSource) -> str:
    """Return the text of the error, which never has a secret and never shows another error."""
    with pytest.raises(CredentialsError) as caught:
        await source.get()
    assert caught.value.__cause__ is None
    assert "hush" not in str(caught.value)
    return str(caught.value)


# --- the environment ------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "hush-token"])
async def test_keys_of_the_environment(token: str | None) -> None:
    """They need no waiting, and an empty token is none."""
    environ = KEYS if token is None else KEYS | {"AWS_SESSION_TOKEN": token}
    source = CredentialsSource(environ)
    assert source.current() == Credentials("AKID", "hush-secret", token or None)
    assert await source.get() == source.current()


async def test_the_environment_is_read_again() -> None:
    """Keys that change are the new ones at once."""
    environ = dict(SESSION_KEYS)
    source = CredentialsSource(environ)
    await source.get()
    environ |= {"AWS_ACCESS_KEY_ID": "AKID2", "AWS_SECRET_ACCESS_KEY": "2"}
    del environ["AWS_SESSION_TOKEN"]
    assert await source.get() == Credentials("AKID2", "2", None)


async def test_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the one that is read when none is given."""
    source = CredentialsSource()
    for name, value in SESSION_KEYS.items():
        monkeypatch.setenv(name, value)
    assert await source.get() == Credentials("AKID", "hush-secret", "hush-token")


@pytest.mark.parametrize("secret", [{}, {"AWS_SECRET_ACCESS_KEY": ""}])
async def test_half_of_a_pair(secret: dict[str, str]) -> None:
    """An access key without its secret is a mistake, not a reason to look elsewhere."""
    source = CredentialsSource({"AWS_ACCESS_KEY_ID": "AKID"} | secret)
    assert "AWS_SECRET_ACCESS_KEY is not" in await failure(source)


def test_botocore_is_not_needed_for_keys_of_the_environment() -> None:
    """It is not even imported, so that a function does without."""
    script = """
        import asyncio, sys
        sys.modules["botocore"] = None
        from longwire_aws.credentials import CredentialsError, CredentialsSource
        keys = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s"}
        assert asyncio.run(CredentialsSource(keys).get()).access_key == "AKID"
        try:
            asyncio.run(CredentialsSource({}).get())
        except CredentialsError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "AWS_ACCESS_KEY_ID is not in the environment" in text
    assert "pip install 'longwire[dynamodb]'" in text


def test_botocore_is_imported_late() -> None:
    """Neither the module nor keys of the environment load it, even where it is installed."""
    script = """
        import asyncio, sys
        from longwire_aws.credentials import CredentialsSource
        keys = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s"}
        asyncio.run(CredentialsSource(keys).get())
        assert "botocore" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


# --- botocore's chain -----------------------------------------------------------------------------


async def test_a_profile(machine: Machine) -> None:
    """The first search goes through botocore; after that nothing waits."""
    machine.credentials.write_text(
        "[default]\naws_access_key_id=AKID\naws_secret_access_key=s\n"
        "[other]\naws_access_key_id=AKID2\naws_secret_access_key=s2\naws_session_token=t2\n"
    )
    source = CredentialsSource()
    assert source.current() is None
    assert await source.get() == Credentials("AKID", "s", None)
    assert source.current() == Credentials("AKID", "s", None)
    machine.setenv("AWS_PROFILE", "other")
    assert source.current() is None
    assert await source.get() == Credentials("AKID2", "s2", "t2")


async def test_the_environment_goes_before_a_profile(machine: Machine) -> None:
    """Also when its keys come late or go away."""
    machine.credentials.write_text("[default]\naws_access_key_id=A\naws_secret_access_key=s\n")
    source = CredentialsSource()
    for expected in ("A", "AKID", "A"):
        for name, value in KEYS.items() if expected == "AKID" else ():
            machine.setenv(name, value)
        assert (await source.get()).access_key == expected
        for name in KEYS:
            machine.delenv(name, raising=False)


async def test_rejected_keys_are_found_anew(machine: Machine) -> None:
    """A profile that was edited is read again once AWS has refused its old keys."""
    profile = "[default]\naws_access_key_id={}\naws_secret_access_key=s\n"
    machine.credentials.write_text(profile.format("A"))
    source = CredentialsSource()
    old = await source.get()
    machine.credentials.write_text(profile.format("B"))
    source.discard(Credentials("somebody", "else", None))
    assert await source.get() == old
    source.discard(old)
    assert (await source.get()).access_key == "B"


async def test_a_credential_server(machine: Machine) -> None:
    """SnapStart's and ECS's: asked once, with its token, for as long as the keys are fresh."""
    with metadata_server() as metadata:
        machine.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", metadata.url)
        machine.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let-me-in")
        source = CredentialsSource()
        first = Credentials("AKID1", "hush-secret-1", "hush-token-1")
        assert await source.get() == await source.get() == source.current() == first
        assert metadata.requests == ["let-me-in"]


async def test_keys_that_expire_soon_are_replaced(machine: Machine) -> None:
    """New ones are there before the old ones end."""
    with metadata_server() as metadata:
        metadata.lifetime = timedelta(minutes=5)
        machine.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", metadata.url)
        source = CredentialsSource()
        await source.get()
        assert source.current() is None
        metadata.lifetime = timedelta(hours=1)
        second = await source.get()
        assert second.access_key == f"AKID{len(metadata.requests)}" != "AKID1"
        assert source.current() == second


async def test_another_server_after_a_restore(machine: Machine) -> None:
    """A restored snapshot asks the server that it finds, not the one it began with."""
    with metadata_server() as before, metadata_server() as after:
        machine.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", before.url)
        source = CredentialsSource()
        await source.get()
        machine.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", after.url)
        await source.get()
        assert (len(before.requests), len(after.requests)) == (1, 1)


async def test_keys_that_were_found_are_not_kept_in_a_snapshot(machine: Machine) -> None:
    """Lambda takes one when the handler has been closed; each process made of it looks anew."""
    with metadata_server() as metadata:
        machine.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", metadata.url)
        nowhere = f"127.0.0.1:{free_port()}"
        store = DynamoDBBackend(
            "connections", region_name="eu-west-1", endpoint_url=f"http://{nowhere}", timeout=0.5
        )
        transport = SigningTransport(HTTPClient(), "eu-west-1")
        for asked in (2, 4):
            for _ in range(2):
                with pytest.raises(BackendError):
                    await store.get("a")
                with pytest.raises(TransportError):
                    await transport.request("POST", f"https://{nowhere}/prod", timeout=0.5)
            await store.close()
            transport.forget_keys()
            assert len(metadata.requests) == asked


async def test_a_handler_that_was_closed_keeps_no_keys(machine: Machine) -> None:
    """As it is before a snapshot; so do `Connections` outside an app, and functions without one."""

    async def app(*_: object) -> None:
        raise ValueError

    with metadata_server() as metadata:
        machine.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", metadata.url)
        endpoint = f"https://127.0.0.1:{free_port()}/prod"
        memory: WSConfig = {"backend": MemoryBackend(), "api_gateway_endpoint_url": endpoint}
        handler = Longwire(app, ws_config={**memory, "api_gateway_region_name": "eu-west-1"})
        connections = Connections(ws_config={**memory, "api_gateway_region_name": "eu-west-1"})
        for asked in (2, 4):
            for _ in range(2):
                with pytest.raises(TransportError):
                    await handler.transport.request("POST", endpoint, timeout=1)
                with pytest.raises(ManagementError):
                    await connections.send("a=", "x")
            await handler.aclose()
            await connections.aclose()
            assert len(metadata.requests) == asked


def test_everything_with_sockets_is_closed_before_a_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lambda's runtime calls what has been registered."""
    hooks = pytest.importorskip("snapshot_restore_py")
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    registered, seeds = hooks.get_before_snapshot(), hooks.get_after_restore()
    before = len(registered), len(seeds)
    made = [Connections(dsn="memory://"), websocket_handler(dsn="memory://")]
    mine = registered[before[0] :]
    del registered[before[0] :], seeds[before[1] :]
    assert len(mine) == len(made)
    for close, arguments, options in mine:
        close(*arguments, **options)


async def test_one_search_for_all_while_the_loop_goes_on(machine: Machine) -> None:
    """Twenty callers wait for one search; one that gives up does not end it for the others."""
    with metadata_server() as metadata:
        metadata.may_answer.clear()
        machine.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", metadata.url)
        source = CredentialsSource()
        waiting = [asyncio.create_task(source.get()) for _ in range(20)]
        while not metadata.requests:
            await asyncio.sleep(0.001)
        waiting.pop().cancel()
        # A search that held up the loop would never come to this.
        metadata.may_answer.set()
        assert {found.access_key for found in await asyncio.gather(*waiting)} == {"AKID1"}
        assert len(metadata.requests) == 1


def test_a_search_that_a_closed_loop_left_behind(machine: Machine) -> None:
    """An event that ran out of time does not spoil the next one."""
    with metadata_server() as metadata:
        metadata.may_answer.clear()
        machine.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", metadata.url)
        source = CredentialsSource()
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(source.get(), 0.05))
        metadata.may_answer.set()
        assert asyncio.run(source.get()).access_key == "AKID1"


async def test_no_keys_anywhere(machine: Machine) -> None:
    """The error lists what was tried and says what to do."""
    text = await failure(CredentialsSource())
    tried = ["AWS_ACCESS_KEY_ID", "sso", "shared-credentials-file", "container-role", "iam-role"]
    for part in [*tried, "give the function a role", "AWS_PROFILE"]:
        assert part in text


async def test_an_unknown_profile(machine: Machine) -> None:
    """The text names it."""
    machine.setenv("AWS_PROFILE", "nobody")
    text = await failure(CredentialsSource())
    assert "ProfileNotFound: The config profile (nobody)" in text
    assert "set in the environment: AWS_PROFILE" in text


async def test_a_file_that_cannot_be_parsed(machine: Machine) -> None:
    """The parser's own error would quote the line with the secret."""
    machine.credentials.write_text("[default]\nhush-secret\n")
    text = await failure(CredentialsSource())
    assert f"ConfigParseError: Unable to parse config file: {machine.credentials}" in text


async def test_a_process_that_fails(machine: Machine) -> None:
    """What it wrote is not repeated: it may be a secret."""
    command = f"{sys.executable} -c \"import sys; sys.exit('hush')\""
    machine.config.write_text(f"[default]\ncredential_process = {command}\n")
    assert "CredentialRetrievalError (details in" in await failure(CredentialsSource())


async def test_a_credential_server_that_fails_and_recovers(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is not repeated either, and the next search finds it well again."""
    fetcher = pytest.importorskip("botocore.utils").ContainerMetadataFetcher
    monkeypatch.setattr(fetcher, "SLEEP_TIME", 0)  # a second between botocore's attempts
    with metadata_server() as metadata:
        metadata.status = 500
        machine.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", metadata.url)
        source = CredentialsSource()
        assert "CredentialRetrievalError (details in" in await failure(source)
        metadata.status = 200
        assert (await source.get()).access_key == f"AKID{len(metadata.requests)}"


@pytest.mark.parametrize("odd", ["\n", "\r", " ", "\udc80", "é", "\x00"])
@pytest.mark.parametrize("name", ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"])
def test_keys_that_no_header_can_carry(name: str, odd: str) -> None:
    """Such as the line break at the end of the file that they were read from."""
    environ = {f"AWS_{each}": "hush" for each in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}
    with pytest.raises(CredentialsError) as caught:
        CredentialsSource({**environ, f"AWS_{name}": f"hush{odd}"}).current()
    assert str(caught.value) == (
        f"the AWS keys cannot be sent: AWS_{name} has a line break, a space or another odd "
        "character in it"
    )
