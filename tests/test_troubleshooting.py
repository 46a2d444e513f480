"""The page that explains our errors has each of them."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from longwire.exceptions import LongwireError
from tests.documents import PAGES, ROOT
from tests.error_texts import LEVELS, Said, collected

# Characters that a reader can look for.
LEAST = 12
PAGE = " ".join(PAGES["docs/troubleshooting.md"].split())
# They say themselves what is wrong with what somebody typed or wrote into their code, each in a
# line of its own; the page has their class.
TELL_THEMSELVES = {
    "AttributeError",
    "ASGIMessageError",
    "ConfigurationError",
    "EventError",
    "ImportTargetError",
    "InvalidArgumentError",
    "MalformedResultError",
    "TypeError",
    "ValueError",
}
FOLDERS = ("adapter/longwire", "backends/longwire_backends", "backends/longwire_aws")
# What the commands and the test clients say stands on a developer's screen.
ROOMS = ("local", "testing", "cli", "deploy", "doctor")
AT_THE_DESK = tuple(f"adapter/longwire/{room}/" for room in ROOMS)
TEXTS = [
    said
    for said in collected(*FOLDERS)
    if said.kind not in TELL_THEMSELVES
    and not said.place.startswith(AT_THE_DESK)
    and len(max(said.parts, key=len)) >= LEAST
]


@pytest.mark.parametrize("said", TEXTS, ids=lambda said: said.place)
def test_each_text_is_on_the_page(said: Said) -> None:
    """By the beginning of a part of it that is always the same."""
    assert any(part[:40] in PAGE for part in said.parts if len(part) >= LEAST), said


def test_the_texts_are_found() -> None:
    """The collection still sees what is logged, raised, and written over several lines."""
    assert len([said for said in TEXTS if said.kind in LEVELS]) > 50
    assert len([said for said in TEXTS if said.kind == "DeadlineError"]) > 5
    (one,) = (
        said for said in TEXTS if said.place.startswith("adapter/longwire/functions/answer.py")
    )
    assert one.parts == (
        "the function of route",
        'returned what API Gateway answers with "Internal server error',
    )


def _classes() -> set[str]:
    """Return all errors of ours that can reach an app or a log."""
    found = {"RefusedPathError", "CredentialsError"}
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            path = file.relative_to(ROOT).with_suffix("")
            if path.as_posix().startswith(AT_THE_DESK) or not re.search(
                r"(?m)^class \w+Error\(", file.read_text(encoding="utf-8")
            ):
                continue
            module = importlib.import_module(".".join(path.parts[1:]))
            found |= {
                name
                for name, value in vars(module).items()
                if inspect.isclass(value)
                and issubclass(value, LongwireError)
                and value.__module__ == module.__name__
                and not name.startswith("_")
            }
    return found - {"LongwireError", "MalformedResultError"}  # the second is the cause of others


def test_each_class_has_a_row() -> None:
    """Whoever has its name finds it."""
    rows = set(re.findall(r"(?m)^\| `(\w+Error)` \|", PAGES["docs/troubleshooting.md"]))
    assert _classes() <= rows
    assert rows <= _classes()


def test_each_status_and_close_code_is_there() -> None:
    """Those that `longwire dev` can answer a handshake with, and all of the table of codes."""
    page = PAGES["docs/troubleshooting.md"]
    handshake = page.partition("## The handshake fails")[2].partition("\n## ")[0]
    rules = (ROOT / "adapter/longwire/local/rules/results.py").read_text(encoding="utf-8")
    statuses = set(re.findall(r"HandshakeRefused\((\d+)\)", rules))
    assert statuses
    assert statuses | {"400", "401", "403", "426", "429", "500"} <= set(
        re.findall(r"\d{3}", handshake)
    )
    codes = PAGES["docs/differences.md"].partition("### Close codes")[2].partition("\n## ")[0]
    closing = page.partition("## The connection closes")[2].partition("\n## ")[0]
    listed = set(re.findall(r"(?m)^\| ([\d, ]+) \|", codes))
    assert {code for row in listed for code in row.split(", ")} <= set(
        re.findall(r"\b1\d{3}\b", closing)
    )
