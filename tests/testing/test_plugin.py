"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.documents import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

APP = """
    count = 0
    lives = []

    async def app(scope, receive, send):
        global count
        if scope["type"] == "lifespan":
            await receive()
            lives.append("start")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            lives.append("stop")
            print("stopped")
            await send({"type": "lifespan.shutdown.complete"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            count += 1
            await send({"type": "websocket.send", "text": f"{scope['path']} {count}"})

    def make():
        return app
    """
CLIENT = """
    def test_client(longwire_client):
        with longwire_client.websocket_connect("/ws") as ws:
            for number in (1, 2):
                ws.send_text("x")
                assert ws.receive_text() == f"/ws {number}"
    """


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _write(tmp_path / "src_app.py", APP)
    return tmp_path


def _write(path: Path, text: str) -> None:
    path.write_text(textwrap.dedent(text), encoding="utf-8")


def _pytest(folder: Path, *arguments: str) -> str:
    # Named, as this project may be installed without its entry points in a developer's folder.
    plugins = ["no:cacheprovider", "no:asyncio", "no:longwire", "longwire_pytest"]
    named = [f"-p{plugin}" for plugin in plugins]
    command = [sys.executable, "-m", "pytest", "-q", *named, *arguments]
    environ = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    done = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environ,
    )
    return done.stdout


def _ini(folder: Path, *lines: str) -> None:
    _write(folder / "pytest.ini", "\n".join(("[pytest]", "filterwarnings = error", *lines)))


def test_pytest_finds_it() -> None:
    """In the wheel and by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"longwire": "longwire_pytest"}
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert "adapter/longwire_pytest" in packages


def test_it_imports_nothing_until_a_fixture_is_used(folder: Path) -> None:
    _ini(folder, "longwire_app = src_app:app")
    _write(
        folder / "test_it.py",
        """
        import sys

        def test_nothing():
            loaded = {name.partition(".")[0] for name in sys.modules}
            assert "longwire" not in loaded and "src_app" not in loaded
        """,
    )
    # Where it is installed in full, pytest itself looks at all of its packages.
    assert "1 passed" in _pytest(folder)


def test_the_app_is_that_of_the_settings(folder: Path) -> None:
    """From wherever pytest is called; a fresh client for each test, and a shutdown."""
    _ini(folder, "longwire_app = src_app:app")
    inner = folder / "tests"
    inner.mkdir()
    _write(inner / "test_it.py", CLIENT)
    output = _pytest(inner, "-s", "--strict-markers")
    assert "1 passed" in output
    assert "stopped" in output


def test_in_pyproject_fresh(folder: Path) -> None:
    _write(
        folder / "pyproject.toml",
        '[tool.pytest.ini_options]\nlongwire_app = "src_app:app"\nlongwire_fresh = true\n',
    )
    _write(folder / "test_it.py", CLIENT.replace('f"/ws {number}"', '"/ws 1"'))
    assert "1 passed" in _pytest(folder)


MARKS = """
    import pytest
    from longwire.testing import WebSocketDisconnect

    async def refuses(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})

    pytestmark = pytest.mark.longwire(timeout=3)

    @pytest.mark.longwire("src_app:make", factory=True, ws_config={"backend": "memory"})
    def test_named(longwire_client):
        assert longwire_client.timeout == 3
        with longwire_client.websocket_connect("/a") as ws:
            ws.send_text("x")
            assert ws.receive_text().startswith("/a ")

    @pytest.mark.longwire(app=refuses)
    def test_object(longwire_client):
        with pytest.raises(WebSocketDisconnect):
            with longwire_client.websocket_connect("/"):
                pass

    class TestOwnFixture:
        @pytest.fixture
        def longwire_app(self):
            from src_app import app
            return app

        def test_it(self, longwire_client):
            with longwire_client.websocket_connect("/b") as ws:
                ws.send_text("x")
                assert ws.receive_text().startswith("/b ")
    """


def test_a_mark_or_a_fixture_says_it_too(folder: Path) -> None:
    _ini(folder, "pythonpath = .")
    _write(folder / "test_it.py", MARKS)
    assert "3 passed" in _pytest(folder, "--strict-markers")


HANDLER = """
    import pytest

    @pytest.mark.anyio
    async def test_gateway(longwire_gateway):
        async with longwire_gateway as gateway, gateway.connect("/ws") as ws:
            await ws.send("x")
            assert (await ws.receive()).startswith("/ws ")

    def test_client(longwire_client):
        with longwire_client.websocket_connect("/ws") as ws:
            ws.send_text("x")
            assert ws.receive_text().startswith("/ws ")

    @pytest.mark.longwire(fresh=True)
    def test_fresh(longwire_gateway):
        pass

    @pytest.fixture
    def anyio_backend():
        return "asyncio"
    """


def test_a_handler_keeps_its_own_store_out_of_tests(folder: Path) -> None:
    _ini(folder, "longwire_app = src_handler:handler")
    _write(
        folder / "src_handler.py",
        """
        from longwire import Longwire
        from src_app import app

        handler = Longwire(app, dsn="dynamodb://nowhere?region=eu-west-1")
        """,
    )
    _write(folder / "test_it.py", HANDLER)
    output = _pytest(folder)
    assert "2 passed, 1 error" in output
    assert "fresh=True is for longwire_client alone" in output


def test_who_says_nothing_is_told_how_to(folder: Path) -> None:
    """Without a traceback."""
    _write(folder / "test_it.py", CLIENT)
    output = _pytest(folder)
    assert "longwire_client does not know which app it is for" in output
    assert 'longwire_app = "main:app"' in output
    assert "Traceback" not in output
    assert "1 error" in output
    _ini(folder, "longwire_app = src_app:ap")
    assert "did you mean 'app'?" in _pytest(folder)


GATEWAY = """
    import pytest

    @pytest.mark.{mark}
    async def test_gateway(longwire_gateway):
        async with longwire_gateway as gateway:
            async with gateway.connect("/ws") as ws:
                await ws.send("x")
                assert (await ws.receive()).startswith("/ws ")

    @pytest.mark.{mark}
    async def test_client(longwire_client):
        with longwire_client.websocket_connect("/ws") as ws:
            ws.send_text("x")
            assert ws.receive_text().startswith("/ws ")

    @pytest.fixture
    def anyio_backend():
        return "asyncio"
    """


@pytest.mark.parametrize("mark", ["asyncio", "anyio"])
def test_beside_plugins_that_run_coroutines(folder: Path, mark: str) -> None:
    loaded = ["-ppytest_asyncio.plugin"] if mark == "asyncio" else []
    if loaded:
        pytest.importorskip("pytest_asyncio")
    scope = "asyncio_default_fixture_loop_scope = function" if loaded else ""
    _ini(folder, "longwire_app = src_app:app", scope)
    _write(folder / "test_it.py", GATEWAY.replace("{mark}", mark))
    assert "2 passed" in _pytest(folder, *loaded)


def test_beside_xdist(folder: Path) -> None:
    """And a client that nobody closes is closed at the end of the run."""
    _ini(folder, "longwire_app = src_app:app")
    for number in range(3):
        _write(folder / f"test_{number}.py", CLIENT.replace(" {number}", " ").replace("==", ">"))
    assert "3 passed" in _pytest(folder, "-n", "2", "--dist", "loadfile")
    _write(
        folder / "test_open.py",
        """
        from longwire.testing import TestClient
        from src_app import app

        client = TestClient(app)

        def test_it():
            with client.websocket_connect("/ws") as ws:
                ws.send_text("x")
                ws.receive_text()
        """,
    )
    output = _pytest(folder, "-s", "test_open.py")
    assert "1 passed" in output
    assert "stopped" in output
