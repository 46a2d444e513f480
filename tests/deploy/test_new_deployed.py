"""`longwire new` to the end: `make deploy` to an emulator of AWS, and clients that talk.

It takes a minute, so it runs only if asked to: `make deploy-test`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.browser import Browser
from tests.deploy.emulator import Stack, ministack
from tests.deploy.tools import ARCHITECTURE, ROOT, asked_for, run, tool
from tests.deploy.wheels import of_fastapi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.deploy.emulator import Emulator

asked_for()
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with ministack(tmp_path_factory.mktemp("ministack")) as running:
        yield running


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Longwire of the working tree, and FastAPI as it is here, for pip to find."""
    folder = tmp_path_factory.mktemp("wheels")
    of_fastapi(folder)
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], ROOT)
    return folder


def _deployed(folder: Path, kind: str, packages: Path, aws: Emulator) -> Stack:
    """Make a project, and deploy it as its README says."""
    tool("sam")  # or skip
    name = f"my-{kind}"
    run([sys.executable, "-m", "longwire", "new", name, "--template", kind], folder)
    template = folder / name / "template.yaml"
    # The emulator runs functions on this machine.
    text = template.read_text(encoding="utf-8")
    template.write_text(text.replace("[arm64]", f"[{ARCHITECTURE}]"), encoding="utf-8")
    run([tool("cfn-lint"), "template.yaml"], folder / name)
    ours = {"PYTHONPATH": os.pathsep.join(str(ROOT / one) for one in ("adapter", "backends"))}
    doctor = [tool("python"), "-m", "longwire", "doctor", "template.yaml"]
    assert run(doctor, folder / name, ours) == "nothing found\n"
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(packages)}
    run(["make", "deploy"], folder / name, {**aws.environ, **pip})
    return Stack(aws, name)


def _turn_all_to_the_emulator(stack: Stack) -> None:
    client = stack.emulator.client("lambda")
    for function in stack.of_type("AWS::Lambda::Function"):
        there = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        turned = {**there, "WS_MANAGEMENT_ENDPOINT": stack.management_url}
        client.update_function_configuration(
            FunctionName=function, Environment={"Variables": turned}
        )


def test_the_page_of_a_deployed_chat_works(tmp_path: Path, packages: Path, aws: Emulator) -> None:
    """Two in a room: what one says both see."""
    stack = _deployed(tmp_path, "chat", packages, aws)
    stack.complete()
    stack.turn_to_the_emulator()
    api, _ = stack.api("HTTP")
    host = f"{api}.execute-api.localhost"  # which is this machine
    url = aws.url.replace("127.0.0.1", host)
    answer = httpx.get(f"{aws.url}/", headers={"host": host}, timeout=120)
    assert (answer.status_code, answer.text[:15]) == (200, "<!doctype html>")
    with Browser(tmp_path / "profile") as browser:
        pages = {}
        for name in ("ann", "bob"):
            page = pages[name] = browser.open(url)
            page.fill("[name=name]", name)
            page.click("#enter button")
            page.see("#status", f"In lobby as {name}")
        pages["ann"].fill("[name=text]", "hello")
        pages["ann"].click("#say button")
        for page in pages.values():
            page.see("li", "ann: hello")
            assert page.complaints() == []


def _said(client: ClientConnection, **message: str) -> Any:
    client.send(json.dumps(message))
    return json.loads(client.recv(timeout=60))


def test_each_route_has_a_function(tmp_path: Path, packages: Path, aws: Emulator) -> None:
    """With permissions of its own, which are enough."""
    stack = _deployed(tmp_path, "routes", packages, aws)
    _turn_all_to_the_emulator(stack)
    assert len(stack.of_type("AWS::Lambda::Function")) == 5
    url = stack.management_url.replace("http://", "ws://")
    with connect(f"{url}?name=ann") as ann, connect(f"{url}?name=bob") as bob:
        for client in (ann, bob):
            assert _said(client, action="join", room="blue") == {"joined": "blue"}
        answer = _said(bob, action="say", room="blue", text="hello")
        assert answer == json.loads(ann.recv(timeout=60)) == {"room": "blue", "text": "hello"}
        assert "error" in _said(ann, action="shout")
    with pytest.raises(InvalidStatus):
        connect(url)
